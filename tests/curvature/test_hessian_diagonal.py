import keras
import numpy as np
import pytest
from keras import layers

from fabricfit.curvature import get_model_hessians, hessian_diagonal, hessian_method
from fabricfit.errors import InvalidInputError, InvalidTypeError

from . import numpy_networks as npn
from .curvature_cases import PIECEWISE_LINEAR, SMOOTH, relu_convnet, relu_mlp, tanh_mlp

pytestmark = pytest.mark.keras


def _diagonal(case, **options):
    model, X, y = case.model, options.pop("X", case.X), options.pop("y", case.y)
    loss_fn = options.pop("loss_fn", case.loss_fn)
    return hessian_diagonal(model, case.variables, loss_fn, X, y, **options)


def _assert_close(found, expected, rtol=1e-4):
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert found[key].shape == value.shape
        scale = np.abs(value).max()
        assert scale > 1e-3, "the oracle itself must not vanish"
        np.testing.assert_allclose(found[key], value, rtol=rtol, atol=rtol * scale, err_msg=key)


@pytest.mark.parametrize("make", PIECEWISE_LINEAR + SMOOTH)
def test_agrees_with_finite_differences(make):
    case = make()
    _assert_close(_diagonal(case), npn.second_derivatives(case.oracle, case.kernels))


@pytest.mark.parametrize("make", PIECEWISE_LINEAR)
def test_exact_method_agrees_where_gauss_newton_is_exact(make):
    case = make()
    assert hessian_method(case.model) == "gauss-newton"
    expected = npn.second_derivatives(case.oracle, case.kernels)
    _assert_close(_diagonal(case, method="exact", batch_size=7), expected)


def test_linear_regression_has_its_closed_form():
    rng = np.random.default_rng(0)
    X = rng.normal(2.0, 3.0, (50, 6)).astype(np.float32)
    model = keras.Sequential([layers.Input((6,)), layers.Dense(1, name="a")])
    found = hessian_diagonal(model, {"a": model.layers[0].kernel}, "mse", X, rng.normal(size=50))
    np.testing.assert_allclose(found["a"][:, 0], 2 * np.mean(X.astype(float) ** 2, 0), rtol=1e-5)


def test_gauss_newton_differs_on_a_smooth_network():
    case = tanh_mlp()
    exact, approximate = _diagonal(case), _diagonal(case, method="gauss-newton")
    assert (approximate["a"] >= 0).all()
    assert np.abs(approximate["a"] - exact["a"]).max() > 0.01 * np.abs(exact["a"]).max()
    np.testing.assert_allclose(approximate["c"], exact["c"], rtol=1e-4)  # the last layer is linear


def one_tanh_layer():
    return tanh_mlp().only("a")


@pytest.mark.parametrize("make", [relu_mlp, one_tanh_layer, relu_convnet])
def test_batches_and_order_do_not_matter(make):
    case = make()
    whole = _diagonal(case)
    order = np.random.default_rng(5).permutation(len(case.X))
    _assert_close(_diagonal(case, batch_size=7), whole, rtol=1e-5)
    _assert_close(_diagonal(case, X=case.X[order], y=case.y[order]), whole, rtol=1e-5)


def test_every_way_to_give_a_loss_is_the_mean():
    case = relu_mlp()
    expected = _diagonal(case)
    sparse = keras.losses.SparseCategoricalCrossentropy
    one_hot = np.eye(3)[case.y]

    def batch_mean(y_true, y_pred):
        return keras.ops.mean(keras.losses.categorical_crossentropy(y_true, y_pred))

    for options in (
        {"loss_fn": sparse()},
        {"loss_fn": sparse(reduction="sum")},
        {"loss_fn": keras.losses.sparse_categorical_crossentropy},
        {"loss_fn": "categorical_crossentropy", "y": one_hot},
        {"loss_fn": keras.losses.CategoricalCrossentropy(), "y": one_hot},
        {"loss_fn": batch_mean, "y": one_hot, "batch_size": 7},
    ):
        _assert_close(_diagonal(case, **options), expected)


def test_logits_and_probabilities_are_the_same_loss():
    case = relu_mlp()
    logits = keras.models.clone_model(case.model)
    logits.set_weights(case.model.get_weights())
    logits.layers[-1].activation = keras.activations.linear
    variables = {layer.name: layer.kernel for layer in logits.layers}
    for method in ("gauss-newton", "exact"):
        loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        found = hessian_diagonal(logits, variables, loss_fn, case.X, case.y, method=method)
        _assert_close(found, _diagonal(case))


def test_label_smoothing_is_no_obstacle_to_the_closed_form():
    case = relu_mlp()
    loss_fn = keras.losses.CategoricalCrossentropy(label_smoothing=0.3)
    options = {"loss_fn": loss_fn, "y": np.eye(3)[case.y]}
    _assert_close(_diagonal(case, **options), _diagonal(case, **options, method="exact"))


@pytest.mark.parametrize("label", [0, 1])
def test_a_saturated_softmax_keeps_its_curvature(label):
    model = keras.Sequential([layers.Input((1,)), layers.Dense(2, "softmax", False, name="a")])
    model.layers[0].kernel.assign([[10.0, -10.0]])
    arguments = (model, {"a": model.layers[0].kernel}, "sparse_categorical_crossentropy")
    p = 1 / (1 + np.exp(-20.0))
    found = hessian_diagonal(*arguments, [[1.0]], [label])["a"]
    np.testing.assert_allclose(found, np.full((1, 2), p * np.exp(-20.0)), rtol=1e-3)
    # The exact way differentiates the same loss, up to the rounding of p - p²; Keras clips p.
    exact = hessian_diagonal(*arguments, [[1.0]], [label], method="exact")["a"]
    np.testing.assert_allclose(exact[0, 1], found[0, 1], rtol=1e-3)
    np.testing.assert_allclose(exact[0, 0], found[0, 0], atol=1e-7)


