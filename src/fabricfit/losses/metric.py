"""Metrics of one output, and of a model: what ``model.compile`` makes of their descriptions."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from types import FunctionType
from typing import Any

import keras
import numpy as np

from fabricfit.checks import instance
from fabricfit.errors import InvalidInputError, InvalidTypeError, spell
from fabricfit.losses.resolve import align_ranks, choose_crossentropy, is_sparse
from fabricfit.network.copying import copy_object
from fabricfit.network.ends import Side, Targets

__all__ = ["ModelMetric", "check_metrics", "fresh_metric", "is_builtin"]

logger = logging.getLogger(__name__)

ACCURACIES = ("accuracy", "acc")
CROSSENTROPIES = ("crossentropy", "ce")


class ModelMetric:
    """The validation metric of a model: one of an output, or the mean over several.

    Parameters
    ----------
    metric
        A metric, as for :func:`fresh_metric`, which then measures every output by itself; metrics of
        each output, in a dict by output name or a list in the order of outputs, each one metric,
        several in a list, or None; several in a list for a single output; or ``'loss'``, for the loss
        as Keras' ``evaluate`` returns it.
    outputs
        The model's outputs; None for one output of any name.

    Raises
    ------
    InvalidInputError, InvalidTypeError
        It is no metric, or does not fit the outputs.
    """

    def __init__(self, metric: Any, outputs: Side | None = None) -> None:
        if outputs is not None:
            instance("outputs", outputs, Side)
        self._given, self._outputs = metric, outputs
        self.is_loss = isinstance(metric, str) and metric == "loss"
        names = self.outputs
        self.described = ((),) * len(names) if self.is_loss else _describe(metric, outputs)
        for place, each in self.every():
            fresh_metric(each, _argument(metric, names[place]), resolved=False)
        if not self.is_loss and not any(self.described):
            raise InvalidInputError(
                f"validation_metric must measure at least one output. Received: {spell(metric)}"
            )
        self.name = self._make_name(metric, names)

    def every(self) -> list[tuple[int, Any]]:
        """Return the place of an output and the description of a metric, for all of them."""
        return [(place, each) for place, part in enumerate(self.described) for each in part]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the model's outputs; ``''`` for one of any name."""
        return ("",) if self._outputs is None else self._outputs.names

    @property
    def needed(self) -> tuple[int, ...]:
        """Places of the outputs that are measured, and so need labels."""
        return tuple(place for place, part in enumerate(self.described) if part)

    def suited(self, y: Targets, outputs: Any) -> ModelMetric:
        """Return the metric for the outputs that it suits: one for all of them may not suit each.

        Parameters
        ----------
        y, outputs
            Targets and predictions of a few samples.

        Raises
        ------
        InvalidInputError
            It suits no output, or not the one that it is given for.
        """
        predictions = [] if self.is_loss else keras.tree.flatten(outputs)
        tried = {
            place: _try(each, y.labels_of(place), predictions[place])
            for place, each in self.every()
        }
        errors = {place: error for place, error in tried.items() if error is not None}
        if not errors:
            return self
        place, names = next(iter(errors)), () if self._outputs is None else self._outputs.names
        unsuited = ", ".join(repr(names[each]) for each in errors) if names else "the output"
        if not _is_by_output(self._given) and len(errors) < len(predictions):
            rest = [None if each in errors else self._given for each in tried]
            found = ModelMetric(rest, self._outputs)
            logger.warning(
                "validation_metric=%r cannot be computed for %s: it is measured as %s",
                self.name, unsuited, found.name,
            )  # fmt: skip
            return found
        raise InvalidInputError(
            f"validation_metric {self.name!r} cannot be computed for {unsuited}, whose labels have the shape "
            f"{tuple(y.labels_of(place).shape[1:])} and whose outputs have the shape "
            f"{tuple(predictions[place].shape[1:])} (of one sample). Give a metric for each output, in "
            f"a dict by output name. It says: {errors[place]}"
        ) from errors[place]

    def _make_name(self, metric: Any, names: tuple[str, ...]) -> str:
        if self.is_loss:
            return "loss"
        if not _is_by_output(metric):
            return _name_of(metric)
        prefixed = [
            f"{names[place]}_{_name_of(each)}" if len(names) > 1 else _name_of(each)
            for place, each in self.every()
        ]
        return prefixed[0] if len(prefixed) == 1 else f"mean({', '.join(prefixed)})"

    def for_compile(self) -> Any:
        """Return the argument ``metrics`` of ``model.compile``: new metrics."""
        found = [[fresh_metric(each, resolved=False) for each in part] for part in self.described]
        return found[0] if len(found) == 1 else found


