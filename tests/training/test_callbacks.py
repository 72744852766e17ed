"""Callbacks see what Keras' own ``fit`` shows them, on the same model, data and order of samples."""

from __future__ import annotations

import csv

import keras
import numpy as np
import pytest

from fabricfit.losses import ModelMetric
from fabricfit.network.cloning import copy_model
from fabricfit.samples import Data
from fabricfit.training import make_engine, train
from tests.common import L, described, weights_of
from tests.marks import first_quick

pytestmark = pytest.mark.keras

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 6)).astype("float32")
Y = (X @ RNG.normal(size=(6, 1)) + RNG.normal(0, 0.5, (90, 1))).astype("float32")
DATA, VALIDATION = Data(X[:64], Y[:64]), Data(X[64:], Y[64:], "val")


class InOrder(np.random.Generator):
    """Leaves the samples in their order, as ``fit(shuffle=False)`` does."""

    def permutation(self, x, axis=0):
        return np.arange(x)


class Diary(keras.callbacks.Callback):
    """Writes down what it sees."""

    HOOKS = (
        "on_train_begin",
        "on_epoch_begin",
        "on_test_begin",
        "on_test_end",
        "on_epoch_end",
        "on_train_end",
    )

    def __init__(self, *others):
        super().__init__()
        self.seen = []
        for name in (*self.HOOKS, *others):
            setattr(self, name, self._noting(name))

    def _noting(self, name):
        def note(*arguments, **keywords):
            *number, logs = (*arguments, *keywords.values()) or (None,)
            if logs is not None and not isinstance(logs, dict):
                number, logs = [*number, logs], None
            self.seen.append((name, *number, dict(logs or {})))

        return note


BATCHES = ("on_train_batch_begin", "on_train_batch_end")


def network(**options):
    keras.utils.set_random_seed(0)
    regularizer = keras.regularizers.L2(0.01)
    return keras.Sequential(
        [
            keras.Input((6,)),
            L.Dense(8, activation="relu", kernel_regularizer=regularizer, name="fc", **options),
            L.Dense(1, name="out"),
        ]
    )


def by_keras(callbacks, epochs=6, metric="mse", optimizer=None, model=None):
    model = model or network()
    model.compile(optimizer or keras.optimizers.Adam(0.05), "mse", metrics=[metric])
    model.fit(
        *(DATA.X, DATA.y),
        validation_data=(VALIDATION.X, VALIDATION.y),
        batch_size=20,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
    )
    return model


def by_engine(callbacks, epochs=6, metric="mse", optimizer=None, model=None, **options):
    engine = make_engine(model or network(), "mse", optimizer or keras.optimizers.Adam(0.05))
    outcome = train(
        engine,
        DATA,
        VALIDATION,
        ModelMetric(metric),
        increasing=False,
        epochs=epochs,
        batch_size=20,
        rng=InOrder(np.random.PCG64(0)),
        callbacks=callbacks,
        **{"keep_best": False, **options},
    )
    return engine, outcome


def without_metrics_of_training(seen):
    """What an engine shows: the metric is measured on the validation data alone."""
    kept = ("loss", "val_loss")
    return [
        (
            *each[:-1],
            {k: v for k, v in each[-1].items() if k in kept or "val" in k or "test" in each[0]},
        )
        for each in seen
    ]


@pytest.mark.parametrize("hooks", [(), BATCHES], ids=["epochs", "batches"])
@pytest.mark.parametrize(
    "metric",
    first_quick(["mse", "mean_absolute_error", keras.metrics.RootMeanSquaredError(name="own")]),
)
def test_they_see_what_keras_shows_them(hooks, metric):
    theirs, ours = Diary(*hooks), Diary(*hooks)
    by_keras([theirs], metric=metric)
    by_engine([ours], metric=metric)
    expected = without_metrics_of_training(theirs.seen)
    assert [each[:-1] for each in ours.seen if each[0] != "on_train_batch_end"] == [
        each[:-1] for each in expected if each[0] != "on_train_batch_end"
    ]
    assert [each[0] for each in ours.seen] == [each[0] for each in expected]
    for mine, its in zip(ours.seen, expected, strict=True):
        if mine[0] != "on_train_end":
            assert list(mine[-1]) == list(its[-1]), mine[0]
        for name, value in mine[-1].items():
            assert value == pytest.approx(its[-1][name], rel=2e-3), (mine, its)
    wanted = {"epochs": 6, "steps": 4, "verbose": 0}
    assert {name: ours.params[name] for name in wanted} == wanted


