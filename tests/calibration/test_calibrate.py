"""Formats from data: nothing overflows, nothing is lost, and what is stated stays."""

from __future__ import annotations

import json
import shutil

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit.calibration.figures import open_samples
from fabricfit.calibration.ranges import find_ranges
from fabricfit.calibration.running import Runner
from fabricfit.calibration.sensitivity import measure_coefficients
from fabricfit.calibration.tensors import make_plan
from fabricfit.description.precision import parse_precision
from fabricfit.errors import InvalidInputError
from fabricfit.firmware import QuantizedNetwork
from fabricfit.firmware.emulation import emulate_network
from fabricfit.network.cloning import copy_model
from fabricfit.network.configuration import open_configuration
from fabricfit.network.reader import read
from tests.calibration.calibration_models import LOSS, classifier, images, residual
from tests.common import L, blobs, mlp, outputs_of, weights_of
from tests.marks import on_one_backend

pytestmark = pytest.mark.keras

hls4ml = pytest.importorskip("hls4ml")


def built(model, config):
    network = read(model)
    return QuantizedNetwork(network, open_configuration(config, network))


def formats_of(found, numbers=None):
    return {
        each.layer: each for each in found.formats if numbers is None or each.numbers == numbers
    }


def test_a_classifier_loses_nothing_with_few_bits():
    model, data = classifier()
    before = weights_of(model)
    found = fabricfit.calibrate(model, data)
    for old, new in zip(before, weights_of(model), strict=True):
        np.testing.assert_array_equal(old, new)
    assert found.lossless and not found.not_emulated
    assert found.measured <= found.allowed
    error = found.in_floats.metric_errors["accuracy"]
    change = found.quantized.metrics["accuracy"] - found.in_floats.metrics["accuracy"]
    assert abs(change) <= error / 2
    assert found.mean_bits < 10
    assert found.in_floats.loss == pytest.approx(model.evaluate(*data, verbose=0)[0], rel=1e-4)
    (outputs,) = built(model, found.config).predict([data[0]])
    accuracy = np.mean(outputs.argmax(1) == data[1])
    assert found.quantized.metrics["accuracy"] == pytest.approx(accuracy)


@on_one_backend
def test_the_result_is_plain_data_and_prints():
    model, data = classifier()
    found = fabricfit.calibrate(model, data, samples=200)
    kept = json.loads(json.dumps(found.to_dict()))
    assert kept["config"] == found.config
    assert len(found.to_frame()) == len(found.formats)
    text = str(found)
    assert "one less: loss" in text and "Nothing is lost that could be measured." in text
    assert fabricfit.estimate(model, found.config).resources["dsp"].value >= 0
    assert len(outputs_of(found.model, data[0])) == len(data[0])


@on_one_backend
@pytest.mark.parametrize("make", [classifier, images, residual])
def test_every_tensor_of_hardware_is_that_of_keras_but_for_rounding(make):
    model, data = make()
    X = data[0]
    found = fabricfit.calibrate(model, X, samples=150)
    assert found.lossless and not found.not_emulated
    network, quantized = read(model), built(model, found.config)
    arrays = list(X.values()) if isinstance(X, dict) else [X]
    emulated = emulate_network(network, quantized.graph, arrays).layers
    plan = make_plan(read(copy_model(model)), frozenset())
    exact = Runner(plan).run(arrays)
    checked = 0
    for named in network.node_names.calls:
        node = named.activation or named.node
        if node not in emulated:
            continue
        wanted = exact.tensors[named.call.output.index, False]
        seen = emulated[node].to_float().reshape(wanted.shape)
        if found_format := formats_of(found, "result").get(node):
            assert found_format.least - 1e-6 <= wanted.min()
            assert wanted.max() <= found_format.largest + 1e-6
            assert np.abs(seen - wanted).max() < 0.06 * max(np.abs(wanted).max(), 1)
            checked += 1
    assert checked >= 4


@on_one_backend
def test_one_integer_bit_less_would_overflow():
    model, data = classifier()
    found = fabricfit.calibrate(model, data, samples=200)
    for each in found.formats:
        if each.less is None or each.layer == "out":
            continue
        signed = each.precision.startswith("fixed")
        top = 2.0 ** (each.integer - signed)
        size = max(each.largest, -each.least if each.least < 0 else 0)
        assert size <= top
        assert size >= top / 2 - 2.0**-each.fractional


