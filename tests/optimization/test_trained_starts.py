"""Trained precision of models with separable convolutions, and whose weights or tensors are quantized."""

from __future__ import annotations

import shutil

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit import Budget
from fabricfit.errors import InvalidInputError
from fabricfit.firmware.simulation import CapturedOutput, compile_project, convert, run_project
from fabricfit.network.plain_layers import make_plain
from fabricfit.network.reader import read
from fabricfit.optimization.trained_fit import choose_precision
from fabricfit.precision.delivery import deliver
from fabricfit.precision.model import build_precision_model
from tests.common import L, blobs, outputs_of, weights_of
from tests.optimization.test_trained_precision import settings
from tests.precision.test_delivery import inputs_for, take_biases, trained_bits

pytest.importorskip("alkaid.trace")
pytest.importorskip("hls4ml")


def fit_trained(model, data, place, config=None):
    """Train precision of a model; return the result, the model, and what the weights of that were."""
    before = weights_of(model)
    result = fabricfit.fit(
        model,
        data,
        data,
        Budget(lut=20_000),
        settings(place, epochs=8),
        hls_config=config,
        precision="trained",
    )
    return result, model, before


def check(fitted, data):
    """The result is plain, and compared with the model as it was given, which is not changed."""
    (result, model, before), (X, y) = fitted, data
    report = result.report
    assert {type(layer).__module__.split(".")[0] for layer in result.model.layers} == {"keras"}
    assert report.fits and report.metric_after > 0.6
    assert report.metric_before == pytest.approx(np.mean(outputs_of(model, X).argmax(1) == y))
    assert not any(layer.skipped for layer in report.layers)
    for old, new in zip(before, weights_of(model), strict=True):
        np.testing.assert_array_equal(old, new)
    return {layer.name: type(layer).__name__ for layer in result.model.layers}


def refuse(model, text, config, tmp_path):
    X, y = blobs(64)
    with pytest.raises(InvalidInputError, match=text):
        fabricfit.fit(
            model,
            (X, y),
            (X, y),
            Budget(lut=400),
            settings(tmp_path, epochs=8),
            hls_config=config,
            precision="trained",
        )
    assert not (tmp_path / "runs").exists()


@pytest.mark.keras
def test_both_products_of_a_separable_convolution_are_trained(tmp_path):
    X, y = blobs(512, 18)
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 3)),
            L.SeparableConv1D(4, 3, activation="relu", name="sep"),
            L.Flatten(name="flat"),
            L.Dense(3, name="out"),
        ]
    )
    config = {"LayerName": {"sep": {"Strategy": "Latency"}}}
    data = X.reshape(-1, 6, 3), y
    fitted = fit_trained(model, data, tmp_path, config)
    check(fitted, data)
    result = fitted[0]
    formats = {each.name: dict(each.weights) for each in result.report.formats}
    assert sum(formats["sep_depthwise"].values()) == 9 and sum(formats["sep"].values()) == 12
    for name, strategy in (("sep", "latency"), ("sep_depthwise", "latency"), ("out", "d")):
        assert result.hls_config["LayerName"][name]["Strategy"].lower().startswith(strategy)
    used = {layer.name: layer.resources_after[0] for layer in result.report.layers}
    assert used["sep"] > 0 and used["sep_depthwise"] > 0


@pytest.fixture(scope="module")
def separable(tmp_path_factory):
    X, y = blobs(384, 48)
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4, 4, 3), name="start"),
            L.SeparableConv2D(4, 2, activation="relu", name="sep"),
            L.Flatten(name="flat"),
            L.Dense(3, name="out"),
        ]
    )
    data = X.reshape(-1, 4, 4, 3), y
    return fit_trained(model, data, tmp_path_factory.mktemp("separable")), data


@pytest.mark.keras
def test_the_metric_of_a_separable_network_is_that_of_its_hardware(separable):
    (result, _, _), data = separable
    assert "the quantized network, bit for bit" in result.report.evaluated
    assert result.evaluate(*data)["accuracy"] == pytest.approx(result.report.metric_after)


@pytest.mark.slow
@pytest.mark.keras
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_the_hardware_of_a_separable_network_is_proved(separable):
    (result, _, _), (X, _) = separable
    found = result.verify(X, samples=50)
    assert found.passed and not found.not_modelled, str(found)


@pytest.mark.slow
@pytest.mark.keras
@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_hardware_computes_what_was_trained_of_both(rank, tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6,) * rank + (3,), name="start"),
            getattr(L, f"SeparableConv{rank}D")(4, 3, activation="relu", name="sep"),
            L.Flatten(name="flat"),
            L.Dense(3, bias_initializer="normal", name="out"),
        ]
    )
    made = build_precision_model(make_plain(read(model)).network, by_channel=False)
    trained_bits(made)
    X = inputs_for(made, 50)
    delivered = deliver(made, [X], dict.fromkeys(made.weights, "Latency"))
    take_biases(made, delivered)
    output = CapturedOutput()
    options = {"backend": "Vitis", "io_type": "io_parallel"}
    project = convert(delivered.model, delivered.hls_config, tmp_path, output, **options)
    results = run_project(project, compile_project(project), [X], traced=False)
    expected = outputs_of(made.model, X)
    np.testing.assert_allclose(results.outputs[0].reshape(50, -1), expected, atol=1e-5)


