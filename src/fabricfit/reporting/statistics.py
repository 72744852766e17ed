"""Statistics of predictions with their standard errors: accuracies, areas under ROC curves, residuals.

All of it is NumPy; samples may have weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = [
    "Measured",
    "area_under_roc",
    "confusion_matrix",
    "measure_mean",
    "roc_curve",
    "root_of",
]

_CURVE_POINTS = 60
"""Points of a curve at even distances on each of its axes."""


@dataclass(frozen=True)
class Measured:
    """A number from samples, with its standard error.

    Parameters
    ----------
    value
        The number.
    error
        Its standard error; NaN where it is not known.
    """

    value: float
    error: float


def measure_mean(values: np.ndarray, weights: np.ndarray | None = None) -> Measured:
    """Return the mean of samples; of zeros and ones it has the error of a binomial share.

    Parameters
    ----------
    values
        A number for each sample.
    weights
        Weights of the samples; 1 by default.
    """
    share = _share(values, weights)
    if share is None:
        return Measured(math.nan, math.nan)
    if (values == values[0]).all():  # sums would be off by a rounding error
        return Measured(float(values[0]), 0.0)
    mean = float(share @ values)
    return Measured(mean, float(np.sqrt(np.sum((share * (values - mean)) ** 2))))


def root_of(square: Measured) -> Measured:
    """Return the root of a mean of squares, such as that of residuals."""
    root = math.sqrt(square.value) if square.value >= 0 else math.nan
    return Measured(root, square.error / (2 * root) if root else math.nan)


def area_under_roc(
    scores: np.ndarray, positive: np.ndarray, weights: np.ndarray | None = None
) -> Measured:
    """Return the area under the ROC curve, with the standard error of DeLong et al. (1988).

    Parameters
    ----------
    scores
        What is larger for samples that belong to the class.
    positive
        Whether each sample belongs to it.
    weights
        Weights of the samples; 1 by default.

    Returns
    -------
    Measured
        NaN where there are samples of one kind only.
    """
    kinds = []
    for one, other in ((positive, ~positive), (~positive, positive)):
        found = _place_among(
            scores[one], scores[other], None if weights is None else weights[other]
        )
        own = None if weights is None else weights[one]
        share = _share(found, own)
        if share is None or not len(scores[other]):
            return Measured(math.nan, math.nan)
        effective = 1 / np.sum(share**2)
        unbiased = effective / (effective - 1) if effective > 1 else math.nan
        mean = float(share @ found) if np.ptp(found) else float(found[0])
        kinds.append((mean, np.sum((share * (found - mean)) ** 2) * unbiased))
    (area, first), (_, second) = kinds
    return Measured(area, float(np.sqrt(first + second)))


def roc_curve(
    scores: np.ndarray, positive: np.ndarray, weights: np.ndarray | None = None
) -> tuple[tuple[float, float], ...]:
    """Return points of the ROC curve: shares of the others and of the class that are above a threshold.

    A hundred or so are chosen, at even distances in the share of the class and, since small shares of others
    matter most, in the logarithm of theirs.

    Parameters
    ----------
    scores, positive, weights
        As for :func:`area_under_roc`.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], positive[order]
    weighed = np.ones(len(order)) if weights is None else weights[order].astype(np.float64)
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    share = np.cumsum(np.where(hits, weighed, 0.0))[ends]
    others = np.cumsum(np.where(hits, 0.0, weighed))[ends]
    if not share[-1] or not others[-1]:
        return ()
    true, false = np.append(0, share / share[-1]), np.append(0, others / others[-1])
    wanted = np.linspace(0, 1, _CURVE_POINTS)
    chosen = {0, len(true) - 1, *np.searchsorted(true, wanted).tolist()}
    chosen |= set(np.searchsorted(false, 10 ** (-4 * wanted)).tolist())
    places = sorted(min(place, len(true) - 1) for place in chosen)
    return tuple((round(float(false[i]), 6), round(float(true[i]), 6)) for i in places)


def confusion_matrix(
    labels: np.ndarray, predicted: np.ndarray, count: int
) -> tuple[tuple[int, ...], ...]:
    """Return how many samples of each class (a row) were taken for each (a column)."""
    cells = np.bincount(labels * count + predicted, minlength=count * count)
    return tuple(map(tuple, cells.reshape(count, count).tolist()))


def _share(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray | None:
    """Return what part of the whole weight each sample has; None without any."""
    given = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
    whole = given.sum()
    return given / whole if whole > 0 else None


def _place_among(scores: np.ndarray, others: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return for each score what part of others is below it, half of those that are equal counted."""
    order = np.argsort(others, kind="stable")
    given = np.ones(len(others)) if weights is None else np.asarray(weights, np.float64)[order]
    below = np.append(0, np.cumsum(given))
    ranked = others[order]
    least, most = (below[np.searchsorted(ranked, scores, side)] for side in ("left", "right"))
    found: np.ndarray = (least + most) / (2 * below[-1] if below[-1] else 1)
    return found
