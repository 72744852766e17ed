"""Networks, boards and deadlines that designs are compared on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.workloads import Samples, load_samples

if TYPE_CHECKING:
    import keras

__all__ = ["TASKS", "DesignTask", "load_fashion", "load_task", "train_task"]

_CLASSES = "sparse_categorical_crossentropy"


@dataclass(frozen=True)
class DesignTask:
    """A network that is to fit a board within a deadline.

    Parameters
    ----------
    title
        What tables call it.
    load
        Returns its samples: called with the run's directory.
    build
        Returns the untrained model.
    latency, interval
        The deadlines.
    epochs
        Of a level.
    pretraining
        Epochs before it is fitted.
    tested
        How many test samples designs are evaluated on, and the generated code verified with.
    loss, metric
        What it is trained and evaluated with.
    device, clock
        What it is built for.
    """

    title: str
    load: Callable[[str], Samples]
    build: Callable[[], Any]
    latency: str
    epochs: int
    pretraining: int
    tested: tuple[int, int]
    interval: str | None = None
    loss: str = _CLASSES
    metric: str = "accuracy"
    device: str = "pynq-z2"
    clock: str = "200MHz"

    def make_budget(self) -> Any:
        """Return the limits."""
        from fabricfit import Budget

        return Budget.device(
            self.device, latency=self.latency, interval=self.interval, clock=self.clock
        )


def load_task(name: str, directory: str) -> tuple[DesignTask, Samples, keras.Model]:
    """Return a task with its samples and its trained model."""
    import keras

    task = TASKS[name]
    return (
        task,
        task.load(directory),
        keras.saving.load_model(Path(directory) / f"design-{name}.keras"),
    )


def train_task(name: str, directory: str) -> None:
    """Train a task's model, and save it, unless that was done before."""
    import keras

    task, file = TASKS[name], Path(directory) / f"design-{name}.keras"
    if file.exists():
        return
    samples = task.load(directory)
    keras.utils.set_random_seed(0)
    model = task.build()
    rates = keras.optimizers.schedules.CosineDecay(
        2e-3, task.pretraining * -(-len(samples.X_train) // 128), alpha=0.05
    )
    model.compile(keras.optimizers.Adam(rates), task.loss, metrics=[task.metric])
    model.fit(*samples.train, batch_size=128, epochs=task.pretraining, verbose=0)
    model.compile(keras.optimizers.Adam(1e-3), task.loss, metrics=[task.metric])
    model.save(file)


def _load_jets(directory: str) -> Samples:
    return load_samples("jets", directory)


def _load_sequences(directory: str) -> Samples:
    """Return the jets' features as eight steps of two."""
    found = load_samples("jets", directory)
    shaped = [each.reshape(-1, 8, 2) if each.ndim == 2 else each for each in found]
    return Samples(*shaped)


def _load_digits(directory: str) -> Samples:
    return load_samples("lenet", directory)


def load_fashion(training: int, validation: int) -> Samples:
    """Return Fashion-MNIST, from 0 to 1: the first images to train on, the next ones to validate on."""
    import keras

    (X, y), (X_test, y_test) = keras.datasets.fashion_mnist.load_data()
    X, X_test = (each.astype("float32")[..., None] / 255 for each in (X, X_test))
    held = slice(training, training + validation)
    return Samples(X[:training], y[:training], X[held], y[held], X_test, y_test)


def _load_vectors(directory: str) -> Samples:
    """Return the 20 middle columns of images as vectors of 640 numbers, four lines of zeros below them."""
    found = load_fashion(12_000, 2_000)
    vectors = [
        np.pad(each[:, :, 4:24, 0], ((0, 0), (0, 4), (0, 0))).reshape(-1, 640)
        for each in (found.X_train, found.X_val, found.X_test)
    ]
    return Samples(*(each for vector in vectors for each in (vector, vector)))


def _load_pictures(directory: str) -> Samples:
    """Return images of 32 by 32 with three equal colors."""
    found = load_fashion(6_000, 1_000)
    return Samples(*(_enlarge(each) if each.ndim == 4 else each for each in found))


def _enlarge(images: np.ndarray) -> np.ndarray:
    return np.repeat(np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0))), 3, axis=3)


def _build_tagger() -> Any:
    import keras

    dense = keras.layers.Dense
    hidden = [dense(n, "relu", name=f"fc{i}") for i, n in enumerate((64, 32, 32), 1)]
    last = dense(5, "softmax", name="output")
    return keras.Sequential([keras.Input((16,)), *hidden, last], name="jet_tagger")


def _build_lstm() -> Any:
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 2)),
            layers.LSTM(16, name="lstm"),
            layers.Dense(32, "relu", name="fc"),
            layers.Dense(5, "softmax", name="output"),
        ],
        name="lstm_tagger",
    )


def _build_lenet() -> Any:
    from benchmarks.workloads import build

    return build("lenet")


def _build_autoencoder() -> Any:
    """Return MLPerf Tiny's network for anomaly detection (Banbury et al., 2021, arXiv:2106.07597)."""
    import keras

    layers = keras.layers
    made: list[Any] = [keras.Input((640,))]
    for number, units in enumerate((128, 128, 128, 128, 8, 128, 128, 128, 128)):
        made += [
            layers.Dense(units, name=f"fc{number}"),
            layers.BatchNormalization(name=f"norm{number}"),
            layers.Activation("relu", name=f"relu{number}"),
        ]
    return keras.Sequential([*made, layers.Dense(640, name="output")], name="autoencoder")


def _build_resnet() -> Any:
    """Return MLPerf Tiny's network for images, with three stacks of a residual block."""
    import keras

    layers = keras.layers

    def convolve(x: Any, filters: int, kernel: int = 3, strides: int = 1) -> Any:
        return layers.Conv2D(filters, kernel, strides, padding="same")(x)

    def normalize(x: Any) -> Any:
        return layers.BatchNormalization()(x)

    x = inputs = keras.Input((32, 32, 3))
    x = layers.Activation("relu")(normalize(convolve(x, 16)))
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        y = layers.Activation("relu")(normalize(convolve(x, filters, 3, strides)))
        y = normalize(convolve(y, filters))
        if strides > 1:
            x = convolve(x, filters, 1, strides)
        x = layers.Activation("relu")(layers.Add()([x, y]))
    x = layers.Flatten()(layers.AveragePooling2D(8)(x))
    return keras.Model(inputs, layers.Dense(10, "softmax")(x), name="resnet8")


TASKS = {
    "jets": DesignTask(
        "jet tagger", _load_jets, _build_tagger, "1us", 20, 60, (12_000, 500), "25ns"
    ),
    "lstm": DesignTask("LSTM tagger", _load_sequences, _build_lstm, "10us", 10, 40, (4_000, 200)),
    "lenet": DesignTask("LeNet on MNIST-5k", _load_digits, _build_lenet, "50us", 10, 40, (500, 20)),
    "autoencoder": DesignTask(
        "MLPerf Tiny autoencoder",
        _load_vectors,
        _build_autoencoder,
        "10us",
        5,
        40,
        (2_000, 50),
        loss="mse",
        metric="mse",
        device="zcu102",
    ),
    "resnet8": DesignTask(
        "MLPerf Tiny ResNet8", _load_pictures, _build_resnet, "5ms", 1, 12, (500, 3)
    ),
}
"""Name -> task."""
