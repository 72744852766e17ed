"""Models of PQuantML are fitted as they are, and hls4ml's code is verified."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit.network.reader import read
from tests.marks import first_quick

pytestmark = [pytest.mark.keras, pytest.mark.pquant]

pytest.importorskip("pquant", exc_type=ImportError)
pytest.importorskip("hls4ml", exc_type=ImportError)
from tests.layers.pquant_models import configure, dense, images, samples, sequences, train

HGQ = {"method": "dst", "granularity": "per_weight", "use_high_granularity_quantization": True}
VERIFIED = {
    "dense": (dense, {"use_relu_multiplier": True}),
    "dense, trained bits": (dense, HGQ),
    "images": (images, {"granularity": "per_channel"}),
    "sequences": (sequences, {}),
}


def configuration(model):
    """Return a configuration that leaves the formats to the quantizers."""
    auto = {"Precision": dict.fromkeys(("weight", "bias", "result"), "auto")}
    return {
        "IOType": "io_parallel",
        "Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"},
        "LayerName": dict.fromkeys(read(model).kernels, auto),
    }


@pytest.mark.parametrize("name", first_quick(VERIFIED, quick=2))
def test_generated_code_computes_what_pquantml_computes(name):
    build, options = VERIFIED[name]
    config = configure(**options)
    model = train(build(config), config)
    X, _ = samples(model)
    found = fabricfit.verify(model, configuration(model), X, samples=32)
    assert found.passed, found
    assert fabricfit.estimate(model).resources["dsp"].value > 0


@pytest.mark.parametrize("resource", ["dsp", pytest.param("lut", marks=pytest.mark.slow)])
def test_a_model_fits_half_of_what_it_uses_and_stays_pruned(resource, jets, tmp_path):
    config = configure()
    data = (jets.X_train[:256], jets.y_train[:256])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model = train(dense(config, inputs=16, outputs=5), config, data=data, loss=loss)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    before = read(model).kernel_arrays()
    assert all((kernel == 0).mean() > 0.2 for kernel in before.values())
    result = fabricfit.fit(
        model,
        data,
        (jets.X_val[:256], jets.y_val[:256]),
        fabricfit.Budget.relative(**{resource: 0.5}),
        hls_config=configuration(model),
        epochs=2,
        batch_size=64,
        tuner=None,
        directory=tmp_path,
    )
    assert result.report.fits, result.report
    for name, kernel in read(result.model).kernel_arrays().items():
        assert (kernel[before[name] == 0] == 0).all()
        assert np.count_nonzero(kernel)
    assert result.verify(jets.X_test, samples=32).passed
