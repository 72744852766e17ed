"""Calls are counted, not layers: what is called n times is built n times, and costs n times."""

import warnings

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fabricfit
from fabricfit.errors import InvalidInputError
from fabricfit.firmware import realize
from fabricfit.hls4ml import ConfigurationWarning
from fabricfit.network.describe import (
    get_attributes_from_keras_model,
    get_attributes_from_keras_model_and_hls4ml_config,
)
from fabricfit.network.reader import read
from fabricfit.objectives import ParameterEstimator, as_objective
from fabricfit.objectives.fpga import FPGAResources
from fabricfit.objectives.fpga_luts import BitOperations
from fabricfit.objectives.gpu_objectives import GPUFLOPEstimator
from fabricfit.objectives.vivado_objectives import (
    VivadoDSPEstimator,
    VivadoFFEstimator,
    VivadoMultiObjectiveEstimator,
)
from tests.common import L
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

OBJECTIVES = (
    *(FPGAResources, BitOperations, GPUFLOPEstimator),
    *(VivadoDSPEstimator, VivadoFFEstimator, VivadoMultiObjectiveEstimator),
)


def config(strategy="Latency", reuse_factor=1, io_type="io_parallel", **sections):
    model = {"Precision": "fixed<16,6>", "ReuseFactor": reuse_factor, "Strategy": strategy}
    return {"Model": model, "IOType": io_type, **sections}


CONFIGS = (
    config(),
    config("Resource", 2),
    config("Resource", 2, "io_stream"),
    config("distributed_arithmetic"),
)


def chain(start, blocks):
    """Apply blocks one after the other; a block is a function of a tensor."""
    x = source = keras.Input(start, name="source")
    for block in blocks:
        x = block(x)
    return keras.Model(source, L.Dense(3, name="last")(L.Flatten(name="flat")(x)))


def pair(start, make, times=2):
    """The same network with one layer that is called several times, and with as many equal layers."""
    keras.utils.set_random_seed(0)
    layer = make()
    shared = chain(start, [layer] * times)
    several = [make() for _ in range(times)]
    apart = chain(start, several)
    for copy in several:
        copy.set_weights(layer.get_weights())
    apart.get_layer("last").set_weights(shared.get_layer("last").get_weights())
    return shared, apart


def usages(model, hls_config, objective):
    """What an objective counts: with these weights, at most, and without a group of each layer."""
    if objective is GPUFLOPEstimator:
        attributes = get_attributes_from_keras_model(model)
    else:
        attributes = get_attributes_from_keras_model_and_hls4ml_config(model, hls_config)
    core = as_objective(objective)
    saved = {}
    for name, layer in attributes.items():
        groups = core.groups(layer) if layer.multiplies else None
        if groups is not None:
            layer.optimizable, layer.optimization_attributes = True, groups
            saved[name] = core.saving(layer)
    kernels = read(model).counted_kernels(attributes)
    return core.model_usage(attributes, kernels), core.model_usage_without(attributes, {}), saved


def assert_alike(one, other):
    """Two estimates are of the same resources and timing, to rounding."""
    for estimates in zip(
        (*one.resources.values(), one.latency, one.interval),
        (*other.resources.values(), other.latency, other.interval),
        strict=True,
    ):
        numbers = [(e.value, e.low, e.high) for e in estimates]
        assert numbers[0] == pytest.approx(numbers[1])


