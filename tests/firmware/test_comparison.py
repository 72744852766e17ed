"""The generated code compared with Keras: what is another function, and what is only coarse."""

import shutil

import numpy as np
import pytest

keras = pytest.importorskip("keras")
hls4ml = pytest.importorskip("hls4ml")

from fabricfit.errors import InvalidInputError
from fabricfit.firmware import Outcome, quantize_to_grid, verify
from fabricfit.network.describe import get_attributes_from_keras_model_and_hls4ml_config
from tests.firmware import firmware_models as models
from tests.marks import ON_ONE_BACKEND, first_quick

layers = models.layers

pytestmark = [
    *ON_ONE_BACKEND,
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler"),
]

FINE = {"Model": {"Precision": "fixed<24,8>", "ReuseFactor": 1, "Strategy": "Latency"}}


def config(precision):
    return {"Model": {"Precision": precision, "ReuseFactor": 1, "Strategy": "Latency"}}


def several(*heads, shape=(10, 4)):
    """A model of one input and a head for each layer: one project to compile for all of them."""
    line = keras.Input(shape, name="line")
    return models.seeded(line, [head(line) for head in heads])


@pytest.fixture(scope="module")
def verified():
    """Layers that hls4ml builds as they are, and layers that it builds as something else."""
    model = several(
        layers.Conv1D(3, 3, padding="same", activation="tanh", name="plain"),
        layers.Conv1D(3, 3, dilation_rate=2, padding="same", name="dilated"),
        layers.LSTM(3, name="forward"),
        layers.LSTM(3, go_backwards=True, name="backward"),
        layers.BatchNormalization(name="channels"),
        layers.Dense(3, activation="sigmoid", name="steps"),
        layers.AveragePooling1D(3, strides=2, padding="same", name="mean"),
    )
    return model, verify(model, FINE, models.samples(model, 30) / 3)


def test_only_what_is_another_function_differs(verified):
    _, found = verified
    assert {difference.layer for difference in found.differences} == {"dilated", "backward"}
    assert found.outcome is Outcome.FAILED and not found.passed
    assert "layer 'dilated' computes another function than Keras" in str(found)
    assert str(found).splitlines()[-1] == "FAILED"
    assert found.to_dict()["outcome"] == "failed"


def test_each_output_is_compared_with_kerass(verified):
    model, found = verified
    assert [output.layer for output in found.outputs] == [each.name for each in model.layers[1:]]
    by_name = {output.layer: output for output in found.outputs}
    for name in ("plain", "channels", "steps", "mean"):
        output = by_name[name]
        assert output.typical <= output.largest <= output.accounted_for < 0.05, output
    assert by_name["dilated"].largest > 10 * by_name["dilated"].accounted_for
    assert by_name["forward"].accounted_for is None and by_name["forward"].largest < 0.05


def test_a_layer_that_is_not_modelled_proves_nothing(monkeypatch):
    models.forget(monkeypatch, "ParametrizedActivation")
    model = several(layers.ELU(name="bent"))
    found = verify(model, FINE, models.samples(model, 20) / 3)
    assert found.outcome is Outcome.NOT_PROVEN and not found.passed
    assert not found.differences and found.outputs[0].largest < 0.05
    assert str(found).splitlines()[-1] == "not proven: layers are not modelled"


@pytest.mark.slow
@pytest.mark.parametrize("io_type", ["io_parallel", "io_stream"])
@pytest.mark.parametrize(
    "precision", ["fixed<6,3>", "fixed<6,3,RND,SAT>", "fixed<12,3>", "fixed<20,10>"]
)
def test_an_honest_design_passes_however_coarse(precision, io_type):
    """Coarse numbers differ from Keras' by much, and overflow; that is told, and is no other function."""
    x = image = keras.Input((6, 6, 2))
    x = layers.Conv2D(4, 3, activation="relu", padding="same", name="conv")(x)
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(6, activation="tanh", name="hidden")(x)
    model = models.seeded(image, layers.Dense(3, name="out")(x))
    attributes = get_attributes_from_keras_model_and_hls4ml_config(model, config(precision))
    model, _ = quantize_to_grid(model, attributes)
    found = verify(model, config(precision), models.samples(model), io_type=io_type)
    assert found.passed, str(found)
    (output,) = found.outputs
    assert output.largest <= output.accounted_for
    if precision.startswith("fixed<6,3"):
        assert any("beyond fixed<6,3" in text for text in found.overflows), found.overflows
        assert output.largest > 0.25
    if precision == "fixed<20,10>":
        assert not found.overflows
        assert output.largest < 0.2


