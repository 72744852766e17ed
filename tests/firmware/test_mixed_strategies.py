"""Strategies mixed in one network, layer by layer, proved in the generated code; mixes that are refused."""

import itertools
import shutil

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("hls4ml")
pytest.importorskip("da4ml")

import fabricfit
from fabricfit.description.strategies import STRATEGIES, spell_strategy
from fabricfit.design import DesignSpace
from fabricfit.errors import FabricFitError, InvalidInputError
from fabricfit.firmware import quantize_to_grid
from fabricfit.network.describe import get_attributes_from_keras_model_and_hls4ml_config
from fabricfit.network.reader import read
from tests.common import quick_settings
from tests.firmware import firmware_models as models
from tests.marks import ON_ONE_BACKEND, first_quick

layers = models.layers

pytestmark = [
    *ON_ONE_BACKEND,
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler"),
]

LATENCY, RESOURCE, UNROLLED, GRAPH = STRATEGIES
WALK = (
    *(LATENCY, GRAPH, UNROLLED, GRAPH, RESOURCE, GRAPH, LATENCY),
    *(UNROLLED, RESOURCE, UNROLLED, LATENCY, RESOURCE, LATENCY),
)
"""Strategies one behind the other, such that each follows each other one."""


def configure(model, strategies, io_type, backend, **project):
    """A configuration with a strategy for each layer, of reuse factor 2 where multipliers are shared."""
    chosen = {
        name: (spell_strategy(strategy), 2 if strategy in (RESOURCE, UNROLLED) else 1)
        for name, strategy in strategies.items()
    }
    config = models.write_config(model, chosen, default="fixed<12,5>")
    return config | {"IOType": io_type, "Backend": backend} | project


def pruned(model, config):
    """The model on the hardware grid, without every third pair of weights: the pairs share multipliers."""
    for kernel in read(model).grouped_kernels.values():
        values = np.array(kernel.used())
        runs = np.moveaxis(values, -1, 0).reshape(-1, 2)
        runs[::3] = 0
        shape = (values.shape[-1], *values.shape[:-1])
        kernel.variable.assign(np.moveaxis(runs.reshape(shape), 0, -1))
    attributes = get_attributes_from_keras_model_and_hls4ml_config(model, config)
    return quantize_to_grid(model, attributes)[0]


def saved(kernel, strategy):
    """Multipliers that are left, counted in the weights by hand."""
    runs = np.moveaxis(np.asarray(kernel), -1, 0).reshape(-1, 2)
    if strategy == GRAPH:
        return 0
    if strategy == RESOURCE:
        return len(runs)
    return int(runs.any(axis=1).sum()) if strategy == UNROLLED else int(np.count_nonzero(runs))


def prove(model, strategies, config):
    """Verify that each layer is built with its strategy, saves what that saves, and computes the same."""
    model = pruned(model, config)
    expected = {
        name: saved(model.get_layer(name).kernel, strategy) for name, strategy in strategies.items()
    }
    found = fabricfit.verify(model, config, models.samples(model), expected=expected)
    assert found.passed, str(found)
    assert not found.not_modelled and not found.mismatches
    assert {layer.name: layer.strategy for layer in found.layers} == strategies
    estimated = fabricfit.estimate(model, config)
    assert not [remark for remark in estimated.remarks if "layer" in remark.split(":")[0]]
    built = {each.name: (each.strategy, each.reuse_factor) for each in estimated.layers}
    counted = {each.name: (each.strategy, each.reuse_factor) for each in found.layers}
    assert {name: built[name] for name in counted} == counted


def chain():
    x = features = keras.Input((4,), name="features")
    for i in range(len(WALK)):
        x = layers.Dense(4, activation="relu" if i + 1 < len(WALK) else None, name=f"fc{i}")(x)
    return models.seeded(features, x)


def test_the_walk_has_each_pair_in_both_orders():
    pairs = set(itertools.pairwise(WALK))
    assert pairs == set(itertools.permutations(STRATEGIES, 2)) and len(pairs) == 12


