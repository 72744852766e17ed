"""Verification of models with various layers, strategies and number formats."""

import shutil

import numpy as np
import pytest

keras = pytest.importorskip("keras")
hls4ml = pytest.importorskip("hls4ml")

from fabricfit.errors import FabricFitError, InvalidInputError
from fabricfit.firmware import quantize_to_grid
from fabricfit.firmware.emulation.fixed import NotModelledError
from fabricfit.firmware.emulation.weights import exactly
from fabricfit.firmware.verification import verify
from fabricfit.network.describe import get_attributes_from_keras_model_and_hls4ml_config
from fabricfit.network.reader import read
from tests.firmware import firmware_models as models
from tests.marks import ON_ONE_BACKEND

layers = models.layers

pytestmark = [
    *ON_ONE_BACKEND,
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler"),
]


def sequence():
    """Convolutions along one axis, global pooling, a dense layer on two axes."""
    layers = keras.layers
    x = line = keras.Input((12, 3), name="line")
    x = layers.Conv1D(4, 3, padding="same", strides=2, activation="relu", name="conv")(x)
    x = layers.MaxPooling1D(2, name="pool")(x)
    x = layers.Dense(4, name="steps")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.GlobalAveragePooling1D(name="mean")(x)
    return models.seeded(line, layers.Dense(3, activation="softmax", name="out")(x))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["Vitis", "Vivado"])
@pytest.mark.parametrize("io_type", ["io_parallel", "io_stream"])
@pytest.mark.parametrize("strategy", ["Latency", "Resource", "ResourceUnrolled"])
def test_sequences_pass(io_type, strategy, backend):
    model = sequence()
    chosen = (strategy, 1 if strategy == "Latency" else 3)
    strategies = dict.fromkeys(("conv", "steps", "out"), chosen) | {"steps": (strategy, 2)}
    if strategy != "Latency":
        strategies["out"] = (strategy, 2)
    precisions = {"out": {"result": "fixed<12,5>"}}
    config = models.write_config(model, strategies, precisions, default="fixed<14,6,RND,SAT>")
    found = verify(model, config, models.samples(model), io_type=io_type, backend=backend)
    assert found.passed, str(found)
    assert not found.not_modelled


@pytest.mark.slow
@pytest.mark.parametrize("io_type", ["io_parallel", "io_stream"])
@pytest.mark.parametrize("implementation", ["latency", "argmax", "legacy"])
def test_softmax_implementations(implementation, io_type):
    features = keras.Input((6,))
    model = models.seeded(
        features, keras.layers.Dense(5, activation="softmax", name="out")(features)
    )
    config = models.write_config(model, {"out": ("Latency", 1)}, default="fixed<12,5>")
    config["LayerName"]["out"]["Precision"].update(result="fixed<12,5>", accum="fixed<14,7>")
    config["LayerName"]["out_softmax"]["Implementation"] = implementation
    found = verify(model, config, models.samples(model), io_type=io_type)
    if implementation == "legacy":  # an output that is not modelled is no proof
        assert not found.outputs_agree
        assert not found.passed
        assert "an output could not be compared" in str(found)
    else:
        assert found.passed, str(found)


@pytest.mark.slow
@pytest.mark.parametrize("reuse_factor", [2, 4, 8, 16])
def test_a_pruned_jet_tagger_has_the_multipliers_that_are_predicted(reuse_factor):
    from fabricfit.datasets import load_jets

    layers, rng = keras.layers, np.random.default_rng(reuse_factor)
    x = features = keras.Input((16,))
    for i, units in enumerate((64, 32, 32)):
        x = layers.Dense(units, activation="relu", name=f"fc{i}")(x)
    model = models.seeded(features, layers.Dense(5, activation="softmax", name="out")(x))
    for i, size in enumerate((1024, 2048, 1024)):
        runs = size // reuse_factor
        models.prune(model, f"fc{i}", rng.choice(runs, runs * 3 // 4, replace=False), reuse_factor)
    strategies = {f"fc{i}": ("ResourceUnrolled", reuse_factor) for i in range(3)}
    config = models.write_config(model, strategies | {"out": ("Resource", reuse_factor)})
    found = verify(model, config, load_jets().X_test, samples=200)
    assert found.passed, str(found)
    counted = {layer.name: layer.multipliers for layer in found.layers}
    assert [counted[f"fc{i}"] * reuse_factor * 4 for i in range(3)] == [1024, 2048, 1024]


@pytest.mark.slow
def test_several_inputs_and_outputs_keep_their_order():
    layers = keras.layers
    inputs = [keras.Input((4,), name="zeta"), keras.Input((3,), name="alpha")]
    left, right = layers.Dense(4, name="left")(inputs[0]), layers.Dense(4, name="right")(inputs[1])
    both = layers.Subtract(name="both")([right, left])
    outputs = [layers.Dense(2, name="second")(both), layers.Dense(3, name="first")(both)]
    model = models.seeded(inputs, outputs)
    strategies = dict.fromkeys(("left", "right", "first", "second"), ("Latency", 1))
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(30, 4)), rng.normal(size=(30, 3))]
    found = verify(model, models.write_config(model, strategies), X, io_type="io_stream")
    assert found.passed, str(found)
    with pytest.raises(InvalidInputError, match="one array for each of the model's 2 inputs"):
        verify(model, {}, X[0])


