"""Designs for a budget: within the limits, as the laws count them, and as hls4ml can build them."""

import dataclasses

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit import Budget
from fabricfit.description.precision import dequantize, quantize
from fabricfit.description.strategies import CONSTANTS_ONLY, SHARED_MULTIPLIERS
from fabricfit.design import DesignSpace, explore
from fabricfit.design.pruning import Pruning
from fabricfit.errors import InfeasibleError, InvalidInputError
from fabricfit.hls4ml.products import product_of
from fabricfit.network.configuration import open_configuration
from fabricfit.network.describe import describe_for_hls4ml
from fabricfit.network.reader import as_network
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

L = keras.layers
SMALL = DesignSpace(widths=(8,), kept=(1.0, 0.3), reuse_factors=4)
UNPRUNED = DesignSpace(widths=(8,), kept=(1.0,), reuse_factors=4)


@pytest.fixture(scope="module")
def tagger():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((16,)), L.Dense(24, activation="relu", name="a")]
    layers += [L.Dense(12, activation="relu", name="b"), L.Dense(5, name="c")]
    return keras.Sequential(layers)


@pytest.fixture(scope="module")
def lenet():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((12, 12, 1)), L.Conv2D(4, 3, activation="relu", name="a")]
    layers += [L.MaxPooling2D(2), L.Conv2D(6, 3, activation="relu", name="b"), L.Flatten()]
    return keras.Sequential([*layers, L.Dense(10, name="c")])


@pytest.mark.parametrize(
    "budget", [Budget(dsp=60, lut=9000), Budget(lut=12000), Budget.device("pynq-z2", 0.1)]
)
def test_designs_are_within_their_limits(tagger, budget):
    found = explore(tagger, budget, space=SMALL)
    losses = [design.loss for design in found.designs]
    assert losses == sorted(losses) and found.best is found.designs[0]
    for design in found.designs:
        assert all(design.resources[name] <= limit for name, limit in budget.limits({}).items())
        assert design.gap < 1e-9
        assert set(design.options) == {"a", "b", "c"}


def test_a_design_is_what_an_estimate_says(tagger):
    for options in ({}, {"stage": "logic synthesis"}, {"tool": "vitis"}):
        budget = Budget(dsp=10**4, lut=10**6, bram18=10**4, **options)
        for design in explore(tagger, budget, space=UNPRUNED).designs:
            used = fabricfit.estimate(tagger, design.config, budget=budget)
            for name in budget.resources:
                assert used.compared[name].value == pytest.approx(design.resources[name]), name
            assert used.latency.value == design.latency
            assert used.interval.value == design.interval
            for layer in used.layers:
                option = design.options[layer.name]
                assert (layer.strategy, layer.reuse_factor) == (
                    option.strategy,
                    option.reuse_factor,
                )


def test_streams_have_their_fifos(lenet):
    config = {"IOType": "io_stream", "Model": {"Precision": "fixed<16,6>"}}
    config["Model"] |= {"Strategy": "Resource", "ReuseFactor": 1}
    budget = Budget.device("pynq-z2")
    for design in explore(lenet, budget, hls_config=config, space=UNPRUNED).designs:
        used = fabricfit.estimate(lenet, design.config, budget=budget)
        assert used.fits
        for name in budget.resources:
            assert used.compared[name].value == pytest.approx(design.resources[name]), name
        assert used.interval.value == design.interval


def estimate_pruned(model, design, budget):
    """Estimate a design of a model whose weights are pruned as its options say."""
    made = keras.models.clone_model(model)
    made.set_weights(model.get_weights())
    network = as_network(made)
    attributes = describe_for_hls4ml(network, open_configuration(design.config, network))
    for name, option in design.options.items():
        layer, kernel = attributes[name], made.get_layer(name).kernel
        matrix = layer.axes.matrix(keras.ops.convert_to_numpy(kernel).astype(float))
        rounded = dequantize(quantize(matrix, option.precision, as_built=True), option.precision)
        product, weight = product_of(layer, budget.target), np.full_like(matrix, 0.5)
        pruning = Pruning.of(product, matrix, rounded, weight)
        pruned = np.where(pruning.ranks < pruning.count(option.kept), rounded, 0.0)
        assert option.loss == pytest.approx(float((weight * (matrix - pruned) ** 2).sum()))
        kernel.assign(layer.axes.kernel(pruned, tuple(kernel.shape)))
    return fabricfit.estimate(made, design.config, budget=budget)


IN_TIME = {"latency": "80ns", "interval": "25ns"}


