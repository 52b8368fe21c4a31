"""open_clip_config.json, as model hubs keep it beside the weights, says which model they are."""
import json
import re

import pytest
from safetensors.torch import save_file
from support.clip_files import ARCHS, config, far, features, model_of, refused, register, wanted

from trainers.clip import load_clip


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    register(monkeypatch)


class TestConfigBeside:
    """open_clip_config.json, as model hubs keep it beside the weights."""

    def put(self, folder, arch, name="open_clip_model.safetensors", **more):
        model = model_of(arch)
        save_file(model.state_dict(), folder / name)
        about = {"model_cfg": config(**ARCHS[arch]), "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}} | more
        (folder / "open_clip_config.json").write_text(json.dumps(about))
        return model, folder / name

    @pytest.mark.parametrize("arch", ARCHS)
    def test_it_is_taken(self, arch, tmp_path):
        model, path = self.put(tmp_path, arch)
        for name in (path, f"{arch}:{path}"):
            found = load_clip(str(name))
            assert far(features(found), wanted(model)) < 1e-5
            assert found.normalization == ((0.5,) * 3, (0.25,) * 3)

    def test_it_is_compared_with_the_name(self, tmp_path):
        _, path = self.put(tmp_path, "small")
        said = refused(f"small-quickgelu:{path}")
        assert f"says that {path} is open_clip's small-quickgelu, and {tmp_path}/open_clip_config.json says" in said
        assert "quick_gelu True and False" in said
        assert "quick_gelu True and False" in refused(f"openai:{path}")
        _, path = self.put(tmp_path, "wide")
        assert "vision_cfg.head_width the default and 80" in refused(f"wide-64:{path}")

    def test_it_is_of_one_file(self, tmp_path):
        """Beside several files that bear names of their own it may be any's."""
        model, path = self.put(tmp_path, "small", "mine.safetensors")
        assert far(features(load_clip(str(path))), wanted(model)) < 1e-5
        save_file(model.state_dict(), tmp_path / "other.safetensors")
        assert "keep its open_clip_config.json beside it, and no other weights" in refused(path)
        save_file(model.state_dict(), tmp_path / "open_clip_model.safetensors")
        assert far(features(load_clip(str(tmp_path / "open_clip_model.safetensors"))), wanted(model)) < 1e-5

    @pytest.mark.parametrize("lacking", ["mean", "std"])
    def test_half_a_normalization_is_none(self, lacking, tmp_path):
        numbers = {"mean": [0.5] * 3, "std": [0.25] * 3}
        del numbers[lacking]
        _, path = self.put(tmp_path, "small", preprocess_cfg=numbers)
        assert load_clip(str(path)).normalization is None

    @pytest.mark.parametrize("content,said", [
        ("{", "is not valid JSON"), ("[" * 10 ** 5, "is not valid JSON"), ("[]", "is a list"),
        ("{}", "trouble with 'model_cfg'"),
        ('{"model_cfg": {"embed_dim": 24}}', "trouble with 'vision_cfg'"),
        (json.dumps({"model_cfg": config() | {"text_cfg": {"mlp_ratio": float("inf")}}}), "trouble with cannot con"),
        (json.dumps({"model_cfg": config(new_thing=1)}), "does not have the shapes of|new_thing"),
        (json.dumps({"model_cfg": config(), "preprocess_cfg": {"mean": [1], "std": [1]}}), "trouble with not enough"),
        (json.dumps({"model_cfg": config() | {"text_cfg": {"layers": 10 ** 9}}}), "does not have the shapes of"),
        (json.dumps({"model_cfg": config() | {"vision_cfg": {"timm_model_name": "hf-hub:some/x"}}}), "not supported"),
        (json.dumps({"model_cfg": config() | {"text_cfg": {"hf_tokenizer_name": "x"}}}), "takes no prompts")])
    def test_one_that_is_wrong_is_named(self, content, said, tmp_path):
        _, path = self.put(tmp_path, "small")
        (tmp_path / "open_clip_config.json").write_text(content)
        found = refused(path)
        assert re.search(said, found) and "open_clip_config.json" in found