@pytest.mark.slow
def test_a_convolution_that_hls4ml_computes_wrongly_is_seen():
    """Conv2D with io_parallel and a reuse factor above its inputs."""
    image = keras.Input((5, 5, 2))
    model = models.seeded(image, keras.layers.Conv2D(4, 2, name="conv")(image))
    config = models.write_config(model, {"conv": ("Resource", 16)})
    found = verify(model, config, models.samples(model))
    assert not found.passed
    assert [mismatch.layer for mismatch in found.mismatches] == ["conv"]


@pytest.mark.slow
def test_code_that_stops_is_an_error_and_no_end_of_the_process():
    """Conv1D with io_parallel and a reuse factor above its inputs: an assertion of its code."""
    line = keras.Input((5, 2))
    model = models.seeded(line, keras.layers.Conv1D(4, 2, name="conv")(line))
    config = models.write_config(model, {"conv": ("Resource", 8)})
    with pytest.raises(FabricFitError, match=r"(?s)the generated code stopped.*Assertion"):
        verify(model, config, models.samples(model))


@pytest.mark.slow
@pytest.mark.parametrize("io_type", ["io_parallel", "io_stream"])
def test_distributed_arithmetic_is_exact_on_the_grid(io_type):
    """Adder graphs neither round nor overflow before the result's format."""
    pytest.importorskip("da4ml")
    layers = keras.layers
    x = image = keras.Input((5, 5, 2))
    x = layers.Conv2D(3, 3, activation="relu", name="conv")(x)
    x = layers.Flatten(name="flat")(x)
    model = models.seeded(image, layers.Dense(3, name="out")(x))
    section = {
        "Precision": "fixed<12,5>",
        "ReuseFactor": 1,
        "Strategy": "distributed_arithmetic",
    }
    config = {"Model": section, "IOType": io_type}
    attributes = get_attributes_from_keras_model_and_hls4ml_config(model, config)
    found = verify(quantize_to_grid(model, attributes)[0], config, models.samples(model))
    assert found.passed, str(found)
    assert not found.not_modelled
    assert {layer.multipliers for layer in found.layers} == {0}


def test_distributed_arithmetic_off_the_grid_is_not_modelled():
    pytest.importorskip("da4ml")
    with pytest.raises(NotModelledError, match="not on the hardware grid"):
        exactly(np.array([0.1]))
    np.testing.assert_array_equal(exactly(np.array([0.625, -3])).to_float(), [0.625, -3])
    assert str(exactly(np.array([0.625, -3])).format) == "fixed<6,3,TRN,WRAP>"


_OTHERS = {
    "LSTM": ((5, 4), lambda: layers.LSTM(6, name="layer")),
    "GRU": ((5, 4), lambda: layers.GRU(4, name="layer")),
    "Bidirectional": (
        (5, 4),
        lambda: layers.Bidirectional(layers.LSTM(4), name="layer"),
    ),
    "DepthwiseConv2D": ((6, 6, 4), lambda: layers.DepthwiseConv2D(3, name="layer")),
    "DepthwiseConv1D": ((8, 4), lambda: layers.DepthwiseConv1D(3, name="layer")),
    "EinsumDense": (
        (4, 6),
        lambda: layers.EinsumDense("abc,cd->abd", (4, 8), bias_axes="d", name="layer"),
    ),
}


@pytest.mark.parametrize(
    ("kind", "strategy", "reuse_factor"),
    [
        *((kind, "Latency", 1) for kind in _OTHERS),
        *((kind, "Resource", 2) for kind in ("LSTM", "GRU")),
        *((kind, "ResourceUnrolled", 4) for kind in ("LSTM", "GRU")),
        ("LSTM", "ResourceUnrolled", 1),
    ],
)
def test_products_of_other_layers_are_counted_and_predicted(kind, strategy, reuse_factor):
    shape, make = _OTHERS[kind]
    features = keras.Input(shape)
    x = make()(features)
    if len(x.shape) > 2:
        x = layers.Flatten()(x)
    model = models.seeded(features, layers.Dense(3, name="out")(x))
    rng = np.random.default_rng(5)
    for kernel in read(model).grouped_kernels.values():
        values = np.array(kernel.used())
        values[rng.random(values.shape) < 0.4] = 0  # single weights
        values[..., : values.shape[-1] // 3] = 0  # and whole runs
        kernel.variable.assign(values)
    config = models.write_config(model, {"layer": (strategy, reuse_factor)})
    found = verify(model, config, io_type="io_parallel", compile=False)
    of_layer = [each for each in found.layers if each.name.split("/")[0] == "layer"]
    assert {each.name for each in of_layer} == {
        name for name in read(model).grouped_kernels if name.split("/")[0] == "layer"
    }
    for each in of_layer:
        assert each.expected is not None and each.agrees, each
        assert 0 < each.multipliers == each.expected, each


def test_a_layer_without_code_is_named():
    features = keras.Input((5, 4))
    model = keras.Model(features, layers.SimpleRNN(6, name="layer")(features))
    config = models.write_config(model, {"layer": ("Latency", 1)})
    with pytest.raises(FabricFitError, match=r"'layer' \(SimpleRNN\).*no code"):
        verify(model, config, compile=False)
