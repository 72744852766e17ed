"""Batch normalizations folded into the layers before them: the function stays, hls4ml has nothing to fold."""

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit.network.batch_norm import fold_normalizations, folded_normalizations
from fabricfit.network.cloning import copy_model
from fabricfit.network.reader import read
from tests.common import L, outputs_of, weights_of

pytestmark = pytest.mark.keras


def moved(model, seed=0):
    """Give every weight an arbitrary value, moments too."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        layer.set_weights(
            [
                np.abs(w + rng.normal(0, 0.3, w.shape)) + 0.1 if "variance" in v.name
                else w + rng.normal(0, 0.3, w.shape)
                for v, w in zip(layer.weights, layer.get_weights(), strict=True)
            ]
        )  # fmt: skip
    return model


def functional():
    image = keras.Input((6, 6, 2))
    x = L.Conv2D(4, 3, use_bias=False, name="conv")(image)
    x = L.BatchNormalization(name="conv_bn")(x)
    x = y = L.ReLU(name="relu")(x)
    x = L.Conv2D(4, 1, activation="relu", name="bent")(x)
    x = L.BatchNormalization(name="bent_bn")(x)
    x = L.Add(name="sum")([x, y])
    x = L.Flatten(name="flat")(x)
    z = L.Dense(5, name="forked")(x)
    w = L.BatchNormalization(scale=False, name="forked_bn")(z)
    x = L.Concatenate(name="both")([z, w])
    x = L.Dense(3, name="fc")(x)
    x = L.BatchNormalization(center=False, name="fc_bn")(x)
    return moved(keras.Model(image, L.Softmax(name="softmax")(x)))


def sequential():
    return moved(
        keras.Sequential(
            [
                keras.Input((5,)),
                L.Dense(4, name="a"),
                L.BatchNormalization(name="a_bn"),
                L.ReLU(name="r"),
                L.Dense(3, name="b"),
                L.BatchNormalization(name="b_bn"),
            ]
        )
    )


def test_only_what_hardware_folds_is_folded():
    model = functional()
    assert folded_normalizations(read(model)) == {"conv": "conv_bn", "fc": "fc_bn"}
    assert folded_normalizations(read(sequential())) == {"a": "a_bn", "b": "b_bn"}


@pytest.mark.parametrize("make", [functional, sequential])
def test_the_function_stays(make):
    model = make()
    before = weights_of(model)
    folded = fold_normalizations(read(model)).model
    gone = set(folded_normalizations(read(model)).values())
    assert {layer.name for layer in model.layers} - {layer.name for layer in folded.layers} == gone
    X = np.random.default_rng(1).normal(size=(20, *model.input_shape[1:])).astype("float32")
    np.testing.assert_allclose(outputs_of(folded, X), outputs_of(model, X), rtol=1e-4, atol=1e-5)
    for old, new in zip(before, weights_of(model), strict=True):
        np.testing.assert_array_equal(old, new)


def test_copies_keep_the_names_of_their_inputs():
    """A configuration by layer names must still fit."""
    model = functional()
    names = [layer.name for layer in model.layers]
    assert [layer.name for layer in copy_model(model).layers] == names
    tensors = {"b": keras.Input((2,)), "a": keras.Input((3,), name="first")}
    both = keras.Model(tensors, L.Concatenate(name="both")(list(tensors.values())))
    copy = copy_model(both)
    assert [x.name for x in copy.layers] == [x.name for x in both.layers]
    X = {"b": np.ones((1, 2)), "a": np.zeros((1, 3))}
    np.testing.assert_array_equal(outputs_of(copy, X), outputs_of(both, X))


def test_chosen_layers_only_and_nothing_to_fold():
    model = sequential()
    names = [layer.name for layer in fold_normalizations(read(model), ["b"]).model.layers]
    assert names == ["a", "a_bn", "r", "b"]
    folded = fold_normalizations(read(model)).model
    assert fold_normalizations(read(folded)).model is folded


@pytest.mark.parametrize(("precision", "merged"), [("auto", True), ("fixed<16,6>", False)])
def test_an_estimate_folds_where_hls4ml_does(precision, merged):
    """hls4ml folds only where the result's format is left to it; else a normalization takes DSPs."""
    model = sequential()
    config = {
        "Model": {"Precision": {"default": "fixed<16,6>"}, "ReuseFactor": 1, "Strategy": "Latency"},
        "LayerName": {name: {"Precision": {"result": precision}} for name in ("a", "b")},
    }
    layers = {layer.name for layer in fabricfit.estimate(model, config).layers}
    assert ({"a_bn", "b_bn"} <= layers) != merged
