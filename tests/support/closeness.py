"""Comparison of arrays with recorded ones."""
import numpy as np

TOLERANCE = 1e-5  # of the tensor's largest entry, at least 1


def assert_close(ours, golden, what, tolerance=TOLERANCE):
    golden, ours = np.asarray(golden), np.asarray(ours)
    assert ours.shape == golden.shape, f"{what}: {ours.shape} against {golden.shape}"
    error, scale = np.abs(ours - golden).max(), max(1.0, np.abs(golden).max())
    assert error <= tolerance * scale, f"{what} is off by {error:.2e} of {scale:.2f}"


def assert_state(ours, golden, prefix, all_of_them=True):
    """Compare named tensors; large ones are recorded as their first 64 entries and their norm, or not at all."""
    names = {key[len(prefix):].partition("[")[0] for key in golden.files if key.startswith(prefix)}
    assert names and names <= set(ours)
    assert names == set(ours) or not all_of_them
    for name in names:
        value = ours[name].numpy()
        if prefix + name in golden:
            assert_close(value, golden[prefix + name], prefix + name)
        else:
            assert_close(value.ravel()[:64], golden[f"{prefix}{name}[:64]"], prefix + name)
            assert_close(np.linalg.norm(value), golden[f"{prefix}{name}[norm]"], f"norm of {prefix + name}")


def assert_relative(ours, golden, prefix, tolerance):
    """Compare named tensors, recorded as ``assert_state`` has it, each by the size of its difference to its own."""
    names = {key[len(prefix):].partition("[")[0] for key in golden.files if key.startswith(prefix)}
    assert names == set(ours)
    for name in names:
        value, recorded = ours[name].numpy(), golden.get(prefix + name)
        if recorded is None:
            value, norm, recorded = value.ravel(), np.linalg.norm(value), golden[f"{prefix}{name}[:64]"]
            assert abs(norm - golden[f"{prefix}{name}[norm]"]) <= tolerance * norm, f"norm of {prefix}{name}"
            value = value[:64]
        off = np.linalg.norm(value - recorded) / np.linalg.norm(recorded)
        assert off <= tolerance, f"{prefix}{name} is off by {off:.1e} of itself"