@pytest.mark.parametrize(
    ("io_type", "backend"),
    [
        ("io_parallel", "Vitis"),
        pytest.param("io_stream", "Vitis", marks=pytest.mark.slow),
        pytest.param("io_parallel", "Vivado", marks=pytest.mark.slow),
        pytest.param("io_stream", "Vivado", marks=pytest.mark.slow),
    ],
)
def test_every_two_strategies_follow_each_other(io_type, backend):
    model, strategies = chain(), {f"fc{i}": strategy for i, strategy in enumerate(WALK)}
    prove(model, strategies, configure(model, strategies, io_type, backend))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["Vitis", "Vivado"])
@pytest.mark.parametrize("io_type", ["io_parallel", "io_stream"])
@pytest.mark.parametrize("last", STRATEGIES)
def test_convolutions_of_other_strategies_follow_each_other(last, io_type, backend):
    """Convolutions along one and two axes, pointwise ones, dense layers; each strategy is in each place."""
    x = image = keras.Input((5, 4, 2), name="image")
    x = layers.Conv2D(4, 2, activation="relu", name="conv2d")(x)
    x = layers.Conv2D(4, 1, activation="relu", name="point")(x)
    x = layers.Reshape((6, 8), name="lines")(x)
    x = layers.Conv1D(2, 3, activation="relu", name="conv1d")(x)
    x = layers.Dense(4, activation="relu", name="steps")(x)
    x = layers.Flatten(name="flat")(x)
    model = models.seeded(image, layers.Dense(3, activation="softmax", name="out")(x))
    # hls4ml builds convolutions with Resource where a parallel design asks for ResourceUnrolled.
    known = [each for each in STRATEGIES if io_type == "io_stream" or each != UNROLLED]
    start = known.index(last) if last in known else 0
    turned = itertools.cycle(known[start:] + known[:start])
    strategies = {name: next(turned) for name in ("conv2d", "point", "conv1d", "steps")}
    strategies["out"] = last
    config = configure(model, strategies, io_type, backend)
    config["LayerName"]["out"]["Precision"]["result"] = "fixed<12,5>"
    prove(model, strategies, config)


@pytest.mark.slow
@pytest.mark.parametrize("io_type", ["io_parallel", "io_stream"])
def test_an_accelerator_mixes_latency_and_resource(io_type):
    x = features = keras.Input((4,), name="features")
    strategies = {"a": LATENCY, "b": RESOURCE, "c": LATENCY}
    for name in strategies:
        x = layers.Dense(4, activation="relu", name=name)(x)
    model = models.seeded(features, x)
    project = {"AcceleratorConfig": {"Board": "pynq-z2"}}
    prove(model, strategies, configure(model, strategies, io_type, "VivadoAccelerator", **project))


_OF_ONE_KIND = {
    "DepthwiseConv1D": ((6, 4), lambda: layers.DepthwiseConv1D(3, name="layer")),
    "DepthwiseConv2D": ((5, 4, 2), lambda: layers.DepthwiseConv2D(2, name="layer")),
    "LSTM": ((3, 4), lambda: layers.LSTM(4, name="layer")),
    "GRU": ((3, 4), lambda: layers.GRU(4, name="layer")),
    "Bidirectional": ((3, 4), lambda: layers.Bidirectional(layers.LSTM(4), name="layer")),
    "EinsumDense": (
        (4, 4),
        lambda: layers.EinsumDense("abc,cd->abd", (4, 4), bias_axes="d", name="layer"),
    ),
    "Conv2D": ((5, 4, 2), lambda: layers.Conv2D(4, 2, name="layer")),
}


def beside_dense(kind):
    """A layer of a kind in front of a dense one."""
    shape, make = _OF_ONE_KIND[kind]
    features = keras.Input(shape, name="features")
    x = make()(features)
    x = layers.Flatten(name="flat")(x) if len(x.shape) > 2 else x
    return models.seeded(features, layers.Dense(3, name="out")(x))


def built_strategies(found):
    """Strategy -> names of its layers; parts of one layer as that layer."""
    return {(each.name.partition("/")[0], each.strategy) for each in found if each.strategy}


