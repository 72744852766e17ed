from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabricfit.description.attributes import LayerAttributes, OptimizationAttributes
from fabricfit.errors import InfeasibleError, InvalidInputError
from fabricfit.objectives import Objective, ParameterEstimator, as_objective
from fabricfit.selection.costs import measure_costs, removed_groups
from fabricfit.selection.groups import select_groups


def layer(name, shape, structure="structured", **settings):
    wanted = OptimizationAttributes(structure, **{"pruning": True, **settings})
    return LayerAttributes(name, object, [], shape, (shape[0],), (shape[-1],), True, wanted)


class Costs(Objective):
    """An objective with given costs: an instance, each layer with its own vector."""

    def __init__(self, savings, fixed=0):
        self.savings = savings
        self.fixed = fixed

    def groups(self, layer):
        return layer.optimization_attributes

    def usage(self, layer, kernel=None):
        assert kernel is None
        return layer.grouping.n_groups * self.saving(layer) + self.fixed

    def saving(self, layer):
        return np.array(self.savings[layer.name], float)


@st.composite
def problems(draw):
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    dimensions = draw(st.integers(1, 3))
    kernels, attributes, savings = {}, {}, {}
    for number in range(draw(st.integers(1, 3))):
        name = f"layer{number}"
        shape = (draw(st.integers(1, 3)), draw(st.integers(1, 4)))
        kernels[name] = rng.normal(size=shape)
        attributes[name] = layer(name, shape)
        savings[name] = rng.integers(0, 4, dimensions)
    return kernels, attributes, Costs(savings), draw(st.floats(0, 1))


def best_by_trying_all(kernels, attributes, objective, sparsity, floor):
    """The largest kept loss over every choice of groups that is allowed."""
    names = list(kernels)
    baseline = objective.model_usage_without(attributes, {})
    best = -1.0
    spaces = [list(itertools.product([False, True], repeat=kernels[n].shape[1])) for n in names]
    for choice in itertools.product(*spaces):
        counts = {n: len(c) - sum(c) for n, c in zip(names, choice, strict=True)}
        left = objective.model_usage_without(attributes, counts)
        enough = all(sum(c) >= min(floor, len(c)) for c in choice)
        if enough and (left <= (1 - sparsity) * baseline + 1e-9).all():
            value = sum(
                np.square(kernels[n])[:, np.array(c)].sum()
                for n, c in zip(names, choice, strict=True)
            )
            best = max(best, value)
    return best


@given(problems(), st.integers(0, 1))
def test_the_choice_is_the_best_of_all_that_meet_the_sparsity(problem, floor):
    kernels, attributes, objective, sparsity = problem
    expected = best_by_trying_all(kernels, attributes, objective, sparsity, floor)
    arguments = (kernels, attributes, sparsity, objective)
    if expected < 0:
        with pytest.raises(InfeasibleError, match=f"sparsity {sparsity:g} cannot be reached"):
            select_groups(*arguments, metric="l2", minimum_groups=floor)
        return
    found = select_groups(*arguments, metric="l2", minimum_groups=floor)
    value = sum(found.losses[name].loss[kept].sum() for name, kept in found.keep.items())
    assert value == pytest.approx(expected)
    assert (found.utilization <= (1 - sparsity) * found.baseline + 1e-9).all()
    assert found.gap == 0


@pytest.mark.parametrize("solver", ["exact", "CBC_MIP", "greedy", "dynamic", "branch_bound"])
def test_every_solver_meets_the_sparsity(solver):
    if solver == "branch_bound":
        pytest.importorskip("ortools")
    rng = np.random.default_rng(0)
    shapes = {"a": (4, 20), "b": (3, 15)}
    kernels = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    attributes = {name: layer(name, shape) for name, shape in shapes.items()}
    objective = Costs({"a": [3], "b": [2]})
    found = select_groups(kernels, attributes, 0.4, objective, knapsack_solver=solver)
    assert found.utilization[0] <= 0.6 * found.baseline[0]
    best = select_groups(kernels, attributes, 0.4, objective)
    value, bound = (
        sum(each.losses[name].loss[kept].sum() for name, kept in each.keep.items())
        for each in (found, best)
    )
    assert value <= bound + 1e-9
    if solver != "greedy":
        assert value == pytest.approx(bound)


def test_options_reach_the_solver(monkeypatch):
    from fabricfit.selection import groups as selection

    seen = []
    solve = selection.solve_grouped
    monkeypatch.setattr(
        selection, "solve_grouped", lambda p, **options: seen.append(options) or solve(p, **options)
    )
    kernels, attributes = {"a": np.ones((1, 10))}, {"a": layer("a", (1, 10))}
    objective = Costs({"a": [1]})
    select_groups(kernels, attributes, 0.4, objective, knapsack_options={"time_limit": 0.25})
    select_groups(kernels, attributes, 0.4, objective)
    assert seen == [{"time_limit": 0.25}, {"time_limit": 5.0}]


def test_rounding_does_not_lose_a_group():
    kernels = {"a": np.arange(1.0, 11.0).reshape(1, 10)}
    attributes = {"a": layer("a", (1, 10))}
    found = select_groups(kernels, attributes, 0.9, Costs({"a": [1]}))  # (1 - 0.9) * 10 < 1
    assert found.keep["a"].tolist() == [False] * 9 + [True]


