"""Predictions compared with targets: what is known of classes, and of residuals of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fabricfit.reporting.performance import (
    Classes,
    NetworkPerformance,
    OutputPerformance,
    Residuals,
)
from fabricfit.reporting.statistics import (
    Measured,
    area_under_roc,
    confusion_matrix,
    measure_mean,
    roc_curve,
    root_of,
)

__all__ = ["describe_output"]

_MOST_LABELS = 100
"""Classes or numbers of an output that are told one by one, at most."""
_MOST_CONFUSED = 30
"""Classes of a matrix of confusion, at most."""
_PARTS = 48
"""Parts of a histogram of residuals."""


def describe_output(
    name: str,
    targets: Any,
    predictions: Sequence[np.ndarray | None],
    weights: np.ndarray | None = None,
    labels: Sequence[str] = (),
) -> OutputPerformance | None:
    """Return what two networks are worth at an output; None where that cannot be told by its targets.

    Targets that are whole numbers from 0 to the number of the output's channels, or vectors of zeros and a
    single one, are classes; vectors of zeros and ones are labels, each of which a sample may have; zeros and
    ones at an output of one channel are two classes. All others are numbers.

    Parameters
    ----------
    name
        The output.
    targets
        Its targets, samples first.
    predictions
        Outputs in floats and quantized, the latter None where there are none; samples first, channels last.
    weights
        Weights of samples.
    labels
        Names of the classes, or of the numbers; their numbers by default.
    """
    in_floats = predictions[0]
    assert in_floats is not None
    channels = in_floats.shape[-1] if in_floats.ndim > 1 else 1
    shape = in_floats.shape[:-1] if in_floats.ndim > 1 else in_floats.shape
    positions = int(np.prod(shape[1:], dtype=int))
    flat = [None if each is None else each.reshape(-1, channels) for each in predictions]
    if channels > _MOST_LABELS or not len(in_floats):
        return None
    wanted = np.asarray(targets)
    if wanted.size == flat[0].shape[0] and channels > 1:  # type: ignore[union-attr]
        ids = wanted.reshape(-1)
        is_class = np.array_equal(ids, np.rint(ids)) and ids.min() >= 0 and ids.max() < channels
        found = _one_hot(ids.astype(int), channels) if is_class else None
    elif wanted.size == np.size(in_floats):
        found = wanted.reshape(-1, channels)
    else:
        return None
    if found is None:
        return None
    each_weight = None if weights is None else np.repeat(np.asarray(weights).reshape(-1), positions)
    if each_weight is not None and len(each_weight) != len(found):
        return None
    names = _name_labels(labels, channels)
    if not np.isin(found, (0, 1)).all():
        return _describe_numbers(name, names, found, flat, each_weight, positions)
    if channels == 1:
        names = _name_labels(labels, 2)
        found, flat = _two_classes(found, flat)
    single = bool((found.sum(axis=1) == 1).all())
    networks = [
        None if each is None else _describe_classes(found, each, each_weight, single, positions)
        for each in flat
    ]
    assert networks[0] is not None
    counts = tuple(int(each) for each in found.sum(axis=0))
    return OutputPerformance(name, names, counts, (), networks[0], networks[1])


def _name_labels(labels: Sequence[str], count: int) -> tuple[str, ...]:
    return tuple(map(str, labels if len(labels) == count else range(count)))


def _one_hot(ids: np.ndarray, count: int) -> np.ndarray:
    found: np.ndarray = np.eye(count, dtype=np.int8)[ids]
    return found


def _two_classes(
    wanted: np.ndarray, outputs: Sequence[np.ndarray | None]
) -> tuple[np.ndarray, list[np.ndarray | None]]:
    """Return targets and outputs of a single channel as those of two classes.

    Outputs beyond 0 to 1 are logits, which are above 0 for the class 1; others are probabilities.
    """
    first = outputs[0]
    assert first is not None
    middle = 0.5 if first.min() >= 0 and first.max() <= 1 else 0.0
    pairs = [
        None if each is None else np.hstack([middle - each, each - middle]) for each in outputs
    ]
    return np.hstack([1 - wanted, wanted]), pairs


def _describe_classes(
    wanted: np.ndarray,
    outputs: np.ndarray,
    weights: np.ndarray | None,
    single: bool,
    positions: int,
) -> NetworkPerformance:
    """Describe classes; ``single`` says that each sample is of one of them."""
    count = wanted.shape[1]
    if single:
        labels, predicted = wanted.argmax(axis=1), outputs.argmax(axis=1)
        right = predicted == labels
        taken = _one_hot(predicted, count)
    else:
        middle = 0.5 if outputs.min() >= 0 and outputs.max() <= 1 else 0.0
        taken = outputs > middle
        right = (taken == wanted).mean(axis=1)
    samples = right.reshape(-1, positions).mean(axis=1)
    of_samples = None if weights is None else weights[::positions]
    rates, areas, curves = [], [], []
    for place in range(count):
        own = wanted[:, place].astype(bool)
        chosen = None if weights is None else weights[own]
        rate = measure_mean(taken[own, place].astype(float), chosen)
        area = area_under_roc(outputs[:, place], own, weights)
        if positions > 1:  # errors would be those of independent positions
            rate, area = Measured(rate.value, np.nan), Measured(area.value, np.nan)
        rates.append(rate)
        areas.append(area)
        curves.append(roc_curve(outputs[:, place], own, weights))
    confusion = (
        confusion_matrix(labels, predicted, count) if single and count <= _MOST_CONFUSED else ()
    )
    accuracy = measure_mean(samples.astype(float), of_samples)
    return NetworkPerformance(
        Classes(accuracy, tuple(rates), tuple(areas), tuple(curves), confusion)
    )


def _describe_numbers(
    name: str,
    names: tuple[str, ...],
    wanted: np.ndarray,
    outputs: Sequence[np.ndarray | None],
    weights: np.ndarray | None,
    positions: int,
) -> OutputPerformance:
    residuals = [None if each is None else (each - wanted).astype(float) for each in outputs]
    present = [each for each in residuals if each is not None]
    edges = tuple(
        _choose_edges([each[:, place] for each in present]) for place in range(len(names))
    )
    of_samples = None if weights is None else weights[::positions]

    def describe(own: np.ndarray, ends: tuple[float, ...]) -> Residuals:
        # What is beyond the ends counts in the outer parts.
        counts, _ = np.histogram(np.clip(own, ends[0], ends[-1]), ends)
        each, squares = (x.reshape(-1, positions).mean(axis=1) for x in (own, own**2))
        bias, square = (measure_mean(x, of_samples) for x in (each, squares))
        return Residuals(bias, root_of(square), tuple(counts.tolist()))

    networks = [
        None
        if every is None
        else NetworkPerformance(
            None, tuple(describe(every[:, place], ends) for place, ends in enumerate(edges))
        )
        for every in residuals
    ]
    assert networks[0] is not None
    return OutputPerformance(name, names, (), edges, networks[0], networks[1])


def _choose_edges(residuals: Sequence[np.ndarray]) -> tuple[float, ...]:
    """Return the ends of the parts of a histogram, from the least to the largest but a few in a thousand."""
    low = min(float(np.quantile(each, 0.002)) for each in residuals)
    high = max(float(np.quantile(each, 0.998)) for each in residuals)
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    return tuple(np.linspace(low, high, _PARTS + 1).tolist())
