"""What a model was compiled with, restored as far as a file says it and Keras knows it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras

from fabricfit.errors import warn_caller
from fabricfit.loading.stored import StoredModel

__all__ = ["compile_as_stored"]

_FURTHER = ("run_eagerly", "jit_compile", "steps_per_execution", "auto_scale_loss")
"""What else Keras 3 says of how a model was compiled."""


def compile_as_stored(model: Any, stored: StoredModel, objects: Mapping[str, Any]) -> None:
    """Compile a model with the loss, the metrics and the optimizer that its file names.

    What Keras does not know is left out, and named in a warning: an optimizer is replaced by Adam, without
    its loss a model has none.

    Parameters
    ----------
    model
        The model; compiled in place, unless the file says nothing.
    stored
        What was read of the file.
    objects
        Classes and functions that are not Keras' own, by name.
    """
    config = stored.training
    if not config:
        return
    if not isinstance(config, Mapping):
        error = TypeError(f"it must have values by name, and is a {type(config).__name__}")
        _warn(stored, "training configuration", config, "the model is not compiled", error)
        return
    options: dict[str, Any] = {}
    if not stored.of_keras_2:
        options = {key: config[key] for key in _FURTHER if config.get(key) is not None}
    with keras.saving.custom_object_scope(dict(objects)):
        options["loss"] = _restore_all_losses(config.get("loss"), model, stored)
        for name in ("metrics", "weighted_metrics"):
            listed = _drop_outer_list(config.get(name), model)
            options[name] = _restore_all_metrics(listed, stored)
        options["optimizer"] = _restore_optimizer_or_adam(config, stored)
    if config.get("loss_weights") is not None and options["loss"] is not None:
        options["loss_weights"] = config["loss_weights"]
    try:
        model.compile(**options)
    except Exception as error:  # whatever Keras raises
        _warn(stored, "training configuration", config, "the model is not compiled", error)


def _restore_all_losses(value: Any, model: Any, stored: StoredModel) -> Any:
    """Restore the losses of all outputs, or none of them."""
    try:
        found = _restore_each(_restore_loss, value)
    except Exception as error:
        _warn(stored, "loss", value, "it is left out", error)
        return None
    single = isinstance(found, list) and len(found) == 1 == len(model.outputs)
    return found[0] if single else found


def _restore_all_metrics(value: Any, stored: StoredModel) -> Any:
    """Restore the metrics of all outputs, but for those that are not known."""
    if isinstance(value, list | tuple):
        found = [(each, _restore_all_metrics(each, stored)) for each in value]
        return [made for each, made in found if each is None or made is not None]
    if isinstance(value, dict) and "class_name" not in value:
        return {key: _restore_all_metrics(each, stored) for key, each in value.items()}
    try:
        return _restore_each(_restore_metric, value)
    except Exception as error:
        _warn(stored, "metric", value, "it is left out", error)
        return None


def _restore_optimizer_or_adam(config: Mapping[str, Any], stored: StoredModel) -> Any:
    value = config.get("optimizer_config") or config.get("optimizer")
    try:
        return _restore_one(_restore_optimizer, value)
    except Exception as error:
        _warn(stored, "optimizer", value, "Adam takes its place", error)
        return keras.optimizers.Adam()


def _warn(stored: StoredModel, what: str, value: Any, outcome: str, error: Exception) -> None:
    said = " ".join(str(error).split())[:150]
    warn_caller(
        f"{stored.source}: the {what} that the model was compiled with, {str(value)[:120]}, cannot "
        f"be restored, and {outcome}: {said}. A function or class of your own is found with "
        "custom_objects, or on the command line with --plugin.",
        UserWarning,
    )


def _restore_each(restore: Callable[[Any], Any], value: Any) -> Any:
    """Restore what a structure of outputs holds."""
    if isinstance(value, list | tuple):
        return [_restore_each(restore, each) for each in value]
    if isinstance(value, dict) and "class_name" not in value:
        return {key: _restore_each(restore, each) for key, each in value.items()}
    return None if value is None else _restore_one(restore, value)


def _restore_one(restore: Callable[[Any], Any], value: Any) -> Any:
    """Restore an object as Keras 3 does, or as Keras 2 wrote it."""
    if isinstance(value, dict) and "module" in value:
        try:
            return keras.saving.deserialize_keras_object(value, safe_mode=True)
        except Exception:  # options that Keras 3 no longer has
            return restore(value)
    return restore(value)


def _drop_outer_list(value: Any, model: Any) -> Any:
    """Return the metrics of a single output, which Keras 2 has in a list of its own."""
    single = len(model.outputs) == 1
    if single and isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        return value[0]
    return value


def _restore_loss(value: Any) -> Any:
    if isinstance(value, str):
        return _restore_name(keras.losses, value)
    kind, config = _read_class(value)
    if kind == "function":
        return keras.losses.get(config)
    if config.get("reduction") == "auto":
        config["reduction"] = "sum_over_batch_size"
    if kind == "LossFunctionWrapper":
        return keras.losses.get(_plain_function(config.get("fn", config.get("name"))))
    return _make(keras.losses, kind, value, config)


def _restore_metric(value: Any) -> Any:
    if isinstance(value, str):
        shortened = ("accuracy", "acc", "crossentropy", "ce")  # what they are depends on the loss
        return value if value in shortened else _restore_name(keras.metrics, value)
    kind, config = _read_class(value)
    if kind == "function":
        return keras.metrics.get(config)
    if kind not in ("MeanMetricWrapper", "SumOverBatchSizeMetricWrapper"):
        return _make(keras.metrics, kind, value, config)
    function = keras.metrics.get(_plain_function(config["fn"]))
    written = "".join(part.title() for part in getattr(function, "__name__", "").split("_"))
    own = getattr(keras.metrics, written, None)
    rest = {key: each for key, each in config.items() if key in ("name", "dtype")}
    return own(**rest) if own is not None else keras.metrics.MeanMetricWrapper(function, **rest)


def _restore_name(module: Any, name: str) -> Any:
    """Return a name that Keras knows as it is, and for one of the user's own what it stands for."""
    own = keras.saving.get_registered_object(name)
    if own is None:
        module.get(name)  # raises, if there is no such thing
    return name if own is None else own


