"""Upper bounds of a knapsack with items of any cost."""

from __future__ import annotations

import numpy as np

__all__ = ["fractional_bound"]


def fractional_bound(values: np.ndarray, weights: np.ndarray, capacity: np.ndarray) -> float:
    """Bound the value of any selection: the best fractional one, each resource by itself.

    Items are selected by value for weight until the first that does not fit, of which a fraction is
    (Dantzig, "Discrete-variable extremum problems", Operations Research 5, 1957).

    Parameters
    ----------
    values
        Shape ``(N,)``.
    weights
        Shape ``(M, N)``.
    capacity
        Shape ``(M,)``.
    """
    bound = float(values.sum())
    for weight, limit in zip(weights, capacity, strict=True):
        paid = weight > 0
        value, cost = values[paid], weight[paid]
        with np.errstate(over="ignore"):
            order = np.argsort(-(value / cost), kind="stable")
        value, used = value[order], np.cumsum(cost[order])
        broken = int(np.searchsorted(used, limit, "right"))
        if broken < used.size:
            before = float(used[broken - 1]) if broken else 0.0
            part = (limit - before) / (used[broken] - before) * value[broken]
            alone = float(values[~paid].sum() + value[:broken].sum() + part)
            bound = min(bound, alone * (1 + 1e-12))
    return bound
