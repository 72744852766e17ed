"""Equations of EinsumDense are read in one place."""

import keras
import numpy as np
import pytest

from fabricfit.layers.einsum import EinsumForm, einsum_kernel, read_equation
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


@pytest.mark.parametrize(
    ("equation", "positions", "groups", "summed", "outputs"),
    [
        ("ab,bc->ac", "", "", "b", "c"),
        ("abc, cd -> abd", "b", "", "c", "d"),
        ("abc,bcd->abd", "", "b", "c", "d"),
        ("abc,dbc->ad", "", "", "bc", "d"),
        ("...x,xy->...y", "", "", "x", "y"),
    ],
)
def test_every_letter_has_one_part(equation, positions, groups, summed, outputs):
    einsum = read_equation(equation)
    found = (einsum.positions, einsum.groups, einsum.summed, einsum.outputs)
    assert found == (positions, groups, summed, outputs)
    assert sorted(einsum.groups + einsum.summed + einsum.outputs) == sorted(einsum.kernel)


@pytest.mark.parametrize(
    ("equation", "product", "over_units"),
    [
        ("abc,cd->abd", True, True),
        ("abc,bcd->abd", True, False),
        ("abc,dc->abd", True, False),
        ("...x,xy->...y", False, True),
        ("abc,cd->ad", False, False),
        ("abc,acd->abd", False, False),
    ],
)
def test_what_an_equation_can_be_read_as(equation, product, over_units):
    einsum = read_equation(equation)
    assert (einsum.is_matrix_product, einsum.sums_over_units) == (product, over_units)


def test_rows_and_columns_are_found_whatever_the_order_of_the_axes():
    layer = keras.layers.EinsumDense("abc,dbc->abd", (6, 4))
    keras.Sequential([keras.Input((6, 3)), layer])
    kernel = einsum_kernel(layer)
    assert kernel.layout is not None
    assert (kernel.layout.rows, kernel.layout.columns) == ((2,), (0, 1))
    assert kernel.positions == 1
    # The matrix form puts groups before outputs.
    matrix = np.arange(4 * 6 * 3).reshape(3, 6, 4)
    restored = EinsumForm().kernel(layer, matrix)
    np.testing.assert_array_equal(restored, np.einsum("cbd->dbc", matrix))