def _plain_function(value: Any) -> Any:
    """Return the name of a function, which newer files describe by a dictionary."""
    return value["config"] if isinstance(value, dict) else value


def _restore_optimizer(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return keras.optimizers.get(value or "adam")
    kind, config = _read_class(value)
    while kind in ("LossScaleOptimizer", "LossScaleOptimizerV1", "LossScaleOptimizerV3"):
        inner = config.get("inner_optimizer") or config.get("optimizer")
        if inner is None:
            break
        value = inner
        kind, config = _read_class(value)
    if "lr" in config:
        config["learning_rate"] = config.pop("lr")
    decay = config.pop("decay", 0.0)
    rate = config.get("learning_rate")
    if isinstance(rate, dict):
        named, options = _read_class(rate)
        config["learning_rate"] = _make(keras.optimizers.schedules, named, rate, options)
    elif decay:
        schedule = keras.optimizers.schedules.InverseTimeDecay(rate, 1, decay)
        config["learning_rate"] = schedule
    return _make(keras.optimizers, kind, value, config)


def _read_class(value: Any) -> tuple[str, Any]:
    kind, config = str(value["class_name"]).rpartition(">")[2], value.get("config")
    return kind, dict(config) if isinstance(config, dict) else config


def _make(module: Any, kind: str, value: Mapping[str, Any], config: dict[str, Any]) -> Any:
    """Make a loss, a metric or an optimizer of Keras, without options that it no longer has."""
    names = (value.get("registered_name"), value["class_name"], kind)
    registered = (keras.saving.get_registered_object(name) for name in names if name)
    own = next((each for each in registered if each is not None), None)
    target = own or getattr(module, kind, None)
    if target is None:
        raise ValueError(f"Keras has no {kind}")
    if own is not None:
        return own.from_config(config)
    accepted = set(inspect.signature(target.__init__).parameters) | {"name", "dtype"}
    if module is keras.optimizers:
        accepted -= {"dtype"}
    kept = {key: each for key, each in config.items() if key in accepted}
    return target.from_config(kept)