@on_one_backend
def test_accumulators_hold_every_sum_for_any_input():
    model, data = classifier()
    found = fabricfit.calibrate(model, data, samples=200)
    results, sums = formats_of(found, "result"), formats_of(found, "accum")
    kernel, bias = model.get_layer("fc2").get_weights()
    given = parse_precision(results["fc1_relu"].precision)
    largest = 2.0**given.integer - 2.0**-given.fractional
    assert set(sums) == {"fc1", "fc2", "out"}
    most = (np.clip(kernel, 0, None).sum(0) * largest + bias).max()
    least = (np.clip(kernel, None, 0).sum(0) * largest + bias).min()
    reach = 2.0 ** (sums["fc2"].integer - 1)
    assert max(most, -least) <= reach * 1.02
    weights = formats_of(found, "weight")["fc2"]
    assert sums["fc2"].fractional == weights.fractional + given.fractional


@on_one_backend
def test_the_expected_loss_of_rounding_is_that_of_rounding():
    model, data = classifier()
    network = read(copy_model(model))
    plan = make_plan(network, frozenset())
    samples = open_samples(model, network, data, None, None).head(400)
    runner = Runner(plan)
    ranges = find_ranges(runner, samples, 400)
    numbers = plan.numbers[:-2]  # but for the outputs, whose loss is no parabola
    bits = [3] * len(numbers)
    expected = measure_coefficients(runner, numbers, bits, ranges, samples, 400) * 2.0**-6
    whole = runner.run(samples.inputs)
    exact = runner.outputs(whole)
    loss, rng = samples.loss(samples.whole, exact, exact), np.random.default_rng(1)
    for each, wanted in zip(numbers, expected, strict=True):
        rises = []
        for _ in range(40 if each.kernel is not None else 10):
            values = whole.tensors.get((each.index, each.before_activation))
            if each.kernel is not None:
                values = keras.ops.convert_to_numpy(each.kernel.variable)
            error = np.where(values == 0, 0, rng.uniform(-0.5, 0.5, values.shape) / 8)
            for sign in (1, -1):
                made = runner.outputs(runner.run_from(whole, each, values + sign * error))
                rises.append(samples.loss(samples.whole, made, exact) - loss)
        assert wanted / 2 <= np.mean(rises) <= wanted * 2


@on_one_backend
def test_what_is_stated_is_kept():
    model, data = classifier()
    given = {
        "IOType": "io_stream",
        "Model": {"Precision": "fixed<16,6>", "ReuseFactor": 2, "Strategy": "Resource"},
        "LayerName": {
            "fc1": {"Precision": {"weight": "fixed<12,3>", "accum": "auto"}, "Strategy": "Latency"},
            "fc2": {"ReuseFactor": 4},
        },
        "LayerType": {"Softmax": {"Precision": {"result": "fixed<18,4>"}}},
    }
    before = json.dumps(given)
    found = fabricfit.calibrate(model, data, given, samples=200)
    assert json.dumps(given) == before
    config = found.config
    assert config["IOType"] == "io_stream" and config["Model"] == given["Model"]
    first = config["LayerName"]["fc1"]
    assert first["Strategy"] == "Latency" and first["Precision"]["weight"] == "fixed<12,3>"
    assert first["Precision"]["accum"] != "auto"
    assert config["LayerName"]["fc2"]["ReuseFactor"] == 4
    assert "result" not in config["LayerName"]["out_softmax"].get("Precision", {})
    stated = {(each.layer, each.numbers) for each in found.formats if each.stated}
    assert stated == {("fc1", "weight"), ("out_softmax", "result")}
    assert found.lossless


@on_one_backend
def test_what_a_stated_format_loses_is_told_and_not_made_up_for():
    model, data = classifier()
    given = {
        "Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1},
        "LayerName": {read(model).ends.inputs.names[0]: {"Precision": {"result": "ufixed<1,0>"}}},
    }
    found = fabricfit.calibrate(model, data, given)
    assert not found.lossless and found.measured > found.allowed
    assert "More is lost than counts as none" in str(found)
    assert found.mean_bits < 12