@pytest.mark.parametrize(
    "convolution",
    [
        lambda: layers.Conv2D(4, (3, 2), strides=2, padding="same", name="a"),
        lambda: layers.Conv2D(4, 2, dilation_rate=2, padding="same", name="a"),
        lambda: layers.Conv2D(4, 2, groups=2, name="a"),
        lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", name="a"),
        lambda: layers.Conv2DTranspose(2, 2, strides=2, name="a"),
        lambda: layers.EinsumDense("bhwc,wcd->bdwh", (3, 6, 5), bias_axes="d", name="a"),
        lambda: layers.Dense(3, name="a"),
    ],
)
def test_layers_of_every_form_agree_with_products_in_their_weights(convolution):
    inputs = keras.Input((5, 6, 2))
    hidden = layers.ReLU()(convolution()(inputs))
    model = keras.Model(inputs, layers.Dense(2, name="b")(layers.Flatten()(hidden)))
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(5, 5, 6, 2)), rng.normal(size=(5, 2))
    kernel = model.get_layer("a").kernel
    found = hessian_diagonal(model, {"a": kernel}, "mse", X, y)
    exact = hessian_diagonal(model, {"a": kernel}, "mse", X, y, method="exact")
    # A subclass of Model with a call of its own has no graph: every weight takes its own product.
    opaque = Opaque(model)
    in_weights = hessian_diagonal(opaque, {"a": kernel}, "mse", X, y)
    assert hessian_method(opaque).startswith("exact: its graph cannot be read")
    _assert_close(found, in_weights)
    _assert_close(exact, in_weights)


class Opaque(keras.Model):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, inputs):
        return self.inner(inputs)


def test_conv1d_causal():
    inputs = keras.Input((6, 2))
    hidden = layers.Conv1D(3, 2, padding="causal", dilation_rate=2, activation="relu", name="a")
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(hidden(inputs))))
    rng = np.random.default_rng(3)
    arguments = (model, {"a": hidden.kernel}, "mse", rng.normal(size=(5, 6, 2)), np.ones((5, 2)))
    _assert_close(hessian_diagonal(*arguments), hessian_diagonal(*arguments, method="exact"))


@pytest.mark.parametrize("method", ["gauss-newton", "exact"])
def test_the_model_comes_back_untouched(method):
    case = relu_convnet().only("a")
    model = case.model
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    model.fit(case.X, case.y, batch_size=9, verbose=0)
    before = [np.array(keras.ops.convert_to_numpy(v)) for v in _state(model)]
    attributes = [set(vars(layer)) for layer in model.layers]
    optimizer = model.optimizer
    _diagonal(case, method=method)
    after = [keras.ops.convert_to_numpy(v) for v in _state(model)]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert attributes == [set(vars(layer)) for layer in model.layers]
    assert model.optimizer is optimizer
    model.fit(case.X, case.y, batch_size=9, verbose=0)


def _state(model):
    return [*model.variables, *model.optimizer.variables, *model.metrics_variables]


def test_a_failing_run_leaves_the_model_untouched():
    case = relu_mlp()
    attributes = [dict(vars(layer)) for layer in case.model.layers]

    def failing(y_true, y_pred):
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        _diagonal(case, loss_fn=failing)
    assert attributes == [dict(vars(layer)) for layer in case.model.layers]


def test_public_function_names_the_layers():
    case = relu_mlp()
    found = get_model_hessians(case.model, case.loss_fn, case.X, case.y, batch_size=8)
    _assert_close(found, _diagonal(case))


def test_the_loss_object_is_not_changed():
    case, loss_fn = relu_mlp(), keras.losses.SparseCategoricalCrossentropy(reduction="sum")
    _diagonal(case, loss_fn=loss_fn)
    assert loss_fn.reduction == "sum"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"X": np.zeros((0, 4)), "y": np.zeros(0)}, InvalidInputError, "at least one sample"),
        ({"y": np.zeros(3)}, InvalidInputError, "equally many samples"),
        ({"X": np.full((17, 4), np.nan)}, InvalidInputError, "X must not hold NaN"),
        ({"y": np.full(17, np.inf)}, InvalidInputError, "y must not hold NaN"),
        ({"y": np.array(["a"] * 17)}, InvalidTypeError, "y must hold numbers"),
        ({"batch_size": 0}, InvalidInputError, "batch_size"),
        ({"method": "hutchinson"}, InvalidInputError, "method must be one of"),
        ({"loss_fn": "no_such_loss"}, InvalidInputError, "loss_fn must be a loss that Keras knows"),
        ({"loss_fn": 3}, InvalidTypeError, "loss_fn must be"),
        ({"y": [np.zeros(17), np.zeros(17)]}, InvalidInputError, "y must"),
    ],
)
def test_bad_input_is_refused(changes, error, message):
    with pytest.raises(error, match=message):
        _diagonal(relu_mlp(), **changes)


def test_a_loss_without_finite_derivatives_is_refused():
    case = relu_mlp()
    case.model.layers[0].kernel.assign(np.full((4, 5), np.nan))
    with pytest.raises(InvalidInputError, match="finite derivatives"):
        _diagonal(case, method="exact")
