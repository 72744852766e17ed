"""The objective of all resources: what it counts, which structure it picks, what it lets weights become."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabricfit.choices import solve_choices
from fabricfit.description.attributes import (
    LayerAttributes,
    OptimizationAttributes,
    hls4mlAttributes,
)
from fabricfit.description.elementwise import ElementwiseWork
from fabricfit.description.precision import quantize
from fabricfit.description.structures import SUPPORTED_STRUCTURES
from fabricfit.errors import InvalidInputError
from fabricfit.hardware import Work
from fabricfit.hls4ml.products import realized_product
from fabricfit.objectives.fpga import FPGAResources


class Dense:
    pass


class Conv2D:
    pass


def layer(
    shape=(16, 32), strategy="Resource", reuse_factor=4, width=16, io_type="io_parallel", name="fc"
):
    precision = f"fixed<{width},{min(6, width - 1)}>"
    n_in = int(np.prod(shape[:-1]))
    hls = hls4mlAttributes(
        n_in, shape[-1], io_type, strategy, precision, "fixed<16,6>", reuse_factor,
        input_precision="fixed<16,6>", accumulator_precision="fixed<16,6>",
    )  # fmt: skip
    image = len(shape) > 2
    return LayerAttributes(
        name,
        Conv2D if image else Dense,
        [],
        shape,
        (8, 8, shape[-2]) if image else (shape[0],),
        (6, 6, shape[-1]) if image else (shape[-1],),
        args={"hls4ml_attributes": hls},
    )


def decided(attributes, objective):
    settings = objective.groups(attributes)
    assert settings is not None
    attributes.optimizable, attributes.optimization_attributes = True, settings
    return attributes


def kernel_for(attributes, seed=0):
    return np.random.default_rng(seed).normal(0, 0.4, attributes.weight_shape)


def test_a_multiplier_is_a_pattern_and_a_memory_word_many():
    one = FPGAResources(["dsp", "lut"]).groups(layer())
    assert one.structure_type is SUPPORTED_STRUCTURES.PATTERN
    assert (one.pattern_offset, one.consecutive_patterns) == (128, 1)
    word = FPGAResources(["dsp", "bram18"]).groups(layer())
    assert word.consecutive_patterns == 3  # 3 x 16 bits fill a word of 36
    plenty = FPGAResources(["dsp", "bram18"], scarce=["dsp"]).groups(layer())
    assert plenty.consecutive_patterns == 1


def test_constants_are_treated_one_by_one():
    for attributes in (layer(strategy="Latency"), layer(reuse_factor=1)):
        found = FPGAResources().groups(attributes)
        assert found.structure_type is SUPPORTED_STRUCTURES.UNSTRUCTURED
        assert found.constants


def test_savings_are_those_of_unrolled_code():
    assert realized_product(layer()).strategy == "resource_unrolled"
    image = layer((3, 3, 4, 8), io_type="io_stream")
    assert realized_product(image).strategy == "resource_unrolled"
    parallel = layer((3, 3, 4, 8))
    objective = FPGAResources(["dsp"])
    assert objective.groups(parallel) is None
    assert "io_stream" in objective.reason(parallel)


def test_narrow_weights_have_no_dsps_to_save_but_luts():
    narrow = layer(width=4)
    assert FPGAResources(["dsp"]).groups(narrow) is None
    assert "DSP" in FPGAResources(["dsp"]).reason(narrow)
    assert FPGAResources(["dsp", "lut"]).groups(narrow) is not None


def test_pruned_multipliers_are_counted_in_the_weights():
    objective = FPGAResources(["dsp"])
    attributes = decided(layer(), objective)
    kernel = kernel_for(attributes)
    assert objective.usage(attributes, kernel) == [128]
    rows = kernel.T.reshape(-1, 4)
    rows[[0, 5, 77]] = 0
    kernel = rows.reshape(32, 16).T
    assert objective.usage(attributes, kernel) == [125]
    kernel[np.abs(kernel) < 1e9] = 1e-5  # nothing is left of it in 10 fractional bits
    assert objective.usage(attributes, kernel) == [0]


def test_equal_weights_on_an_input_share_a_dsp():
    objective = FPGAResources(["dsp"])
    attributes = decided(layer((2, 4), "Latency", 1), objective)
    odd = 0b1010011 / 1024  # four signed digits
    kernel = np.array([[odd, odd, -odd, 0.25], [odd, 0.375, 0, 0.5]])
    assert objective.usage(attributes, kernel) == [3]


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**16),
    st.integers(0, 300),
    st.sampled_from(["Latency", "distributed_arithmetic"]),
)
def test_constants_take_no_more_than_the_choice_was_charged(seed, allowed, strategy):
    objective = FPGAResources(["dsp", "lut"])
    attributes = decided(layer((6, 8), strategy, 1), objective)
    kernel = kernel_for(attributes, seed)
    choices = objective.choices(attributes, kernel)
    least = choices.fixed + choices.cheapest().cost.sum(axis=0)
    limits = np.maximum([allowed // 6, 20 * allowed], least)
    solution = solve_choices([choices], limits)
    assert (solution.used <= limits + 1e-6).all()
    treatment = choices.treatment(solution.picks[0])
    promised = objective.treated_usage(attributes, kernel, treatment)
    taken = objective.usage(attributes, treatment.apply(kernel))
    assert taken[0] <= promised[0] <= limits[0] + 1e-6
    assert taken[1] <= 1.1 * promised[1] + 60  # a kept weight may have two digits by chance


def test_what_may_still_train_counts_at_its_worst():
    objective = FPGAResources(["dsp"])
    attributes = decided(layer((4, 4), "Latency", 1), objective)
    kernel = np.full((4, 4), 0.5)  # takes no DSP now
    choices = objective.choices(attributes, kernel)
    treatment = choices.treatment(choices.respond(np.zeros(1)).pick)
    assert objective.usage(attributes, kernel) == [0]
    own = np.count_nonzero(treatment.mask) + len(
        np.unique(treatment.cluster[treatment.cluster > 0])
    )
    assert objective.treated_usage(attributes, kernel, treatment) == [own]


@pytest.mark.parametrize("strategy", ["Resource", "Latency", "distributed_arithmetic"])
@pytest.mark.parametrize("width", [8, 16])
def test_utilization_falls_with_every_group_from_all_to_little(strategy, width):
    objective = FPGAResources()
    reuse_factor = 4 if strategy == "Resource" else 1
    attributes = decided(layer((16, 8), strategy, reuse_factor, width), objective)
    count = attributes.grouping.n_groups
    used = np.array([objective.usage_without(attributes, n) for n in range(count + 1)])
    assert (np.diff(used, axis=0) <= 0).all()
    assert (used[0] == objective.usage(attributes)).all()
    savings = objective.saving(attributes)
    assert savings.any()
    assert (used[0] - used[-1] >= savings * (count - 1) * 0.9 - count).all()


def test_an_activation_by_table_takes_block_ram():
    objective = FPGAResources(["bram18"])
    attributes = layer()
    plain = objective.usage(attributes, kernel_for(attributes))
    attributes.elementwise = ElementwiseWork.LOOKUP_TABLE
    assert objective.usage(attributes, kernel_for(attributes))[0] == plain[0] + 16


def test_work_is_counted_in_quantized_weights():
    objective = FPGAResources()
    attributes = decided(layer(width=8), objective)
    kernel = kernel_for(attributes)
    precision = attributes.hls4ml.weight_precision
    product = realized_product(attributes)
    assert objective.work(attributes, kernel) == Work.of(
        product, quantize(kernel, precision, as_built=True)
    )


def test_unknown_resources_are_refused():
    for names in ([], ["dsps"]):
        with pytest.raises(InvalidInputError, match="'dsp'"):
            FPGAResources(names)


def test_attributes_of_another_structure_are_counted_too():
    objective = FPGAResources(["dsp"])
    attributes = layer()
    attributes.optimizable = True
    attributes.optimization_attributes = OptimizationAttributes("structured", pruning=True)
    assert objective.usage_without(attributes, 1) == [124]