@on_one_backend
def test_distributed_arithmetic_is_measured_with_weights_on_their_grid():
    model, data = classifier()
    given = {
        "Model": {
            "Precision": "fixed<16,6>",
            "ReuseFactor": 1,
            "Strategy": "distributed_arithmetic",
        }
    }
    found = fabricfit.calibrate(model, data, given, samples=200)
    assert found.lossless and not found.not_emulated
    kernel = found.model.get_layer("fc2").get_weights()[0]
    bits = formats_of(found, "weight")["fc2"].fractional
    np.testing.assert_array_equal(np.ldexp(kernel, bits), np.rint(np.ldexp(kernel, bits)))
    (outputs,) = built(found.model, found.config).predict([data[0][:200]])
    accuracy = np.mean(outputs.argmax(1) == data[1][:200])
    assert found.quantized.metrics["accuracy"] == pytest.approx(accuracy)


@on_one_backend
def test_layers_with_products_inside_have_bits_to_spare():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((4, 3)), L.LSTM(4, name="memory"), L.Dense(2, name="out")]
    model, X = keras.Sequential(layers), np.random.default_rng(0).normal(size=(80, 4, 3))
    found = fabricfit.calibrate(model, X)
    assert "memory" in found.left
    assert "LSTM" in str(found)
    assert found.lossless and not found.not_emulated


@on_one_backend
def test_shared_layers_have_a_section_for_every_call():
    keras.utils.set_random_seed(0)
    start = keras.Input((4,), name="start")
    layer = L.Dense(4, "relu", name="shared")
    model = keras.Model(start, L.Dense(2, name="out")(layer(layer(start))))
    found = fabricfit.calibrate(model, np.random.default_rng(0).normal(size=(100, 4)))
    sections = found.config["LayerName"]
    both = [sections[name]["Precision"]["weight"] for name in ("shared", "shared_0")]
    assert both[0] == both[1]
    assert found.lossless


@on_one_backend
def test_a_margin_and_wrapping():
    model, (X, _) = classifier()
    plain = formats_of(fabricfit.calibrate(model, X, samples=100), "result")
    wide = formats_of(
        fabricfit.calibrate(model, X, samples=100, margin=1, overflow="wrap"), "result"
    )
    for name, each in wide.items():
        assert each.integer == plain[name].integer + 1
        assert "SAT" not in each.precision


@on_one_backend
@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        ("Xy", {}, "loss must say what the model is trained to minimize"),
        ("X", {"loss": LOSS}, "loss and metric are for data with targets"),
        ("X", {"samples": 0}, "samples must be a whole number"),
        ("X", {"margin": -1}, "margin must be a whole number"),
        ("X", {"tolerance": 0}, "tolerance must be a number above 0"),
        ("X", {"overflow": "saturat"}, "Did you mean 'saturate'"),
        ("nan", {}, "data must not hold NaN or infinite"),
        ("shape", {"loss": LOSS}, "equally many samples"),
    ],
)
def test_bad_input_is_refused(data, options, words):
    X, y = blobs(40)
    given = {"X": X, "Xy": (X, y), "nan": X * np.nan, "shape": (X, y[:30])}[data]
    with pytest.raises(InvalidInputError, match=words):
        fabricfit.calibrate(mlp(), given, **options)


@on_one_backend
def test_whole_numbers_stay_what_they_are():
    keras.utils.set_random_seed(0)
    layers = [L.Embedding(200, 4, name="rows"), L.Flatten(name="flat"), L.Dense(3, name="out")]
    model = keras.Sequential([keras.Input((5,), name="start"), *layers])
    classes = np.random.default_rng(0).integers(0, 200, (300, 5))
    found = fabricfit.calibrate(model, classes)
    assert found.lossless and not found.left
    assert formats_of(found)["start"].precision == "ufixed<8,8,RND,SAT>"
    assert found.config["LayerName"]["rows"]["Precision"]["embeddings"].startswith("fixed<")


@on_one_backend
def test_layers_that_are_not_emulated_are_rounded_in_floats():
    keras.utils.set_random_seed(0)
    layers = [L.Dense(6, name="first"), L.LayerNormalization(axis=2, name="norm")]
    layers += [L.Flatten(name="flat"), L.Dense(3, name="out")]
    model = keras.Sequential([keras.Input((4, 6), name="start"), *layers])
    found = fabricfit.calibrate(model, np.random.default_rng(0).normal(size=(200, 4, 6)))
    assert "LayerNormalization" in found.not_emulated and "norm" in found.left
    assert "rounded tensor by tensor" in str(found) and 0 < found.measured <= found.allowed


