"""Rescaling and Normalization become batch normalizations: the same function, which hls4ml can convert."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit.network.reader import read
from fabricfit.network.scalings import replace_scalings
from tests.common import L, outputs_of, quick_settings
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

RNG = np.random.default_rng(0)


def scalings():
    adapted = L.Normalization(name="scale")
    adapted.adapt(RNG.normal(3, 5, (200, 4, 3)))
    return [
        L.Rescaling(1 / 255, -0.5, name="scale"),
        L.Rescaling([0.5, 2.0, 3.0], [1.0, 0.0, -1.0], name="scale"),
        adapted,
        L.Normalization(axis=None, mean=0.5, variance=4.0, name="scale"),
        L.Normalization(mean=[0.0, 1.0, 2.0], variance=[1.0, 0.0, 4.0], invert=True, name="scale"),
    ]


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("sequential", [True, False])
def test_the_function_stays_the_same(number, sequential):
    layer = scalings()[number]
    behind = [
        L.Conv1D(2, 3, padding="same", name="conv"),
        L.Flatten(name="flat"),
        L.Dense(2, name="out"),
    ]
    if sequential:
        model = keras.Sequential([keras.Input((4, 3)), layer, *behind])
    else:
        given = x = keras.Input((4, 3), name="given")
        for each in (layer, *behind):
            x = each(x)
        model = keras.Model(given, x)
    X = RNG.normal(0, 2, (20, 4, 3)).astype("float32")
    replaced = replace_scalings(read(model))
    np.testing.assert_allclose(
        outputs_of(replaced.model, X), outputs_of(model, X), rtol=1e-4, atol=1e-4
    )
    assert isinstance(replaced.layers["scale"], L.BatchNormalization)
    assert not replaced.layers["scale"].trainable
    assert type(model.get_layer("scale")) is type(layer)
    assert [each.name for each in replaced.model.layers] == [each.name for each in model.layers]


@pytest.mark.parametrize(
    "layer",
    [
        L.Normalization(axis=1, mean=[0.0, 1, 2, 3], variance=[1.0, 2, 3, 4], name="scale"),
        L.Rescaling(np.ones((4, 3)), name="scale"),
    ],
)
def test_scalings_of_other_axes_stay(layer):
    model = keras.Sequential([keras.Input((4, 3)), layer, L.Flatten(), L.Dense(2)])
    network = read(model)
    assert replace_scalings(network) is network


def test_a_model_with_a_scaling_is_fitted(tmp_path):
    scale = L.Normalization(mean=RNG.normal(size=6), variance=RNG.uniform(1, 4, 6), name="scale")
    layers = [scale, L.Dense(8, activation="relu", name="h"), L.Dense(1, name="o")]
    model = keras.Sequential([keras.Input((6,)), *layers])
    X = RNG.normal(size=(96, 6)).astype("float32")
    y = X[:, :1].copy()
    config = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}}
    settings = quick_settings(tmp_path, loss_fn="mse", validation_metric="mse", increasing=False)
    result = fabricfit.fit(
        model, (X, y), (X, y), fabricfit.Budget.relative(dsp=0.6), settings, hls_config=config
    )
    kinds = {type(layer).__name__ for layer in result.model.layers}
    assert "Normalization" not in kinds
    assert not fabricfit.estimate(result.model, result.hls_config).remarks
