"""Objectives for models without DSPs: what they count, and what choices they lead to."""

import numpy as np
import pytest

from fabricfit.choices import solve_choices
from fabricfit.description.precision import quantize
from fabricfit.hardware.adder_graphs import adder_graph_lut, bit_operations
from fabricfit.objectives import fpga_luts
from fabricfit.objectives.fpga import FPGAResources
from fabricfit.objectives.fpga_luts import AdderGraphResources, BitOperations
from fabricfit.selection.choice_targets import ChoiceTarget
from tests.objectives.test_fpga import decided, kernel_for, layer

pytest.importorskip("alkaid")


@pytest.mark.parametrize("strategy", ["Latency", "distributed_arithmetic"])
def test_constants_are_counted_as_their_graph_without_dsps(strategy):
    objective = AdderGraphResources(["dsp", "lut"])
    attributes = decided(layer((8, 6), strategy, 1, 8), objective)
    kernel = kernel_for(attributes)
    precision = attributes.hls4ml.weight_precision
    integers = quantize(kernel, precision, as_built=True)
    assert objective.usage(attributes, kernel).tolist() == [0, adder_graph_lut(integers, 16)]


def test_layers_with_multipliers_are_counted_as_ever():
    attributes = layer(reuse_factor=4)
    kernel = kernel_for(attributes)
    resources = ["dsp", "lut"]
    expected = FPGAResources(resources).usage(attributes, kernel)
    assert (AdderGraphResources(resources).usage(attributes, kernel) == expected).all()


@pytest.mark.parametrize("objective", [AdderGraphResources(["lut"]), BitOperations()])
@pytest.mark.parametrize("level", [0.3, 0.6, 0.85])
def test_a_choice_keeps_a_level_and_uses_it(objective, level):
    attributes = {
        name: decided(layer(shape, "Latency", 1, 12, name=name), objective)
        for name, shape in (("a", (8, 10)), ("b", (10, 6)))
    }
    kernels = {name: kernel_for(each, seed) for seed, (name, each) in enumerate(attributes.items())}
    target = ChoiceTarget(attributes, objective, kernels)
    chosen = target.choose(kernels, level)
    treated = {name: each.apply(kernels[name]) for name, each in chosen.treatments.items()}
    allowed = (1 - level) * target.baseline[0]
    used = sum(objective.usage(attributes[n], k)[0] for n, k in treated.items())
    assert chosen.utilization[0] <= allowed * (1 + 1e-9)
    # What may still train is counted as it usually comes out, which is not what it is by chance now.
    assert 0.7 * allowed <= used <= 1.15 * allowed


def test_graphs_are_traced_where_a_level_ends_and_not_on_the_way(monkeypatch):
    objective, traced = AdderGraphResources(["lut"]), []

    def count(integers, input_width):
        traced.append(integers)
        return adder_graph_lut(integers, input_width)

    monkeypatch.setattr(fpga_luts, "adder_graph_lut", count)
    attributes = {"fc": decided(layer((10, 12), "distributed_arithmetic", 1, 10), objective)}
    kernels = {"fc": kernel_for(attributes["fc"])}
    target = ChoiceTarget(attributes, objective, kernels)
    for level in (0.4, 0.8):
        traced.clear()
        chosen = target.choose(kernels, level)
        assert len(traced) == 1
        treated = chosen.treatments["fc"].apply(kernels["fc"])
        used = objective.usage(attributes["fc"], treated)
        assert chosen.utilization == pytest.approx(used, rel=0.05)
        assert 0.9 * (1 - level) <= chosen.utilization[0] / target.baseline[0] <= 1 - level


def test_large_layers_are_counted_without_tracing_and_the_report_says_so(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "alkaid.trace", None)
    objective = AdderGraphResources(["lut"])
    attributes = {"fc": decided(layer((120, 100), "Latency", 1, 16, name="fc"), objective)}
    kernels = {"fc": kernel_for(attributes["fc"])}
    target = ChoiceTarget(attributes, objective, kernels)
    chosen = target.choose(kernels, 0.5)
    assert 0.45 <= chosen.utilization[0] / target.baseline[0] <= 0.5
    assert any("'fc'" in each for each in objective.remark_on(attributes, kernels))


def test_bit_operations_of_a_layer():
    attributes = decided(layer((4, 3), "Latency", 1, 8), BitOperations())
    kernel = kernel_for(attributes)
    precision = attributes.hls4ml.weight_precision
    integers = quantize(kernel, precision, as_built=True)
    assert BitOperations().usage(attributes, kernel) == [bit_operations(integers, 16)]
    assert BitOperations().usage(attributes) == [12 * 7 * 16]


def test_at_a_price_weights_are_rounded_to_fewer_bits_before_they_go():
    attributes = decided(layer((6, 6), "Latency", 1, 10), BitOperations())
    kernel = kernel_for(attributes)
    choices = BitOperations().choices(attributes, kernel)
    full = BitOperations().usage(attributes, kernel)[0]
    solution = solve_choices([choices], np.array([0.5 * full]))
    after = choices.treatment(solution.picks[0]).apply(kernel)
    assert BitOperations().usage(attributes, after)[0] < 0.6 * full
    assert np.count_nonzero(after) > 0.6 * kernel.size