@on_one_backend
def test_a_stated_format_without_a_point_is_refused():
    given = {
        "Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1},
        "LayerName": {"fc1": {"Precision": {"weight": "float"}}},
    }
    with pytest.raises(InvalidInputError, match="fixed"):
        fabricfit.calibrate(mlp(), blobs(40)[0], given)


@on_one_backend
def test_nested_models_are_refused():
    start = keras.Input((6,))
    model = keras.Sequential([start, mlp(), L.Dense(2)])
    with pytest.raises(InvalidInputError, match="models inside of a model"):
        fabricfit.calibrate(model, blobs(40)[0])


@on_one_backend
def test_outputs_without_a_loss_are_not_measured_and_data_may_be_streamed():
    keras.utils.set_random_seed(0)
    start = keras.Input((4,), name="start")
    x = L.Dense(6, "relu", name="both")(start)
    model = keras.Model(start, [L.Dense(1, name="left")(x), L.Dense(1, "sigmoid", name="right")(x)])
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(120, 4)), rng.integers(0, 2, (120, 1))

    def batches():
        for first in range(0, 120, 40):
            yield X[first : first + 40], {"right": y[first : first + 40]}

    found = fabricfit.calibrate(model, batches, loss={"right": "binary_crossentropy"}, samples=80)
    assert found.samples == 80 and found.lossless
    assert list(found.in_floats.metrics) == ["right_accuracy"]
    assert formats_of(found)["start"].largest == pytest.approx(X.max())  # of all data


@on_one_backend
def test_folded_normalizations_leave_no_section_behind():
    model, (X, _) = residual()
    given = {
        "Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1},
        "LayerName": {"norm": {"Precision": {"result": "auto"}}},
    }
    found = fabricfit.calibrate(model, X, given, samples=100)
    sections = found.config["LayerName"]
    assert "norm" not in sections and "branch_norm" not in sections
    assert sections["first"]["Precision"]["result"] == "auto"  # hls4ml folds only then
    assert "scale" in sections["dense_norm"]["Precision"]
    names = {layer.name for layer in found.model.layers}
    assert "dense_norm" in names and not {"norm", "branch_norm"} & names
    kept = outputs_of(found.model, X)
    assert np.abs(kept - outputs_of(model, X)).max() < 0.05
    (outputs,) = built(found.model, found.config).predict(list(X.values()))
    assert np.abs(outputs - outputs_of(model, X)).max() < 0.05


@on_one_backend
@pytest.mark.slow
@pytest.mark.parametrize("io_type", ["io_parallel", "io_stream"])
def test_the_generated_code_computes_what_was_measured(io_type):
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    model, (X, _) = residual()
    given = {"IOType": io_type, "Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1}}
    found = fabricfit.calibrate(model, X, given, samples=100)
    proof = fabricfit.verify(found.model, found.config, list(X.values()), samples=20)
    assert proof.outcome == "passed", str(proof)


@pytest.mark.slow
def test_jets_lose_nothing_with_fewer_than_ten_bits():
    jets = fabricfit.datasets.load_jets(samples=16000)
    keras.utils.set_random_seed(0)
    sizes = [(64, "relu"), (32, "relu"), (32, "relu"), (5, "softmax")]
    model = keras.Sequential([keras.Input((16,)), *(L.Dense(*size) for size in sizes)])
    model.compile("adam", LOSS, metrics=["accuracy"])
    model.fit(jets.X_train, jets.y_train, epochs=6, batch_size=256, verbose=0)
    found = fabricfit.calibrate(model, (jets.X_val, jets.y_val))
    assert found.lossless and found.mean_bits < 10
    (outputs,) = built(model, found.config).predict([jets.X_test])
    accuracy = np.mean(outputs.argmax(1) == jets.y_test)
    exact = np.mean(outputs_of(model, jets.X_test).argmax(1) == jets.y_test)
    assert accuracy > exact - np.sqrt(exact * (1 - exact) / len(jets.y_test))