@pytest.mark.parametrize("margin", [0, 0.4, 1])
@pytest.mark.parametrize(
    "limits",
    [
        {"dsp": 60, "lut": 9000},
        {"dsp": 250, "lut": 18000, "tool": "vitis", "latency": "200ns", "interval": "40ns"},
        {"lut": 6000, "stage": "logic synthesis", **IN_TIME},
    ],
)
def test_a_pruned_design_is_within_the_budget_at_its_margin(tagger, limits, margin):
    budget = Budget(**limits, margin=margin)
    found = explore(tagger, budget, space=SMALL)
    for design in found.designs:
        used = estimate_pruned(tagger, design, budget)
        for name, limit in budget.limits({}).items():
            counted = used.compared[name].counted(margin)
            assert counted == pytest.approx(design.resources[name]) and counted <= limit
        assert all(each.is_within(margin) for each in used.timings)
        assert used.latency.counted(margin) == pytest.approx(design.latency)
        assert used.interval.counted(margin) == pytest.approx(design.interval)
        assert used.fits and (margin < 1 or used.surely_fits)
    assert found.best.loss >= explore(tagger, Budget(**limits), space=SMALL).best.loss


@pytest.mark.parametrize("margin", [0, 0.4, 1])
def test_a_stream_is_in_time_at_the_margin(lenet, margin):
    config = {"IOType": "io_stream", "Model": {"Precision": "fixed<16,6>"}}
    config["Model"] |= {"Strategy": "Resource", "ReuseFactor": 1}
    budget = Budget(dsp=220, lut=53200, latency="10us", interval="7us", margin=margin)
    found = explore(lenet, budget, hls_config=config, space=SMALL)
    for design in found.designs:
        used = estimate_pruned(lenet, design, budget)
        assert all(each.is_within(margin) for each in used.timings)
        assert used.latency.counted(margin) == pytest.approx(design.latency)
        assert used.interval.counted(margin) == pytest.approx(design.interval)
    for late in ({"latency": "600ns"}, {"interval": "500ns"}):
        with pytest.raises(InfeasibleError, match="no design"):
            explore(lenet, Budget(lut=10**6, **late, margin=margin), hls_config=config, space=SMALL)


def test_the_margin_of_the_interval_is_that_of_the_whole_design(monkeypatch, tagger):
    from fabricfit.hardware.estimates import Estimate
    from fabricfit.hls4ml import estimation

    def uncertain(product, work, target):
        value = product.reuse_factor
        return Estimate(value, value, value if product.n_in == 16 else value + 10)

    monkeypatch.setattr(estimation, "product_interval", uncertain)
    budget = Budget(dsp=200, lut=30000, interval=80, margin=0.5)  # 16 cycles
    for design in explore(tagger, budget, space=UNPRUNED).designs:
        used = fabricfit.estimate(tagger, design.config, budget=budget)
        assert used.interval.counted(0.5) == design.interval <= 16
        assert used.interval.value + 10 > used.interval.high  # another layer has the upper end


def test_deadlines_are_met(tagger):
    budget = Budget(dsp=600, lut=60000, bram18=500)
    free = explore(tagger, budget, space=SMALL).best
    soon = Budget(dsp=600, lut=60000, bram18=500, latency="60ns", interval="20ns")
    quick = explore(tagger, soon, space=SMALL).best
    assert quick.latency * 5 <= 60 and quick.interval * 5 <= 20
    assert quick.loss >= free.loss and free.interval > 4


def test_what_is_stated_of_a_layer_is_kept(tagger):
    config = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}}
    config["LayerName"] = {"b": {"Strategy": "Resource", "ReuseFactor": 4}}
    for design in explore(tagger, Budget(dsp=200, lut=50000), hls_config=config).designs:
        assert design.options["b"].strategy == "resource"


def test_the_hessian_says_what_is_lost(tagger):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(256, 16)).astype("float32")
    inputs[:, 8:] = 0  # these inputs tell nothing
    targets = rng.integers(0, 5, 256)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    design = explore(
        tagger, Budget(dsp=0, lut=12000), (inputs, targets), loss=loss, space=SMALL
    ).best
    assert design.loss < explore(tagger, Budget(dsp=0, lut=12000), space=SMALL).best.loss
    with pytest.raises(InvalidInputError, match="loss must be given"):
        explore(tagger, Budget(lut=6000), (inputs, targets), space=SMALL)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (Budget(lut=50), "lut: 50 are allowed, and"),
        (Budget(lut=10**6, interval=2), "takes a sample every 2 ns: layer"),
        (Budget(lut=10**6, latency=4), "no design is done within 4 ns"),
    ],
)
def test_the_impossible_is_refused(tagger, budget, message):
    with pytest.raises(InfeasibleError, match=message):
        explore(tagger, budget, space=SMALL)


def test_a_model_without_kernels_is_refused():
    model = keras.Sequential([keras.Input((4,)), L.ReLU()])
    with pytest.raises(InvalidInputError, match="no layer with a kernel"):
        explore(model, Budget(lut=100))


FEW = {"fractions": (1.0, 0.4)}


