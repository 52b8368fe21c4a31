"""Whatever a parser fails with becomes one line that names the file, and the machine's own troubles do not."""
import pickle
import struct
import zipfile
import zlib

import pytest

from trainers.errors import InputError, SetupError
from trainers.utils.images import DamagedImage
from trainers.utils.untrusted import first_line, parse_or_none, read_untrusted


def failing(error):
    def parse(_):
        raise error
    return parse


@pytest.mark.parametrize("error", [
    KeyError("x"), zipfile.BadZipFile("x"), zlib.error("x"), struct.error("x"), pickle.UnpicklingError("x"),
    RecursionError("x"), StopIteration("x"), OSError(5, "x"), AssertionError("x"), ZeroDivisionError("x")])
def test_any_type_is_refused_and_is_the_cause(error):
    with pytest.raises(InputError, match="^a.bin is damaged .'?x'?.: fetch it$") as caught:
        read_untrusted("a.bin", failing(error), lambda reason: f"a.bin is damaged ({reason}): fetch it")
    assert caught.value.__cause__ is error
    assert parse_or_none(failing(error), "a.bin") is None


@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt(), SetupError("x"), InputError("x")])
def test_what_is_no_fault_of_the_file_passes(error):
    with pytest.raises(type(error)) as caught:
        read_untrusted("a.bin", failing(error), str)
    assert caught.value is error


def test_a_file_that_may_not_be_read_is_the_environment_s(tmp_path):
    error = PermissionError(13, "Permission denied", str(tmp_path / "a.bin"))
    with pytest.raises(SetupError, match="a.bin: permission denied"):
        read_untrusted(tmp_path, failing(error), str)


@pytest.mark.parametrize("error, reason", [
    (ValueError("two words"), "two words"), (ValueError("word"), "no tensors"), (ValueError(), "no tensors"),
    (ValueError("Weights only load failed. In PyTorch 2.6, …"), "no tensors"), (ValueError("a b\nc"), "a b"),
    (ValueError("y " * 200), "y " * 75),
    (RuntimeError("Error(s) in x:\n\tsize mismatch"), "Error(s) in x: size mismatch"),
])
def test_the_reason_is_short_and_says_something(error, reason):
    with pytest.raises(DamagedImage) as caught:
        read_untrusted("a", failing(error), str, unclear="no tensors", kind=DamagedImage)
    assert str(caught.value).strip() == reason.strip()


def test_first_line_of_an_error_without_text_is_its_class():
    assert first_line(StopIteration()) == "StopIteration"