def test_layers_that_cannot_save_count_in_the_baseline():
    kernels = {"a": np.ones((1, 10))}
    attributes = {"a": layer("a", (1, 10)), "b": layer("b", (1, 10))}
    attributes["b"].optimizable = False
    objective = Costs({"a": [1], "b": [1]})
    found = select_groups(kernels, attributes, 0.4, objective)
    assert found.baseline.tolist() == [20] and removed_groups(found.keep) == {"a": 8}
    with pytest.raises(InfeasibleError, match="at least 11 remain, 10 are allowed"):
        select_groups(kernels, attributes, 0.5, objective)


def test_one_group_of_every_layer_stays_unless_the_caller_allows_less():
    kernels = {"big": np.full((2, 8), 9.0), "small": np.full((2, 4), 0.01)}
    attributes = {name: layer(name, kernel.shape) for name, kernel in kernels.items()}
    objective = Costs({"big": [1], "small": [1]})
    assert removed_groups(select_groups(kernels, attributes, 0.3, objective).keep)["small"] == 3
    free = select_groups(kernels, attributes, 0.3, objective, minimum_groups=0)
    assert removed_groups(free.keep) == {"big": 0, "small": 4}


def test_local_meets_the_sparsity_in_every_layer():
    rng = np.random.default_rng(0)
    kernels = {"a": rng.normal(0, 9, (3, 10)), "b": rng.normal(0, 0.1, (3, 20))}
    attributes = {name: layer(name, kernel.shape) for name, kernel in kernels.items()}
    objective = Costs({"a": [1], "b": [2]})
    found = select_groups(kernels, attributes, 0.5, objective, local=True)
    assert removed_groups(found.keep) == {"a": 5, "b": 10}
    for name, kept in found.keep.items():
        assert found.losses[name].loss[kept].min() >= found.losses[name].loss[~kept].max()


def test_what_the_objective_counts_beyond_a_sum_is_met():
    class Coupled(Costs):
        """Pairs of kept groups cost: removing from both layers saves less than the sum says."""

        def model_usage_without(self, attributes, removed):
            left = [a.grouping.n_groups - removed.get(n, 0) for n, a in attributes.items()]
            return np.array([float(np.prod(left))])

    rng = np.random.default_rng(0)
    kernels = {"a": rng.normal(size=(3, 10)), "b": rng.normal(size=(3, 12))}
    attributes = {name: layer(name, kernel.shape) for name, kernel in kernels.items()}
    for sparsity in (0.1, 0.37, 0.5, 0.9):
        found = select_groups(kernels, attributes, sparsity, Coupled({"a": [12], "b": [10]}))
        left = [int(kept.sum()) for kept in found.keep.values()]
        assert left[0] * left[1] <= (1 - sparsity) * 120
        assert left[0] * left[1] >= (1 - sparsity) * 120 - 12  # and not much more is given up


def test_sparsity_zero_keeps_all_and_ties_are_broken_alike():
    kernels = {"a": np.ones((2, 6))}
    attributes = {"a": layer("a", (2, 6))}
    objective = Costs({"a": [1]})
    assert select_groups(kernels, attributes, 0, objective).keep["a"].all()
    choices = [select_groups(kernels, attributes, 0.5, objective).keep["a"] for _ in range(2)]
    assert choices[0].sum() == 3 and (choices[0] == choices[1]).all()


@pytest.mark.parametrize(
    "savings, resources",
    [([-1], [10]), ([1.5], [10]), ([1, 2], [10]), (["many"], [10]), ([1], [float("nan")])],
)
def test_answers_that_are_no_costs_are_refused(savings, resources):
    class Wrong(ParameterEstimator):
        @classmethod
        def layer_resources(cls, layer_attributes):
            return resources

        @classmethod
        def layer_savings(cls, layer_attributes):
            return savings

    with pytest.raises(InvalidInputError, match="layer 'a'"):
        measure_costs({"a": layer("a", (1, 10))}, as_objective(Wrong))


def test_what_does_not_fit_is_named():
    attributes = {"a": layer("a", (1, 10))}
    objective = Costs({"a": [1]})
    good = {"a": np.ones((1, 10))}
    for sparsity in (-0.1, 1.1, float("nan")):
        with pytest.raises(InvalidInputError, match="sparsity must be a fraction"):
            select_groups(good, attributes, sparsity, objective)
    with pytest.raises(InvalidInputError, match="'a' that the model does not have"):
        select_groups({}, attributes, 0.5, objective)
    with pytest.raises(InvalidInputError, match=r"\(2, 5\).*\(1, 10\)"):
        select_groups({"a": np.ones((2, 5))}, attributes, 0.5, objective)
    with pytest.raises(InvalidInputError, match="NaN or infinite"):
        select_groups({"a": np.full((1, 10), np.inf)}, attributes, 0.5, objective)
    with pytest.raises(InvalidInputError, match="at least one layer"):
        measure_costs({}, objective)


def test_five_million_weights_take_memory_linear_in_their_number():
    shape = (2500, 2000)
    kernel = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    attributes = {"a": layer("a", shape, "unstructured")}
    tracemalloc.start()
    try:
        found = select_groups({"a": kernel}, attributes, 0.9, as_objective(ParameterEstimator))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    kept = found.keep["a"]
    assert kept.sum() == kernel.size // 10
    assert np.abs(kernel.ravel()[kept]).min() >= np.abs(kernel.ravel()[~kept]).max()
    assert peak < 16 * kernel.nbytes
