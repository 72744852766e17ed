"""How sure a metric is: its standard error from the samples that it was measured on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from fabricfit.firmware.metrics import measure
from fabricfit.losses import ModelLoss, ModelMetric, fresh_metric
from fabricfit.network.ends import Targets

__all__ = ["difference_error", "measure_parts", "standard_error"]

_PARTS = 20
"""Parts of the samples, from whose metrics a standard error is taken."""


def standard_error(
    metric: ModelMetric,
    y: Targets,
    outputs: Sequence[np.ndarray],
    loss: ModelLoss | None = None,
) -> float:
    """Return the standard error of a model's metric, the mean of what it consists of.

    Where metrics are means over samples, such as an accuracy or a mean squared error, it is that of the mean:
    of an accuracy p on n samples the root of p (1 - p) / n. Of others, such as an AUC, and of the loss, it is
    the deviation of the metrics of 20 parts of the samples, divided by the root of 20.

    Parameters
    ----------
    metric
        The metric.
    y
        Targets, and weights of samples, if any.
    outputs
        An array for each output.
    loss
        The loss, for a metric that is the loss.

    Returns
    -------
    float
        NaN where it is not known, as of a single sample.
    """
    return _combine(_list_contributions(metric, y, outputs, loss))


def difference_error(
    metric: ModelMetric,
    y: Targets,
    outputs: Sequence[np.ndarray],
    others: Sequence[np.ndarray],
    loss: ModelLoss | None = None,
) -> float:
    """Return the standard error of the difference of two networks' metrics on the same samples.

    Parameters
    ----------
    metric, y, loss
        As for :func:`standard_error`.
    outputs, others
        An array for each output, of the one network and of the other.
    """
    one, other = (_list_contributions(metric, y, each, loss) for each in (outputs, others))
    return _combine(one - other)


def _combine(contributions: np.ndarray) -> float:
    if len(contributions) < 2:
        return math.nan
    return float(np.sqrt(np.sum(contributions**2)))


def _list_contributions(
    metric: ModelMetric,
    y: Targets,
    outputs: Sequence[np.ndarray],
    loss: ModelLoss | None,
) -> np.ndarray:
    """Return how far samples, or parts of them, pull the metric away from its value."""
    means = None if metric.is_loss else _list_means(metric, y, outputs)
    if means is None:
        parts = measure_parts(metric, y, outputs, loss)
        count = len(parts)
        return (parts - parts.mean()) / np.sqrt(max(count * (count - 1), 1))
    total = np.zeros(len(outputs[0]))
    for values, weights in means:
        share = weights / weights.sum()
        total += share * (values - share @ values) / len(means)
    return total


def measure_parts(
    metric: ModelMetric,
    y: Targets,
    outputs: Sequence[np.ndarray],
    loss: ModelLoss | None = None,
) -> np.ndarray:
    """Return the metric of each of 20 parts of the samples; arguments are as for :func:`standard_error`."""
    count = len(outputs[0])
    values = []
    for part in np.array_split(np.arange(count), min(_PARTS, count)):
        own = keras.tree.map_structure(lambda array, part=part: np.asarray(array)[part], y)
        found = measure(metric, own, [each[part] for each in outputs], loss)
        values.append(np.mean([*found.values()]))
    return np.array(values)


def _list_means(
    metric: ModelMetric, y: Targets, outputs: Sequence[np.ndarray]
) -> list[tuple[np.ndarray, np.ndarray]] | None:
    """Return the values and the weights of samples whose means the metric is; None where it is no mean."""
    found = []
    for place, each in metric.every():
        output, labels = outputs[place].astype("float32"), y.labels_of(place)
        evaluated = fresh_metric(each, outputs=output, labels=labels)
        if not isinstance(evaluated, keras.metrics.MeanMetricWrapper):
            return None
        values = _evaluate_samples(evaluated, labels, output)
        weights = y.weights_of(place)
        weights = np.ones(len(output)) if weights is None else np.asarray(weights, np.float64)
        if values.shape[:1] != weights.shape or not weights.sum() > 0:
            return None  # it is not one value for each sample
        found.append((values.reshape(len(values), -1).mean(axis=1), weights))
    return found


def _evaluate_samples(metric: Any, labels: Any, output: np.ndarray) -> np.ndarray:
    values = metric._fn(
        keras.ops.convert_to_tensor(labels),
        keras.ops.convert_to_tensor(output),
        **metric._fn_kwargs,
    )
    array: np.ndarray = np.asarray(keras.ops.convert_to_numpy(values), np.float64)
    return array
