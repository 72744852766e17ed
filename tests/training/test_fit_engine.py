"""Models with a training step of their own are trained by Keras' fit, with masks."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.description.attributes import OptimizationAttributes
from fabricfit.errors import InvalidInputError
from fabricfit.network.cloning import copy_model
from fabricfit.network.describe import get_attributes_from_keras_model
from fabricfit.samples import Data, open_data
from fabricfit.training import Penalty, make_engine
from tests.common import blobs, kernel_of, mlp, weights_of

pytestmark = pytest.mark.keras

LOSS = "sparse_categorical_crossentropy"


class Noted(keras.Model):
    """Its step is Keras' own, and it counts."""

    steps = 0

    def train_step(self, *arguments):
        type(self).steps += 1
        return super().train_step(*arguments)


class Silent(keras.Model):
    def train_step(self, *arguments):
        logs = super().train_step(*arguments)
        if isinstance(logs, tuple):  # JAX returns the state too
            return {"nothing": logs[0]["loss"]}, logs[1]
        return {"nothing": logs["loss"]}


def own(kind=Noted, seed=0):
    plain = mlp(seed=seed)
    return kind(plain.inputs, plain.outputs), plain


def optimizable(model, **settings):
    attributes = get_attributes_from_keras_model(model)
    for layer in attributes.values():
        if layer.weight_shape:
            layer.optimizable = True
            layer.optimization_attributes = OptimizationAttributes(
                "pattern", **{"pruning": True, "pattern_offset": 6, **settings}
            )
    return attributes


def test_it_trains_as_the_compiled_engines_do():
    X, y = blobs(100)
    results = []
    for model in (own()[0], mlp()):
        engine = make_engine(model, LOSS, "adam")
        losses = [engine.train_epoch(Data(X, y), np.arange(100)[::-1], 32) for _ in range(3)]
        results.append((losses, weights_of(model)))
    assert Noted.steps
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=2e-4)
    for a, b in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5)


def test_frozen_weights_stay_and_shared_ones_are_equal():
    X, y = blobs(128)
    model = own()[0]
    attributes = optimizable(model, weight_sharing=True)
    engine = make_engine(model, LOSS, keras.optimizers.AdamW(0.01), attributes)
    engine.train_epoch(Data(X, y), np.arange(128), 32)  # momentum is there
    grouping = attributes["fc1"].grouping
    third = np.arange(grouping.n_groups) % 3
    mean = np.where(third == 1, grouping.means(kernel_of(model, "fc1")), 0)
    mask = grouping.spread((third == 2).astype("float32"))
    engine.projection.update({"fc1": mask}, {"fc1": grouping.spread(mean)})
    engine.project_weights()
    engine.train_epoch(Data(X, y), np.arange(128), 32)
    groups = grouping.to_groups(kernel_of(model, "fc1"))
    assert (groups[third == 0] == 0).all()
    assert (np.ptp(groups[third == 1], axis=1) == 0).all()
    assert (groups[third == 1] != mean[third == 1][:, None]).all()
    assert engine.compilations == 1


def test_strengths_of_penalties_take_effect_each_time():
    X, y = blobs(128)
    found = {}
    for kind in (Noted, None):
        model = own()[0] if kind else mlp()
        attributes = optimizable(model)
        engine = make_engine(model, LOSS, "sgd", {}, 0, Penalty(model, attributes))
        start = engine.get_weights()
        for strength in (0.0, 0.1):
            engine.set_weights(start)
            engine.reset_optimizer()
            engine.penalty.assign(dict.fromkeys(("fc1", "fc2", "out"), (strength, 0.0)))
            loss = engine.train_epoch(Data(X, y), np.arange(128), 32)
            found[kind, strength] = loss, kernel_of(model, "fc1")
    for strength in (0.0, 0.1):
        (loss, kernel), (other, expected) = found[Noted, strength], found[None, strength]
        assert loss == pytest.approx(other, rel=2e-4)
        np.testing.assert_allclose(kernel, expected, rtol=2e-3, atol=2e-5)
    assert found[None, 0.1][0] > found[None, 0.0][0]


def test_streams_and_single_steps():
    X, y = blobs(64)
    by_stream, by_step = own()[0], own()[0]
    make_engine(by_stream, LOSS, "sgd").train_epoch(
        open_data(lambda: iter([(X[:32], y[:32]), (X[32:], y[32:])]), "train"), None, 32
    )
    engine = make_engine(by_step, LOSS, "sgd")
    for part in (slice(0, 32), slice(32, 64)):
        engine.step(X[part], y[part])
    for a, b in zip(weights_of(by_stream), weights_of(by_step), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_evaluating_alone_compiles_nothing():
    X, y = blobs(64)
    model = own()[0]
    engine = make_engine(model, LOSS, "sgd")
    engine.evaluate(Data(X, y), keras.metrics.SparseCategoricalAccuracy())
    assert not model.compiled


def test_a_copy_keeps_the_training_step():
    assert type(copy_model(own()[0])) is Noted


def test_a_step_without_a_loss_is_refused():
    X, y = blobs(64)
    engine = make_engine(own(Silent)[0], LOSS, "sgd")
    with pytest.raises(InvalidInputError, match=r"must return its 'loss'. Received: \['nothing'\]"):
        engine.train_epoch(Data(X, y), np.arange(64), 32)