KINDS = {
    "dense": ((6,), lambda: L.Dense(6, activation="relu")),
    "convolution of two sizes": ((7, 7, 2), lambda: L.Conv2D(2, 3, activation="relu")),
    "lookup tables": ((6,), lambda: L.Dense(6, activation="tanh")),
    "normalization": ((5, 4), lambda: L.BatchNormalization()),
    "recurrent": ((5, 4), lambda: L.LSTM(4, return_sequences=True)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_shared_layer_costs_as_much_as_equal_ones(kind):
    shared, apart = pair(*KINDS[kind])
    for hls_config in CONFIGS:
        if kind == "recurrent" and "arithmetic" in hls_config["Model"]["Strategy"]:
            continue
        found = [fabricfit.estimate(model, hls_config) for model in (shared, apart)]
        assert_alike(*found)
        for objective in OBJECTIVES:
            (used, most, saved), (used_2, most_2, saved_2) = (
                usages(model, hls_config, objective) for model in (shared, apart)
            )
            np.testing.assert_allclose(used, used_2)
            np.testing.assert_allclose(most, most_2, atol=4)  # whole numbers
            total = [np.sum([*each.values()], axis=0) for each in (saved, saved_2) if each]
            if len(total) == 2 and objective is not GPUFLOPEstimator:  # whose units feed others
                np.testing.assert_allclose(total[0], total[1], atol=len(saved_2))


def test_parameters_are_those_of_the_model():
    shared, apart = pair(*KINDS["dense"])
    counted = [usages(model, config(), ParameterEstimator)[1].item() for model in (shared, apart)]
    assert counted == [6 * 6 + 6 * 3, 2 * 6 * 6 + 6 * 3]


nestings = st.recursive(
    st.integers(0, 2), lambda inner: st.lists(inner, min_size=1, max_size=3), max_leaves=6
)


@given(st.lists(nestings, min_size=1, max_size=3), st.integers(1, 3))
@settings(max_examples=15, deadline=None)
def test_nested_models_cost_as_much_as_their_calls_written_out(tree, times):
    keras.utils.set_random_seed(0)
    layers = [L.Dense(4, activation="relu") for _ in range(3)]
    for layer in layers:
        layer.build((None, 4))
    written: list[int] = []

    def flatten(node):
        return [node] if isinstance(node, int) else [n for each in node for n in flatten(each)]

    def make(node):
        if isinstance(node, int):
            return layers[node]
        x = source = keras.Input((4,))
        for each in node:
            x = make(each)(x)
        return keras.Model(source, x)

    blocks = [make(tree)] * times
    written = flatten(tree) * times
    nested = chain((4,), blocks)
    copies = []
    for number in written:
        copy = L.Dense(4, activation="relu")
        copy.build((None, 4))
        copy.set_weights(layers[number].get_weights())
        copies.append(copy)
    plain = chain((4,), copies)
    plain.get_layer("last").set_weights(nested.get_layer("last").get_weights())
    found = [fabricfit.estimate(model, config("Resource", 2)) for model in (nested, plain)]
    assert_alike(*found)
    assert sorted(e.weights for e in found[0].layers) == sorted(e.weights for e in found[1].layers)
    flops = [usages(model, None, GPUFLOPEstimator)[1].item() for model in (nested, plain)]
    assert flops[0] == flops[1]


def twice():
    layer, start = L.Dense(4, activation="relu", name="shared"), keras.Input((4,), name="x")
    return keras.Model(start, L.Dense(2, name="out")(layer(layer(start))))


def test_each_call_has_what_the_configuration_says_of_it():
    sections = {
        "shared": {"Precision": {"weight": "fixed<8,2>", "result": "fixed<9,3>"}},
        "shared_0": {"Precision": {"weight": "fixed<12,2>", "result": "fixed<7,3>"}},
    }
    given = config(LayerName=sections)
    shared = get_attributes_from_keras_model_and_hls4ml_config(twice(), given)["shared"]
    assert [call.hls4ml_name for call in shared.calls] == ["shared", "shared_0"]
    assert [call.hls4ml.weight_precision.width for call in shared.calls] == [8, 12]
    assert [call.hls4ml.input_precision.width for call in shared.calls] == [16, 9]
    assert [call.reads_model_input for call in shared.calls] == [True, False]
    assert "different ways" in FPGAResources().reason(shared)
    with pytest.raises(InvalidInputError, match=r"'shared' is called 2 times.*'shared_0' with"):
        realize(twice(), given)


def test_a_section_of_one_call_is_counted_so_and_realized_for_all():
    model, given = twice(), config(LayerName={"shared": {"Strategy": "Resource", "ReuseFactor": 4}})
    with pytest.warns(ConfigurationWarning, match="'shared'.*none for 'shared_0'"):
        found = fabricfit.estimate(model, given)
    assert [(e.name, e.reuse_factor) for e in found.layers if e.strategy] == [
        ("shared", 4),
        ("shared_0", 1),
        ("out", 1),
    ]
    realized = realize(model, given)
    assert any("'shared_0'" in remark for remark in realized.remarks)
    sections = realized.config["LayerName"]
    assert sections["shared"] == sections["shared_0"]
    assert sections["shared_0"]["Strategy"] == "ResourceUnrolled"
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConfigurationWarning)
        fabricfit.estimate(model, realized.config)


def several():
    """Two shared layers in branches, a name that hls4ml reserves, and names that collide."""
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    one, other = L.Dense(4, activation="relu", name="n"), L.Dense(4, name="d")
    x = [one(a), one(b), other(one(a)), L.Dense(4, name="n_0")(other(b))]
    return keras.Model([b, a], L.Add(name="sum")([L.ReLU(name="d_0")(x[0]), *x[1:]]))


@pytest.mark.parametrize("make", [twice, several])
def test_names_are_those_that_hls4ml_gives(make):
    converters = pytest.importorskip("hls4ml.converters")
    model = make()
    theirs = [layer["name"] for layer in converters.parse_keras_v3_model(model)[0]]
    calls = read(model).node_names.calls
    assert [name for c in calls for name in (c.node, c.activation) if name] == theirs


@pytest.mark.parametrize("hls_config", [config(), config("Resource", 2)])
def test_what_verify_counts_is_what_is_estimated(hls_config):
    pytest.importorskip("hls4ml")
    model = twice()
    realized = realize(model, hls_config).config
    found = fabricfit.verify(model, realized, compile=False)
    assert found.passed
    assert [layer.name for layer in found.layers] == ["shared", "shared_0", "out"]
    counted = sum(
        layer.multipliers if layer.constants is None else layer.constants for layer in found.layers
    )
    assert counted == fabricfit.estimate(model, realized).resources["dsp"].value
