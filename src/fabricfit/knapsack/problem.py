"""What a knapsack is given and what it gives back, checked where it enters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from fabricfit.errors import InfeasibleError, InvalidInputError, InvalidTypeError, spell

__all__ = [
    "FloorError",
    "GroupedProblem",
    "ItemProblem",
    "KnapsackResult",
    "exact_use",
    "finite_array",
]


class FloorError(InfeasibleError):
    """What has to be kept does not fit by itself.

    Attributes
    ----------
    resource
        Index of the resource that is exceeded most, relative to its capacity.
    needed
        Least use of that resource that the floors allow.
    available
        Its capacity.
    """

    def __init__(self, resource: int, needed: float, available: float) -> None:
        super().__init__(
            f"floors need {needed:g} of resource {resource}, more than its capacity of "
            f"{available:g}. Lower the floors or raise the capacity."
        )
        self.resource, self.needed, self.available = resource, needed, available

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.resource, self.needed, self.available)


@dataclass(frozen=True, eq=False)
class GroupedProblem:
    """A knapsack whose items come in layers of equal cost.

    Maximize the total value of what is kept, subject to ``sum_l counts[l] * costs[l] <= capacity``.
    Within a layer all items cost the same, so that an optimum keeps the best ones of each.

    Parameters
    ----------
    values
        One array a layer, of any length, in any order: what is lost without each item. Not
        negative.
    costs
        What one item of each layer costs, shape ``(L, M)``. Not negative, whole numbers or not.
    capacity
        The limit of each resource, shape ``(M,)``. ``inf`` is no limit.
    floors
        Items of each layer to keep in any case, shape ``(L,)``; none by default.
    ceilings
        Items of each layer to keep at most, shape ``(L,)``; all by default.

    Raises
    ------
    InvalidInputError
        A shape is wrong, a number is negative or not finite, or a floor exceeds a layer or a
        ceiling.
    """

    values: Sequence[np.ndarray]
    costs: np.ndarray
    capacity: np.ndarray
    floors: np.ndarray = None  # type: ignore[assignment]  # an array once checked
    ceilings: np.ndarray = None  # type: ignore[assignment]  # an array once checked

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        if not isinstance(self.values, np.ndarray | list | tuple):
            raise InvalidTypeError(
                f"values must be a list of arrays, one a layer. Received: values={spell(self.values)}"
            )
        values = [
            finite_array(f"values[{i}]", each, ("n_items",), keep_single=True)
            for i, each in enumerate(self.values)
        ]
        capacity = finite_array("capacity", self.capacity, ("M",), allow_infinity=True)
        costs: Any = self.costs
        if not values and np.size(costs) == 0:
            costs = np.zeros((0, capacity.size))
        costs = finite_array("costs", costs, (len(values), capacity.size))
        sizes = np.array([value.size for value in values], np.int64)
        floors = (
            np.zeros_like(sizes)
            if self.floors is None
            else _check_counts("floors", self.floors, sizes)
        )
        ceilings = (
            sizes if self.ceilings is None else _check_counts("ceilings", self.ceilings, sizes)
        )
        if (floors > ceilings).any():
            layer = int(np.argmax(floors > ceilings))
            raise InvalidInputError(
                f"floors must not exceed ceilings. Received: floors[{layer}]={floors[layer]}, "
                f"ceilings[{layer}]={ceilings[layer]}"
            )
        set_(self, "values", tuple(values))
        set_(self, "costs", costs)
        set_(self, "capacity", capacity)
        set_(self, "floors", floors)
        set_(self, "ceilings", ceilings)


@dataclass(frozen=True, eq=False)
class ItemProblem:
    """A knapsack whose items each have a cost of their own.

    Parameters
    ----------
    values
        What each item is worth, shape ``(N,)``. Not negative.
    weights
        What each item costs, shape ``(M, N)``. Not negative.
    capacity
        The limit of each resource, shape ``(M,)``. Not negative.

    Raises
    ------
    InvalidInputError
        A shape is wrong or a number is negative or not finite.
    """

    values: np.ndarray
    weights: np.ndarray
    capacity: np.ndarray

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        values = finite_array("values", self.values, ("N",))
        capacity = finite_array("capacity", self.capacity, ("M",))
        weights: Any = self.weights
        if not values.size and np.size(weights) == 0:
            weights = np.zeros((capacity.size, 0))
        set_(self, "values", values)
        set_(self, "weights", finite_array("weights", weights, (capacity.size, values.size)))
        set_(self, "capacity", capacity)

    def result(
        self, selected: np.ndarray, bound: float | None = None, *, optimal: bool = False
    ) -> KnapsackResult:
        """Describe a selection, with a bound that a solver has proven.

        Parameters
        ----------
        selected
            Indices of the selected items, in any order.
        bound
            No selection is worth more; by default the value of all items.
        optimal
            Whether the selection is proven to be an optimum: the bound is then its value.
        """
        selected = np.sort(np.asarray(selected, np.int64))
        mask = np.zeros(self.values.size, bool)
        mask[selected] = True
        value = float(self.values[selected].sum())
        if optimal:
            bound = value
        elif bound is None:
            bound = float(self.values.sum())
        bound = max(float(bound), value)
        used = exact_use(np.ones(selected.size, np.int64), self.weights[:, selected].T)
        return KnapsackResult(
            value=value,
            choice=[mask],
            counts=np.array([selected.size]),
            used=used,
            capacity=self.capacity,
            bound=bound,
            status="optimal" if bound == value else "feasible",
        )


@dataclass(frozen=True, eq=False)
class KnapsackResult:
    """A choice that fits, and how much better any other could be.

    Attributes
    ----------
    value
        Total value of what is kept.
    choice
        One boolean array a layer (a single one for items that are not in layers): what is kept.
    counts
        Items kept of each layer, shape ``(L,)``.
    used
        What is used of each resource, shape ``(M,)``: the exact sum, rounded once. Never more than
        ``capacity``.
    capacity
        The limits, shape ``(M,)``.
    bound
        Proven upper bound of the value of any choice.
    gap
        ``bound - value``; 0 for an optimum.
    status
        ``'optimal'``, or ``'feasible'`` where a limit of time or memory came before the proof.
    """

    value: float
    choice: list[np.ndarray]
    counts: np.ndarray
    used: np.ndarray
    capacity: np.ndarray
    bound: float
    status: str
    gap: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "gap", self.bound - self.value)

    @property
    def selected(self) -> list[int]:
        """Positions of the kept items in the concatenation of all layers, ascending."""
        return np.flatnonzero(np.concatenate([np.zeros(0, bool), *self.choice])).tolist()


def exact_use(counts: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Sum costs exactly and round once.

    Parameters
    ----------
    counts
        How many of each, shape ``(L,)``, whole numbers.
    costs
        What one costs, shape ``(L, M)``.

    Returns
    -------
    array of shape ``(M,)``
        Correctly rounded ``counts @ costs``.
    """
    counts = np.asarray(counts, np.int64)
    if not counts.size:
        return np.zeros(costs.shape[1])
    plain = counts @ costs
    if plain.max(initial=0) < 2**52 and (costs == np.floor(costs)).all():
        return plain
    used = np.zeros(costs.shape[1])
    kept = np.flatnonzero(counts)
    if counts.max() == 1:
        return np.array([math.fsum(column) for column in costs[kept].T])
    for resource in range(costs.shape[1]):
        units, which = np.unique(costs[kept, resource], return_inverse=True)
        amounts = np.zeros(units.size, np.int64)
        np.add.at(amounts, which, counts[kept])
        pairs = zip(units.tolist(), amounts.tolist(), strict=True)
        total = sum((Fraction(unit) * amount for unit, amount in pairs), Fraction(0))
        used[resource] = float(total)
    return used


