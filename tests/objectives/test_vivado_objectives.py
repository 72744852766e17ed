import copy
import logging
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabricfit.description.attributes import (
    LayerAttributes,
    OptimizationAttributes,
    hls4mlAttributes,
)
from fabricfit.description.structures import SUPPORTED_STRUCTURES
from fabricfit.errors import InvalidInputError
from fabricfit.hls4ml import valid_reuse_factors
from fabricfit.objectives.vivado_objectives import (
    VivadoDSPEstimator,
    VivadoFFEstimator,
    VivadoMultiObjectiveEstimator,
)

ALL = [VivadoDSPEstimator, VivadoFFEstimator, VivadoMultiObjectiveEstimator]
PATTERN = SUPPORTED_STRUCTURES.PATTERN
UNSTRUCTURED = SUPPORTED_STRUCTURES.UNSTRUCTURED


def layer(
    shape=(16, 64),
    *,
    reuse_factor=4,
    strategy="Resource",
    bits=16,
    io_type="io_parallel",
    parallelization_factor=1,
    input_bits=None,
    output_bits=12,
    output_shape=None,
):
    hls = hls4mlAttributes(
        math.prod(shape[:-1]),
        shape[-1],
        io_type,
        strategy,
        f"fixed<{bits},2>",
        f"fixed<{output_bits},6>",
        reuse_factor,
        parallelization_factor,
        input_precision=input_bits and f"fixed<{input_bits},2>",
    )
    return LayerAttributes(
        "fc",
        object,
        [],
        shape,
        shape[:1],
        output_shape or shape[-1:],
        args={"hls4ml_attributes": hls},
    )


def chosen(objective, attributes, **changes):
    """Give a layer the groups that the objective asks for, or others."""
    optimizable, options = objective.is_layer_optimizable(attributes)
    assert optimizable
    attributes.optimization_attributes = (
        OptimizationAttributes(**({"pruning": True} | changes)) if changes else options
    )
    return attributes


# DSP


def test_dsps_of_a_jet_tagger_layer():
    attributes = chosen(VivadoDSPEstimator, layer())
    assert attributes.optimization_attributes == OptimizationAttributes(
        PATTERN, pruning=True, pattern_offset=256
    )
    assert attributes.grouping.group_size == 4
    assert VivadoDSPEstimator.layer_resources(attributes) == [256]
    assert VivadoDSPEstimator.layer_savings(attributes) == [1]
    assert VivadoDSPEstimator.layer_utilization(attributes, 56) == [200]
    assert VivadoDSPEstimator.units == ("DSP",)


@pytest.mark.parametrize("strategy", ["Resource", "ResourceUnrolled", "resource_unrolled"])
def test_resource_strategies_prune_patterns(strategy):
    attributes = chosen(VivadoDSPEstimator, layer(strategy=strategy))
    assert attributes.optimization_attributes.structure_type is PATTERN
    assert VivadoDSPEstimator.layer_savings(attributes) == [1]


@pytest.mark.parametrize("reuse_factor", [1, 2])
def test_latency_prunes_weights_whatever_the_reuse_factor(reuse_factor):
    attributes = layer(strategy="Latency", reuse_factor=reuse_factor)
    chosen(VivadoDSPEstimator, attributes)
    assert attributes.optimization_attributes == OptimizationAttributes(pruning=True)
    assert VivadoDSPEstimator.layer_resources(attributes) == [1024]
    assert VivadoDSPEstimator.layer_savings(attributes) == [1]


def test_groups_follow_the_reuse_factor_that_hls4ml_uses():
    attributes = chosen(VivadoDSPEstimator, layer(reuse_factor=5))
    assert attributes.optimization_attributes.pattern_offset == 256
    unrolled = layer(reuse_factor=1024, strategy="ResourceUnrolled")
    assert chosen(VivadoDSPEstimator, unrolled).optimization_attributes.pattern_offset == 2


@pytest.mark.parametrize(
    ("bits", "input_bits", "expected"),
    [(8, None, 1), (8, 8, 1), (6, 16, 1), (16, 18, 1), (20, 20, 2), (32, 32, 4)],
)
def test_wide_products_take_several_dsps(bits, input_bits, expected):
    attributes = chosen(VivadoDSPEstimator, layer(bits=bits, input_bits=input_bits))
    assert VivadoDSPEstimator.layer_resources(attributes) == [256 * expected]
    assert VivadoDSPEstimator.layer_savings(attributes) == [expected]


