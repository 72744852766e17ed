"""Runs on data, losses and metrics in the forms that ``model.compile`` and ``model.fit`` take."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit.errors import InvalidInputError
from tests.common import L
from tests.marks import ON_ONE_BACKEND, first_quick

from .runs import run

pytestmark = ON_ONE_BACKEND

RNG = np.random.default_rng(0)
X = RNG.normal(size=(192, 6)).astype("float32")
VALUES = (X @ RNG.normal(size=(6, 3))).astype("float32")
TARGETS = {"zeta": VALUES[:, :1], "alpha": VALUES[:, 1:2]}
NUMBERS = {"loss_fn": "mse", "validation_metric": "mse", "increasing": False, "rtol": None}


class Weighted(keras.losses.Loss):
    def __init__(self, weight, **options):
        super().__init__(**options)
        self.weight = weight

    def call(self, y_true, y_pred):
        return self.weight * keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


def two_numbers():
    keras.utils.set_random_seed(0)
    given = keras.Input((6,), name="given")
    hidden = L.Dense(12, "relu", name="h")(given)
    return keras.Model(given, [L.Dense(1, name="zeta")(hidden), L.Dense(1, name="alpha")(hidden)])


def two_tasks():
    keras.utils.set_random_seed(0)
    given = keras.Input((6,), name="given")
    hidden = L.Dense(12, "relu", name="h")(given)
    heads = [L.Dense(3, "softmax", name="kind")(hidden), L.Dense(1, name="energy")(hidden)]
    return keras.Model(given, heads)


def small(outputs=1, activation=None):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((6,)), L.Dense(12, "relu", name="h"), L.Dense(outputs, activation, name="o")]
    )


def test_outputs_learn_their_own_targets(tmp_path):
    model = two_numbers()
    model.compile(keras.optimizers.Adam(0.01), "mse")
    model.fit(X, TARGETS, epochs=40, verbose=0)
    found = run(model, ((X, TARGETS), (X, TARGETS)), tmp_path, **NUMBERS)
    predicted = found.model.predict(X, verbose=0)
    for number, (name, other) in enumerate((("zeta", "alpha"), ("alpha", "zeta"))):
        errors = [np.mean((predicted[number] - TARGETS[each]) ** 2) for each in (name, other)]
        assert errors[0] < errors[1]
    losses = model.evaluate(X, TARGETS, verbose=0, return_dict=True)
    assert found.report.metric_before == pytest.approx(losses["loss"] / 2, rel=1e-4)


FORMS = {
    "dict": {"energy": "mse", "kind": "sparse_categorical_crossentropy"},
    "list": ["crossentropy", Weighted(0.5)],
}


@pytest.mark.parametrize("form", FORMS)
def test_two_tasks_are_trained_together(form, tmp_path):
    y = [VALUES.argmax(axis=1), VALUES[:, :1]]
    options = {
        "loss_fn": FORMS[form], "loss_weights": {"energy": 0.5}, "validation_metric": {"kind": "accuracy"},
        "increasing": True, "rtol": None,
    }  # fmt: skip
    found = run(two_tasks(), ((X, y), (X, {"kind": y[0], "energy": y[1]})), tmp_path, **options)
    assert found.report.metric_name == "kind_accuracy"
    accuracy = np.mean(found.model.predict(X, verbose=0)[0].argmax(axis=1) == y[0])
    assert found.report.metric_after == pytest.approx(accuracy)
    again = keras.saving.load_model(found.directory / "model.keras")
    assert again.compiled == (form == "dict")
    if form == "dict":
        scores = again.evaluate(X, y, verbose=0, return_dict=True)
        assert scores["kind_accuracy"] == pytest.approx(accuracy)


def test_one_metric_is_measured_where_it_can_be(tmp_path, caplog):
    y = [VALUES.argmax(axis=1), VALUES[:, :1]]
    options = {**NUMBERS, "loss_fn": FORMS["dict"]}  # no mean square of the numbers of classes
    found = run(two_tasks(), ((X, y), (X, y)), tmp_path, **options)
    assert found.report.metric_name == "energy_mse"
    assert "'mse' cannot be computed for 'kind': it is measured as energy_mse" in caplog.text
    with pytest.raises(
        InvalidInputError, match="validation_metric 'kind_mse' cannot be computed for 'kind'"
    ):
        run(
            two_tasks(),
            ((X, y), (X, y)),
            tmp_path,
            **{**options, "validation_metric": {"kind": "mse"}},
        )


@pytest.mark.parametrize("ranking", ["oracle", "saliency"])
def test_an_own_class_of_loss_trains_with_its_parameters(tmp_path, ranking):
    kernels = []
    for factor, rate in ((3.0, 0.01), (1.0, 0.03)):  # the same steps of plain gradient descent
        options = {**NUMBERS, "loss_fn": Weighted(factor), "optimizer": keras.optimizers.SGD(rate)}
        found = run(small(), ((X, VALUES[:, :1]),) * 2, tmp_path, ranking_metric=ranking, **options)
        kernels.append(keras.ops.convert_to_numpy(found.model.layers[0].kernel))
    np.testing.assert_allclose(*kernels, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "loss", first_quick([Weighted(1.0), "hinge", "binary_crossentropy"], 3, elsewhere=1)
)
def test_labels_without_the_last_axis_and_of_other_types_train_alike(loss, tmp_path):
    y = (VALUES[:, :1] > 0).astype("float32")
    options = {**NUMBERS, "loss_fn": loss, "ranking_metric": "saliency"}
    after = [
        run(small(1, "sigmoid"), ((X, each),) * 2, tmp_path, **options).report.metric_after
        for each in (y, y[:, 0], y.astype("float64"), y.astype(int)[:, 0])
    ]
    assert after == pytest.approx([after[0]] * 4, rel=1e-5)


def test_ignored_labels_are_ignored(tmp_path):
    labels = VALUES.argmax(axis=1)
    some = np.where(RNG.random(len(X)) < 0.2, 255, labels)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    options = {"loss_fn": loss, "rtol": None, "ranking_metric": "saliency", "epochs": 8}
    found = run(small(3), ((X, some), (X, labels)), tmp_path, **options)
    assert found.report.metric_after > 0.5
    with pytest.raises(InvalidInputError, match="class labels from 0 to 2, or 255, which the loss"):
        run(small(3), ((X, some + 1), (X, labels)), tmp_path, **options)


def test_samples_of_weight_zero_do_not_count(tmp_path):
    """Half of the samples teach the opposite; their weights are 0, or their class's is."""
    wrong = np.where(np.arange(len(X)) % 2, VALUES[:, 0], -5 * VALUES[:, 0])[:, None]
    weights = (np.arange(len(X)) % 2).astype("float32")
    validation = (X, VALUES[:, :1])
    options = {**NUMBERS, "epochs": 8, "ranking_metric": "saliency"}
    right, misled = (
        run(small(), (data, validation), tmp_path, **options).report.metric_after
        for data in ((X, wrong, weights), (X, wrong))
    )
    assert right < 0.5 * misled