@pytest.mark.parametrize("deadline", [{}, {"interval": "30ns"}])
def test_designs_of_each_set_of_strategies_are_found_in_one_table(tagger, deadline):
    """They are those that are found where only these strategies are tried."""
    budget = Budget(dsp=700, lut=40000, **deadline)
    found = explore(tagger, budget, space=UNPRUNED, by_strategies=True, **FEW)
    sets = {"constants": CONSTANTS_ONLY, "shared multipliers": SHARED_MULTIPLIERS}
    assert set(found.by_strategies) == set(sets)
    for name, strategies in sets.items():
        only = dataclasses.replace(UNPRUNED, strategies=strategies)
        own, alone = found.by_strategies[name], explore(tagger, budget, space=only, **FEW)
        assert not alone.by_strategies and own == alone
        for design in own.designs:
            assert {option.strategy for option in design.options.values()} <= {*strategies}


def test_sets_of_strategies_that_cannot_be_are_missing(tagger):
    space = dataclasses.replace(UNPRUNED, constants_up_to=100)
    found = explore(tagger, Budget(lut=30000, dsp=200), space=space, by_strategies=True, **FEW)
    assert set(found.by_strategies) == {"shared multipliers"}


def test_what_is_stated_by_name_is_in_each_set(tagger):
    stated = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}}
    stated["LayerName"] = {"b": {"Strategy": "Resource", "ReuseFactor": 4}}
    limits = Budget(lut=30000, dsp=200)
    found = explore(tagger, limits, hls_config=stated, space=UNPRUNED, by_strategies=True, **FEW)
    options = found.by_strategies["constants"].best.options
    assert options["b"].strategy == "resource"
    assert {options[name].strategy for name in "ac"} <= {*CONSTANTS_ONLY}


def recurrent(kind="LSTM", rows=6, units=8):
    keras.utils.set_random_seed(0)
    layer = getattr(L, kind)(units, name="layer")
    return keras.Sequential([keras.Input((5, rows)), layer, L.Dense(3, name="out")])


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_kernels_of_one_layer_are_built_in_one_way(kind):
    model = recurrent(kind)
    space = DesignSpace(widths=(8,), kept=(1.0,), reuse_factors=6)
    for budget in (Budget(dsp=20, lut=60000), Budget(dsp=60, lut=9000, bram18=40)):
        for design in explore(model, budget, space=space, fractions=(1.0, 0.6)).designs:
            both = [design.options[f"layer/{name}"] for name in ("kernel", "recurrent_kernel")]
            assert len({(each.strategy, each.stated_reuse_factor) for each in both}) == 1
            used = fabricfit.estimate(model, design.config, budget=budget)
            assert not used.remarks
            for name in budget.resources:
                assert used.compared[name].value == pytest.approx(design.resources[name]), name
            built = {each.name: (each.strategy, each.reuse_factor) for each in used.layers}
            for name, option in design.options.items():
                assert built[name] == (option.strategy, option.reuse_factor)


def test_ways_at_which_hls4ml_stops_are_not_proposed():
    model, space = recurrent("LSTM", 3, 4), DesignSpace(widths=(8,), kept=(1.0,), reuse_factors=9)
    stated = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}}
    stated["LayerName"] = {"layer": {"Strategy": "Resource"}}
    proposed = {
        design.options["layer/kernel"].stated_reuse_factor
        for lut in (6000, 20000)
        for design in explore(
            model, Budget(dsp=40, lut=lut), hls_config=stated, space=space
        ).designs
    }
    assert proposed and 6 not in proposed
    stated["LayerName"]["layer"]["ReuseFactor"] = 6
    with pytest.raises(
        InvalidInputError, match=r"(?s)fabricfit.explore needs.*'layer' \(LSTM\).*divides"
    ):
        explore(model, Budget(dsp=40, lut=20000), hls_config=stated, space=space)


@pytest.mark.parametrize("strategy", ["Latency", "Resource", "distributed_arithmetic"])
def test_what_no_design_can_have_is_refused(strategy):
    einsum = L.EinsumDense("abc,cd->abd", (4, 4), name="layer")
    model = keras.Sequential([keras.Input((4, 4)), einsum, L.Flatten(), L.Dense(3, name="out")])
    stated = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": strategy}}
    budget, limits = Budget(lut=20000), r"(?s)explore needs a model.*'layer' \(EinsumDense\)"
    with pytest.raises(InvalidInputError, match=limits):
        explore(model, budget, hls_config=stated | {"IOType": "io_stream"}, space=SMALL)
    found = explore(model, budget, hls_config=stated, space=SMALL)
    assert {design.options["layer"].strategy for design in found.designs} <= {*CONSTANTS_ONLY}


def test_a_graph_of_adders_without_a_kernel_is_refused(tagger):
    stated = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}}
    own = {"Precision": "fixed<16,6>", "Strategy": "distributed_arithmetic"}
    message = r"'a' \(Dense\): hls4ml stops at distributed arithmetic.*Leave 'Strategy'"
    with pytest.raises(InvalidInputError, match=message):
        explore(tagger, Budget(lut=9000), hls_config=stated | {"LayerName": {"a_relu": own}})