@pytest.mark.parametrize(("bits", "input_bits"), [(4, 16), (6, 6), (16, 4)])
def test_narrow_products_take_none(bits, input_bits):
    attributes = layer(bits=bits, input_bits=input_bits)
    assert VivadoDSPEstimator.is_layer_optimizable(attributes) == (False, None)
    assert VivadoDSPEstimator.layer_resources(attributes) == [0]
    assert "LUTs, not DSPs" in VivadoDSPEstimator.reason(attributes)


def test_positions_computed_in_parallel_each_have_multipliers():
    kernel = {"shape": (3, 3, 3, 8), "reuse_factor": 27, "output_shape": (6, 6, 8)}
    attributes = chosen(VivadoDSPEstimator, layer(**kernel, parallelization_factor=6))
    assert VivadoDSPEstimator.layer_resources(attributes) == [8 * 6]
    assert VivadoDSPEstimator.layer_savings(attributes) == [6]
    assert attributes.grouping.n_groups == 8
    streamed = layer(**kernel, parallelization_factor=6, io_type="io_stream")
    assert VivadoDSPEstimator.layer_resources(streamed) == [8]


@pytest.mark.parametrize(
    ("reuse_factor", "options", "expected"),
    [
        (4, {"structure_type": "structured"}, 4),
        (16, {"structure_type": "structured"}, 1),
        (32, {"structure_type": "structured"}, 0),
        (1, {"structure_type": "unstructured"}, 1),
        (4, {"structure_type": "unstructured"}, 0),
        (4, {"structure_type": "block", "block_shape": (8, 2)}, 4),
        (4, {"structure_type": "block", "block_shape": (4, 4)}, 4),
        (4, {"structure_type": "block", "block_shape": (2, 2)}, 0),
        (1, {"structure_type": "block", "block_shape": (2, 3)}, 6),
        (4, {"structure_type": "pattern", "pattern_offset": 256}, 1),
        (4, {"structure_type": "pattern", "pattern_offset": 256, "consecutive_patterns": 3}, 3),
        (4, {"structure_type": "pattern", "pattern_offset": 128}, 2),
        (4, {"structure_type": "pattern", "pattern_offset": 512}, 0),
        (8, {"structure_type": "pattern", "pattern_offset": 256, "consecutive_patterns": 3}, 0),
    ],
)
def test_other_groups_save_the_multipliers_they_surely_empty(
    reuse_factor, options, expected, caplog
):
    attributes = chosen(VivadoDSPEstimator, layer(reuse_factor=reuse_factor), **options)
    with caplog.at_level(logging.WARNING, logger="fabricfit"):
        assert VivadoDSPEstimator.layer_savings(attributes) == [expected]
    assert ("leaves no multipliers without work" in caplog.text) == (expected == 0)


@given(
    st.sampled_from([(6, 4), (8, 3), (5, 6), (2, 2, 3, 4)]),
    st.sampled_from([1, 2, 3, 4, 6, 8, 12, 24]),
    st.sampled_from(["unstructured", "structured", "pattern", "block"]),
    st.integers(1, 30),
    st.integers(1, 4),
    st.tuples(st.integers(1, 9), st.integers(1, 5)),
)
def test_savings_are_promises_that_hold_for_every_full_group(
    shape, reuse_factor, structure, pattern_offset, consecutive, block_shape
):
    """Oracle: zero one group in the tensor and count hls4ml's all-zero rows of RF weights."""
    n_in, n_out = math.prod(shape[:-1]), shape[-1]
    if reuse_factor not in valid_reuse_factors(n_in, n_out):
        return
    attributes = chosen(
        VivadoDSPEstimator,
        layer(shape, reuse_factor=reuse_factor),
        structure_type=structure,
        pattern_offset=min(pattern_offset, n_in * n_out),
        consecutive_patterns=consecutive,
        block_shape=block_shape,
    )
    promised = VivadoDSPEstimator.layer_savings(attributes)[0]
    groups = attributes.grouping
    for index in np.flatnonzero(groups.member_counts == groups.group_size):
        kernel = groups.spread(np.arange(groups.n_groups) != index)
        rows = np.moveaxis(kernel, -1, 0).reshape(-1, reuse_factor)
        emptied = np.count_nonzero(~rows.any(axis=1))
        assert emptied >= promised
        if structure != "pattern" and groups.is_exact and reuse_factor <= n_in:
            aligned = structure == "unstructured" or min(block_shape[0], n_in) % reuse_factor == 0
            if structure == "structured" or aligned:
                assert emptied == promised


