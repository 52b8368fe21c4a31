"""Which errors are one line with an exit code, and which keep their traceback."""
import pytest

from minidassl.errors import ConfigError, DamagedFileError, MissingFileError
from minidassl.utils import check_availability, load_checkpoint, read_image, read_json
from trainers.errors import InputError, SetupError
from trainers.utils.console import exit_code


@pytest.mark.parametrize("call, builtin", [
    (lambda folder: check_availability("adm", ["adam", "sgd"]), ValueError),
    (lambda folder: read_image(str(folder / "none.jpg")), FileNotFoundError),
    (lambda folder: read_image(str(folder / "noise")), OSError),
    (lambda folder: load_checkpoint(str(folder / "none")), FileNotFoundError),
    (lambda folder: load_checkpoint(str(folder / "noise")), OSError),
    (lambda folder: read_json(str(folder / "noise")), ValueError),
])
def test_what_minidassl_says_of_input_is_code_2_and_still_python_s_own_error(call, builtin, tmp_path):
    (tmp_path / "noise").write_bytes(b"noise")
    with pytest.raises(builtin) as error:
        call(tmp_path)
    assert exit_code(error.value) == 2


@pytest.mark.parametrize("error, code", [
    (ConfigError("x"), 2), (MissingFileError("x"), 2), (DamagedFileError("x"), 2), (InputError("x"), 2),
    (SetupError("x"), 3), (ValueError("x"), None), (OSError("x"), None), (FileNotFoundError("x"), None),
])
def test_the_class_decides_and_not_the_place_that_raised_it(error, code):
    assert exit_code(error) == code  # never raised: there is no traceback to look at


def test_a_defect_inside_minidassl_keeps_its_traceback(tmp_path):
    with pytest.raises(ValueError) as error:
        read_json(str(tmp_path / "a\0b"))  # of open(): no message for a user
    assert exit_code(error.value) is None
