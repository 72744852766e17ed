"""States of callbacks come back as they were, or are known not to."""

from __future__ import annotations

import functools
from collections import deque
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabricfit.run import load_state, save_state
from fabricfit.training.callback_states import CallbackStates, only_watches

pytestmark = pytest.mark.keras

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
)
plain = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(scalars, inner, max_size=3)
        | st.sets(st.integers(), max_size=3)
        | st.lists(inner, max_size=3).map(lambda each: deque(each, maxlen=4))
    ),
    max_leaves=8,
)


class Own(keras.callbacks.Callback):
    def __init__(self, **values):
        super().__init__()
        vars(self).update(values)


def carried(callback, fresh, folder):
    """Give a callback's state, written and read, to another one."""
    save_state(folder / "s.npz", CallbackStates([callback]).pack())
    CallbackStates([fresh]).restore(load_state(folder / "s.npz"))
    return fresh


@settings(max_examples=60, deadline=None)
@given(value=plain)
def test_plain_attributes_come_back(value, tmp_path_factory):
    fresh = carried(Own(value=value), Own(other=1), tmp_path_factory.mktemp("s"))
    assert fresh.value == value and type(fresh.value) is type(value)
    assert not hasattr(fresh, "other")


def test_arrays_generators_and_tensors_come_back(tmp_path):
    draw = np.random.default_rng(1)
    draw.normal(size=7)
    callback = Own(
        best=[np.arange(3.0), np.ones((2, 2), "float32")],
        number=np.float32(0.1),
        draw=draw,
        rate=keras.ops.convert_to_tensor([0.5, 0.25]),
        path=Path("x"),
        function=functools.partial(lambda a, b: a, 1),
    )
    fresh = carried(callback, Own(draw=np.random.default_rng(2), path=Path("y")), tmp_path)
    for one, other in zip(callback.best, fresh.best, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    assert fresh.number == np.float32(0.1) and type(fresh.number) is np.float32
    assert fresh.draw.normal() == draw.normal()
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(fresh.rate), [0.5, 0.25])
    assert fresh.path == Path("y")  # how it was made


def counting():
    seen = []
    return lambda epoch, logs: seen.append(epoch)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(lambda: Path(__file__).open(), id="file"),  # noqa: SIM115
        pytest.param(counting, id="closure over a list"),
        pytest.param(lambda: [lambda: 1], id="list of functions"),
        pytest.param(lambda: keras.Variable(1.0), id="variable"),
        pytest.param(lambda: object(), id="object"),
        pytest.param(lambda: np.array([None]), id="array of objects"),
    ],
)
def test_what_cannot_be_read_is_named(value):
    states = CallbackStates([Own(value=value())])
    assert states.unreadable == ("Own",) and states.pack() == {"Own 0": None}
    assert states.list_lost({}) == ("Own",)


def test_a_list_that_holds_itself_cannot_be_read():
    value: list = []
    value.append(value)
    assert CallbackStates([Own(value=value)]).unreadable == ("Own",)


def test_those_of_keras_can_all_be_read(tmp_path):
    known = keras.callbacks
    made = [
        known.EarlyStopping("val_loss", restore_best_weights=True),
        known.ReduceLROnPlateau(),
        known.LearningRateScheduler(lambda _, rate: 0.7 * rate),
        known.LambdaCallback(on_epoch_end=lambda *_: None),
        known.SwapEMAWeights(),
        known.TensorBoard(tmp_path),
        known.CSVLogger(tmp_path / "x.csv"),
        known.ModelCheckpoint(tmp_path / "x.keras"),
    ]
    assert CallbackStates(made).unreadable == ()
    assert [type(each).__name__ for each in made if only_watches(each)] == [
        "TensorBoard", "CSVLogger", "ModelCheckpoint",
    ]  # fmt: skip


def test_one_says_that_it_only_watches():
    callback = Own(file=object())
    callback.only_watches = True
    states = CallbackStates([callback])
    assert only_watches(callback) and states.unreadable == () and states.list_lost({}) == ()
