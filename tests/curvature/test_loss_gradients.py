import keras
import numpy as np
import pytest

from fabricfit.curvature import get_model_gradients, loss_gradients
from fabricfit.errors import InvalidInputError

from . import numpy_networks as npn
from .curvature_cases import PIECEWISE_LINEAR, SMOOTH, batch_norm, relu_mlp, two_outputs

pytestmark = pytest.mark.keras


def _gradients(case, **options):
    loss_fn, y = options.pop("loss_fn", case.loss_fn), options.pop("y", case.y)
    return loss_gradients(case.model, case.variables, loss_fn, case.X, y, **options)


def _assert_close(found, expected, rtol=1e-4):
    assert list(found) == list(expected)
    for key, value in expected.items():
        scale = np.abs(value).max()
        np.testing.assert_allclose(found[key], value, rtol=rtol, atol=rtol * scale, err_msg=key)


@pytest.mark.parametrize("make", PIECEWISE_LINEAR + SMOOTH)
def test_agrees_with_finite_differences(make):
    case = make()
    expected = npn.gradient(case.oracle, case.kernels)
    _assert_close(_gradients(case), expected)
    _assert_close(_gradients(case, batch_size=4), expected)


def test_a_named_loss_is_averaged():
    case = relu_mlp()
    expected = _gradients(case, loss_fn=keras.losses.SparseCategoricalCrossentropy())
    _assert_close(_gradients(case, loss_fn="sparse_categorical_crossentropy"), expected)
    total = keras.losses.SparseCategoricalCrossentropy(reduction="sum")
    _assert_close(_gradients(case, loss_fn=total, batch_size=5), expected)


def test_a_loss_that_is_a_batch_mean_weighs_the_last_batch_right():
    case = relu_mlp()

    def batch_mean(y_true, y_pred):
        return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y_true, y_pred))

    _assert_close(_gradients(case, loss_fn=batch_mean, batch_size=7), _gradients(case))


def test_targets_may_go_by_output_name():
    case = two_outputs()
    y = dict(zip(case.model.output_names, case.y, strict=True))
    _assert_close(_gradients(case, y=y), _gradients(case))


def test_too_few_targets_are_refused():
    case = two_outputs()
    with pytest.raises(InvalidInputError, match="one array for each of the model's 2 outputs"):
        _gradients(case, y=case.y[:1])


def test_layers_without_a_kernel_are_absent():
    case = batch_norm()
    found = get_model_gradients(case.model, case.loss_fn, case.X, case.y)
    assert list(found) == ["a", "b"]
    _assert_close(found, _gradients(case))


def test_frozen_layers_have_gradients_too():
    case = relu_mlp()
    expected = _gradients(case)
    case.model.layers[0].trainable = False
    _assert_close(_gradients(case), expected)
