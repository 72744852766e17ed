from __future__ import annotations

import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fabricfit.errors import RunDirectoryError
from fabricfit.run import load_state, save_state
from fabricfit.run.checkpoints import checksum_of

arrays = hnp.arrays(
    st.sampled_from(["float32", "float64", "int8", "uint32", "bool"]),
    hnp.array_shapes(min_dims=0, max_dims=3, max_side=4),
)
states = st.recursive(
    arrays | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


def same(a, b):
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@given(state=states)
def test_a_state_comes_back_bit_for_bit(tmp_path_factory, state):
    path = tmp_path_factory.mktemp("s") / "state.npz"
    save_state(path, state)
    assert same(state, load_state(path, checksum_of(path)))


def test_types_that_numpy_does_not_know_come_back():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.npz"
        state = {
            "a": np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16),
            "b": np.array(1, ml_dtypes.bfloat16),
        }
        save_state(path, state)
        assert same(state, load_state(path))


def test_generators_are_restored(tmp_path):
    rng = np.random.default_rng(3)
    rng.random(5)
    save_state(tmp_path / "state.npz", {"random": rng.bit_generator.state})
    expected = rng.random(4)
    other = np.random.default_rng(0)
    other.bit_generator.state = load_state(tmp_path / "state.npz")["random"]
    np.testing.assert_array_equal(other.random(4), expected)


@pytest.mark.parametrize(
    "how", ["missing", "cut", "changed", "not a zip", "pickle", "no structure"]
)
def test_a_damaged_file_is_refused(tmp_path, how):
    path = tmp_path / "state.npz"
    save_state(path, {"x": np.arange(1000.0)})
    checksum, content = checksum_of(path), path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "cut":
        path.write_bytes(content[:-100])
    elif how == "changed":
        path.write_bytes(content[:500] + bytes([content[500] ^ 1]) + content[501:])
    elif how == "not a zip":
        path.write_text("weights")
    elif how == "pickle":
        np.savez(
            path,
            a0=np.array([object()]),
            structure=np.frombuffer(b'{"__array__":"a0","dtype":null}', np.uint8),
        )
    elif how == "no structure":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.txt", "x")
    for known in (None, checksum):
        if how == "changed" and known is None:
            continue
        with pytest.raises(RunDirectoryError, match=r"state\.npz"):
            load_state(path, known)