@pytest.mark.slow
def test_wrong_functions_are_seen_in_coarse_numbers_too():
    model = several(
        layers.Conv1D(3, 3, dilation_rate=2, padding="same", name="dilated"),
        layers.Conv1D(3, 3, padding="same", name="plain"),
        layers.LSTM(3, go_backwards=True, name="backward"),
    )
    found = verify(model, config("fixed<10,5>"), models.samples(model, 40) / 2)
    assert {difference.layer for difference in found.differences} == {"dilated", "backward"}


@pytest.mark.parametrize("io_type", first_quick(["io_parallel", "io_stream"]))
def test_shared_layers_and_branches_are_compared_call_by_call(io_type):
    one, other = keras.Input((6,), name="one"), keras.Input((6,), name="other")
    shared = layers.Dense(6, activation="relu", name="shared")
    both = layers.Add(name="both")([shared(one), shared(other)])
    again = shared(both)
    model = models.seeded([one, other], [layers.Dense(2, name="out")(again), both])
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(20, 6)), rng.normal(size=(20, 6))]
    found = verify(model, FINE, X, io_type=io_type)
    assert not found.differences and not found.mismatches, str(found)
    assert all(output.largest < 0.05 for output in found.outputs)


def test_the_metric_of_the_design_is_reported_beside_kerass():
    rng = np.random.default_rng(0)
    features = keras.Input((4,))
    model = models.seeded(features, layers.Dense(3, name="out")(features))
    X = rng.normal(size=(300, 4)).astype("float32")
    y = keras.ops.convert_to_numpy(model(X)).argmax(axis=1)
    found = verify(model, config("fixed<6,3>"), X, y=y, samples=20)
    assert found.samples == 20 and found.metric.samples == 300
    assert found.metric.name == "accuracy" and found.metric.keras == 1
    assert 0.5 < found.metric.hardware < 1
    assert "accuracy on 300 samples: 1 in Keras, 0." in str(found)
    fine = verify(model, FINE, X, y=rng.normal(size=(300, 3)), metric="mae", samples=5).metric
    assert fine.name == "mean_absolute_error" and abs(fine.keras - fine.hardware) < 1e-3
    with pytest.raises(InvalidInputError, match="y must hold 300 targets"):
        verify(model, FINE, X, y=y[:10])
    with pytest.raises(InvalidInputError, match="y without X"):
        verify(model, FINE, y=y)


def test_weights_off_the_grid_are_named_as_that():
    features = keras.Input((6,))
    x = layers.Dense(5, use_bias=False, name="first")(features)
    x = layers.BatchNormalization(name="norm")(x)
    model = models.seeded(features, layers.Dense(3, name="out")(x))
    kernel = np.random.default_rng(1).normal(0, 0.3, (5, 3))
    kernel[0] = 1e-5
    model.get_layer("out").set_weights([kernel, np.zeros(3)])
    auto = models.write_config(model, {}, default="fixed<16,6>")
    found = verify(model, auto, models.samples(model))
    assert not found.mismatches and not found.differences, str(found)
    assert found.outcome is Outcome.NOT_PROVEN
    out = next(layer for layer in found.layers if layer.name == "out")
    assert (out.multipliers, out.expected, out.off_grid, out.verdict) == (
        15,
        12,
        15,
        "off the grid",
    )
    assert any(
        "layer 'out': 15 of its weights are not on the hardware grid" in r for r in found.remarks
    )
    assert "quantize_to_grid" in str(found)