@pytest.mark.parametrize("io_type", ["io_parallel", "io_stream"])
@pytest.mark.parametrize("strategy", [UNROLLED, GRAPH])
@pytest.mark.parametrize("kind", _OF_ONE_KIND)
def test_what_is_built_instead_is_what_is_estimated(kind, strategy, io_type):
    """A depthwise, recurrent or bidirectional layer and sums by an equation, beside a dense layer."""
    model = beside_dense(kind)
    config = configure(model, {"layer": strategy, "out": GRAPH}, io_type, "Vitis")
    model = pruned(model, config)
    estimated = fabricfit.estimate(model, config)
    if any("layer 'layer'" in remark for remark in estimated.remarks):
        with pytest.raises(FabricFitError, match=r"(?s)hls4ml cannot convert.*layer 'layer'"):
            fabricfit.verify(model, config, compile=False)
        return
    found = fabricfit.verify(model, config, compile=False)
    assert found.passed, str(found)
    assert built_strategies(estimated.layers) == built_strategies(found.layers)


_EXPLORED = dict.fromkeys(
    [
        ("EinsumDense", "VivadoAccelerator"),
        ("DepthwiseConv2D", "Vitis"),
        ("LSTM", "VivadoAccelerator"),
        *itertools.product(_OF_ONE_KIND, ["Vitis", "VivadoAccelerator"]),
    ]
)
"""Kinds and backends, those first that tell most."""


@pytest.mark.parametrize("explored", first_quick(_EXPLORED, quick=3), ids="-".join)
def test_explore_proposes_what_is_built(explored):
    """Whatever a design states is what hls4ml builds of it."""
    kind, backend = explored
    model, limits = beside_dense(kind), fabricfit.Budget(dsp=800, lut=90000, bram18=100)
    config = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}}
    space = DesignSpace(widths=(8,), kept=(1.0, 0.3), reuse_factors=3)
    proposed = {}
    for only in STRATEGIES:
        alone = {"LayerName": {"layer": {"Strategy": spell_strategy(only)}}, "Backend": backend}
        try:
            found = fabricfit.explore(model, limits, hls_config=config | alone, space=space)
        except InvalidInputError as error:
            assert "layer 'layer" in str(error) and "State one of these for it" in str(error)
            continue
        design = found.best
        proposed[only] = design.config
        made = fabricfit.verify(model, design.config, compile=False)
        options = {(n.partition("/")[0], o.strategy) for n, o in design.options.items()}
        assert built_strategies(made.layers) == options
        assert not made.wrongly_built
    assert proposed


@pytest.mark.parametrize("stated", ["LayerName", "LayerType"])
def test_a_graph_without_a_kernel_is_refused(stated, tmp_path):
    """hls4ml stops at distributed arithmetic in the section of a layer that multiplies nothing."""
    features = keras.Input((4,), name="features")
    x = layers.Softmax(name="shares")(layers.Dense(4, name="a")(features))
    model = models.seeded(features, layers.Dense(3, activation="softmax", name="out")(x))
    config = {"Model": {"Precision": "fixed<12,5>", "ReuseFactor": 1, "Strategy": "Latency"}}
    key = {"LayerName": "shares", "LayerType": "Softmax"}[stated]
    config[stated] = {key: {"Precision": "fixed<12,5>", "Strategy": "distributed_arithmetic"}}
    message = (
        r"layer 'shares' \(Softmax\): hls4ml stops at distributed arithmetic.*Leave 'Strategy'"
    )
    (remark,) = [each for each in fabricfit.estimate(model, config).remarks if "'shares'" in each]
    with pytest.raises(FabricFitError, match=rf"(?s)hls4ml cannot convert.*{message}"):
        fabricfit.verify(model, config, compile=False)
    data = (np.zeros((8, 4), "float32"), np.zeros(8, int))
    budget, settings = fabricfit.Budget(dsp=10), quick_settings(tmp_path)
    with pytest.raises(InvalidInputError, match=message):
        fabricfit.fit(model, data, data, budget, settings, hls_config=config)
    assert "under 'Model' it is passed over" in remark


def test_a_graph_of_several_cycles_is_refused():
    model = beside_dense("Conv2D")
    config = configure(model, {"layer": GRAPH}, "io_parallel", "Vitis")
    config["LayerName"]["layer"]["ReuseFactor"] = 2
    message = r"layer 'layer'.*ReuseFactor of 1 only.*Received: ReuseFactor=2\. Use 1, or"
    with pytest.raises(InvalidInputError, match=message):
        fabricfit.estimate(model, config)
    with pytest.raises(FabricFitError, match="layer has rf = 2"):
        fabricfit.verify(model, config, compile=False)
