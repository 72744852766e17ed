"""Quantized layers of HGQ2, in an environment of their own."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit.keras import OptimizationSettings, config, optimize
from fabricfit.layers import family_of, reason_to_skip
from fabricfit.network.describe import get_attributes_from_keras_model
from fabricfit.network.reader import read
from fabricfit.objectives import ParameterEstimator
from fabricfit.objectives.fpga_luts import BitOperations
from fabricfit.samples import Data
from fabricfit.scheduler import ConstantScheduler
from fabricfit.surgery.reduction import plan_reduction, reduce_model
from fabricfit.training import make_engine
from tests.common import blobs, outputs_of, weights_of

pytestmark = [pytest.mark.keras, pytest.mark.hgq]

hgq = pytest.importorskip("hgq", exc_type=ImportError)
from hgq.layers import QConv1D, QConv2D, QConv3D, QDense, QEinsumDense
from hgq.quantizer import QuantizerConfig


def tagger(beta=1e-7, **options):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8,)),
            QDense(16, activation="relu", beta0=beta, name="fc1", **options),
            QDense(12, activation="relu", beta0=beta, name="fc2", **options),
            QDense(3, beta0=beta, name="out", **options),
        ]
    )


def trained(data, **options):
    model = tagger(**options)
    model.compile(
        keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    model.fit(*data, epochs=4, batch_size=64, verbose=0)
    return model


def settings(tmp_path, **changes):
    return OptimizationSettings(
        **{
            "batch_size": 64,
            "epochs": 4,
            "optimizer": keras.optimizers.Adam(0.01),
            "loss_fn": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "validation_metric": "accuracy",
            "increasing": True,
            "rtol": None,
            "directory": tmp_path,
            "tuner": None,
            "regularization_range": [1e-6],
            **changes,
        }
    )


def run(model, data, tmp_path, objective, levels=(0, 0.5, 0.25), **changes):
    attributes = get_attributes_from_keras_model(model)
    options = settings(tmp_path, **changes)
    return optimize(model, attributes, objective, ConstantScheduler(*levels), data, data, options)


LAYERS = {
    "dense": ((6,), lambda: QDense(4)),
    "dense on sequences": ((3, 4), lambda: QDense(5, parallelization_factor=1)),
    "valid": ((6, 7, 2), lambda: QConv2D(3, 3)),
    "same": ((6, 7, 2), lambda: QConv2D(3, (3, 2), padding="same")),
    "strides": ((6, 7, 2), lambda: QConv2D(3, 3, strides=2, parallelization_factor=2)),
    "dilation": ((8, 3), lambda: QConv1D(3, 3, dilation_rate=2)),
    "3d": ((4, 4, 3, 2), lambda: QConv3D(2, 2)),
    "einsum": ((3, 4), lambda: QEinsumDense("abc,cd->abd", (3, 5), bias_axes="d")),
    "einsum over two axes": ((3, 4), lambda: QEinsumDense("abc,bcd->ad", (5,))),
}


@pytest.mark.parametrize("name", LAYERS)
def test_bit_operations_of_a_weight_are_what_hgq_counts_less_without_its_bits(name):
    shape, make = LAYERS[name]
    model = keras.Sequential([keras.Input(shape), make()])
    layer, rng = model.layers[0], np.random.default_rng(0)
    bits = layer.kq.quantizer._b
    bits.assign(rng.integers(1, 9, bits.shape))
    for variable in layer.iq.quantizer.trainable_variables:
        variable.assign(rng.integers(2, 6, variable.shape))
    (kernel,) = read(model).grouped_kernels.values()
    counted = kernel.bit_operations()

    def by_hgq():
        return float(keras.ops.convert_to_numpy(layer._compute_ebops((1, *shape))))

    whole = by_hgq()
    assert counted.of_weights.sum() + counted.others == pytest.approx(whole)
    before = np.array(keras.ops.convert_to_numpy(bits))
    for place in map(tuple, rng.integers(0, before.shape, (12, before.ndim))):
        without = before.copy()
        without[place] = 0
        bits.assign(without)
        assert whole - by_hgq() == pytest.approx(counted.of_weights[place], abs=1e-5 * whole)


@pytest.mark.parametrize("metric", ["l1", "oracle", "saliency"])
def test_bit_operations_fall_and_pruned_weights_have_no_bits(tmp_path, metric):
    data = blobs(256, 8)
    model = trained(data)
    before = weights_of(model)
    result = run(model, data, tmp_path, BitOperations, ranking_metric=metric)
    assert result.report.resources_after[0] <= 0.5 * result.report.resources_before[0]
    for old, new in zip(before, weights_of(model), strict=True):
        np.testing.assert_array_equal(old, new)
    counted = sum(
        float(keras.ops.convert_to_numpy(layer._compute_ebops((1, *layer.input.shape[1:]))))
        for layer in result.model.layers
    )
    assert counted <= 0.5 * result.report.resources_before[0] * 1.02  # weights that round to zero
    zeros = 0
    for name, kernel in read(result.model).grouped_kernels.items():
        weights = keras.ops.convert_to_numpy(kernel.variable)
        bits = keras.ops.convert_to_numpy(kernel.bits[0])
        used = read(result.model).kernel_arrays()[name]
        assert (bits[weights == 0] == 0).all() and (used[weights == 0] == 0).all()
        zeros += int((weights == 0).sum())
    assert zeros > 0.3 * sum(k.size for k in read(model).kernel_arrays().values())


def test_pruned_units_lose_their_bits_and_are_removed(tmp_path):
    class Units(ParameterEstimator):
        removes_units = True

        @classmethod
        def is_layer_optimizable(cls, layer_attributes):
            from fabricfit.description.attributes import OptimizationAttributes

            if not layer_attributes.weight_shape:
                return False, None
            return True, OptimizationAttributes("structured", pruning=True)

        @classmethod
        def layer_savings(cls, layer_attributes):
            return [layer_attributes.weight_shape[0]]

    data = blobs(256, 8)
    result = run(trained(data), data, tmp_path, Units, (0, 0.4, 0.2), ranking_metric="oracle")
    units = [result.model.get_layer(name).units for name in ("fc1", "fc2", "out")]
    assert units[2] == 3 and units[0] + units[1] < 28
    assert result.report.resources_after[0] <= 0.6 * result.report.resources_before[0]


@pytest.mark.parametrize("options", [{}, {"kq_conf": "by column"}, {"kq_conf": "one"}])
def test_a_model_computes_the_same_without_its_zero_units(options):
    axes = {"by column": (1,), "one": ()}
    if options:
        how = axes[options["kq_conf"]]
        options = {
            "kq_conf": QuantizerConfig(
                "kbi", "weight", heterogeneous_axis=how, homogeneous_axis=None
            )
        }
    data = blobs(128, 8)
    model = trained(data, **options)
    for name, gone in (("fc1", [1, 4, 7]), ("fc2", [0, 11])):
        layer = model.get_layer(name)
        kernel, bias = (np.array(keras.ops.convert_to_numpy(v)) for v in (layer.kernel, layer.bias))
        kernel[:, gone] = 0
        bias[gone] = 0
        layer.kernel.assign(kernel)
        layer.bias.assign(bias)
    reduced = reduce_model(model)
    assert [layer.units for layer in reduced.layers] == [13, 10, 3]
    np.testing.assert_allclose(outputs_of(model, data[0]), outputs_of(reduced, data[0]), atol=1e-6)


def test_a_constant_that_would_be_rounded_stays():
    model = trained(blobs(128, 8))
    layer = model.get_layer("fc1")
    kernel, bias = (np.array(keras.ops.convert_to_numpy(v)) for v in (layer.kernel, layer.bias))
    kernel[:, 2] = 0
    bias[2] = 0.75
    layer.kernel.assign(kernel)
    layer.bias.assign(bias)
    assert "'fc2' is quantized" in plan_reduction(model).kept["fc1"]
    assert reduce_model(model).get_layer("fc1").units == 16


def test_quantizers_without_a_zero_are_refused():
    shifted = QuantizerConfig("kbi", "weight", affine=(1.0, 0.5))
    model = keras.Sequential([keras.Input((4,)), QDense(3, kq_conf=shifted, name="fc")])
    assert "affine" in reason_to_skip(model.get_layer("fc"))


def test_the_format_holds_all_weights():
    model = tagger()
    layer, rng = model.get_layer("fc1"), np.random.default_rng(1)
    layer.kernel.assign(rng.normal(0, 1, layer.kernel.shape))
    layer.kq.quantizer._b.assign(rng.integers(0, 7, layer.kernel.shape))
    (kernel,) = family_of(layer).kernels(layer)
    scaled = kernel.used() * 2.0**kernel.precision.fractional
    assert (scaled == np.rint(scaled)).all()
    assert np.abs(scaled).max() <= 2.0 ** (kernel.precision.width - 1)


def test_quantized_layers_are_listed_once_hgq_is_there():
    assert QDense in config.SUPPORTED_LAYERS and QConv2D in config.SUPPORTED_LAYERS


@pytest.mark.slow
def test_quantizers_inside_adder_graphs_are_computed_too():
    pytest.importorskip("hls4ml")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the converter is the same on all backends, and is tried on one")
    X, y = blobs(128, inputs=8)
    model = trained((X, y))
    hls_config = {
        "IOType": "io_parallel",
        "Model": {
            "Precision": "fixed<16,6>",
            "ReuseFactor": 1,
            "Strategy": "distributed_arithmetic",
        },
    }
    found = fabricfit.verify(model, hls_config, X[:50])
    assert found.passed and not found.mismatches and not found.not_modelled, str(found)


@pytest.mark.parametrize(
    ("strategy", "reuse_factor"),
    [("Latency", 1), pytest.param("Resource", 4, marks=pytest.mark.slow)],
)
def test_a_budget_is_met_in_the_generated_code(tmp_path, strategy, reuse_factor):
    pytest.importorskip("hls4ml")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the converter is the same on all backends, and is tried on one")
    X, y = blobs(256, inputs=8)
    model = trained((X, y))
    names = ("fc1", "fc2", "out")
    hls_config = {
        "IOType": "io_parallel",
        "Model": {"Precision": "fixed<16,6>", "ReuseFactor": reuse_factor, "Strategy": strategy},
        "LayerName": {
            n: {"Precision": dict.fromkeys(("weight", "bias", "result"), "auto")} for n in names
        },
    }
    pairs = (X[:192], y[:192]), (X[192:], y[192:])
    budget = fabricfit.Budget.relative(dsp=0.5)
    result = fabricfit.fit(model, *pairs, budget, settings(str(tmp_path)), hls_config=hls_config)
    assert result.report.fits
    found = fabricfit.verify(result.model, result.hls_config, X[:50])
    assert found.passed and not found.mismatches and not found.not_modelled, str(found)
    for layer in found.layers:
        after = next(x for x in result.report.layers if x.name == layer.name).resources_after[0]
        counted = layer.multipliers if layer.constants is None else layer.constants
        assert counted == after, layer.name


def test_no_more_is_removed_than_was_asked_for(tmp_path):
    data = blobs(400, 8)
    model = trained(data, beta=1e-5)
    result = run(model, data, tmp_path, BitOperations, (0, 0.4, 0.2))
    before, after = result.report.resources_before[0], result.report.resources_after[0]
    assert 0.5 * before < after <= 0.6 * before
    assert result.report.metric_after > result.report.metric_before - 0.1


def test_a_budget_of_luts_is_met_and_used(tmp_path):
    data = blobs(400, 8)
    model = trained(data, beta=1e-5)
    auto = {"Precision": dict.fromkeys(("weight", "bias", "result"), "auto")}
    hls_config = {
        "Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"},
        "LayerName": dict.fromkeys(("fc1", "fc2", "out"), auto),
    }
    budget = fabricfit.Budget.relative(lut=0.8)
    result = fabricfit.fit(model, data, data, budget, settings(tmp_path), hls_config=hls_config)
    before, after = result.report.resources_before[0], result.report.resources_after[0]
    assert all(level.accepted for level in result.report.levels)
    assert 0.65 * before < after <= 0.8 * before
    assert result.report.metric_after > result.report.metric_before - 0.1


def test_bit_widths_of_kept_weights_are_held_while_masks_act():
    X, y = blobs(200, 8)
    model = trained((X, y), beta=1e-4)
    network = read(model)
    attributes = get_attributes_from_keras_model(model)
    for layer in attributes.values():
        layer.optimizable = layer.optimization_attributes.pruning = bool(layer.weight_shape)
    engine = make_engine(network, settings("runs").loss_fn, keras.optimizers.Adam(0.05), attributes)
    bits = network.kernels["fc1"].bits[0]
    before = np.array(keras.ops.convert_to_numpy(bits))
    mask = np.ones(attributes["fc1"].weight_shape)
    mask[:3] = 0
    engine.projection.update({"fc1": mask})
    engine.train_epoch(Data(X, y), np.arange(200), 50)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(bits), before * mask)
    engine.projection.release()
    engine.train_epoch(Data(X, y), np.arange(200), 50)
    assert np.abs(keras.ops.convert_to_numpy(bits) - before * mask).max() > 0.01
