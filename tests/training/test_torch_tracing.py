"""PyTorch's steps are traced where that changes nothing, and run through Keras otherwise."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.network.cloning import copy_model
from fabricfit.samples import Data
from fabricfit.training import make_engine
from tests.common import L, blobs, lenet, mlp, weights_of

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.keras,
    pytest.mark.skipif(keras.backend.backend() != "torch", reason="of the PyTorch engine"),
]

LOSS = "sparse_categorical_crossentropy"


def epochs(model, X, y, batch_size=32, number=2):
    engine = make_engine(model, LOSS, "adam")
    losses = [engine.train_epoch(Data(X, y), np.arange(len(X)), batch_size) for _ in range(number)]
    return engine, losses


@pytest.mark.parametrize("make", [mlp, lenet])
def test_a_traced_step_does_what_the_step_does(make, monkeypatch):
    from fabricfit.training.torch_tracing import Flat, Traced

    X, y = blobs(100)
    if make is lenet:
        X, y = np.random.default_rng(0).random((100, 8, 8, 1), "float32"), np.arange(100) % 4
    traced, losses = epochs(make(), X, y)
    assert all(isinstance(program, Traced) for program in traced._programs.values())
    assert traced.compilations == 2  # whole batches, and what is left

    def refuse(self):
        raise RuntimeError("no tracing")

    monkeypatch.setattr(Flat, "traced", refuse)
    plain, expected = epochs(make(), X, y)
    assert all(isinstance(program, Flat) for program in plain._programs.values())
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    for ours, theirs in zip(weights_of(traced.model), weights_of(plain.model), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_numbers_that_are_drawn_from_a_seed_are_drawn_anew_each_time(capfd):
    from fabricfit.training.torch_tracing import Flat

    X, y = np.ones((64, 6), "float32"), np.zeros(64, int)
    keras.utils.set_random_seed(0)
    original = keras.Sequential([keras.Input((6,)), L.Dropout(0.5, seed=3), L.Dense(3, "softmax")])
    engine = make_engine(copy_model(original, 0), LOSS, keras.optimizers.SGD(0.0))
    capfd.readouterr()  # Keras may have imported another backend, which says so
    losses = [engine.step(X, y) for _ in range(4)]
    assert len(set(losses)) == 4  # the same masks would give the same loss
    assert any(isinstance(program, Flat) for program in engine._programs.values())
    assert capfd.readouterr().err == ""  # that it cannot be traced is no error


def test_the_number_of_threads_is_the_callers():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        X, y = blobs(64)
        engine, _ = epochs(mlp(), X, y)
        engine.predict(X)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_callers_random_numbers_are_left_alone():
    X, y = blobs(64)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), L.Dropout(0.5), L.Dense(3, "softmax")])
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    epochs(model, X, y)
    assert torch.equal(torch.rand(3), expected)