def finite_array(
    name: str,
    received: Any,
    shape: tuple[int | str, ...],
    *,
    allow_infinity: bool = False,
    keep_single: bool = False,
) -> np.ndarray:
    """Return an array of finite, non-negative floats of 64 bits.

    Parameters
    ----------
    name
        The argument, for the message of an error.
    received
        Anything that NumPy can read as numbers.
    shape
        The expected shape; a text stands for any length.
    allow_infinity
        Whether ``inf`` is accepted.
    keep_single
        Whether floats of 32 bits stay what they are: there may be millions.
    """
    try:
        array = np.asarray(received)
        if (array.dtype.kind not in "biuf" and array.size) or np.ma.is_masked(received):
            raise TypeError
        if not (keep_single and array.dtype == np.float32):
            array = array.astype(np.float64, copy=False)
    except Exception:  # of several kinds, by what NumPy finds in there
        raise InvalidInputError(
            f"{name} must hold real numbers. Received: {name}={spell(received)}"
        ) from None
    fits = len(array.shape) == len(shape) and all(
        isinstance(want, str) or want == have for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join(str(length) for length in shape) + ("," if len(shape) == 1 else "")
        raise InvalidInputError(
            f"{name} must have the shape ({wanted}). Received: shape {array.shape}"
        )
    if array.size:
        least, most = float(array.min()), float(array.max())
        if not least >= 0 or not (most < np.inf or allow_infinity):
            raise InvalidInputError(
                f"{name} must hold finite numbers that are not negative. "
                f"Received: numbers between {least} and {most}"
            )
    return array


def _check_counts(name: str, received: Any, sizes: np.ndarray) -> np.ndarray:
    array = finite_array(name, received, (sizes.size,))
    if (array != np.floor(array)).any() or (array > sizes).any():
        layer = int(np.argmax((array != np.floor(array)) | (array > sizes)))
        raise InvalidInputError(
            f"{name} must hold whole numbers, none above the number of items of its layer. "
            f"Received: {name}[{layer}]={array[layer]:g} for {sizes[layer]} items"
        )
    return array.astype(np.int64)
