"""The choice of a point within a budget, against counting every point."""

from __future__ import annotations

from functools import partial

import pytest

from fabricfit.errors import InfeasibleError
from fabricfit.precision.adders import count_adders
from fabricfit.precision.biases import find_formats
from fabricfit.precision.choice import choose_point, count_point
from tests.marks import ON_ONE_BACKEND
from tests.precision.test_training import prepared, samples, trained

pytestmark = ON_ONE_BACKEND

pytest.importorskip("alkaid.trace")


def test_the_best_point_within_the_budget_is_chosen():
    made, engine = prepared()
    front = trained(made, engine, epochs=120)
    inputs = [samples()[0].X]
    counted = []
    for point in front:
        engine.set_weights(point.weights)
        formats = find_formats(made, inputs)
        counted.append((point, sum(count_adders(made, formats).values())))
    costs = sorted(cost for _, cost in counted)
    count = partial(count_point, made, engine, inputs=inputs)
    for budget in (costs[-1] + 1, costs[len(costs) // 2], costs[0]):
        chosen = choose_point(front, budget, count)
        fitting = [point for point, cost in counted if cost <= budget]
        near = [point.metric for point in fitting if point.cost <= 1.1 * budget]
        assert chosen.total <= budget and chosen.point in fitting
        assert chosen.point.metric == max(near) if near else chosen.point.cost > 1.1 * budget
        for ours, theirs in zip(engine.get_weights(), chosen.point.weights, strict=True):
            assert (ours == theirs).all()
    with pytest.raises(InfeasibleError, match="no network of the Pareto front"):
        choose_point(front, 0.2 * costs[0], count)
