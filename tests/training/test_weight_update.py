"""Weights that stay make up for those that go."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabricfit.choices import Treatment
from fabricfit.network.reader import read
from fabricfit.samples import Data
from fabricfit.training.weight_update import OptimalBrainSurgeonUpdate, surviving_weights
from tests.common import L, blobs, kernel_of, lenet, mlp, outputs_of, weights_of
from tests.optimization.runs import run

pytestmark = pytest.mark.keras


def pruned(kernel, share, seed=0):
    rng = np.random.default_rng(seed)
    mask = (rng.random(kernel.shape) > share).astype("float32")
    return Treatment(mask, np.zeros_like(mask), np.zeros(mask.shape, np.int32))


@given(st.integers(0, 99), st.integers(2, 8), st.integers(1, 4), st.booleans())
def test_it_is_least_squares(seed, inputs, results, bias):
    """Checked against a solver of least squares, result by result."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(200, inputs)) @ rng.normal(size=(inputs, inputs))
    w = rng.normal(size=(inputs, results))
    free = rng.random(w.shape) < 0.5
    after = np.where(free, w, 0.0)
    ones = np.ones((len(X), 1))
    moments = np.concatenate([X, ones], axis=1).T @ np.concatenate([X, ones], axis=1)
    moved, shift = surviving_weights(moments, after, after - w, free, bias)
    damping = np.sqrt(1e-2 * np.mean(np.diag(moments)))
    for f in range(results):
        if not free[:, f].any():
            np.testing.assert_array_equal(moved[:, f], after[:, f])
            assert shift[f] == 0
            continue
        A = X[:, free[:, f]]
        A = np.concatenate([A, ones], axis=1) if bias else A
        A = np.concatenate([A, damping * np.eye(A.shape[1])])
        target = np.concatenate([X @ (w - after)[:, f], np.zeros(A.shape[1])])
        best = np.linalg.lstsq(A, target, rcond=None)[0]
        found = moved[free[:, f], f] - after[free[:, f], f]
        found = np.append(found, shift[f]) if bias else found
        np.testing.assert_allclose(found, best, atol=1e-6)
        assert (moved[~free[:, f], f] == 0).all()


@pytest.mark.parametrize("kind", ["dense", "conv", "depthwise", "einsum"])
def test_results_of_a_layer_change_less(kind):
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    shape = (8, 8, 3) if kind in ("conv", "depthwise") else (5, 6)
    layer = {
        "dense": L.Dense(7, name="layer"),
        "conv": L.Conv2D(5, 3, padding="same", name="layer"),
        "depthwise": L.DepthwiseConv2D(3, depth_multiplier=2, name="layer"),
        "einsum": L.EinsumDense("abc,cd->abd", (5, 7), bias_axes="d", name="layer"),
    }[kind]
    model = keras.Sequential([keras.Input(shape), layer, L.Flatten(), L.Dense(2)])
    X = rng.normal(size=(128, *shape)).astype("float32")
    for axis in range(1, X.ndim):  # inputs that tell of each other
        X += 0.8 * np.roll(X, 1, axis=axis)
    wanted = outputs_of(keras.Model(model.inputs, layer.output), X)
    treatment = pruned(kernel_of(model, "layer"), 0.4)
    plain = keras.models.clone_model(model)
    plain.set_weights(model.get_weights())
    away = []
    for each, compensates in ((plain, False), (model, True)):
        if compensates:
            OptimalBrainSurgeonUpdate(read(each), Data(X, np.zeros(128)), 128, 32)(
                {"layer": treatment}
            )
        inner = each.get_layer("layer")
        inner.kernel.assign(treatment.apply(kernel_of(each, "layer")))
        found = outputs_of(keras.Model(each.inputs, inner.output), X)
        away.append(float(np.square(found - wanted).sum()))
    assert away[1] < 0.9 * away[0]
    assert (kernel_of(model, "layer")[treatment.mask == 0] == 0).all()


def test_nothing_is_moved_without_need():
    X, y = blobs(64)
    for model, treatments, samples in (
        (mlp(), {"fc1": pruned(kernel_of(mlp(), "fc1"), 0.0)}, 64),
        (mlp(), {"fc1": pruned(kernel_of(mlp(), "fc1"), 0.5)}, 0),
    ):
        before = weights_of(model)
        OptimalBrainSurgeonUpdate(read(model), Data(X, y), samples, 32)(treatments)
        for old, new in zip(before, weights_of(model), strict=True):
            np.testing.assert_array_equal(old, new)


def test_a_run_compensates(tmp_path):
    X, y = blobs(256)
    model = mlp(hidden=16)
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    model.fit(X, y, epochs=20, verbose=0)
    still = keras.optimizers.SGD(1e-12)
    options = {"epochs": 1, "rewinding_epochs": 0, "optimizer": still, "rtol": None}
    metrics = {
        samples: run(
            model, ((X, y), (X, y)), tmp_path, compensation=samples,
            validation_metric="sparse_categorical_crossentropy", increasing=False, **options,
        ).report.levels[-1].metric
        for samples in (0, 256)
    }  # fmt: skip
    assert metrics[256] < metrics[0]
    result = run(lenet(), images(), tmp_path, compensation=64, rtol=None, epochs=2)
    assert (kernel_of(result.model, "conv2") == 0).any()


def images():
    rng = np.random.default_rng(0)
    pair = rng.normal(size=(64, 8, 8, 1)).astype("float32"), rng.integers(0, 4, 64)
    return pair, pair
