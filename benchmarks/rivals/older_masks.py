"""Masks as the older algorithm made them: one object for each group, and loops over all of them.

Kept is what its cost comes from. Every weight, or every run of weights that share a multiplier, becomes
an object in one list. Where all cost the same, the knapsack is a loop over the sorted values; otherwise
it is CBC's. Which groups of a layer stay and which go is found by going through all groups once for
every layer, looking up those of the layer in a list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ortools.algorithms.python import knapsack_solver

if TYPE_CHECKING:
    import keras

__all__ = ["keep_best", "model_masks", "patterns"]

_SCALE = 1e5


@dataclass(slots=True)
class _Group:
    value: float
    costs: list[int]
    place: Any
    layer: str
    shared: bool = False


def model_masks(
    model: keras.Model, sparsity: float, reuse_factor: int | None = None
) -> dict[str, np.ndarray]:
    """Choose what is kept at a sparsity.

    Parameters
    ----------
    model
        Its Dense and Conv2D layers are pruned.
    sparsity
        What is to be saved, as a fraction.
    reuse_factor
        Weights that share a multiplier, of which one DSP is saved; None prunes single weights.

    Returns
    -------
    dict
        Layer -> mask in the kernel's shape.
    """
    groups: list[_Group] = []
    total = 0
    for layer in prunable(model):
        kernel = layer.get_weights()[0]
        if reuse_factor is None:
            total += kernel.size
            sizes = np.abs(kernel)
            sizes = sizes / np.max(sizes)
            for place in np.indices(kernel.shape).reshape(kernel.ndim, -1).T:
                groups.append(_Group(sizes[tuple(place)], [1], tuple(place), layer.name))
        else:
            norms = np.linalg.norm(patterns(kernel, reuse_factor), axis=1, ord=1)
            total += len(norms)
            for place in range(len(norms)):
                groups.append(_Group(norms[place], [1], place, layer.name))
    capacity = np.array([int((1 - sparsity) * total)])
    values = np.array([group.value for group in groups])
    kept = keep_best(values, np.array([group.costs for group in groups]).T, capacity)
    masks = {}
    for layer in prunable(model):
        inside = [i for i in kept if groups[i].layer == layer.name]
        outside = [
            i for i in range(len(groups)) if groups[i].layer == layer.name and i not in inside
        ]
        masks[layer.name] = _mask(layer.get_weights()[0], groups, inside, outside, reuse_factor)
    return masks


def prunable(model: keras.Model) -> list[Any]:
    """Return the layers that are pruned."""
    from keras import layers

    return [each for each in model.layers if isinstance(each, layers.Dense | layers.Conv2D)]


def patterns(kernel: np.ndarray, reuse_factor: int) -> np.ndarray:
    """Return the weights by the multiplier that serves them: outputs first, then in order."""
    if kernel.size % reuse_factor:
        raise ValueError(f"a reuse factor of {reuse_factor} does not divide {kernel.size} weights")
    return np.moveaxis(kernel, -1, 0).reshape(-1, reuse_factor)


def _mask(
    kernel: np.ndarray,
    groups: list[_Group],
    inside: list[int],
    outside: list[int],
    reuse_factor: int | None,
) -> np.ndarray:
    if reuse_factor is None:
        mask = np.zeros(kernel.shape, kernel.dtype)
        for i in inside:
            mask[groups[i].place] = 1
        return mask
    flat = np.zeros(kernel.size, kernel.dtype)
    for i in inside:
        start = groups[i].place * reuse_factor
        flat[range(start, start + reuse_factor)] = 1
    for i in outside:
        if groups[i].shared:  # never here: a DSP's weights are pruned
            flat[range(groups[i].place * reuse_factor, (groups[i].place + 1) * reuse_factor)] = 0
    turned = flat.reshape(kernel.shape[-1], *kernel.shape[:-1])
    return np.moveaxis(turned, 0, -1)


def keep_best(values: np.ndarray, costs: np.ndarray, capacity: np.ndarray) -> list[int]:
    """Solve the knapsack.

    Parameters
    ----------
    values
        What each group is worth, shape ``(N,)``.
    costs
        Usage of each resource, shape ``(M, N)``.
    capacity
        How much there is, shape ``(M,)``.
    """
    if np.all(np.sum(costs, axis=1) <= capacity):
        return list(range(len(values)))
    if np.all([row == row[0] for row in costs]):
        used, kept = np.zeros_like(capacity), []
        for i in reversed(np.argsort(values)):
            if not np.all(used + costs[:, i] <= capacity):
                break
            kept.append(i)
            used += costs[:, i]
        return kept
    solver = knapsack_solver.KnapsackSolver(
        knapsack_solver.SolverType.KNAPSACK_MULTIDIMENSION_CBC_MIP_SOLVER, "older"
    )
    solver.init(
        (values * _SCALE).astype(int).tolist(),
        costs.astype(int).tolist(),
        capacity.astype(int).tolist(),
    )
    solver.solve()
    return [i for i in range(len(values)) if solver.best_solution_contains(i)]
