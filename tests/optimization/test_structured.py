"""Units that are coupled through the graph: what is tied, what is pruned together, what really shrinks."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.errors import InvalidInputError
from fabricfit.keras import OptimizationSettings, optimize
from fabricfit.network.describe import (
    get_attributes_from_keras_model,
    get_attributes_from_keras_model_and_hls4ml_config,
)
from fabricfit.network.reader import read
from fabricfit.objectives.fpga_units import UnitResources
from fabricfit.objectives.gpu_objectives import GPUFLOPEstimator
from fabricfit.optimization.eligible_layers import decide
from fabricfit.optimization.savings import describe_reduced
from fabricfit.scheduler import ConstantScheduler
from fabricfit.selection.groups import select_groups
from fabricfit.surgery.coupling import couple_units
from tests.common import L, outputs_of
from tests.marks import ON_ONE_BACKEND, first_quick

pytestmark = ON_ONE_BACKEND


def resnet8(shape=(32, 32, 3), width=16, classes=10):
    """The residual network of MLPerf Tiny."""
    keras.utils.set_random_seed(0)
    x = start = keras.Input(shape)

    def conv(x, filters, strides=1, size=3, active=True):
        x = L.Conv2D(filters, size, strides, "same", use_bias=False)(x)
        x = L.BatchNormalization(momentum=0.8)(x)
        return L.ReLU()(x) if active else x

    x = conv(x, width)
    for number in range(3):
        filters, strides = width * 2**number, 1 if number == 0 else 2
        y = conv(conv(x, filters, strides), filters, active=False)
        if strides != 1:
            x = conv(x, filters, strides, 1, active=False)
        x = L.ReLU()(L.Add()([x, y]))
    x = L.GlobalAveragePooling2D()(x)
    return keras.Model(start, L.Dense(classes, "softmax", name="out")(x))


def mobilenet(shape=(32, 32, 3), width=16, classes=10):
    """Depthwise and pointwise convolutions in turn."""
    keras.utils.set_random_seed(0)
    x = start = keras.Input(shape)

    def active(x):
        return L.ReLU(6.0)(L.BatchNormalization(momentum=0.8)(x))

    x = active(L.Conv2D(width, 3, 2, "same", use_bias=False)(x))
    for times, strides in ((2, 1), (4, 2), (4, 1), (8, 2)):
        x = active(L.DepthwiseConv2D(3, strides, "same", use_bias=False)(x))
        x = active(L.Conv2D(times * width, 1, use_bias=False)(x))
    x = L.GlobalAveragePooling2D()(x)
    return keras.Model(start, L.Dense(classes, "softmax", name="out")(x))


def textures(samples, shape, classes, seed):
    """Noisy images of one texture a class."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, samples)
    each = np.random.default_rng(7).normal(size=(classes, *shape))
    return (1.5 * each[y] + rng.normal(size=(samples, *shape))).astype("float32"), y


def prune(
    model, data, directory, sparsity=0.5, objective=GPUFLOPEstimator, attributes=None, **changes
):
    options = {
        "batch_size": 32,
        "epochs": 4,
        "optimizer": keras.optimizers.Adam(3e-3),
        "loss_fn": "sparse_categorical_crossentropy",
        "validation_metric": "accuracy",
        "increasing": True,
        "rtol": None,
        "tuner": None,
        "ranking_metric": "oracle",
        "directory": directory,
        **changes,
    }
    return optimize(
        model,
        attributes or get_attributes_from_keras_model(model),
        objective,
        ConstantScheduler(sparsity / 2, sparsity, sparsity / 2),
        *data,
        OptimizationSettings(**options),
    )


