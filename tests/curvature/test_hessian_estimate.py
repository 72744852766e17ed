import logging
import re

import keras
import numpy as np
import pytest
from keras import layers

from fabricfit.curvature import (
    Curvature,
    HessianDiagonal,
    get_model_gradients,
    get_model_hessians,
    model_hessian,
)
from fabricfit.errors import InvalidInputError
from tests.marks import ON_ONE_BACKEND, first_quick

from . import numpy_networks as npn
from .curvature_cases import randomize, relu_convnet, shared_layer, tanh_convnet, tanh_mlp

pytestmark = ON_ONE_BACKEND


def rms(values):
    return float(np.sqrt(np.mean(np.square(np.asarray(values, np.float64)))))


def true_error(found, exact, key):
    return rms(found.values[key] - exact.values[key]) / rms(exact.values[key])


def smooth_convnet(activation, samples=300):
    model = keras.Sequential(
        [
            layers.Input((7, 7, 1)),
            layers.Conv2D(4, 3, activation=activation, name="a"),
            layers.AveragePooling2D(2, padding="same"),
            layers.DepthwiseConv2D(2, depth_multiplier=2, activation=activation, name="b"),
            layers.Flatten(),
            layers.Dense(12, activation=activation, name="c"),
            layers.Dense(9, activation="softmax", name="d"),
        ]
    )
    rng = np.random.default_rng(1)
    for layer in model.layers:
        for variable in layer.weights:  # as large as Glorot's, but the same on any backend
            scale = 1.5 / np.sqrt(max(np.prod(variable.shape[:-1]), 4))
            variable.assign(rng.normal(0, scale, variable.shape))
    X = rng.normal(size=(samples, 7, 7, 1))
    y = (X[:, 2:5, 2:5, 0].mean(axis=(1, 2)) * 6).round().clip(-4, 4) + 4
    return Curvature(model, None, "sparse_categorical_crossentropy"), X, y.astype(int)


@pytest.mark.parametrize("activation", first_quick(["tanh", "sigmoid", "gelu", "silu"]))
def test_the_stated_error_is_honest(activation):
    curvature, X, y = smooth_convnet(activation)
    exact = curvature.hessians(X, y, method="exact")
    assert set(exact.methods.values()) == {"exact"}
    assert set(exact.errors.values()) == {0.0}
    found = [curvature.hessians(X, y, method="estimate", probes=8, seed=seed) for seed in range(4)]
    assert all(set(each.methods.values()) == {"estimate"} for each in found)
    for key in "ab":
        true = [true_error(each, exact, key) for each in found]
        stated = [each.errors[key] for each in found]
        assert all(1 / 2.5 < t / s < 2.5 for t, s in zip(true, stated, strict=True)), key
        assert 1 / 1.8 < rms(true) / rms(stated) < 1.8, key
    for key in "cd":  # the remainder is diagonal in the units, or nothing: no noise
        assert max(true_error(each, exact, key) for each in found) < 1e-4
        assert max(each.errors[key] for each in found) < 1e-5


def test_gauss_newton_is_further_off_than_an_estimate():
    curvature, X, y = smooth_convnet("gelu")
    exact = curvature.hessians(X, y, method="exact")
    rough = curvature.hessians(X, y, method="gauss-newton")
    found = curvature.hessians(X, y, method="estimate", probes=8)
    for key in "abc":
        assert true_error(found, exact, key) < 0.6 * true_error(rough, exact, key)


def test_estimates_are_right_on_average():
    case = tanh_convnet()
    curvature = Curvature(case.model, {"a": case.variables["a"]}, case.loss_fn)
    truth = npn.second_derivatives(case.oracle, case.kernels)["a"]
    options = {"method": "estimate", "probes": 2}
    found = [curvature.hessians(case.X, case.y, seed=seed, **options) for seed in range(40)]
    values = np.array([each.values["a"] for each in found], np.float64)
    one = rms(values - truth)
    assert one > 0.05 * rms(truth)
    assert rms(values.mean(axis=0) - truth) < 1.6 * one / np.sqrt(len(found))


class Opaque(keras.Model):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, inputs):
        return self.inner(inputs)


def wide_mlp():
    model = keras.Sequential(
        [layers.Input((6,)), layers.Dense(9, "tanh", name="a"), layers.Dense(4, name="b")]
    )
    randomize(model)
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(330, 6)), rng.normal(size=(330, 4))
    return model, {layer.name: layer.kernel for layer in model.layers}, X, y


def test_kernels_without_a_closed_form_are_probed_in_their_weights():
    model, kernels, X, y = wide_mlp()
    curvature = Curvature(Opaque(model), kernels, "mse")
    exact = curvature.hessians(X, y, method="exact")
    for seed in range(3):
        found = curvature.hessians(X, y, method="estimate", probes=16, seed=seed)
        assert found.methods == {"a": "estimate", "b": "estimate"}
        for key in kernels:
            assert 0.01 < found.errors[key] < 0.5
            assert 0.5 < true_error(found, exact, key) / found.errors[key] < 2, (seed, key)