def check_metrics(metric: Any) -> None:
    """Refuse what is no metric, of whatever model.

    Parameters
    ----------
    metric
        As for :class:`ModelMetric`.
    """
    if isinstance(metric, str) and metric == "loss":
        return
    parts = {"validation_metric": metric}
    if _is_by_output(metric):
        pairs = metric.items() if isinstance(metric, Mapping) else enumerate(metric)
        parts = {f"validation_metric[{key!r}]": each for key, each in pairs}
    found = [
        (argument, each)
        for argument, part in parts.items()
        for each in (part if isinstance(part, (list, tuple)) else [part])
        if each is not None
    ]
    if not found:
        raise InvalidInputError(
            f"validation_metric must measure at least one output. Received: {spell(metric)}"
        )
    for argument, each in found:
        fresh_metric(each, argument, resolved=False)


def _is_serialized(metric: Any) -> bool:
    return isinstance(metric, Mapping) and "class_name" in metric


def _is_by_output(metric: Any) -> bool:
    return isinstance(metric, (Mapping, list, tuple)) and not _is_serialized(metric)


def _argument(metric: Any, name: str) -> str:
    return f"validation_metric[{name!r}]" if _is_by_output(metric) else "validation_metric"


def _try(metric: Any, labels: Any, outputs: Any) -> BaseException | None:
    """Return the error of a metric on labels and outputs of these shapes; None if there is none."""
    count = (
        int(np.max(outputs.shape[1:], initial=1)) + 1
    )  # as many as no other axis: nothing is broadcast
    try:
        given = [
            keras.ops.convert_to_tensor(np.resize(each, (count, *each.shape[1:])))
            for each in (labels, outputs)
        ]
        fresh_metric(metric, outputs=given[1], labels=given[0]).update_state(*given)
    except (Exception, SystemExit) as error:  # whatever a metric may raise
        return error
    return None


def _describe(metric: Any, outputs: Side | None) -> tuple[tuple[Any, ...], ...]:
    """Return the metrics of each output."""
    count = 1 if outputs is None else len(outputs)
    if isinstance(metric, Mapping) and not _is_serialized(metric):
        if outputs is None:
            raise InvalidInputError(
                "validation_metric must be one metric, since the model's outputs have no names. "
                f"Received: {spell(metric)}"
            )
        parts = outputs.by_name(metric, "validation_metric", partial=True)
    elif isinstance(metric, (list, tuple)):
        parts = list(metric) if count > 1 else [metric]
        if len(parts) != count:
            raise InvalidInputError(
                f"validation_metric must hold a metric, a list of metrics, or None for each of the model's "
                f"{count} outputs. Received: {len(parts)}"
            )
    else:
        return ((metric,),) * count
    return tuple(
        () if part is None else tuple(part) if isinstance(part, (list, tuple)) else (part,)
        for part in parts
    )


def _name_of(metric: Any) -> str:
    if isinstance(metric, str):
        return metric
    if isinstance(metric, Mapping):
        metric = fresh_metric(metric)
    name = getattr(metric, "name", None) or getattr(metric, "__name__", "metric")
    return re.sub(r"\W", "", str(name)) if isinstance(metric, FunctionType) else str(name)