@pytest.mark.parametrize("make", first_quick([resnet8, mobilenet]))
def test_half_of_the_flops_of_a_network_go(make, tmp_path):
    shape = (8, 8, 3)
    model = make(shape, 4, 4)
    data = (textures(256, shape, 4, 0), textures(128, shape, 4, 1))
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    model.fit(*data[0], batch_size=32, epochs=6, verbose=0)
    result = prune(model, data, tmp_path)
    report = result.report
    assert report.resources_after[0] <= 0.5 * report.resources_before[0]
    described = get_attributes_from_keras_model(result.model)
    assert GPUFLOPEstimator.model_utilization(described, {}) == [report.resources_after[0]]
    assert result.model.count_params() < model.count_params()
    assert list(report.skipped)[-1] == "out"
    assert all(k.all() or k.any() for k in read(result.model).kernel_arrays().values())
    correct = outputs_of(result.model, data[1][0]).argmax(axis=1) == data[1][1]
    assert report.metric_after == pytest.approx(correct.mean())
    assert report.metric_after > 0.5 > 2 * 0.24


def test_what_is_foreseen_is_what_is_left():
    """The costs of a choice, before anything is built, are those of the model that is built."""
    model = resnet8((8, 8, 3), 6, 4)
    decisions = decide(read(model), get_attributes_from_keras_model(model), GPUFLOPEstimator)
    kernels = {
        n: k for n, k in read(model).kernel_arrays().items() if decisions.attributes[n].optimizable
    }
    selection = select_groups(kernels, decisions.attributes, 0.4, decisions.objective)
    treatments = selection.treatments(kernels, decisions.attributes)
    owned = read(model).grouped_kernels
    for name, treatment in treatments.items():
        owned[name].variable.assign(treatment.apply(kernels[name]))
        for (layer, variable), units in decisions.attributes[name].scales.items():
            kept = np.append(selection.keep[name], True)[list(units)]
            weight = next(w for w in model.get_layer(layer).weights if w.name == variable)
            weight.assign(keras.ops.convert_to_numpy(weight) * kept)
    from fabricfit.surgery.reduction import reduce_model

    reduced = reduce_model(model)
    described = describe_reduced(read(reduced), decisions.attributes)
    assert GPUFLOPEstimator.model_utilization(described, {}) == selection.utilization.tolist()
    X = np.random.default_rng(0).normal(size=(8, 8, 8, 3)).astype("float32")
    np.testing.assert_allclose(outputs_of(model, X), outputs_of(reduced, X), atol=1e-6)


def test_sums_tie_concatenations_do_not_and_outputs_hold():
    start = keras.Input((6,))
    a, b = L.Dense(4, "relu", name="a")(start), L.Dense(4, "relu", name="b")(start)
    both = L.Concatenate()([L.Add()([a, b]), L.Dense(3, name="c")(start)])
    out = L.Dense(2, name="out")(both)
    found = couple_units(keras.Model(start, out))
    np.testing.assert_array_equal(found.units["a"], found.units["b"])
    assert len({*found.units["a"], *found.units["c"]}) == 7
    np.testing.assert_array_equal(found.rows["out"], [*found.units["a"], *found.units["c"]])
    assert (found.units["out"] == -1).all() and "the model returns them" in found.reasons["out"]
    assert (found.rows["a"] == -1).all()


def test_normalizations_follow_the_units_before_them():
    start = keras.Input((6, 6, 2))
    x = L.BatchNormalization(name="norm")(L.Conv2D(4, 3, name="conv")(start))
    x = L.DepthwiseConv2D(3, depth_multiplier=2, name="depth")(L.ReLU()(x))
    model = keras.Model(start, L.Dense(2, name="out")(L.Flatten()(x)))
    found = couple_units(model)
    np.testing.assert_array_equal(found.scales["norm", "gamma"], found.units["conv"])
    np.testing.assert_array_equal(found.units["depth"], np.repeat(found.units["conv"], 2))
    np.testing.assert_array_equal(found.rows["out"], np.tile(found.units["depth"], 4))