def test_classes_are_weighted(tmp_path):
    labels = (VALUES[:, 0] > 1).astype(int)
    options = {"loss_fn": "sparse_categorical_crossentropy", "rtol": None, "epochs": 8}
    shares = []
    for class_weight in (None, {1: 20.0}):
        found = run(
            small(2, "softmax"), ((X, labels),) * 2, tmp_path, class_weight=class_weight, **options
        )
        shares.append(np.mean(found.model.predict(X, verbose=0).argmax(axis=1)))
    assert shares[1] > shares[0] + 0.05


def test_the_loss_is_a_validation_metric(tmp_path):
    options = {**NUMBERS, "loss_fn": {"energy": "mse"}, "validation_metric": "loss"}
    y = {"energy": VALUES[:, :1]}
    model = two_tasks()
    found = run(model, ((X, y), (X, y)), tmp_path, **options)
    expected = np.mean((model.predict(X, verbose=0)[1] - y["energy"]) ** 2)
    assert found.report.metric_before == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"loss_fn": {"enegry": "mse"}}, "loss_fn has the key 'enegry'"),
        ({"loss_fn": ["mse"]}, "for each of the model's 2 outputs"),
        ({"loss_weights": [1.0]}, "loss_weights must hold a number for each"),
        ({"validation_metric": {"enegry": "mse"}}, "validation_metric has the key 'enegry'"),
        ({"class_weight": {0: 1.0}}, "class_weight is for models of one output"),
    ],
)
def test_what_fits_no_output_is_refused_before_anything_is_written(change, message, tmp_path):
    data = ((X, [VALUES[:, :1], VALUES[:, 1:2]]),) * 2
    with pytest.raises(InvalidInputError, match=message):
        run(two_numbers(), data, tmp_path / "runs", **{**NUMBERS, **change})
    assert not (tmp_path / "runs").exists()


def test_inputs_go_by_name_to_fit_and_verify(tmp_path):
    pytest.importorskip("hls4ml")
    a, b = keras.Input((4,), name="zin"), keras.Input((2,), name="ain")
    hidden = [L.Dense(8, "relu", name="da")(a), L.Dense(8, "relu", name="db")(b)]
    model = keras.Model([a, b], L.Dense(1, name="o")(L.Concatenate(name="cc")(hidden)))
    inputs = {"ain": X[:, 4:], "zin": X[:, :4]}
    config = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}}
    y = VALUES[:, :1]
    found = run(model, ((inputs, y), (inputs, y)), tmp_path, **NUMBERS)
    expected = np.mean((model.predict([X[:, :4], X[:, 4:]], verbose=0) - y) ** 2)
    assert found.report.metric_before == pytest.approx(expected, rel=1e-4)
    fabricfit.verify(model, config, inputs, compile=False)
    with pytest.raises(InvalidInputError, match="Missing: 'ain'"):
        fabricfit.verify(model, config, {"zin": X[:, :4]}, compile=False)