def test_a_layer_that_is_called_twice_is_probed_in_its_weights():
    case = shared_layer()
    curvature = Curvature(case.model, case.variables, case.loss_fn)
    expected = npn.second_derivatives(case.oracle, case.kernels)["a"]
    found = curvature.hessians(case.X, case.y, method="estimate", probes=12)
    assert found.methods["a"] == "estimate"
    error = rms(found.values["a"] - expected) / rms(expected)
    assert error < 3 * found.errors["a"] < 3


def test_more_probes_leave_less_error():
    curvature, X, y = smooth_convnet("gelu")
    curvature = Curvature(curvature.model, {"a": curvature.kernels["a"]}, curvature.loss)
    few, many = (curvature.hessians(X, y, method="estimate", probes=probes) for probes in (4, 32))
    assert 2 < few.errors["a"] / many.errors["a"] < 4


def test_noise_that_hides_the_diagonal_is_told():
    errors = {"a": np.inf, "b": 0.0, "c": 1e-7, "d": 0.0834}
    methods = {"a": "estimate", "b": "exact", "c": "estimate", "d": "estimate"}
    found = HessianDiagonal({}, methods, errors)
    assert found.summary() == "estimate: a (lost in noise), c (±0.0 %), d (±8.3 %); exact: b"


def test_the_seed_decides_and_batches_do_not():
    curvature, X, y = smooth_convnet("tanh", samples=40)
    kernels = {"a": curvature.kernels["a"]}
    options = {"method": "estimate", "probes": 3}

    def found(batch_size=None, **more):
        whole = Curvature(curvature.model, kernels, curvature.loss, batch_size)
        return whole.hessians(X, y, **options, **more)

    first = found()
    np.testing.assert_array_equal(found().values["a"], first.values["a"])
    np.testing.assert_allclose(found(7).values["a"], first.values["a"], rtol=1e-3, atol=1e-5)
    assert found(7).errors["a"] == pytest.approx(first.errors["a"], rel=1e-3)
    assert rms(found(seed=1).values["a"] - first.values["a"]) > 1e-3 * rms(first.values["a"])


def test_the_estimate_leaves_what_is_exact_to_gauss_newton():
    case = relu_convnet()
    found = model_hessian(case.model, case.loss_fn, case.X, case.y, method="estimate")
    assert set(found.methods.values()) == {"gauss-newton"}
    assert set(found.errors.values()) == {0.0}


def test_probes_are_not_spent_where_exact_products_are_fewer():
    case = tanh_mlp()
    found = model_hessian(case.model, case.loss_fn, case.X, case.y, method="estimate")
    assert set(found.methods.values()) == {"exact"}


def test_gauss_newton_on_a_smooth_network_does_not_claim_an_error(caplog):
    case = tanh_mlp()
    with caplog.at_level(logging.INFO, logger="fabricfit"):
        found = model_hessian(case.model, case.loss_fn, case.X, case.y, method="gauss-newton")
    assert all(np.isnan(error) for error in found.errors.values())
    assert "a (error not measured)" in caplog.text
    assert "approximation here: layer 'a' has the activation 'tanh'" in caplog.text


def _plan(samples, *hidden, shape, classes, method="auto"):
    model = keras.Sequential(
        [layers.Input(shape), *hidden, layers.Dense(classes, "softmax", name="out")]
    )
    curvature = Curvature(model, None, "sparse_categorical_crossentropy")
    X, y = np.zeros((samples, *shape), np.float32), np.zeros(samples, int)
    return curvature.plan(X, y, method=method)


def _tagger(activation):
    return [layers.Dense(n, activation, name=f"d{n}_{i}") for i, n in enumerate((64, 32, 32))]


def _lenet():
    return [
        layers.Conv2D(6, 5, activation="tanh", name="c1"),
        layers.AveragePooling2D(2),
        layers.Conv2D(16, 5, activation="tanh", name="c2"),
        layers.AveragePooling2D(2),
        layers.Flatten(),
        layers.Dense(120, "tanh", name="d1"),
        layers.Dense(84, "tanh", name="d2"),
    ]


def test_auto_is_exact_for_a_jet_tagger():
    plan = _plan(36000, *_tagger("tanh"), shape=(16,), classes=5)
    assert set(plan.values()) == {"exact"}
    plan = _plan(36000, *_tagger("relu"), shape=(16,), classes=5)
    assert set(plan.values()) == {"gauss-newton"}


def test_auto_estimates_where_exact_is_dear():
    plan = _plan(4000, *_lenet(), shape=(28, 28, 1), classes=10)
    assert plan == dict.fromkeys(["c1", "c2", "d1", "d2"], "estimate") | {"out": "exact"}
    plan = _plan(10, *_lenet(), shape=(28, 28, 1), classes=10)
    assert set(plan.values()) == {"exact"}
    plan = _plan(10, *_lenet(), shape=(28, 28, 1), classes=10, method="gauss-newton")
    assert set(plan.values()) == {"gauss-newton"}


