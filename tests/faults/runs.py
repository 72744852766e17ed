"""Small runs of every kind: functions of their folder, and of whether they are resumed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import fabricfit
from fabricfit.network.describe import (
    get_attributes_from_keras_model,
    get_attributes_from_keras_model_and_hls4ml_config,
)
from fabricfit.objectives import ParameterEstimator
from fabricfit.objectives.fpga_units import UnitResources
from fabricfit.scheduler import BinaryScheduler, PolynomialScheduler

__all__ = ["RUNS"]

L = keras.layers
LATENCY = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}}
RESOURCE = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 4, "Strategy": "Resource"}}
LOSS = "sparse_categorical_crossentropy"


def settings(folder: Path, resume: bool, **changes: Any) -> fabricfit.OptimizationSettings:
    given = {
        "batch_size": 64, "epochs": 3, "optimizer": "adam", "loss_fn": LOSS, "validation_metric": "accuracy",
        "increasing": True, "rtol": 0.7, "directory": folder, "patience": None, "resume": resume,
        "checkpoint_seconds": 0.0, "cutoff_bad_trials": 2,
    }  # fmt: skip
    return fabricfit.OptimizationSettings(**{**given, **changes})


def samples() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 8)).astype("float32")
    y = (X[:, :3] + 0.3 * rng.normal(size=(600, 3))).argmax(axis=1)
    return (X[:450], y[:450]), (X[450:], y[450:])


def tagger(regular: bool = True) -> keras.Model:
    keras.utils.set_random_seed(0)
    between = [L.BatchNormalization(), L.Dropout(0.1)] if regular else []
    return keras.Sequential(
        [
            keras.Input((8,)),
            L.Dense(24, activation="relu", name="fc1"),
            *between,
            L.Dense(16, activation="relu", name="fc2"),
            L.Dense(3, activation="softmax", name="out"),
        ]
    )


def optimize(
    folder: Path, resume: bool, data: Any = None, levels: Any = None, **changes: Any
) -> Any:
    model, (train, validation) = changes.pop("model", None) or tagger(), samples()
    return fabricfit.optimize(
        model,
        get_attributes_from_keras_model(model),
        changes.pop("objective", ParameterEstimator),
        levels or PolynomialScheduler(4, final_sparsity=0.8),
        train if data is None else data(*train),
        validation,
        settings(folder, resume, **changes),
    )


def search(folder: Path, resume: bool) -> Any:
    return optimize(folder, resume, search=4, ranking_metric="oracle", rtol=0.9)


def bayesian(folder: Path, resume: bool) -> Any:
    return optimize(folder, resume, tuner="Bayesian", trials=3)


def hyperband(folder: Path, resume: bool) -> Any:
    return optimize(folder, resume, tuner="Hyperband", trials=3, epochs=4)


def bisection(folder: Path, resume: bool) -> Any:
    optimizer = keras.optimizers.AdamW(1e-3, clipnorm=1.0)
    levels = BinaryScheduler(0.0, 1.0, 0.1)
    return optimize(folder, resume, levels=levels, search=3, patience=2, optimizer=optimizer)


def averages(folder: Path, resume: bool) -> Any:
    rate = keras.optimizers.schedules.ExponentialDecay(0.05, 5, 0.9)
    optimizer = keras.optimizers.SGD(
        rate, momentum=0.9, nesterov=True, use_ema=True, ema_overwrite_frequency=3
    )
    return optimize(folder, resume, optimizer=optimizer)


def aids(folder: Path, resume: bool) -> Any:
    """Distillation, the optimal-brain-surgeon update, recalibration, a budget of multipliers."""
    train, validation = samples()
    options = settings(
        folder,
        resume,
        rtol=None,
        distillation=0.3,
        compensation=64,
        recalibration=64,
        curvature_samples=100,
    )
    return fabricfit.fit(tagger(), train, validation, {"dsp": "40%"}, options, hls_config=RESOURCE)


def structured(folder: Path, resume: bool) -> Any:
    model, (train, validation) = tagger(), samples()
    return fabricfit.optimize(
        model,
        get_attributes_from_keras_model_and_hls4ml_config(model, RESOURCE),
        UnitResources(("dsp",)),
        PolynomialScheduler(3, final_sparsity=0.6),
        train,
        validation,
        settings(folder, resume, ranking_metric="saliency", finishing_epochs=3),
    )


def precision(folder: Path, resume: bool) -> Any:
    train, validation = samples()
    options = settings(folder, resume, rtol=None, epochs=12, callbacks=[Halves()])
    return fabricfit.fit(
        tagger(regular=False), train, validation, {"lut": "30%"}, options, precision="trained"
    )


class Halves(keras.callbacks.Callback):
    """Halves the learning rate after every third epoch that it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seen += 1
        if self.seen % 3 == 0:
            rate = self.model.optimizer.learning_rate
            rate.assign(0.5 * float(keras.ops.convert_to_numpy(rate)))