# DSP and block RAM


@pytest.mark.parametrize(
    ("bits", "reuse_factor", "patterns", "saved"),
    [
        (16, 4, 3, [3, 1]),
        (10, 4, 4, [4, 1]),
        (18, 4, 2, [2, 1]),
        (9, 4, 4, [4, 1]),
        (4, 4, 9, [0, 1]),
        (16, 1024, 1, [1, 1]),  # a layer of one multiplier
    ],
)
def test_a_group_fills_the_word_of_a_block_ram(bits, reuse_factor, patterns, saved):
    attributes = layer(bits=bits, reuse_factor=reuse_factor)
    options = chosen(VivadoMultiObjectiveEstimator, attributes).optimization_attributes
    assert options.structure_type is PATTERN
    assert options.pattern_offset == 1024 // reuse_factor
    if reuse_factor <= 512:
        assert options.consecutive_patterns == patterns
        assert (patterns - 1) * bits < 36 <= patterns * bits
    assert VivadoMultiObjectiveEstimator.layer_savings(attributes) == saved


def test_deep_memories_have_narrow_words():
    attributes = chosen(VivadoMultiObjectiveEstimator, layer((64, 64), bits=16, reuse_factor=1024))
    assert attributes.optimization_attributes.consecutive_patterns == 2
    assert VivadoMultiObjectiveEstimator.layer_resources(attributes) == [4, 4]
    assert VivadoMultiObjectiveEstimator.layer_savings(attributes) == [2, 1]


def test_remaining_words_are_counted_exactly():
    attributes = chosen(VivadoMultiObjectiveEstimator, layer())
    assert VivadoMultiObjectiveEstimator.layer_resources(attributes) == [256, 114]
    for removed in (0, 1, 2, 40):
        # The last of the 86 groups holds one pattern, and is taken to be among those that go.
        left = 256 - 3 * removed + (2 if removed else 0)
        assert VivadoMultiObjectiveEstimator.layer_utilization(attributes, removed) == [
            left,
            math.ceil(left * 16 / 36),
        ]
    assert VivadoMultiObjectiveEstimator.layer_utilization(attributes, 86) == [0, 0]
    assert VivadoMultiObjectiveEstimator.model_utilization({"fc": attributes}, {"fc": 40}) == [
        138,
        62,
    ]


def test_a_layer_smaller_than_a_word_is_one_group():
    attributes = chosen(VivadoMultiObjectiveEstimator, layer((8, 2), bits=4, reuse_factor=8))
    assert attributes.grouping.n_groups == 1
    assert VivadoMultiObjectiveEstimator.layer_resources(attributes) == [0, 1]
    assert VivadoMultiObjectiveEstimator.layer_savings(attributes) == [0, 1]


@pytest.mark.parametrize(
    "options", [{"reuse_factor": 1}, {"strategy": "Latency"}], ids=["RF=1", "Latency"]
)
def test_without_block_rams_single_weights_go(options):
    attributes = chosen(VivadoMultiObjectiveEstimator, layer(**options))
    assert attributes.optimization_attributes.structure_type is UNSTRUCTURED
    assert VivadoMultiObjectiveEstimator.layer_resources(attributes) == [1024, 0]
    assert VivadoMultiObjectiveEstimator.layer_savings(attributes) == [1, 0]
    assert VivadoMultiObjectiveEstimator.layer_utilization(attributes, 24) == [1000, 0]


def test_nothing_to_gain_without_dsps_and_block_rams():
    attributes = layer(bits=4, strategy="Latency")
    assert VivadoMultiObjectiveEstimator.is_layer_optimizable(attributes) == (False, None)
    assert VivadoMultiObjectiveEstimator.layer_resources(attributes) == [0, 0]
    assert "no block RAM" in VivadoMultiObjectiveEstimator.reason(attributes)