@pytest.fixture(scope="module")
def of_qkeras(tmp_path_factory):
    qkeras = pytest.importorskip("qkeras", exc_type=ImportError)
    if not hasattr(qkeras, "QDense"):
        pytest.skip("another package named qkeras is installed")
    place = tmp_path_factory.mktemp("qkeras")
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            qkeras.QActivation("quantized_bits(8, 3)", name="rounded"),
            quantized_dense(8, "fc1"),
            L.BatchNormalization(name="norm"),
            qkeras.QActivation("quantized_relu(6, 2)", name="act"),
            quantized_dense(3, "out"),
        ]
    )
    model.compile("adam", settings(place).loss_fn)
    model.fit(*blobs(512), epochs=3, verbose=0)
    config = {"LayerName": {"rounded": {"Precision": {"result": "fixed<8,4>"}}}}
    return fit_trained(model, blobs(512), place, config)


def quantized_dense(units, name):
    import qkeras

    bits = qkeras.quantized_bits(6, 1, alpha=1)
    return qkeras.QDense(units, kernel_quantizer=bits, bias_quantizer=bits, name=name)


@pytest.mark.qkeras
@pytest.mark.keras
def test_a_model_of_qkeras_is_a_start(of_qkeras):
    data = blobs(512)
    kinds = check(of_qkeras, data)
    assert [*kinds][1:] == ["fc1", "out"]  # the activation is part of the layer before it
    result, model, _ = of_qkeras
    assert result.evaluate(*data)["accuracy"] == pytest.approx(result.report.metric_after)
    network = read(model)
    whole = {"Model": {"Strategy": "Latency", "ReuseFactor": 1}}
    assert choose_precision(None, whole, network) == "given"
    assert choose_precision("trained", whole, network) == "trained"
    with pytest.raises(InvalidInputError, match=r"'rounded'.*precision='trained'"):
        choose_precision(None, {}, network)


@pytest.mark.qkeras
@pytest.mark.keras
def test_what_of_qkeras_is_no_start_is_refused(tmp_path):
    qkeras = pytest.importorskip("qkeras", exc_type=ImportError)
    act = qkeras.QActivation("ternary()", name="act")
    model = keras.Sequential([keras.Input((6,)), act, quantized_dense(3, "out")])
    refuse(model, r"layer 'act' \(QActivation\): its activation ternary", None, tmp_path)


@pytest.mark.slow
@pytest.mark.qkeras
@pytest.mark.keras
def test_hls4ml_builds_what_became_of_qkeras(of_qkeras):
    assert of_qkeras[0].verify(blobs(512)[0], samples=50).passed


@pytest.fixture(scope="module")
def of_hgq(tmp_path_factory):
    pytest.importorskip("hgq", exc_type=ImportError)
    from hgq.layers import QAdd, QBatchNormalization, QDense
    from hgq.quantizer import Quantizer, QuantizerConfig

    place = tmp_path_factory.mktemp("hgq")
    keras.utils.set_random_seed(0)
    given = keras.Input((6,), name="given")
    x = Quantizer(QuantizerConfig(place="datalane"), name="rounded")(given)
    x = QBatchNormalization(name="norm")(QDense(8, name="fc1")(x))
    x = QAdd(name="sum")([x, QDense(8, activation="relu", name="fc2")(x)])
    model = keras.Model(given, QDense(3, name="out")(x))
    model.get_layer("norm").moving_mean.assign(np.linspace(-1, 1, 8))
    config = {"LayerType": {"QDense": {"Strategy": "Latency"}}}
    return fit_trained(model, blobs(512), place, config)


@pytest.mark.hgq
@pytest.mark.keras
def test_a_model_of_hgq2_is_a_start(of_hgq):
    data = blobs(512)
    kinds = check(of_hgq, data)
    result, model, _ = of_hgq
    assert kinds == {
        **dict.fromkeys(("fc1", "fc2", "out"), "Dense"),
        "given": "InputLayer",
        "sum": "Add",
    }
    assert result.hls_config["LayerName"]["fc2"]["Strategy"].lower() == "latency"
    assert result.evaluate(*data)["accuracy"] == pytest.approx(result.report.metric_after)
    assert choose_precision(None, {"Model": {"ReuseFactor": 1}}, read(model)) == "given"


@pytest.mark.hgq
@pytest.mark.keras
def test_what_of_hgq2_is_no_start_is_refused(tmp_path):
    pytest.importorskip("hgq", exc_type=ImportError)
    from hgq.layers import QDense, QSum

    start = keras.Input((6, 2))
    model = keras.Model(start, QDense(3, name="out")(QSum(axes=2, name="sum")(start)))
    refuse(model, r"layer 'sum' \(QSum\): fabricfit knows no layers", None, tmp_path)


@pytest.mark.slow
@pytest.mark.hgq
@pytest.mark.keras
def test_hls4ml_builds_what_became_of_hgq2(of_hgq):
    assert of_hgq[0].verify(blobs(512)[0], samples=50).passed
