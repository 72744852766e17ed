"""Kernels of any axes as matrix products: every weight in its row, column, unit and group."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabricfit.description.attributes import LayerAttributes, OptimizationAttributes
from fabricfit.description.coupled_units import bundle_units, find_removed_classes, reduced_sizes
from fabricfit.description.grouping import Grouping
from fabricfit.description.layout import Layout, standard_layout
from fabricfit.errors import InvalidInputError


@st.composite
def layouts(draw):
    """Any axes in any roles, with a kernel whose neighbouring axes may be fused."""
    axes = tuple(draw(st.lists(st.integers(1, 4), min_size=2, max_size=5)))
    order = draw(st.permutations(range(len(axes))))
    cut = draw(st.integers(1, len(axes)))
    columns, rows = tuple(order[:cut]), tuple(order[cut:])
    units = tuple(sorted(draw(st.sets(st.sampled_from(columns), min_size=1))))
    units = tuple(c for c in columns if c in units)
    layout = Layout(axes, rows, columns, units)
    fused = draw(st.integers(0, len(axes) - 2))
    shape = (*axes[:fused], axes[fused] * axes[fused + 1], *axes[fused + 2 :])
    return layout, draw(st.sampled_from([axes, shape]))


STRUCTURES = st.sampled_from(["unstructured", "structured", "pattern", "block"])


@given(layouts(), STRUCTURES, st.integers(1, 7), st.integers(1, 3), st.integers(1, 3))
def test_groups_go_back_to_their_places(drawn, structure, patterns, rows, columns):
    layout, shape = drawn
    kernel = np.random.default_rng(0).normal(size=shape)
    grouping = Grouping(shape, structure, patterns, 1, (rows, columns), layout)
    groups = grouping.to_groups(kernel)
    assert groups.shape == (grouping.n_groups, grouping.group_size)
    np.testing.assert_array_equal(grouping.from_groups(groups), kernel)
    assert grouping.member_counts.sum() == kernel.size


@given(layouts())
def test_a_unit_holds_the_weights_of_its_axes_and_no_others(drawn):
    layout, shape = drawn
    places = np.indices(layout.axes)
    number = np.zeros(layout.axes, int)
    for axis in layout.units:
        number = number * layout.axes[axis] + places[axis]
    groups = Grouping(shape, "structured", layout=layout).to_groups(number.reshape(shape))
    np.testing.assert_array_equal(groups, np.arange(layout.n_units)[:, None] + 0 * groups)


@given(layouts())
def test_the_matrix_is_the_product_that_the_axes_say(drawn):
    """Checked by an einsum over the axes themselves."""
    layout, shape = drawn
    rng = np.random.default_rng(1)
    kernel = rng.normal(size=shape)
    inputs = rng.normal(size=[layout.axes[axis] for axis in layout.rows])
    letters = "abcdefgh"
    given_axes, made = ("".join(letters[i] for i in part) for part in (layout.rows, layout.columns))
    equation = f"{given_axes},{letters[: len(layout.axes)]}->{made}"
    expected = np.einsum(equation, inputs, kernel.reshape(layout.axes))
    matrix = layout.matrix(kernel)
    np.testing.assert_allclose(inputs.reshape(-1) @ matrix, expected.reshape(-1))
    np.testing.assert_array_equal(layout.kernel(matrix, shape), kernel)
    # hls4ml's order: result after result, the inputs of each consecutive.
    runs = Grouping(shape, "pattern", layout.n_columns, layout=layout).to_groups(kernel)
    np.testing.assert_array_equal(runs, matrix.T)


def test_gates_of_a_recurrent_unit_go_together():
    kernel = np.arange(3 * 8.0).reshape(3, 8)  # two inputs more than gates: 4 gates of 2 units
    layout = Layout((3, 4, 2), (0,), (1, 2), (2,))
    groups = Grouping((3, 8), "structured", layout=layout).to_groups(kernel)
    assert groups.shape == (2, 12)
    assert set(groups[1]) == set(kernel[:, 1::2].reshape(-1))


def test_axes_without_a_role_are_refused():
    with pytest.raises(InvalidInputError, match="each axis of a layout"):
        Layout((2, 3), (0,), (0, 1), (1,))
    with pytest.raises(InvalidInputError, match="other kernels"):
        Grouping((2, 3), "structured", layout=standard_layout((2, 4)))


def coupled(**classes):
    """Describe kernels of one row a class, pruned unit by unit."""
    found = {}
    for name, (units, rows) in classes.items():
        layer = LayerAttributes(name, object, [], (len(rows), len(units)), (), ())
        layer.optimizable = True
        layer.optimization_attributes = OptimizationAttributes("structured", pruning=True)
        layer.unit_classes, layer.row_classes = tuple(units), tuple(rows)
        found[name] = layer
    return found


def test_units_that_touch_the_same_kernels_form_a_bundle():
    attributes = coupled(
        a=([0, 1, 2, -1], [-1, -1]), b=([0, 1, 5, 6], [0, 1, 2]), c=([7, 7], [0, 1, 5, 6])
    )
    bundles = {bundle.name: bundle for bundle in bundle_units(attributes)}
    assert {name: bundle.classes.tolist() for name, bundle in bundles.items()} == {
        "a + b": [0, 1],
        "a": [2],
        "b": [5, 6],
        "c": [7],
    }
    assert bundles["c"].members["c"].tolist() == [[0, 1]]
    sizes = reduced_sizes(attributes, [1, 5])
    assert sizes == {"a": (2, 3), "b": (2, 2), "c": (2, 2)}
    kernels = {name: np.ones(layer.weight_shape) for name, layer in attributes.items()}
    kernels["a"][:, 1] = 0
    assert find_removed_classes(attributes, kernels) == []
    kernels["b"][:, 1] = 0
    assert find_removed_classes(attributes, kernels) == [1]