def callbacks(folder: Path, resume: bool) -> Any:
    own = keras.callbacks
    given = [
        own.ReduceLROnPlateau("val_accuracy", mode="max", factor=0.3, patience=1, min_delta=0.02),
        own.EarlyStopping("val_accuracy", patience=3, min_delta=0.01, restore_best_weights=True),
        own.LambdaCallback(on_epoch_end=lambda *_: None),
        Halves(),
    ]
    return optimize(folder, resume, epochs=6, callbacks=given)


class Shuffled(keras.utils.PyDataset):
    """Batches in another order in every pass."""

    def __init__(self, X: np.ndarray, y: np.ndarray) -> None:
        super().__init__()
        self.X, self.y, self.draw = X, y, np.random.default_rng(3)
        self.on_epoch_end()

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self.order[64 * index : 64 * (index + 1)]
        return self.X[rows], self.y[rows]

    def on_epoch_end(self) -> None:
        self.order = self.draw.permutation(len(self.X))


def stream(folder: Path, resume: bool) -> Any:
    return optimize(folder, resume, data=Shuffled)


def tensorflow_stream(folder: Path, resume: bool) -> Any:
    import tensorflow as tf

    def make(X: np.ndarray, y: np.ndarray) -> Any:
        return tf.data.Dataset.from_tensor_slices((X, y)).shuffle(450, seed=1).batch(64)

    return optimize(folder, resume, data=make)


def qkeras(folder: Path, resume: bool) -> Any:
    import qkeras as q

    keras.utils.set_random_seed(0)
    bits = {f"{kind}_quantizer": q.quantized_bits(8, 0, alpha=1) for kind in ("kernel", "bias")}
    model = keras.Sequential(
        [
            keras.Input((8,)),
            q.QDense(16, name="fc1", **bits),
            L.ReLU(),
            q.QDense(16, name="fc2", **bits),
            L.ReLU(),
            L.Dense(3, activation="softmax", name="out"),
        ]
    )
    return optimize(folder, resume, model=model, search=3, callbacks=[Halves()])


def hgq(folder: Path, resume: bool) -> Any:
    from hgq.layers import QDense

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8,)),
            QDense(16, activation="relu", beta0=1e-7, name="fc1"),
            QDense(12, activation="relu", beta0=1e-7, name="fc2"),
            QDense(3, beta0=1e-7, name="out"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return optimize(
        folder, resume, model=model, loss_fn=loss, search=3, rtol=None, callbacks=[Halves()]
    )


RUNS: dict[str, Callable[[Path, bool], Any]] = {
    each.__name__: each
    for each in (
        search, bayesian, hyperband, bisection, averages, aids, structured, precision, callbacks, stream,
        tensorflow_stream, qkeras, hgq,
    )
}  # fmt: skip
"""Name -> run; the last two need the package of their name."""
