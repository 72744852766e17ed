from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabricfit.description.attributes import OptimizationAttributes, grouping_of
from fabricfit.description.grouping import Grouping
from fabricfit.description.structures import SUPPORTED_STRUCTURES
from fabricfit.errors import FabricFitError, InvalidInputError

STRUCTURES = list(SUPPORTED_STRUCTURES)


def identities(shape):
    """A kernel in which every weight is its own flat index plus one."""
    return np.arange(1, np.prod(shape) + 1).reshape(shape)


@st.composite
def groupings(draw):
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=2, max_size=4)))
    size = int(np.prod(shape))
    return Grouping(
        shape,
        draw(st.sampled_from(STRUCTURES)),
        draw(st.integers(1, size + 3)),
        draw(st.integers(1, 4)),
        (draw(st.integers(1, 5)), draw(st.integers(1, 5))),
    )


@given(groupings())
def test_from_groups_is_the_exact_inverse(grouping):
    kernel = identities(grouping.shape)
    groups = grouping.to_groups(kernel)
    assert groups.shape == (grouping.n_groups, grouping.group_size)
    np.testing.assert_array_equal(grouping.from_groups(groups), kernel)


@given(groupings())
def test_every_weight_is_in_exactly_one_group_and_no_group_is_empty(grouping):
    members = grouping.to_groups(identities(grouping.shape))
    real = members[members > 0]
    assert sorted(real) == list(range(1, grouping.size + 1))
    np.testing.assert_array_equal(grouping.member_counts, (members > 0).sum(axis=1))
    assert grouping.member_counts.min() >= 1


@given(groupings())
def test_spread_gives_every_weight_its_groups_number(grouping):
    numbers = np.arange(grouping.n_groups)
    owners = grouping.spread(numbers)
    for number, members in enumerate(grouping.to_groups(identities(grouping.shape))):
        np.testing.assert_array_equal(owners.ravel()[members[members > 0] - 1], number)


@given(groupings())
def test_means_leave_padding_out(grouping):
    kernel = identities(grouping.shape).astype(float)
    members = grouping.to_groups(kernel)
    expected = [group[group > 0].mean() for group in members]
    np.testing.assert_allclose(grouping.means(kernel), expected)


@pytest.mark.parametrize("shape", [(6, 4), (3, 6, 4), (2, 3, 6, 4)])
@pytest.mark.parametrize("reuse_factor", [1, 2, 3, 6, 12])
def test_a_pattern_is_what_one_multiplier_of_hls4ml_handles(shape, reuse_factor):
    # nnet_dense_resource.h: weights are stored output first, multiplier m uses
    # w_index = ir + m * RF in cycle ir.
    n_in, n_out = int(np.prod(shape[:-1])), shape[-1]
    stored = [
        identities(shape).reshape(n_in, n_out)[row, column]
        for column in range(n_out)
        for row in range(n_in)
    ]
    multipliers = n_in * n_out // reuse_factor
    grouping = Grouping(shape, "pattern", pattern_offset=multipliers)
    expected = [
        [stored[cycle + m * reuse_factor] for cycle in range(reuse_factor)]
        for m in range(multipliers)
    ]
    np.testing.assert_array_equal(grouping.to_groups(identities(shape)), expected)


def test_consecutive_patterns_are_neighbours():
    single = Grouping((6, 4), "pattern", pattern_offset=8).to_groups(identities((6, 4)))
    double = Grouping((6, 4), "pattern", 8, 2).to_groups(identities((6, 4)))
    np.testing.assert_array_equal(double, single.reshape(4, 6))
    triple = Grouping((6, 4), "pattern", 8, 3)
    assert triple.n_groups == 3
    np.testing.assert_array_equal(triple.consecutive_counts, [3, 3, 2])


def test_structured_groups_are_columns_and_filters():
    kernel = identities((2, 3, 4, 5))
    groups = Grouping((2, 3, 4, 5), "structured").to_groups(kernel)
    for unit in range(5):
        np.testing.assert_array_equal(groups[unit], kernel[..., unit].ravel())


def test_blocks_are_rectangles_padded_at_the_edge():
    kernel = identities((5, 3))
    grouping = Grouping((5, 3), "block", block_shape=(2, 2))
    groups = grouping.to_groups(kernel)
    assert grouping.n_groups == 6
    np.testing.assert_array_equal(groups[0], [1, 2, 4, 5])
    np.testing.assert_array_equal(groups[1], [3, 0, 6, 0])
    np.testing.assert_array_equal(groups[5], [15, 0, 0, 0])


def test_an_offset_that_does_not_divide_is_padded_not_refused():
    grouping = Grouping((7, 3), "pattern", pattern_offset=5)
    assert grouping.n_groups == 5
    np.testing.assert_array_equal(grouping.member_counts, [5, 5, 5, 5, 1])


def test_a_vector_can_only_be_unstructured():
    assert Grouping((7,), "unstructured").n_groups == 7
    with pytest.raises(InvalidInputError, match="at least 2 axes"):
        Grouping((7,), "structured")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"shape": (0, 3)}, "shape must hold whole numbers of at least 1"),
        ({"shape": ()}, "shape must hold whole numbers of at least 1"),
        ({"shape": (2, 3), "structure": "diagonal"}, "'unstructured', 'structured'"),
        ({"shape": (2, 3), "pattern_offset": 0}, "pattern_offset"),
        ({"shape": (2, 3), "pattern_offset": 1.5}, "pattern_offset"),
        ({"shape": (2, 3), "consecutive_patterns": -1}, "consecutive_patterns"),
        ({"shape": (2, 3), "block_shape": (1, 2, 3)}, "block_shape"),
        ({"shape": (2, 3), "block_shape": "ab"}, "block_shape"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(FabricFitError, match=message):
        Grouping(**arguments)


def test_a_kernel_of_another_shape_is_refused():
    grouping = Grouping((4, 3), "structured")
    with pytest.raises(InvalidInputError, match=r"\(4, 3\).*Received: \(3, 4\)"):
        grouping.to_groups(np.zeros((3, 4)))
    with pytest.raises(InvalidInputError, match=r"\(3, 4\).*Received: \(4, 3\)"):
        grouping.from_groups(np.zeros((4, 3)))


def test_from_attributes_reads_all_settings():
    attributes = OptimizationAttributes("pattern", True, pattern_offset=6, consecutive_patterns=2)
    assert grouping_of((4, 3), attributes) == Grouping((4, 3), "pattern", 6, 2)
