"""The check of layer families finds families that say what is not true."""

import keras
import numpy as np
import pytest

from fabricfit.description.layout import Layout
from fabricfit.layers import (
    ElementwiseFamily,
    Kernel,
    LayerFamily,
    ProductFamily,
    forget_layer,
    register_layer,
)
from fabricfit.layers.matrix_form import LastAxisForm
from fabricfit.layers.units import Link
from fabricfit.testing import check_layer_family
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


class Squared(keras.layers.Layer):
    """An elementwise layer that bends."""

    def call(self, x):
        return x * x


class Swapped(keras.layers.Layer):
    """The units of its input in reverse order."""

    def call(self, x):
        return keras.ops.flip(x, -1)


class Twice(keras.layers.Dense):
    """A layer with a kernel."""


def check_with(family, make, shape=(5,), **options):
    register_layer(family)
    try:
        check_layer_family(make, shape, **options)
    finally:
        forget_layer(family)


def test_a_layer_of_no_family_is_named():
    with pytest.raises(AssertionError, match=r"no family handles .*Squared"):
        check_layer_family(Squared, (5,))


def test_a_bending_function_is_not_piecewise_linear():
    class Right(ElementwiseFamily):
        handles = (Squared,)

    class Wrong(Right):
        piecewise_linear = True

    check_with(Right, Squared)
    with pytest.raises(AssertionError, match="declares piecewise_linear"):
        check_with(Wrong, Squared)


def test_constants_must_be_those_of_the_layer():
    class Wrong(ElementwiseFamily):
        handles = (Squared,)

        def constants(self, call, inputs):
            return inputs[0]

    with pytest.raises(AssertionError, match="computes something else"):
        check_with(Wrong, Squared)


def test_links_must_be_those_of_the_layer():
    class Right(LayerFamily):
        handles = (Swapped,)
        passes_units = True
        multiplies = False
        piecewise_linear = True

        def links(self, call):
            units = np.arange(call.output.units)
            return [Link(0, units, units[::-1])]

        def constants(self, call, inputs):
            return inputs[0][::-1]

    class Wrong(Right):
        def links(self, call):
            units = np.arange(call.output.units)
            return [Link(0, units, units)]

    class Beyond(Right):
        def links(self, call):
            units = np.arange(call.output.units)
            return [Link(0, units, units + 1)]

    check_with(Right, Swapped)
    with pytest.raises(AssertionError, match="reaches output units"):
        check_with(Wrong, Swapped)
    with pytest.raises(AssertionError, match="units beyond"):
        check_with(Beyond, Swapped)


def test_kernels_must_be_the_layers_own_and_fit_their_layouts():
    class Foreign(ProductFamily):
        handles = (Twice,)

        def kernels(self, layer):
            return (Kernel(keras.Variable(np.ones((5, 4))), layer),)

    class Short(ProductFamily):
        handles = (Twice,)

        def kernels(self, layer):
            return (Kernel(layer.kernel, layer, layout=Layout((5, 2), (0,), (1,), (1,))),)

    def make():
        return Twice(4)

    with pytest.raises(AssertionError, match="not one of the layer's weights"):
        check_with(Foreign, make)
    with pytest.raises(AssertionError, match="its layout is of the axes"):
        check_with(Short, make)


def test_a_matrix_form_must_give_the_results():
    class Right(ProductFamily):
        handles = (Twice,)

        def matrix_form(self, layer):
            return LastAxisForm()

    class Wrong(Right):
        def matrix_form(self, layer):
            shape = tuple(layer.kernel.shape)
            return LastAxisForm(Layout(shape, (1,), (0,), (0,)))

    check_with(Right, lambda: Twice(5))
    with pytest.raises(AssertionError, match="matrix_form"):
        check_with(Wrong, lambda: Twice(5))


def test_units_that_do_no_work_must_be_removable():
    class Wrong(ProductFamily):
        handles = (Twice,)

        def constants(self, call, inputs):
            return np.full(call.output.units, np.nan)

    with pytest.raises(AssertionError, match="is not removed"):
        check_with(Wrong, lambda: Twice(4))


@pytest.mark.parametrize(
    ("handles", "message"),
    [
        ((), "at least one layer type"),
        (("Squared",), r"package\.Class"),
        ([Squared], "must be a tuple"),
        (lambda self, layer_type: True, "must be a tuple"),
    ],
)
def test_handles_are_checked_at_registration(handles, message):
    family = type("Wrong", (ElementwiseFamily,), {"handles": handles})
    with pytest.raises((TypeError, ValueError), match=message):
        register_layer(family)


def test_a_later_family_wins_and_the_earlier_one_comes_back():
    class First(ElementwiseFamily):
        handles = (Squared,)

    class Second(First):
        pass

    register_layer(First)
    register_layer(Second)
    try:
        from fabricfit.layers import family_of

        assert type(family_of(Squared())) is Second
        forget_layer(Second)
        assert type(family_of(Squared())) is First
    finally:
        forget_layer(First)
    assert family_of(Squared()) is None
    with pytest.raises(TypeError, match=r"expects a fabricfit\.LayerFamily"):
        register_layer(Squared)
