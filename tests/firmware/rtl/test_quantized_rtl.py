"""Networks of HGQ2 and QKeras as Verilog: their quantizers are part of the circuit."""

import importlib.util
import shutil

import keras
import numpy as np
import pytest

from fabricfit.firmware.quantized_network import QuantizedNetwork
from fabricfit.firmware.rtl import make_design, verify_design
from fabricfit.network.configuration import open_configuration
from fabricfit.network.reader import as_network
from tests.firmware import firmware_models as models
from tests.marks import ON_ONE_BACKEND

pytestmark = [
    *ON_ONE_BACKEND,
    pytest.mark.skipif(
        shutil.which("iverilog") is None,
        reason="needs Icarus Verilog (Debian: apt install iverilog)",
    ),
]

pytest.importorskip("alkaid", exc_type=ImportError)
pytest.importorskip("hls4ml", exc_type=ImportError)


def verified(model, config, samples=500):
    network = as_network(model)
    quantized = QuantizedNetwork(network, open_configuration(config, network))
    rng = np.random.default_rng(1)
    arrays = [rng.normal(0, 2, (samples, *shape)) for shape in network.ends.inputs.shapes]
    return verify_design(make_design(quantized), quantized, arrays, synthesis=False)


@pytest.mark.hgq
@pytest.mark.skipif(importlib.util.find_spec("hgq") is None, reason="needs hgq2")
@pytest.mark.parametrize("overflow", ["WRAP", "SAT"])
@pytest.mark.parametrize("strategy", ["Latency", "distributed_arithmetic"])
def test_formats_of_hgq2_for_each_number(overflow, strategy):
    from hgq.config import QuantizerConfigScope
    from hgq.layers import QDense
    from hgq.utils import trace_minmax

    keras.utils.set_random_seed(3)
    scope = QuantizerConfigScope(
        place="datalane", default_q_type="kif", overflow_mode=overflow, round_mode="RND"
    )
    with scope:
        layers = [QDense(6, activation="relu", name="first"), QDense(3, name="last")]
    model = keras.Sequential([keras.Input((5,)), *layers])
    rng = np.random.default_rng(0)
    model(rng.normal(size=(4, 5)))
    for layer in layers:  # a format for each number
        for variable in layer.iq.quantizer.trainable_variables:
            variable.assign(variable + rng.integers(-1, 2, variable.shape))
    if overflow == "WRAP":
        trace_minmax(model, rng.normal(0, 2, (200, 5)))
    config = {"Model": {"Precision": "fixed<20,10>", "ReuseFactor": 1, "Strategy": strategy}}
    found = verified(model, config)
    assert found.agrees, str(found)


@pytest.mark.qkeras
def test_quantizers_of_qkeras():
    qkeras = pytest.importorskip("qkeras", exc_type=ImportError)
    if not hasattr(qkeras, "QDense"):
        pytest.skip("another package of the name qkeras")
    bits = qkeras.quantized_bits(5, 1, alpha=1)
    given = keras.Input((5,), name="given")
    x = qkeras.QDense(6, kernel_quantizer=bits, bias_quantizer=bits, name="first")(given)
    x = keras.layers.ReLU(name="relu")(x)
    x = qkeras.QDense(3, kernel_quantizer=bits, bias_quantizer=bits, name="last")(x)
    auto = {"Precision": dict.fromkeys(("weight", "bias", "accum", "result"), "auto")}
    config = {
        "Model": {"Precision": "fixed<9,4,RND,SAT>", "ReuseFactor": 1, "Strategy": "Latency"},
        "LayerName": {
            "first": auto,
            "last": auto,
            "relu": {"Precision": {"result": "ufixed<6,2,RND,SAT>"}},
        },
    }
    found = verified(models.seeded(given, x), config)
    assert found.agrees, str(found)
