"""Stretches of training: callbacks, the best epoch, and an early end where more would not help."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.losses import ModelMetric
from fabricfit.samples import Data
from fabricfit.training import (
    TrainingDivergedError,
    make_engine,
    train,
)
from tests.common import L, blobs, mlp

pytestmark = pytest.mark.keras


LOSS = "sparse_categorical_crossentropy"


class Diary(keras.callbacks.Callback):
    def __init__(self, stop_after=None):
        super().__init__()
        self.entries = []
        self.stop_after = stop_after

    def on_train_begin(self, logs=None):
        self.entries.append("begin")

    def on_epoch_end(self, epoch, logs=None):
        self.entries.append((epoch, sorted(logs)))
        if self.stop_after == epoch:
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        self.entries.append("end")


def train_stretch(engine, data, epochs=3, **options):
    metric = ModelMetric("accuracy")
    return train(
        engine,
        data,
        data,
        metric,
        increasing=True,
        epochs=epochs,
        batch_size=32,
        rng=np.random.default_rng(0),
        **options,
    )


def test_callbacks_are_called_and_can_stop():
    X, y = blobs(64)
    diary = Diary(stop_after=1)
    train_stretch(make_engine(mlp(), LOSS, "adam"), Data(X, y), 5, callbacks=[diary])
    logs = ["loss", "val_accuracy", "val_loss"]
    assert diary.entries == ["begin", (0, logs), (1, logs), "end"]


class Script:
    """An engine whose metric after each epoch is written down beforehand."""

    def __init__(self, values):
        self.model, self.values, self.epoch = mlp(), values, 0

    def train_epoch(self, data, order, batch_size):
        self.epoch += 1
        return 0.0

    def evaluate(self, data, metric):
        return self.values[self.epoch - 1]

    def get_weights(self):
        return [self.epoch]

    def set_weights(self, weights):
        self.kept = weights[0]


@pytest.mark.parametrize(
    "values, options, trained, kept",
    [
        ([0.5, 0.6, 0.7, 0.8, 0.9], {}, 5, 5),  # it goes on while it gets better
        ([0.5, 0.6, 0.6, 0.6001, 0.9], {}, 4, 4),  # two epochs brought less than a thousandth
        ([0.5, 0.6, 0.55, 0.59, 0.9], {}, 4, 2),
        ([0.5, 0.6, 0.6, 0.6001, 0.9], {"patience": None}, 5, 5),
        ([0.5, 0.6, 0.6, 0.6001, 0.9], {"patience": 3}, 5, 5),
        ([0.5, 0.51, 0.52, 0.53, 0.54], {"needed": 0.9}, 3, 3),  # 0.52 + 2 x 0.01 is not enough
        ([0.5, 0.51, 0.52, 0.53, 0.54], {"needed": 0.54}, 5, 5),
        ([0.2, 0.4, 0.4, 0.4, 0.9], {"needed": 0.6}, 5, 5),  # what once gained may gain again
        ([0.2, 0.4, 0.4, 0.4, 0.9], {"needed": 0.3}, 4, 2),
        ([0.5, 0.6, 0.7, 0.8, 0.9], {"enough": 0.7}, 3, 3),
        ([0.5, 0.6, 0.7, 0.8, 0.9], {"enough": 0.7, "patience": None}, 5, 5),
        ([0.5, 0.4, 0.3, 0.2, 0.1], {"increasing": False, "enough": 0.45}, 2, 2),
        ([0.5, 0.4, 0.3, 0.2, 0.1], {"increasing": False}, 5, 5),
        ([0.5, 0.49, 0.48, 0.47, 0.4], {"increasing": False, "needed": 0.1}, 3, 3),
        ([0.5, 0.5, 0.5, 0.5, 0.5], {"increasing": False}, 3, 1),
    ],
)
def test_no_epoch_is_trained_for_nothing(values, options, trained, kept):
    X, y = blobs(8)
    engine = Script(values)
    options = {"increasing": True, "patience": 2, **options}
    found = train(
        engine, Data(X, y), Data(X, y), keras.metrics.Accuracy(), epochs=5, batch_size=8,
        rng=np.random.default_rng(0), **options,
    )  # fmt: skip
    assert len(found.losses) == trained and engine.kept == kept
    assert found.metric == values[kept - 1]


def test_the_best_epoch_is_kept():
    X, y = blobs(256)
    model = mlp()
    engine = make_engine(model, LOSS, keras.optimizers.SGD(0.5))
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(logs["val_accuracy"])

    found = train_stretch(engine, Data(X, y), 8, callbacks=[Watch()])
    assert found.metric == max(seen)
    metric = ModelMetric("accuracy")
    assert engine.evaluate(Data(X, y), metric) == pytest.approx(found.metric)


@pytest.mark.parametrize("name", ["scheduler", "plateau", "stopping", "checkpoint", "log"])
def test_callbacks_of_keras_find_what_they_need(name, tmp_path):
    X, y = blobs(64)
    callbacks = keras.callbacks
    made = {
        "scheduler": lambda: callbacks.LearningRateScheduler(lambda epoch, rate: 0.0),
        "plateau": lambda: callbacks.ReduceLROnPlateau("val_accuracy", mode="max", patience=1),
        "stopping": lambda: callbacks.EarlyStopping("val_accuracy", mode="max", patience=1),
        "checkpoint": lambda: callbacks.ModelCheckpoint(
            tmp_path / "best.keras", "loss", save_best_only=True
        ),
        "log": lambda: callbacks.CSVLogger(tmp_path / "log.csv"),
    }
    engine = make_engine(mlp(), LOSS, "adam")
    before = engine.get_weights()
    found = train_stretch(engine, Data(X, y), 4, callbacks=[made[name]()])
    assert 1 <= len(found.losses) <= 4
    if name == "scheduler":  # a learning rate of zero is one
        for old, new in zip(before, engine.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)
    if name == "checkpoint":
        assert keras.saving.load_model(tmp_path / "best.keras")
    if name == "log":
        assert (tmp_path / "log.csv").read_text().startswith("epoch,loss,val_accuracy,val_loss")


def test_a_loss_that_is_no_number_ends_the_stretch():
    X, y = blobs(64)
    model = keras.Sequential([keras.Input((6,)), L.Dense(8), L.Dense(1)])
    engine = make_engine(model, "mse", keras.optimizers.SGD(1e20))
    with pytest.raises(TrainingDivergedError, match="in epoch"):
        train_stretch(engine, Data(X, y.astype("float32")[:, None]), 5)
