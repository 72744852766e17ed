import keras
import pytest
from keras import layers

from fabricfit.curvature import hessian_method

from .curvature_cases import PIECEWISE_LINEAR

pytestmark = pytest.mark.keras


@pytest.mark.parametrize("make", PIECEWISE_LINEAR)
def test_piecewise_linear_networks_take_gauss_newton(make):
    assert hessian_method(make().model) == "gauss-newton"


def _model(*hidden, last="softmax"):
    return keras.Sequential([layers.Input((4,)), *hidden, layers.Dense(2, last, name="last")])


@pytest.mark.parametrize("last", ["linear", "sigmoid", "softmax", "tanh"])
def test_the_last_activation_belongs_to_the_loss(last):
    assert hessian_method(_model(layers.Dense(3, "relu"), last=last)) == "gauss-newton"


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (layers.Dense(3, "tanh", name="a"), "layer 'a' has the activation 'tanh'"),
        (layers.Activation("sigmoid", name="a"), "layer 'a' has the activation 'sigmoid'"),
        (layers.ELU(name="a"), "layer 'a' is of the type ELU"),
        (layers.LayerNormalization(name="a"), "layer 'a' is of the type LayerNormalization"),
        (layers.Dense(3, lambda x: x * x, name="a"), "layer 'a' has the activation '<lambda>'"),
        (type("Mine", (layers.Dense,), {})(3, name="a"), "layer 'a' is of the type Mine"),
    ],
)
def test_the_obstacle_is_named(layer, reason):
    assert hessian_method(_model(layer)).startswith(f"exact: {reason}")


def test_an_activation_may_be_a_layer():
    assert hessian_method(_model(layers.Dense(3, layers.LeakyReLU()))) == "gauss-newton"
    assert "has the activation 'ELU'" in hessian_method(_model(layers.Dense(3, layers.ELU())))


def test_a_shared_layer_is_an_obstacle_also_through_a_nested_model():
    inputs = keras.Input((4,))
    shared = layers.Dense(4, "relu", name="a")
    twice = keras.Model(inputs, layers.Dense(2)(shared(shared(inputs))))
    assert hessian_method(twice) == "exact: layer 'a' is called 2 times"
    nested = keras.Sequential([layers.Input((4,)), layers.Dense(4, name="inner")])
    outer = keras.Model(inputs, nested(nested(inputs)))
    assert hessian_method(outer) == "exact: layer 'inner' is called 2 times"


def test_a_softmax_that_something_else_uses_stays_in_the_network():
    inputs = keras.Input((4,))
    attention = layers.Dense(3, "softmax", name="a")(inputs)
    model = keras.Model(inputs, [attention, layers.Dense(2)(attention)])
    assert hessian_method(model) == "exact: layer 'a' has the activation 'softmax'"


def test_products_of_units_are_an_obstacle():
    inputs = keras.Input((4,))
    one, other = layers.Dense(3)(inputs), layers.Dense(3)(inputs)
    assert "type Multiply" in hessian_method(keras.Model(inputs, layers.Multiply()([one, other])))
    assert "operation Multiply" in hessian_method(keras.Model(inputs, one * other))
    assert hessian_method(keras.Model(inputs, layers.Dense(2)(one + other))) == "gauss-newton"
