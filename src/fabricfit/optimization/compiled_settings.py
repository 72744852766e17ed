"""Settings of a run where the caller leaves them out: what the model was compiled with, and defaults."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict

import keras

from fabricfit.checks import whole_number
from fabricfit.errors import (
    InvalidInputError,
    InvalidTypeError,
    RunDirectoryError,
    ask_for_nearest,
    spell,
)
from fabricfit.optimization.settings import LARGEST_SEED, OptimizationSettings, list_by_output
from fabricfit.optimization.usual_loss import find_usual_loss
from fabricfit.run import resolve_directory
from fabricfit.run.defaults import REWINDING_EPOCHS

__all__ = ["TRAINED_EPOCHS", "RunOptions", "read_seed", "read_settings"]


logger = logging.getLogger(__name__)


class RunOptions(TypedDict, total=False):
    """Settings of a run by keyword; see :class:`fabricfit.OptimizationSettings`."""

    loss: Any
    metric: Any
    increasing: bool
    optimizer: Any
    epochs: int
    batch_size: int
    rtol: float | None
    max_drop: float | None
    callbacks: Sequence[Any] | None
    ranking_metric: str | None
    local: bool
    verbose: bool
    rewinding_epochs: int
    cutoff_bad_trials: int
    directory: str | os.PathLike[str]
    tuner: str | None
    knapsack_solver: str
    regularization_range: Sequence[float]
    seed: int
    knapsack_options: Mapping[str, Any] | None
    minimum_groups: int
    patience: int | None
    trials: int
    recalibration: int
    compensation: int
    curvature_samples: int | None
    finishing_epochs: int | None
    distillation: float
    temperature: float
    resume: bool
    checkpoint_seconds: float
    loss_weights: Any
    class_weight: Mapping[int, float] | None
    search: int | None


_FIELDS = {"loss": "loss_fn", "metric": "validation_metric"}
"""Keyword -> field of the settings, where they differ."""

TRAINED_EPOCHS = 12
"""Epochs of a training of precision for each epoch of a level."""

_LEVEL_EPOCHS = 20

_OPEN = (
    "batch_size", "epochs", "rewinding_epochs", "optimizer", "loss_fn", "validation_metric", "increasing",
)  # fmt: skip
"""Settings that follow the model and its data where they are not given."""

_LEAST_STEPS, _BATCH_SIZES = 32, (16, 1024)
_STREAMED_BATCH = 256


def read_settings(
    model: keras.Model,
    train_data: Any,
    settings: OptimizationSettings | None,
    options: Mapping[str, Any],
    *,
    trained: bool,
) -> OptimizationSettings:
    """Return the settings of a run.

    What is not given is what the model was compiled with: its loss with the weights of outputs, the first
    metric of each output, or without a metric the loss, and its optimizer (Adam, if it has none). A
    classifier that was compiled without a loss has the cross-entropy that its last activation and its targets
    are made for (:mod:`fabricfit.optimization.usual_loss`), and accuracy.
    ``increasing`` is what Keras says of the metric; the others are as
    :class:`fabricfit.OptimizationSettings` says.

    Parameters
    ----------
    model
        The caller's model.
    train_data
        Samples, as :func:`fabricfit.fit` accepts them.
    settings
        All of them, or None.
    options
        Those that are given by keyword; they go before ``settings``.
    trained
        Whether number formats are trained.

    Raises
    ------
    InvalidInputError
        No loss is given, and there is none that is usual for the model; or it is not known whether more of
        the metric is better.
    InvalidTypeError
        There is no such option.
    """
    _check_type(settings)
    known = RunOptions.__annotations__
    for name in options:
        if name not in known:
            raise InvalidTypeError(
                f"there is no argument {name!r}{ask_for_nearest(name, known) or '.'}"
            )
    given = {_FIELDS.get(name, name): value for name, value in options.items()}
    own = replace(settings or OptimizationSettings(), **given)
    place = resolve_directory(own.directory)
    for parent in place.parents:
        if parent.is_file():
            raise RunDirectoryError(f"directory must not be in a file. Received: {place}")
    return _complete(own, model, train_data, trained=trained)


def read_seed(settings: OptimizationSettings | None, options: Mapping[str, Any]) -> int:
    """Return the seed of a run whose settings are not read yet."""
    _check_type(settings)
    default = OptimizationSettings().seed if settings is None else settings.seed
    return whole_number("seed", options.get("seed", default), 0, most=LARGEST_SEED)


def _check_type(settings: Any) -> None:
    if settings is not None and not isinstance(settings, OptimizationSettings):
        raise InvalidTypeError(
            f"settings must be a fabricfit.OptimizationSettings. Received: {spell(settings)}"
        )


def _complete(
    settings: OptimizationSettings, model: keras.Model, train_data: Any, *, trained: bool
) -> OptimizationSettings:
    """Return settings with what is not given filled in."""
    left = {name for name in _OPEN if getattr(settings, name) is None}
    if not left:
        return settings
    found: dict[str, Any] = {name: getattr(settings, name) for name in _OPEN}
    compiled = _read_compiled(model)
    if "loss_fn" in left:
        found["loss_fn"] = compiled.get("loss_fn")
        if settings.loss_weights is None:
            found["loss_weights"] = compiled.get("loss_weights")
    if found["loss_fn"] is None and (usual := find_usual_loss(model, train_data)):
        logger.info("the model was compiled without a loss; %s is used", usual)
        found["loss_fn"], compiled["validation_metric"] = usual, "accuracy"
    if found["loss_fn"] is None:
        raise InvalidInputError(
            "loss must be given where the model was not compiled with one, unless it ends in a softmax or a "
            "sigmoid and its targets are classes: for example loss='mse'. Received: loss=None"
        )
    if "validation_metric" in left:
        found["validation_metric"] = compiled["validation_metric"]
    if "optimizer" in left:
        found["optimizer"] = compiled.get("optimizer", "adam")
    if "batch_size" in left:
        found["batch_size"] = _choose_batch_size(train_data)
    if "epochs" in left:
        found["epochs"] = _LEVEL_EPOCHS * (TRAINED_EPOCHS if trained else 1)
    if "rewinding_epochs" in left:
        found["rewinding_epochs"] = min(REWINDING_EPOCHS, found["epochs"] - 1)
    if "increasing" in left:
        found["increasing"] = _is_increasing(found["validation_metric"])
    return replace(settings, **found)


def _read_compiled(model: keras.Model) -> dict[str, Any]:
    """Return what a model was compiled with, by the names of the settings."""
    found: dict[str, Any] = {"validation_metric": "loss"}
    if not getattr(model, "compiled", False):
        return found
    compiled = model.get_compile_config() or {}
    metrics = compiled.get("metrics") or compiled.get("weighted_metrics")
    found["validation_metric"] = _choose_metric(metrics, len(model.outputs or [None]))
    found |= {"loss_fn": getattr(model, "loss", None), "loss_weights": compiled.get("loss_weights")}
    if getattr(model, "optimizer", None) is not None:
        found["optimizer"] = model.optimizer
    return found


def _choose_metric(metrics: Any, outputs: int) -> Any:
    """Return the first metric of each output, as Keras serialized them; the loss where there is none."""
    if not metrics:
        return "loss"
    if _is_serialized(metrics) or isinstance(metrics, str):
        return _restore(metrics)
    if isinstance(metrics, Mapping):
        found = {name: _choose_metric(each, 1) for name, each in metrics.items()}
        return {name: each for name, each in found.items() if each != "loss"} or "loss"
    if outputs == 1:
        return _choose_metric(metrics[0], 1)
    return [_choose_metric(each, 1) for each in metrics]


def _is_serialized(value: Any) -> bool:
    return isinstance(value, Mapping) and "class_name" in value


def _restore(value: Any) -> Any:
    return value if isinstance(value, str) else keras.saving.deserialize_keras_object(value)


def _is_increasing(metric: Any) -> bool:
    """Say whether more of a metric is better, as Keras' metrics say it of themselves."""
    found = {_direction_of(each) for each in list_by_output(metric)}
    if len(found) == 1 and None not in found:
        return found == {"up"}
    raise InvalidInputError(
        "increasing must be given: whether more of the metric is better is not known of "
        f"{metric!r}. Give increasing=True or False."
    )


def _direction_of(metric: Any) -> str | None:
    if isinstance(metric, keras.losses.Loss) or metric == "loss":
        return "down"
    try:
        known = keras.metrics.get(metric)
        if inspect.isfunction(known) and known.__module__.startswith("keras."):
            known = keras.metrics.get(known.__name__)
    except (TypeError, ValueError):
        return None
    return getattr(known, "_direction", None)


def _choose_batch_size(data: Any) -> int:
    leaves = keras.tree.flatten(data) if isinstance(data, tuple | list) else []
    try:
        samples = len(leaves[0])
    except (IndexError, TypeError):
        return _STREAMED_BATCH
    least, most = _BATCH_SIZES
    steps = max(samples // _LEAST_STEPS, 1)
    return min(max(1 << (steps.bit_length() - 1), least), most)