def test_auto_counts_the_positions_of_layers_that_it_cannot_tap():
    convolution = type("Mine", (layers.Conv2D,), {})(6, 5, name="a")
    plan = _plan(2000, convolution, layers.Flatten(), shape=(28, 28, 1), classes=3)
    assert plan["a"] == "estimate"
    plan = _plan(40, convolution, layers.Flatten(), shape=(28, 28, 1), classes=3)
    assert plan["a"] == "exact"


class Counter:
    """A smooth loss and activation that know how often Python has run them."""

    def __init__(self):
        self.loss_calls = self.activation_calls = 0

    def loss(self, y_true, y_pred):
        self.loss_calls += 1
        return keras.losses.mean_squared_error(y_true, y_pred)

    def activation(self, x):
        self.activation_calls += 1
        return keras.ops.tanh(x)


@pytest.mark.parametrize("method", ["gauss-newton", "exact", "estimate"])
def test_nothing_is_compiled_twice(method):
    counter = Counter()
    hidden = layers.Dense(5, counter.activation, name="a")
    model = keras.Sequential([layers.Input((4,)), hidden, layers.Dense(3, name="b")])
    kernels = {layer.name: layer.kernel for layer in model.layers}
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 4)), rng.normal(size=(20, 3))
    options = {"probes": 2} if method == "estimate" else {}
    curvature = Curvature(model, kernels, counter.loss)

    def both():
        return curvature.gradients(X, y), curvature.hessians(X, y, method=method, **options)

    randomize(model, 0)
    before = both()
    traced = counter.loss_calls, counter.activation_calls
    randomize(model, 1)
    after = both()
    if keras.backend.backend() != "torch":  # which compiles nothing
        assert (counter.loss_calls, counter.activation_calls) == traced
    fresh = Curvature(model, kernels, counter.loss)
    for key in kernels:
        assert rms(after[0][key] - before[0][key]) > 0.1 * rms(before[0][key])
        np.testing.assert_allclose(after[0][key], fresh.gradients(X, y)[key], rtol=1e-5)
        again = fresh.hessians(X, y, method=method, **options)
        np.testing.assert_allclose(after[1].values[key], again.values[key], rtol=1e-4, atol=1e-6)


def test_one_object_serves_data_of_several_kinds():
    model = keras.Sequential([layers.Input((4,)), layers.Dense(3, name="a")])
    kernels = {"a": model.layers[0].kernel}
    curvature = Curvature(model, kernels, "mse")
    rng = np.random.default_rng(0)
    for count, kind in ((20, np.float32), (11, np.float32), (11, np.int64), (20, np.float32)):
        X, y = (9 * rng.normal(size=(count, 4))).astype(kind), rng.normal(size=(count, 3))
        found = curvature.hessians(X, y).values["a"]
        expected = np.mean(X.astype(float) ** 2, axis=0)[:, None] * np.full(3, 2 / 3)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_part_of_the_samples_is_their_mean():
    case = relu_convnet()
    arguments = case.model, case.loss_fn, case.X, case.y
    used = np.sort(np.random.default_rng(3).choice(len(case.X), 5, replace=False))
    for function in (get_model_gradients, get_model_hessians):
        found = function(*arguments, samples=5, seed=3)
        expected = function(case.model, case.loss_fn, case.X[used], case.y[used])
        for key, value in expected.items():
            np.testing.assert_allclose(found[key], value, rtol=1e-5, atol=1e-7)
        whole = function(*arguments, samples=1000)
        np.testing.assert_array_equal(whole["a"], function(*arguments)["a"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, "samples must be a whole number of at least 1"),
        ({"samples": 1.5}, "samples must be a whole number"),
        ({"probes": 1}, "probes must be a whole number of at least 2"),
        ({"method": "probes"}, "method must be one of .*'estimate'"),
    ],
)
def test_bad_options_are_refused(options, message):
    case = tanh_mlp()
    with pytest.raises(InvalidInputError, match=message):
        model_hessian(case.model, case.loss_fn, case.X, case.y, **options)


def test_one_line_of_the_log_tells_ways_and_errors(caplog):
    curvature, X, y = smooth_convnet("tanh", samples=60)
    with caplog.at_level(logging.INFO, logger="fabricfit"):
        found = curvature.hessians(X, y, method="estimate", probes=9)
    assert found.methods == {"a": "estimate", "b": "estimate", "c": "estimate", "d": "exact"}
    assert len(caplog.records) == 1
    assert re.search(r"on 60 samples: estimate: a \(±[\d.]+ %\), b \(±[\d.]+ %\), c", caplog.text)
    assert caplog.text.rstrip().endswith("; exact: d")