def test_watching_batches_changes_nothing():
    alone, watched = (by_engine(each)[0].model for each in ([], [Diary(*BATCHES)]))
    for first, second in zip(weights_of(alone), weights_of(watched), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("monitor", first_quick(["val_loss", "val_mse", "loss"], 3, elsewhere=1))
@pytest.mark.parametrize("restore", first_quick([True, False]))
def test_early_stopping_stops_where_it_does_in_keras(monitor, restore):
    made = [
        keras.callbacks.EarlyStopping(monitor, patience=1, restore_best_weights=restore)
        for _ in range(2)
    ]
    rate = 0.3  # too large to go on for long
    theirs = by_keras([made[0]], 30, optimizer=keras.optimizers.Adam(rate))
    engine, outcome = by_engine([made[1]], 30, optimizer=keras.optimizers.Adam(rate))
    assert made[0].stopped_epoch == made[1].stopped_epoch > 0
    assert len(outcome.losses) == made[1].stopped_epoch + 1
    assert made[1].mode == "auto"
    for first, second in zip(weights_of(engine.model), weights_of(theirs), strict=True):
        np.testing.assert_allclose(first, second, rtol=2e-2, atol=2e-3)
    assert outcome.metric == pytest.approx(
        engine.evaluate(VALIDATION, ModelMetric("mse")), rel=1e-6
    )


@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "scaled"])
@pytest.mark.parametrize("name", first_quick(["plateau", "schedule"], 2, elsewhere=1))
def test_learning_rates_are_those_of_keras(name, scaled):
    def make():
        if name == "schedule":
            return keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5)
        return keras.callbacks.ReduceLROnPlateau(
            "val_mse", factor=0.5, patience=1, min_delta=0.5, cooldown=1
        )

    def optimizer():
        plain = keras.optimizers.Adam(0.05)
        return keras.optimizers.LossScaleOptimizer(plain) if scaled else plain

    theirs, ours = Diary(), Diary()
    model = by_keras([make(), theirs], optimizer=optimizer())
    engine, _ = by_engine([make(), ours], optimizer=optimizer())
    rates = [
        float(keras.ops.convert_to_numpy(o.learning_rate))
        for o in (model.optimizer, engine.optimizer)
    ]
    assert rates[0] == pytest.approx(rates[1]) and rates[0] < 0.05
    found = [
        [each[-1]["loss"] for each in diary.seen if each[0] == "on_epoch_end"]
        for diary in (theirs, ours)
    ]
    np.testing.assert_allclose(found[1], found[0], rtol=2e-3)


def test_files_of_callbacks_are_those_of_keras(tmp_path):
    rows, best = [], []
    for folder, work in (("theirs", by_keras), ("ours", by_engine)):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "best.weights.h5"
        work(
            [
                keras.callbacks.ModelCheckpoint(
                    path, monitor="val_mse", save_best_only=True, save_weights_only=True
                ),
                keras.callbacks.CSVLogger(tmp_path / folder / "log.csv"),
                keras.callbacks.TerminateOnNaN(),
                keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None),
            ]
        )
        model = network()
        model.load_weights(path)
        best.append(weights_of(model))
        rows.append(list(csv.DictReader((tmp_path / folder / "log.csv").open())))
    for first, second in zip(*best, strict=True):
        np.testing.assert_allclose(first, second, rtol=5e-3, atol=5e-4)
    assert set(rows[1][0]) == set(rows[0][0]) - {"mse"}
    for its, mine in zip(*rows, strict=True):
        for name, value in mine.items():
            assert float(value) == pytest.approx(float(its[name]), rel=2e-3)


def test_backups_do_no_harm(tmp_path):
    alone, _ = by_engine([])
    backed_up, _ = by_engine([keras.callbacks.BackupAndRestore(tmp_path / "backup")])
    for first, second in zip(weights_of(alone.model), weights_of(backed_up.model), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-6)


def test_training_stops_within_an_epoch():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    stopped, theirs = by_engine([Stop()]), by_keras([Stop()])
    assert len(stopped[1].losses) == 1
    for first, second in zip(weights_of(stopped[0].model), weights_of(theirs), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("keep_best", [True, False])
def test_weights_that_a_callback_sets_are_honoured(keep_best):
    class Halve(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.set_weights([w / 2 for w in self.model.get_weights()])

    model = network()
    attributes = described(model)
    engine = make_engine(model, "mse", "adam", attributes)
    mask = np.ones((6, 8))
    mask[:, :3] = 0
    engine.projection.update({"fc": mask})
    metric = ModelMetric("mse")
    outcome = train(
        engine,
        DATA,
        VALIDATION,
        metric,
        increasing=False,
        epochs=3,
        batch_size=20,
        rng=np.random.default_rng(0),
        callbacks=[Halve()],
        keep_best=keep_best,
    )
    assert outcome.metric == pytest.approx(engine.evaluate(VALIDATION, metric), rel=1e-6)
    assert (weights_of(model)[0][:, :3] == 0).all()
    reference = copy_model(model)
    reference.compile(loss="mse", metrics=["mse"])
    expected = reference.evaluate(VALIDATION.X, VALIDATION.y, verbose=0)
    assert engine.evaluate_loss(VALIDATION) == pytest.approx(expected[0], rel=1e-4)


class Own(keras.Sequential):
    """A model that trains by a step of its own."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return 2.0 * super().compute_loss(x, y, y_pred, sample_weight, training)


def test_models_with_steps_of_their_own_have_callbacks_too():
    def own():
        keras.utils.set_random_seed(0)
        return Own([keras.Input((6,)), L.Dense(8, activation="relu"), L.Dense(1)])

    theirs, ours = Diary(*BATCHES), Diary(*BATCHES)
    stopping = [keras.callbacks.EarlyStopping("val_mse", patience=1) for _ in range(2)]
    by_keras([theirs, stopping[0]], model=own())
    by_engine([ours, stopping[1]], model=own())
    assert [each[0] for each in ours.seen] == [each[0] for each in theirs.seen]
    for mine, its in zip(ours.seen, theirs.seen, strict=True):
        if mine[0] == "on_epoch_end":
            assert mine[-1]["loss"] == pytest.approx(its[-1]["loss"], rel=2e-3)
            assert mine[-1]["val_mse"] == pytest.approx(its[-1]["val_mse"], rel=2e-3)