def test_heads_gates_and_directions_are_units():
    start = keras.Input((5, 4))
    x = L.MultiHeadAttention(3, 2, name="mha")(start, start)
    x = L.Bidirectional(L.LSTM(3), name="both")(x)
    model = keras.Model(start, L.Dense(2, name="out")(x))
    found = couple_units(model)
    heads = found.units["mha/query"]
    for part in ("key", "value"):
        np.testing.assert_array_equal(found.units[f"mha/{part}"], heads)
    np.testing.assert_array_equal(found.rows["mha/output"], heads)
    np.testing.assert_array_equal(found.rows["both/forward/kernel"], found.units["mha/output"])
    np.testing.assert_array_equal(
        found.units["both/forward/kernel"], found.units["both/backward/recurrent_kernel"]
    )


def test_what_does_not_become_constant_or_cannot_be_folded_is_held():
    start = keras.Input((6, 6, 2))
    x = L.Conv2D(3, 3, padding="same", name="padded")(
        L.Conv2D(4, 3, activation="sigmoid", name="half")(start)
    )
    x = L.LayerNormalization(name="norm")(L.Conv2D(3, 3, name="mixed")(x))
    model = keras.Model(start, L.Dense(2, name="out")(L.Flatten()(x)))
    found = couple_units(model)
    assert (found.units["half"] == -1).all()
    assert "'padded' pads its input" in found.reasons["half"]
    assert "LayerNormalization" in found.reasons["mixed"]


def test_ties_and_choices_layer_by_layer_exclude_each_other(tmp_path):
    shape = (8, 8, 3)
    data = (textures(64, shape, 4, 0), textures(64, shape, 4, 1))
    with pytest.raises(InvalidInputError, match=r"local=True .* can only be removed together"):
        prune(resnet8(shape, 4, 4), data, tmp_path, local=True)


@pytest.mark.parametrize(
    ("resources", "section"),
    [
        (("dsp",), {"Strategy": "Latency", "ReuseFactor": 1}),
        pytest.param(
            ("dsp", "lut", "ff"), {"Strategy": "Latency", "ReuseFactor": 1}, marks=ON_ONE_BACKEND
        ),
        pytest.param(("dsp",), {"Strategy": "Resource", "ReuseFactor": 1}, marks=ON_ONE_BACKEND),
    ],
)
@pytest.mark.parametrize("make", first_quick([resnet8, mobilenet]))
def test_half_of_the_hardware_of_a_network_goes_with_its_units(make, resources, section, tmp_path):
    if make is mobilenet and section["Strategy"] == "Resource":
        pytest.skip("hls4ml builds depthwise convolutions with Latency")
    shape = (8, 8, 3)
    model = make(shape, 6, 4)
    data = (textures(128, shape, 4, 0), textures(64, shape, 4, 1))
    config = {"Model": {"Precision": "fixed<12,4>", **section}, "IOType": "io_stream"}
    objective = UnitResources(resources)
    result = prune(
        model,
        data,
        tmp_path,
        epochs=2,
        attributes=get_attributes_from_keras_model_and_hls4ml_config(model, config),
        objective=objective,
    )
    report = result.report
    assert result.model.count_params() < model.count_params()
    described = get_attributes_from_keras_model_and_hls4ml_config(result.model, config)
    left = objective.model_usage_without(described, {})
    assert left.tolist() == list(report.resources_after)
    for index in range(len(resources)):
        assert left[index] <= 0.5 * report.resources_before[index]


def test_resources_of_units_are_those_of_smaller_layers():
    model = keras.Sequential([keras.Input((6,)), L.Dense(8, name="a"), L.Dense(5, name="b")])
    config = {"Model": {"Precision": "fixed<16,6>", "Strategy": "Latency", "ReuseFactor": 1}}
    attributes = get_attributes_from_keras_model_and_hls4ml_config(model, config)
    objective = UnitResources(("dsp",))
    for layer in (attributes["a"], attributes["b"]):
        layer.optimizable, layer.optimization_attributes = True, objective.groups(layer)
    assert objective.usage(attributes["a"]) == [48]
    assert objective.usage_without(attributes["a"], 3) == [30]
    assert objective.saving(attributes["a"]) == [6]
    assert objective.reduced_usage(attributes, {"a": (6, 5), "b": (5, 4)}) == [50]