def fresh_metric(
    metric: Any,
    argument: str = "validation_metric",
    *,
    outputs: Any = None,
    labels: Any = None,
    resolved: bool = True,
) -> Any:
    """Return a new metric object of the same configuration and name.

    Parameters
    ----------
    metric
        A metric or its class, its name, what ``keras.metrics.serialize`` returns, or a function of
        (y_true, y_pred).
    argument
        What to call it in an error.
    outputs, labels
        Those of an output for some samples: their shapes decide which accuracy ``'accuracy'`` means,
        by Keras' own rule.
    resolved
        False to leave such a name as it is: Keras decides, when it sees data.

    Raises
    ------
    InvalidInputError
        Keras knows no metric by this name, or cannot copy this one.
    InvalidTypeError
        It is no metric.
    """
    if isinstance(metric, str) and metric.lower() in (*ACCURACIES, *CROSSENTROPIES):
        by_keras = metric.lower() in ACCURACIES  # what Keras resolves by this name
        if not resolved and by_keras:
            return metric
        if outputs is None:
            return keras.metrics.Mean(name=metric)
        return _choose_by_shapes(metric, outputs, labels)
    if isinstance(metric, keras.metrics.Metric):
        return _copy_metric(metric, argument)
    if not callable(metric) and not isinstance(metric, (str, Mapping)):
        raise InvalidTypeError(
            f"{argument} must be a keras.metrics.Metric, its name, or a function of "
            f"(y_true, y_pred). Received: {argument}={spell(metric)}"
        )
    try:
        found = keras.metrics.get(metric)
    except Exception as error:  # of several kinds, for descriptions that lack something
        raise InvalidInputError(
            f"{argument} must be one that Keras knows. Received: {spell(metric)}"
        ) from error
    if type(found) is keras.metrics.Metric:  # the base of all of them, which measures nothing
        raise InvalidInputError(f"{argument} must measure something. Received: {spell(metric)}")
    if isinstance(found, keras.metrics.Metric):
        return found
    if not callable(found):
        raise InvalidTypeError(
            f"{argument} must be a metric or a function. Received: {argument}={spell(metric)}"
        )
    return _wrap(found, metric if isinstance(metric, str) else None)


def _wrap(function: Any, name: str | None) -> keras.metrics.Metric:
    """Return the mean of a function; one that is not Keras' own gets labels in the rank of the outputs."""
    name = name or _name_of(function)
    if is_builtin(function):
        return keras.metrics.MeanMetricWrapper(function, name=name)

    def aligned(y_true: Any, y_pred: Any) -> Any:
        return function(*align_ranks(y_true, y_pred))

    return keras.metrics.MeanMetricWrapper(aligned, name=name)


def _copy_metric(metric: keras.metrics.Metric, argument: str) -> keras.metrics.Metric:
    if type(metric) is keras.metrics.MeanMetricWrapper:  # its function need not be serializable
        return keras.metrics.MeanMetricWrapper(
            metric._fn, name=metric.name, dtype=metric.dtype, **metric._fn_kwargs
        )
    try:
        copied: keras.metrics.Metric = copy_object(metric, type(metric))
    except InvalidInputError as error:
        raise InvalidInputError(
            f"{argument} must be a metric that can be made again from its configuration, since it is "
            f"measured on copies: {type(metric).__name__}.get_config must return what its __init__ takes. It "
            f"says: {error}"
        ) from error
    return copied


def _choose_by_shapes(name: str, outputs: Any, labels: Any) -> keras.metrics.Metric:
    if name.lower() in CROSSENTROPIES:
        return keras.metrics.MeanMetricWrapper(choose_crossentropy(labels, outputs), name=name)
    if outputs.shape[-1] == 1:
        return keras.metrics.BinaryAccuracy(name=name)
    if is_sparse(labels, outputs):
        return keras.metrics.SparseCategoricalAccuracy(name=name)
    return keras.metrics.CategoricalAccuracy(name=name)


def is_builtin(thing: Any) -> bool:
    """Whether an object is of a class, or a function, of Keras' own."""
    module = getattr(
        thing if callable(thing) and hasattr(thing, "__name__") else type(thing), "__module__", ""
    )
    return isinstance(thing, str) or module.split(".")[0] == "keras"
