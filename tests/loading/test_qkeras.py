"""Models of QKeras load without being told what they are made of, those of Keras 2, too."""

from __future__ import annotations

import pytest

import fabricfit
from fabricfit.cli import main
from tests.common import L
from tests.loading.keras2_files import write_h5, write_json
from tests.loading.models import check_same

pytestmark = [pytest.mark.keras, pytest.mark.qkeras]

qkeras = pytest.importorskip("qkeras", exc_type=ImportError)
if not hasattr(qkeras, "QDense"):
    pytest.skip("another package named qkeras is installed", allow_module_level=True)

import keras


def build():
    keras.utils.set_random_seed(0)
    bits = {
        "kernel_quantizer": "quantized_bits(6,0,alpha=1)",
        "bias_quantizer": "quantized_bits(6,0)",
    }
    return keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            qkeras.QConv2D(3, 3, name="conv", **bits),
            qkeras.QActivation("quantized_relu(6,2)", name="relu"),
            L.BatchNormalization(name="norm"),
            L.Flatten(name="flat"),
            qkeras.QDense(4, name="fc", **bits),
            L.Activation("softmax", name="out"),
        ]
    )


def _save(path, model):
    model.save(path)
    return path


@pytest.mark.parametrize(
    "write, name",
    [(_save, "m.keras"), (_save, "k3.h5"), (write_h5, "m.h5"), (write_json, "m.json")],
)
def test_its_layers_are_found(write, name, tmp_path, capfd):
    model = build()
    path = write(tmp_path / name, model)
    check_same(fabricfit.load_model(path), model)
    assert main(["estimate", str(path)]) == 0
    assert "conv" in capfd.readouterr().out
