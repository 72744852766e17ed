"""Batch normalizations folded into the layers before them: the function stays, hls4ml has nothing to fold."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fabricfit
from fabricfit.network.batch_norm import find_folds, fold_normalizations
from fabricfit.network.cloning import copy_model
from fabricfit.network.reader import read
from tests.common import L, outputs_of, weights_of
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


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


def folds_of(model):
    return {
        fold.layer.name: [each.layer.name for each in fold.scalings]
        for fold in find_folds(read(model))
    }


def left_in(model):
    """Names of the normalizations in a model and in those inside it."""
    kinds = (L.BatchNormalization, L.Normalization, L.Rescaling)
    return [layer.name for layer in model._flatten_layers() if isinstance(layer, kinds)]


def assert_same_function(model, folded, tolerance=1e-5):
    shapes = [tuple(n or 3 for n in tensor.shape[1:]) for tensor in model.inputs]
    rng = np.random.default_rng(1)
    X = [rng.normal(size=(7, *shape)).astype("float32") for shape in shapes]
    before, after = (outputs_of(each, X[0] if len(X) == 1 else X) for each in (model, folded))
    size = np.abs(before).max()
    np.testing.assert_allclose(after, before, rtol=0, atol=tolerance * size)


def test_linear_layers_whose_results_go_nowhere_else_take_them_up():
    assert folds_of(functional()) == {"conv": ["conv_bn"], "fc": ["fc_bn"]}
    assert folds_of(sequential()) == {"a": ["a_bn"], "b": ["b_bn"]}


@pytest.mark.parametrize("make", [functional, sequential])
def test_the_function_stays(make):
    model = make()
    before = weights_of(model)
    folded = fold_normalizations(read(model)).model
    assert left_in(folded) == (["bent_bn", "forked_bn"] if make is functional else [])
    assert_same_function(model, folded)
    for old, new in zip(before, weights_of(model), strict=True):
        np.testing.assert_array_equal(old, new)


def stack(*layers, shape):
    return moved(keras.Sequential([keras.Input(shape), *layers]))


BN = L.BatchNormalization
BEHIND = {
    "dense": lambda: stack(L.Dense(4), BN(scale=False), L.ReLU(), shape=(5,)),
    "dense without bias": lambda: stack(
        L.Dense(4, use_bias=False), BN(center=False, epsilon=0.1), shape=(5,)
    ),
    "dense on two axes": lambda: stack(L.Dense(4), BN(), L.ReLU(), shape=(7, 5)),
    "conv1d": lambda: stack(L.Conv1D(4, 3, padding="causal"), BN(), L.ReLU(), shape=(8, 4)),
    "conv2d": lambda: stack(L.Conv2D(4, 3, padding="same"), BN(axis=3), L.ReLU(), shape=(6, 6, 4)),
    "conv3d": lambda: stack(L.Conv3D(3, 2), BN(), shape=(4, 4, 4, 2)),
    "conv in groups": lambda: stack(L.Conv2D(4, 3, groups=2), BN(), shape=(6, 6, 4)),
    "transposed": lambda: stack(L.Conv2DTranspose(5, 3, strides=2), BN(), shape=(6, 6, 4)),
    "depthwise": lambda: stack(L.DepthwiseConv2D(3, depth_multiplier=2), BN(), shape=(6, 6, 4)),
    "depthwise 1d": lambda: stack(L.DepthwiseConv1D(3, use_bias=False), BN(), shape=(6, 4)),
    "separable": lambda: stack(L.SeparableConv2D(7, 3, depth_multiplier=2), BN(), shape=(6, 6, 4)),
    "separable 1d": lambda: stack(L.SeparableConv1D(7, 3, use_bias=False), BN(), shape=(6, 4)),
    "einsum": lambda: stack(
        L.EinsumDense("abc,cd->abd", output_shape=(None, 5)), BN(), shape=(6, 4)
    ),
    "einsum with biases": lambda: stack(
        L.EinsumDense("abc,bcd->abd", output_shape=(6, 5), bias_axes="bd"), BN(), shape=(6, 4)
    ),
    "dropout between": lambda: stack(L.Dense(4), L.Dropout(0.5), BN(), L.ReLU(), shape=(5,)),
    "linear activation between": lambda: stack(
        L.Dense(4), L.Activation("linear"), BN(), shape=(5,)
    ),
    "two": lambda: stack(L.Dense(4), BN(), L.Dropout(0.1), BN(scale=False), shape=(5,)),
    "flattened": lambda: stack(
        L.Conv2D(4, 3), BN(), L.ReLU(), BN(), L.Flatten(), L.Dense(3), shape=(6, 6, 2)
    ),
    "first": lambda: stack(BN(), L.Conv2D(4, 3, activation="relu"), shape=(6, 6, 2)),
    "first, pointwise": lambda: stack(BN(), L.Conv2D(4, 1, padding="same"), shape=(6, 6, 2)),
    "before depthwise": lambda: stack(
        BN(), L.DepthwiseConv2D(3, depth_multiplier=2, activation="relu"), shape=(6, 6, 2)
    ),
    "before separable": lambda: stack(
        BN(), L.SeparableConv2D(5, 3, depth_multiplier=2, use_bias=False), shape=(6, 6, 2)
    ),
    "before einsum": lambda: stack(
        BN(), L.EinsumDense("abc,cd->abd", output_shape=(None, 5)), L.ReLU(), shape=(6, 4)
    ),
    "rescaled": lambda: stack(
        L.Rescaling([0.5, 2.0], offset=-1.0), BN(), L.Conv2D(4, 3), BN(), shape=(6, 6, 2)
    ),
}
KEPT = {
    "padded with zeros": lambda: stack(BN(), L.Conv2D(4, 3, padding="same"), shape=(6, 6, 2)),
    "before transposed": lambda: stack(BN(), L.Conv2DTranspose(4, 3), shape=(6, 6, 2)),
    "another axis": lambda: stack(L.Dense(3), BN(axis=1), L.ReLU(), shape=(6, 4)),
    "behind an activation": lambda: stack(
        L.Dense(3, activation="relu"), BN(), L.ReLU(), shape=(6,)
    ),
    "behind and before a sigmoid": lambda: stack(
        L.Activation("sigmoid"), BN(), L.Activation("sigmoid"), shape=(6,)
    ),
}


@pytest.mark.parametrize("kind", BEHIND)
def test_each_kind_of_layer_takes_them_up_exactly(kind):
    model = BEHIND[kind]()
    folded = fold_normalizations(read(model)).model
    assert left_in(model) and not left_in(folded)
    assert_same_function(model, folded)


@pytest.mark.parametrize("kind", KEPT)
def test_what_could_not_be_exact_is_kept(kind):
    network = read(KEPT[kind]())
    assert fold_normalizations(network) is network


def test_zeros_stay_zeros():
    model = stack(L.DepthwiseConv2D(3), BN(), L.Conv2D(3, 1), BN(), shape=(5, 5, 2))
    for layer in (model.layers[0], model.layers[2]):
        kernel, *rest = layer.get_weights()
        layer.set_weights(
            [np.where(np.arange(kernel.size).reshape(kernel.shape) % 3, kernel, 0), *rest]
        )
    folded = fold_normalizations(read(model)).model
    for old, new in zip((model.layers[0], model.layers[2]), folded.layers, strict=True):
        np.testing.assert_array_equal(old.get_weights()[0] == 0, new.get_weights()[0] == 0)


def shared(several):
    """A layer that is called twice, with one normalization behind both calls or behind one."""
    dense, norm = L.Dense(5, name="shared"), L.BatchNormalization(name="norm")
    start = keras.Input((5,))
    middle = L.ReLU()(norm(dense(start)) if several else dense(start))
    return moved(keras.Model(start, L.ReLU()(norm(dense(middle)))))


def test_shared_layers_take_up_what_is_behind_each_of_their_calls():
    """hls4ml would fold it into the copy of the layer that it builds for each call."""
    model = shared(several=True)
    folded = fold_normalizations(read(model)).model
    assert not left_in(folded)
    assert_same_function(model, folded)
    network = read(shared(several=False))
    assert fold_normalizations(network) is network


def test_models_inside_are_folded_however_often_they_are_called():
    inner = keras.Sequential([keras.Input((5,)), L.Dense(5), BN(), L.ReLU()], name="inner")
    start = keras.Input((5,))
    model = keras.Model(start, L.Dense(2)(inner(inner(start))))
    moved(inner)
    folded = fold_normalizations(read(model)).model
    assert not left_in(folded)
    assert_same_function(model, folded)


def added():
    model = keras.Sequential()
    for layer in (L.Dense(4, name="a"), BN(name="a_bn"), L.ReLU(), L.Dense(3, name="b"), BN()):
        model.add(layer)
    model.build((None, 5))
    return moved(model)


@pytest.mark.parametrize("ending", ["", ".keras", ".h5"])
def test_models_that_were_added_to_or_loaded_are_folded(ending, tmp_path):
    model = added()
    if ending:
        model.save(tmp_path / f"model{ending}")
        model = keras.models.load_model(tmp_path / f"model{ending}")
    folded = fold_normalizations(read(model)).model
    assert len(folds_of(model)) == 2 and not left_in(folded)
    assert_same_function(model, folded)


@given(st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_random_stacks_keep_their_function(seed):
    rng = np.random.default_rng(seed)
    kinds = {
        "dense": lambda: L.Dense(4, use_bias=bool(rng.integers(2))),
        "conv": lambda: L.Conv1D(3, 2, padding=str(rng.choice(["same", "valid", "causal"]))),
        "depthwise": lambda: L.DepthwiseConv1D(2, depth_multiplier=int(rng.integers(1, 3))),
        "separable": lambda: L.SeparableConv1D(4, 2),
        "norm": lambda: BN(scale=bool(rng.integers(2)), center=bool(rng.integers(2))),
        "relu": L.ReLU,
        "dropout": lambda: L.Dropout(0.2),
    }
    names = rng.choice([*kinds, "norm", "norm"], size=int(rng.integers(3, 9)))
    model = moved(keras.Sequential([keras.Input((9, 3)), *(kinds[n]() for n in names)]), seed)
    folded = fold_normalizations(read(model)).model
    assert_same_function(model, folded, 1e-4)
    assert not find_folds(read(folded))


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


def test_chosen_folds_only_and_nothing_to_fold():
    model = sequential()
    chosen = fold_normalizations(read(model), lambda f: f if f.layer.name == "b" else None)
    assert [layer.name for layer in chosen.model.layers] == ["a", "a_bn", "r", "b"]
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