@given(
    st.sampled_from([(16, 8), (12, 10), (32, 32)]),
    st.integers(1, 32),
    st.integers(1, 1024),
    st.sampled_from(["Resource", "ResourceUnrolled", "Latency"]),
)
def test_utilization_falls_to_nothing_and_keeps_its_promise(shape, bits, reuse_factor, strategy):
    for objective in (VivadoDSPEstimator, VivadoMultiObjectiveEstimator):
        attributes = layer(shape, bits=bits, reuse_factor=reuse_factor, strategy=strategy)
        optimizable, options = objective.is_layer_optimizable(attributes)
        resources = objective.layer_resources(attributes)
        if not optimizable:
            assert resources == [0] * len(objective.units)
            assert objective.reason(attributes)
            continue
        attributes.optimization_attributes = options
        savings = objective.layer_savings(attributes)
        assert max(savings) > 0
        assert all(type(number) is int for number in resources + savings)
        n_groups = attributes.grouping.n_groups
        before = resources
        for removed in sorted({0, 1, n_groups // 3, n_groups // 2, n_groups - 1, n_groups}):
            after = objective.layer_utilization(attributes, removed)
            assert all(0 <= a <= b for a, b in zip(after, before, strict=True))
            full = attributes.grouping.member_counts.min() == attributes.grouping.group_size
            least = [
                r - (removed - (not full and removed > 0)) * s
                for r, s in zip(resources, savings, strict=True)
            ]
            assert all(a <= max(r, 0) for a, r in zip(after, least, strict=True))
            before = after
        assert before == [0] * len(objective.units)


# What all have in common


@pytest.mark.parametrize("objective", ALL)
def test_distributed_arithmetic_takes_no_dsps(objective):
    attributes = layer(strategy="distributed_arithmetic", reuse_factor=1, io_type="io_stream")
    assert objective.is_layer_optimizable(attributes) == (False, None)
    assert objective.layer_resources(attributes) == [0] * len(objective.units)
    assert objective.reason(attributes)


@pytest.mark.parametrize("objective", ALL)
def test_layers_without_a_kernel(objective):
    flat = LayerAttributes("flat", object, [], (), (4, 4), (16,))
    nothing = [0] * len(objective.units)
    assert objective.is_layer_optimizable(flat) == (False, None)
    assert objective.layer_resources(flat) == objective.layer_savings(flat) == nothing
    assert objective.layer_utilization(flat, 0) == nothing
    assert objective.model_utilization({"flat": flat}, {}) == nothing
    assert "no kernel" in objective.reason(flat)


@pytest.mark.parametrize("objective", ALL)
def test_attributes_without_a_configuration_are_refused(objective):
    plain = LayerAttributes("fc", object, [], (16, 64), (16,), (64,))
    with pytest.raises(
        InvalidInputError, match=r"'fc'.*get_attributes_from_keras_model_and_hls4ml_config"
    ):
        objective.is_layer_optimizable(plain)


@pytest.mark.parametrize("pruning", [False, True])
@pytest.mark.parametrize("objective", ALL)
def test_sharing_saves_nothing_and_says_so(objective, pruning, caplog):
    attributes = layer()
    _, options = objective.is_layer_optimizable(attributes)
    options.pruning, options.weight_sharing = pruning, True
    attributes.optimization_attributes = options
    with caplog.at_level(logging.WARNING, logger="fabricfit"):
        assert objective.layer_savings(attributes) == [0] * len(objective.units)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "'fc': weight sharing saves no" in caplog.text


@pytest.mark.parametrize("objective", ALL)
def test_instances_serve_as_well_and_nothing_is_changed(objective):
    attributes = chosen(objective, layer())
    before = copy.deepcopy(attributes)
    one = objective()
    assert one.is_layer_optimizable(attributes) == objective.is_layer_optimizable(attributes)
    assert one.layer_savings(attributes) == objective.layer_savings(attributes)
    assert one.layer_utilization(attributes, 2) == objective.layer_utilization(attributes, 2)
    assert one.model_utilization({"fc": attributes}, {"fc": 2}) == one.layer_utilization(
        attributes, 2
    )
    assert attributes == before
    assert one.reason(attributes) == ""
