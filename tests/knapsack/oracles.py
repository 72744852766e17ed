"""Exhaustive searches and random problems, independent of the package's solvers."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp


def best_grouped(values, costs, capacity, floors, ceilings=None):
    """Return the best value over all counts, or None where the floors do not fit."""
    sizes = [len(v) for v in values] if ceilings is None else ceilings
    prefix = [np.concatenate([[0.0], np.cumsum(np.sort(v)[::-1])]) for v in values]
    exact = [[Fraction(float(c)) for c in row] for row in costs]
    limits = [Fraction(float(c)) for c in capacity]
    best = None
    for counts in itertools.product(*[range(f, s + 1) for f, s in zip(floors, sizes, strict=True)]):
        use = [
            sum(k * row[m] for k, row in zip(counts, exact, strict=True))
            for m in range(len(limits))
        ]
        if all(u <= c for u, c in zip(use, limits, strict=True)):
            value = sum(p[k] for p, k in zip(prefix, counts, strict=True))
            best = value if best is None else max(best, value)
    return best


def best_items(values, weights, capacity):
    """Return the best value over all subsets."""
    n = len(values)
    subsets = ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(float)
    fits = (subsets @ np.asarray(weights, float).T <= capacity).all(axis=1)
    return float((subsets @ np.asarray(values, float))[fits].max())


def best_by_milp(values, costs, capacity):
    """Return the best value of a grouped problem by HiGHS over all items."""
    owner = np.repeat(np.arange(len(values)), [len(v) for v in values])
    flat = np.concatenate(values)
    scale = 1e4 / flat.max()
    result = milp(
        -flat * scale,
        constraints=LinearConstraint(costs[owner].T, ub=capacity),
        integrality=np.ones(flat.size),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 0.0},
    )
    assert result.status == 0
    return float(flat[result.x > 0.5].sum())


@st.composite
def grouped(draw, max_layers=4, max_items=5):
    """Draw (values, costs, capacity, floors); dyadic numbers, so that all sums are exact."""
    layers, resources = draw(st.integers(1, max_layers)), draw(st.integers(1, 3))
    quarter = st.integers(0, 40).map(lambda n: n / 4)
    value = draw(st.sampled_from([st.integers(0, 4).map(float), quarter, st.floats(0, 10)]))
    cost = draw(st.sampled_from([st.integers(0, 5).map(float), quarter]))
    values = [
        np.array(draw(st.lists(value, min_size=1, max_size=max_items))) for _ in range(layers)
    ]
    row = st.lists(cost, min_size=resources, max_size=resources)
    costs = np.array(draw(st.lists(row, min_size=layers, max_size=layers)))
    total = np.array([v.size for v in values]) @ costs
    share = st.lists(st.integers(0, 9), min_size=resources, max_size=resources)
    capacity = total * np.array(draw(share)) / 8
    floors = np.array([draw(st.integers(0, min(2, v.size))) for v in values])
    return values, costs, capacity, floors * draw(st.integers(0, 1))


@st.composite
def items(draw, max_items=8, max_resources=3, whole=None):
    """Draw (values, weights, capacity) of single items; dyadic numbers."""
    n, resources = draw(st.integers(0, max_items)), draw(st.integers(1, max_resources))
    whole = draw(st.booleans()) if whole is None else whole
    number = st.integers(0, 9).map(float) if whole else st.integers(0, 40).map(lambda k: k / 8)
    value = draw(st.sampled_from([st.integers(0, 9).map(float), st.floats(0, 10)]))
    values = np.array(draw(st.lists(value, min_size=n, max_size=n)))
    flat = draw(st.lists(number, min_size=n * resources, max_size=n * resources))
    weights = np.array(flat).reshape(resources, n)
    share = draw(st.lists(st.integers(0, 9), min_size=resources, max_size=resources))
    capacity = weights.sum(axis=1) * np.array(share) / 8
    return values, weights, np.floor(capacity) if whole else capacity
