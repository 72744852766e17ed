"""Candidates that are trained side by side come to what each comes to alone."""

from __future__ import annotations

import threading

import keras
import numpy as np
import pytest

from fabricfit.samples import Data, Stream
from fabricfit.training import make_engine
from fabricfit.training.strengths import uniform_strengths
from tests.common import L, blobs, described, engine_for, mlp

pytestmark = pytest.mark.keras

LOSS = "sparse_categorical_crossentropy"
STRENGTHS = (0.0, 1e-3, 1e-2, 0.1, 1.0)


def noisy():
    layers = [keras.Input((6,)), L.Dense(8, name="fc1"), L.Dropout(0.5), L.Dense(3, "softmax")]
    return keras.Sequential(layers)


def one_by_one(engine, choices, start, data, orders):
    found = []
    for strengths in choices:
        engine.set_state(start)
        engine.penalty.assign(strengths)
        losses = [engine.train_epoch(data, order, 32) for order in orders]
        found.append((engine.get_state(), losses[-1]))
    return found


def assert_same(found, expected):
    for (state, loss), (other, other_loss) in zip(found, expected, strict=True):
        assert loss == pytest.approx(other_loss, rel=1e-6)
        for ours, theirs in zip(
            [*state.weights, *state.optimizer], [*other.weights, *other.optimizer], strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("make", [mlp, noisy])
def test_each_comes_to_what_it_comes_to_alone(make, streamed, monkeypatch):
    monkeypatch.setattr("fabricfit.training.pure_engine.cores", lambda: 3)
    X, y = blobs(160)
    data = Data(X, y)
    rng = np.random.default_rng(0)
    orders = [data.order(rng) for _ in range(3)]
    if streamed:
        pairs = [(X[i : i + 32], y[i : i + 32]) for i in range(0, 160, 32)]
        data, orders = Stream(pairs), [None] * 3
    found = []
    for together in (True, False):
        keras.utils.set_random_seed(0)
        model = make()
        attributes = described(model)
        choices = [uniform_strengths(attributes, value) for value in STRENGTHS]
        engine = engine_for(model, attributes)
        start = engine.get_state()
        if together:
            candidates = [(start, each) for each in choices]
            found.append(list(engine.train_candidates(candidates, data, orders, 32)))
            assert engine.compilations == 1
        else:
            found.append(one_by_one(engine, choices, start, data, orders))
    assert_same(*found)


def test_the_engine_holds_the_candidate_that_is_handed_out():
    X, y = blobs(160)
    model = mlp()
    attributes = described(model)
    engine = engine_for(model, attributes)
    candidates = [(engine.get_state(), uniform_strengths(attributes, value)) for value in STRENGTHS]
    orders = [np.arange(160)]
    for state, _ in engine.train_candidates(candidates, Data(X, y), orders, 32):
        for ours, theirs in zip(engine.get_weights(), state.weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        engine.set_weights([np.zeros_like(w) for w in state.weights])  # as an evaluator may do


def test_what_diverges_ends_and_the_others_go_on():
    X, y = blobs(160)
    model = mlp()
    attributes = described(model)
    engine = engine_for(model, attributes)
    start = engine.get_state()
    candidates = [
        (start, uniform_strengths(attributes, value)) for value in (0.0, float("inf"), 0.0)
    ]
    losses = [
        loss
        for _, loss in engine.train_candidates(candidates, Data(X, y), [np.arange(160)] * 2, 32)
    ]
    assert np.isfinite(losses).tolist() == [True, False, True]
    assert losses[0] == losses[2]


def test_leaving_early_and_errors_leave_nothing_running(monkeypatch):
    X, y = blobs(160)
    model = mlp()
    attributes = described(model)
    engine = engine_for(model, attributes)
    start = engine.get_state()
    candidates = [(start, uniform_strengths(attributes, value)) for value in STRENGTHS]
    going = engine.train_candidates(candidates, Data(X, y), [np.arange(160)], 32)
    next(going)
    going.close()
    assert threading.active_count() == 1
    assert np.isfinite(engine.train_epoch(Data(X, y), np.arange(160), 32))

    def fails(*_):
        raise MemoryError("no room")

    monkeypatch.setattr(engine, "_train_on_held", fails)
    with pytest.raises(MemoryError, match="no room"):
        list(engine.train_candidates(candidates, Data(X, y), [np.arange(160)], 32))
    assert threading.active_count() == 1


class OnVariables(keras.optimizers.Optimizer):
    """As a user writes one who knows TensorFlow alone."""

    def update_step(self, gradient, variable, learning_rate):
        from tensorflow import raw_ops

        raw_ops.ResourceApplyGradientDescent(
            var=variable.handle, alpha=keras.ops.cast(learning_rate, "float32"), delta=gradient
        )


def test_optimizers_that_are_no_pure_functions_train_through_fit():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("only TensorFlow has variables that are changed in place")
    X, y = blobs(96)
    found = []
    for optimizer in (OnVariables(0.1), keras.optimizers.SGD(0.1)):
        engine = make_engine(mlp(), LOSS, optimizer)
        losses = [engine.train_epoch(Data(X, y), np.arange(96), 32) for _ in range(2)]
        found.append((losses, engine.get_weights()))
        assert engine.flattens == isinstance(optimizer, keras.optimizers.SGD)
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-5)
    for ours, theirs in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
