"""The call of fit: what a compiled model says, boards by name, the older order of arguments."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit import Budget, OptimizationSettings
from fabricfit.errors import InfeasibleError, InvalidInputError, InvalidTypeError
from fabricfit.optimization.compiled_settings import RunOptions, read_settings
from fabricfit.optimization.usual_loss import find_usual_loss
from tests.common import L, blobs, mlp, weights_of
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

CONFIG = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 2, "Strategy": "Resource"}}
LOSS = "sparse_categorical_crossentropy"


@pytest.fixture(scope="module")
def data():
    X, y = blobs(384)
    return (X[:256], y[:256]), (X[256:], y[256:])


@pytest.fixture
def model():
    found = mlp(hidden=16)
    found.compile(keras.optimizers.SGD(0.05), LOSS, metrics=["accuracy"])
    return found


def read(model, data=None, settings=None, *, trained=False, **options):
    return read_settings(model, data, settings, options, trained=trained)


def test_a_compiled_model_needs_no_settings(model, data, tmp_path):
    budget = Budget.relative(dsp=0.6)
    short = {"hls_config": CONFIG, "epochs": 2, "tuner": None}
    found = fabricfit.fit(model, *data, budget, directory=tmp_path / "a", **short)
    settings = OptimizationSettings(
        batch_size=16, epochs=2, optimizer=keras.optimizers.SGD(0.05), loss_fn=LOSS, tuner=None,
        validation_metric="accuracy", increasing=True, rtol=None, directory=tmp_path / "b",
    )  # fmt: skip
    same = fabricfit.fit(model, *data, budget, settings, hls_config=CONFIG)
    assert found.report.metric_name == "accuracy" and found.report.fits
    assert found.report.metric_after == same.report.metric_after
    for one, other in zip(weights_of(found.model), weights_of(same.model), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_board_is_named(model, data, tmp_path):
    result = fabricfit.fit(
        model, *data, "pynq-z2", hls_config=CONFIG, epochs=2, tuner=None, directory=tmp_path
    )
    assert result.report.fits and result.report.units == ("DSP", "BRAM18", "LUT", "FF")
    with pytest.raises(InvalidInputError, match="Did you mean 'PYNQ-Z2'"):
        fabricfit.fit(model, *data, "pynk-z2")


@pytest.mark.parametrize(
    "order",
    [
        lambda model, train, validation, budget, settings: (
            (model, CONFIG, budget, train, validation, settings),
            {},
        ),
        lambda model, train, validation, budget, settings: (
            (model, CONFIG, budget, train, validation),
            {"settings": settings},
        ),
        lambda model, train, validation, budget, settings: (
            (model, CONFIG),
            {
                "budget": budget,
                "train_data": train,
                "validation_data": validation,
                "settings": settings,
            },
        ),
    ],
)
def test_the_older_order_means_the_same(model, data, tmp_path, order):
    budget = Budget(dsp=1)
    settings = read(model, data[0], directory=tmp_path)
    args, named = order(model, *data, budget, settings)
    with (
        pytest.warns(DeprecationWarning, match="hls_config=…"),
        pytest.raises(InfeasibleError, match=r"Budget\(dsp=1"),
    ):
        fabricfit.fit(*args, **named)


def test_the_older_order_is_checked_as_before(model, data):
    settings = read(model, data[0])
    with pytest.warns(DeprecationWarning), pytest.raises(InvalidTypeError, match="Received: 220"):
        fabricfit.fit(model, CONFIG, 220, *data, settings)
    with pytest.warns(DeprecationWarning), pytest.raises(InvalidTypeError, match="budget twice"):
        fabricfit.fit(model, CONFIG, Budget(dsp=9), *data, settings, budget=Budget(dsp=9))


def test_options_are_the_settings():
    fields = {field.name for field in dataclasses.fields(OptimizationSettings)}
    renamed = {"loss": "loss_fn", "metric": "validation_metric"}
    known = {renamed.get(name, name) for name in RunOptions.__annotations__}
    assert known == {*fields, "search"}  # which becomes tuner and trials


def test_options_go_before_settings(model):
    settings = read(model, epochs=5, batch_size=64)
    changed = read(model, settings=settings, epochs=7, metric="loss", increasing=False)
    assert (changed.epochs, changed.batch_size) == (7, 64)
    assert (changed.validation_metric, changed.increasing) == ("loss", False)
    assert settings.epochs == 5


def test_what_settings_leave_open_is_that_of_the_model(model, data):
    assert read(model, data[0], OptimizationSettings()) == read(model, data[0])
    found = read(model, settings=OptimizationSettings(tuner=None, loss_fn="mse", epochs=1))
    assert (found.loss_fn, found.epochs, found.rewinding_epochs) == ("mse", 1, 0)
    assert found.optimizer is model.optimizer and found.validation_metric == "accuracy"


def test_strengths_are_searched_for_when_asked_to(model):
    assert read(model).tuner is None
    found = read(model, search=6)
    assert (found.tuner, found.trials) == ("halving", 6)
    assert dataclasses.replace(found, tuner=None).tuner is None
    assert read(model, search=6, tuner="Bayesian").tuner == "Bayesian"
    assert OptimizationSettings(search=3).trials == 3
    with pytest.raises(InvalidInputError, match="search must be"):
        read(model, search=0)


@pytest.mark.parametrize(
    ("samples", "size"), [(10, 16), (600, 16), (2047, 32), (2048, 64), (10**6, 1024)]
)
def test_a_batch_leaves_some_steps_an_epoch(model, samples, size):
    data = np.zeros((samples, 1), "int8"), np.zeros(samples, "int8")
    assert read(model, data).batch_size == size
    assert read(model, iter([data])).batch_size == 256


def test_epochs_follow_the_kind_of_run(model):
    assert (read(model).epochs, read(model, trained=True).epochs) == (20, 240)
    assert (read(model, epochs=1).rewinding_epochs, read(model).rewinding_epochs) == (0, 1)


@pytest.mark.parametrize(
    ("metric", "increasing"),
    [
        ("accuracy", True), ("mse", False), ("loss", False), (keras.metrics.AUC(), True),
        (keras.losses.mean_absolute_error, False), (keras.metrics.categorical_accuracy, True),
        (keras.losses.Huber(), False), (["mse", "mae"], False), ({"a": "accuracy"}, True),
    ],
)  # fmt: skip
def test_keras_says_what_is_better(model, metric, increasing):
    assert read(model, metric=metric).increasing is increasing


def test_what_is_better_has_to_be_said_otherwise(model):
    def agreement(y, found):
        return keras.ops.mean(found)

    for metric in (agreement, ["accuracy", "mse"], [agreement, "mse"]):
        with pytest.raises(InvalidInputError, match="increasing must be given"):
            read(model, metric=metric)
        assert read(model, metric=metric, increasing=True).increasing


def test_metrics_of_several_outputs_are_read():
    line = keras.Input((4,))
    model = keras.Model(line, [L.Dense(2, name="a")(line), L.Dense(1, name="b")(line)])
    losses = {"a": "mse", "b": "mae"}
    model.compile("adam", losses, metrics={"a": ["mae", "mse"]}, loss_weights={"a": 2.0, "b": 1.0})
    found = read(model)
    assert (found.loss_fn, found.loss_weights) == (losses, {"a": 2.0, "b": 1.0})
    assert found.validation_metric == {"a": "mae"} and not found.increasing
    assert read(model, loss="mse").loss_weights is None
    model.compile("adam", "mse", metrics=[["mae"], [keras.metrics.MeanSquaredError()]])
    found = read(model)
    assert found.validation_metric[0] == "mae" and not found.increasing
    assert isinstance(found.validation_metric[1], keras.metrics.MeanSquaredError)
    model.compile("adam", "mse")
    assert read(model).validation_metric == "loss"


def test_a_run_needs_a_loss(data):
    bare = keras.Sequential([keras.Input((4,)), L.Dense(2)])
    with pytest.raises(InvalidInputError, match="loss must be given"):
        fabricfit.fit(bare, *data, "pynq-z2")
    assert read(bare, loss="mse").optimizer == "adam"


LABELS = np.arange(60) % 3


@pytest.mark.parametrize(
    ("activation", "units", "targets", "loss"),
    [
        ("softmax", 3, LABELS, "sparse_categorical_crossentropy"),
        ("softmax", 3, LABELS[:, None].astype(float), "sparse_categorical_crossentropy"),
        ("softmax", 3, np.eye(3)[LABELS], "categorical_crossentropy"),
        ("softmax", 3, np.full((60, 3), 1 / 3), "categorical_crossentropy"),
        ("sigmoid", 1, LABELS % 2, "binary_crossentropy"),
        ("sigmoid", 1, LABELS[:, None] % 2, "binary_crossentropy"),
        ("sigmoid", 3, np.eye(3)[LABELS], "binary_crossentropy"),
        ("softmax", 3, LABELS + 1, None),
        ("softmax", 3, LABELS - 1, None),
        ("softmax", 3, LABELS + 0.5, None),
        ("softmax", 3, np.eye(4)[LABELS], None),
        ("sigmoid", 1, LABELS, None),
        ("sigmoid", 3, LABELS, None),
        ("linear", 3, LABELS, None),
        ("softmax", 3, LABELS.astype(str), None),
        ("softmax", 3, {"out": LABELS}, None),
    ],
)
def test_a_classifier_has_a_usual_loss(activation, units, targets, loss):
    layers = [keras.Input((4,)), L.Dense(units, activation=activation)]
    X = np.zeros((60, 4), "float32")
    assert find_usual_loss(keras.Sequential(layers), (X, targets)) == loss
    if activation == "softmax":
        layers[1:] = [L.Dense(units), L.Softmax()]
        assert find_usual_loss(keras.Sequential(layers), (X, targets)) == loss


def test_the_usual_loss_is_used_where_there_is_no_other(data):
    bare = keras.Sequential([keras.Input((4,)), L.Dense(3, activation="softmax")])
    found = read_settings(bare, (np.zeros((60, 4)), LABELS), None, {}, trained=False)
    assert found.loss_fn == "sparse_categorical_crossentropy" and found.increasing
    assert found.validation_metric == "accuracy"
    given = {"loss": "mse", "metric": "mae"}
    found = read_settings(bare, (np.zeros((60, 4)), LABELS), None, given, trained=False)
    assert (found.loss_fn, found.validation_metric) == ("mse", "mae")
    assert find_usual_loss(bare, lambda: iter([])) is None


def test_wrong_arguments_are_named(model, data):
    with pytest.raises(InvalidTypeError, match=r"no argument 'epoch'. Did you mean 'epochs'"):
        fabricfit.fit(model, *data, "pynq-z2", epoch=3)
    with pytest.raises(TypeError, match="settings must be"):
        fabricfit.fit(model, *data, "pynq-z2", {"epochs": 3})
    with pytest.raises(TypeError, match="name of a board"):
        fabricfit.fit(model, *data, 220)
