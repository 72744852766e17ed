"""Fitting by trained precision with a number format for each channel, through HGQ2's quantizer layers."""

from __future__ import annotations

import shutil

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit import Budget
from tests.common import L, blobs

pytestmark = pytest.mark.hgq


def test_a_network_with_formats_by_channel_is_what_hls4ml_builds(tmp_path):
    pytest.importorskip("hgq")
    pytest.importorskip("alkaid.trace")
    pytest.importorskip("hls4ml")
    X, y = blobs(768)
    X[:, 0] *= 30  # a channel of another size
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((6,)), L.Dense(16, "relu", name="fc1"), L.Dense(3, name="out")]
    )
    settings = fabricfit.OptimizationSettings(
        batch_size=64,
        epochs=60,
        optimizer=keras.optimizers.Adam(2e-3),
        loss_fn=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        validation_metric="accuracy",
        increasing=True,
        rtol=None,
        directory=str(tmp_path / "runs"),
    )
    data = (X[:512], y[:512]), (X[512:], y[512:])
    result = fabricfit.fit(
        model, *data, Budget(lut=300), settings, precision="trained", granularity="channel"
    )
    assert result.report.fits and result.report.metric_after > 0.9
    (first,) = [each for each in result.report.formats if each.name == "fc1"]
    assert sum(count for _, count in first.inputs) == 6 and len(first.inputs) > 1
    found = result.evaluate(*data[1])
    assert found["accuracy"] == found["float_accuracy"] == result.report.metric_after
    loaded = keras.saving.load_model(result.directory / "model.keras", compile=False)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(loaded(X[:50])), keras.ops.convert_to_numpy(result.model(X[:50]))
    )
    if shutil.which("g++"):
        assert result.verify(X[512:], samples=50).passed
