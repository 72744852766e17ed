"""The older algorithm of hardware-aware pruning, on TensorFlow: a baseline of what a run costs.

Written anew for Keras 3, with the parts that its cost comes from as they were:

- KerasTuner searches the strengths of group penalties: ten trials in a row, each of which builds the
  model again, compiles it and calls ``fit`` on batches of a ``tf.data`` set;
- at every level masks are made by loops (:mod:`benchmarks.rivals.older_masks`);
- a masked step goes through Python batch by batch; it is traced again at every level, because the
  level is a Python number and the masks are constants in it; a persistent tape is asked once for
  every layer;
- the best weights go through a file.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import tensorflow as tf

from benchmarks.rivals.bayesian import BayesianOptimization
from benchmarks.rivals.older_masks import model_masks, prunable

__all__ = ["OlderSettings", "optimize"]


@dataclass(frozen=True)
class OlderSettings:
    """How a run is done.

    Parameters
    ----------
    levels
        Sparsities, one after the other.
    batch_size, epochs, rewinding_epochs
        Samples in a step, epochs of a level, and how many of them are unmasked.
    directory
        Where files go.
    learning_rate
        Of Adam.
    rtol
        A level is good if the metric reaches this fraction of the baseline's. With 0 all are.
    bad_levels
        The run ends after more bad levels in a row.
    trials
        Of the search for strengths.
    strengths
        What the search chooses from.
    reuse_factor
        Weights that share a DSP; None prunes single weights.
    seed
        Of the search and of all shuffling.
    """

    levels: tuple[float, ...]
    batch_size: int
    epochs: int
    directory: Path
    rewinding_epochs: int = 1
    learning_rate: float = 1e-3
    rtol: float = 0.0
    bad_levels: int = 1
    trials: int = 10
    strengths: tuple[float, ...] = field(default=tuple(np.logspace(-6, -2, num=16).tolist()))
    reuse_factor: int | None = None
    seed: int = 0


@keras.saving.register_keras_serializable(package="benchmarks")
class GroupPenalty(keras.regularizers.Regularizer):
    """The sum of the norms of a kernel's groups, times a strength.

    Parameters
    ----------
    strength
        The factor.
    reuse_factor
        Weights of a group, outputs first; None penalizes single weights.
    """

    def __init__(self, strength: float, reuse_factor: int | None = None) -> None:
        self.strength = strength
        self.reuse_factor = reuse_factor

    def __call__(self, kernel: Any) -> tf.Tensor:
        """Return the penalty."""
        return self._value(tf.convert_to_tensor(kernel))

    @tf.function
    def _value(self, kernel: tf.Tensor) -> tf.Tensor:
        variance_strength = 0.0
        if self.reuse_factor is None:
            variance = variance_strength * tf.math.reduce_variance(kernel)
            return self.strength * tf.norm(kernel, ord=1) + variance
        last = len(kernel.shape) - 1
        rows = tf.reshape(tf.transpose(kernel, (last, *range(last))), (-1, self.reuse_factor))
        window = [1, 1, self.reuse_factor, 1]
        patches = tf.image.extract_patches(
            rows[tf.newaxis, :, :, tf.newaxis], window, window, [1, 1, 1, 1], "SAME"
        )
        groups = tf.reshape(patches, (rows.shape[0], -1))
        variance = variance_strength * tf.norm(tf.math.reduce_variance(groups, axis=1), ord=1)
        return self.strength * tf.norm(tf.norm(groups, axis=1, ord=2), ord=1) + variance

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {"strength": self.strength, "reuse_factor": self.reuse_factor}


class _Search(keras_tuner.HyperModel):
    def __init__(self, model: keras.Model, loss: Any, settings: OlderSettings) -> None:
        super().__init__()
        self.model, self.loss, self.settings = model, loss, settings

    def build(self, hp: Any) -> keras.Model:
        """Return a compiled copy of the model with the penalties of a trial."""
        values = list(self.settings.strengths)
        clone = keras.models.clone_model(self.model)
        for layer in prunable(clone):
            name, default = f"{layer.name}_strength", values[len(values) // 2]
            strength = hp.Choice(name, values=values, default=default)
            layer.kernel_regularizer = GroupPenalty(strength, self.settings.reuse_factor)
        rebuilt = keras.models.model_from_json(clone.to_json())
        rebuilt.set_weights(self.model.get_weights())
        _compile(rebuilt, self.loss, self.settings)
        return rebuilt


class _MaskedStep:
    """One training step with masks that are constants of its graph."""

    def __init__(self, model: keras.Model, loss: Any) -> None:
        self.model, self.loss = model, loss
        self.masks: Mapping[str, np.ndarray] = {}

    @tf.function
    def __call__(self, X: tf.Tensor, y: tf.Tensor, sparsity: float) -> tf.Tensor:
        """Train on a batch; a new sparsity makes a new graph, with the masks of that time."""
        gradients: list[Any] = []
        with tf.GradientTape(persistent=True) as tape:
            loss = self.loss(y, self.model(X, training=True)) + tf.add_n(self.model.losses)
            for layer in self.model.layers:
                if not layer.trainable_weights:
                    continue
                own = tape.gradient(loss, layer.trainable_weights)
                if layer.name in self.masks:
                    own[0] = own[0] * self.masks[layer.name]
                gradients.extend(own)
        pairs = zip(gradients, self.model.trainable_weights, strict=True)
        self.model.optimizer.apply_gradients(pairs)
        return loss


def optimize(
    model: keras.Model,
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    settings: OlderSettings,
    times: dict[str, float] | None = None,
) -> keras.Model:
    """Prune a classifier level by level.

    Parameters
    ----------
    model
        A trained Sequential or Functional model.
    train, validation
        Inputs and classes.
    settings
        How it is done.
    times
        Gets the seconds of the search, of the levels, and of making masks in these.

    Returns
    -------
    keras.Model
        The last good level, compiled and without penalties.
    """
    loss = keras.losses.SparseCategoricalCrossentropy()
    batches, held_out = (
        tf.data.Dataset.from_tensor_slices(pair).shuffle(1024).batch(settings.batch_size)
        for pair in (train, validation)
    )
    _compile(model, loss, settings)
    baseline = model.evaluate(held_out, verbose=0)[-1]
    best = settings.directory / "best.weights.h5"
    settings.directory.mkdir(parents=True, exist_ok=True)
    model.save_weights(best)
    started, masking = time.perf_counter(), 0.0
    tuned = _tune(model, loss, batches, held_out, settings)
    searched = time.perf_counter()
    step, bad = _MaskedStep(tuned, loss), 0
    for level in settings.levels:
        begun = time.perf_counter()
        _freeze(tuned, step, level, settings)
        masking += time.perf_counter() - begun
        for _ in range(settings.epochs - settings.rewinding_epochs):
            mean = keras.metrics.Mean()
            for X, y in batches:
                mean.update_state(step(tf.convert_to_tensor(X), tf.convert_to_tensor(y), level))
        if tuned.evaluate(held_out, verbose=0)[-1] >= settings.rtol * baseline:
            bad = 0
            tuned.save_weights(best)
        else:
            bad += 1
            if bad > settings.bad_levels:
                break
        tuned.fit(batches, validation_data=held_out, epochs=settings.rewinding_epochs, verbose=0)
    if times is not None:
        times["search_seconds"] = searched - started
        times["level_seconds"] = time.perf_counter() - searched
        times["mask_seconds"] = masking
    tuned.load_weights(best)
    return _without_penalties(tuned, loss, settings)


def _compile(model: keras.Model, loss: Any, settings: OlderSettings) -> None:
    model.compile(keras.optimizers.Adam(settings.learning_rate), loss, metrics=["accuracy"])


def _tune(
    model: keras.Model,
    loss: Any,
    batches: tf.data.Dataset,
    held_out: tf.data.Dataset,
    settings: OlderSettings,
) -> keras.Model:
    tuner = BayesianOptimization(
        _Search(model, loss, settings),
        objective=keras_tuner.Objective("accuracy", "max"),
        max_trials=settings.trials,
        overwrite=True,
        directory=str(settings.directory / "tuning"),
        seed=settings.seed + 1,
    )
    tuner.search(
        batches,
        epochs=max(settings.epochs // 2, 1),
        validation_data=held_out,
        callbacks=[keras.callbacks.EarlyStopping(monitor="val_loss", patience=1)],
        verbose=0,
    )
    return tuner.get_best_models(num_models=1)[0]


def _freeze(
    model: keras.Model, step: _MaskedStep, sparsity: float, settings: OlderSettings
) -> None:
    """Zero the weights that a level prunes, and reset the optimizer's moments."""
    masks = model_masks(model, sparsity, settings.reuse_factor)
    for layer in prunable(model):
        kernel, *rest = layer.get_weights()
        layer.set_weights([np.multiply(kernel, masks[layer.name]), *rest])
    model.reset_metrics()
    optimizer = model.optimizer
    optimizer.build(model.trainable_variables)
    for variable in optimizer.variables:
        if variable is not optimizer._learning_rate:
            variable.assign(tf.zeros_like(variable))
    step.masks = masks


def _without_penalties(model: keras.Model, loss: Any, settings: OlderSettings) -> keras.Model:
    weights = model.get_weights()
    for layer in prunable(model):
        layer.kernel_regularizer = None
    plain = keras.models.model_from_json(model.to_json())
    plain.set_weights(weights)
    _compile(plain, loss, settings)
    return plain
