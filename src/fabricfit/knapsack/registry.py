"""The solvers of :func:`~fabricfit.knapsack.solve_knapsack` by name.

A solver is a function of an :class:`~fabricfit.knapsack.ItemProblem` and :class:`Options`, in a
file of its own, registered with :func:`register`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from fabricfit.checks import mapping, number, one_of, text
from fabricfit.errors import InvalidInputError, InvalidTypeError, spell
from fabricfit.knapsack.problem import ItemProblem, KnapsackResult

__all__ = ["Options", "Solver", "find_solver", "implementations", "register"]


@dataclass(frozen=True)
class Options:
    """What a caller may ask of any solver; one that has no use for an option ignores it.

    Parameters
    ----------
    time_limit
        Seconds after which the best selection so far is returned.
    scaling_factor
        What values that are not whole numbers are multiplied with, before they are cut to integers.
        By default as much as 64 bits hold. Used by ``branch_bound``.

    Raises
    ------
    InvalidInputError
        A number is not positive.
    """

    time_limit: float = 30.0
    scaling_factor: float | None = None

    def __post_init__(self) -> None:
        for name in ("time_limit", "scaling_factor"):
            received = getattr(self, name)
            if received is None and name == "scaling_factor":
                continue
            number(name, received, above=0, infinite=name == "time_limit")

    @classmethod
    def of(cls, given: Mapping[str, Any] | None) -> Options:
        """Return the options that a caller gives by name; a ``time_limit`` of None is the default.

        Raises
        ------
        InvalidTypeError
            An option is not known.
        InvalidInputError
            A number is not positive.
        """
        known = [option.name for option in fields(cls)]
        options = dict(mapping("the options of a knapsack solver", {} if given is None else given))
        unknown = sorted(map(spell, options.keys() - set(known)))
        if unknown:
            raise InvalidTypeError(
                f"the options of a knapsack solver are {', '.join(known)}. "
                f"Received: {', '.join(unknown)}"
            )
        if options.get("time_limit", 0) is None:
            del options["time_limit"]
        return cls(**options)


Solver = Callable[[ItemProblem, Options], KnapsackResult]

_SOLVERS: dict[str, Solver] = {}


def register(*names: str) -> Callable[[Solver], Solver]:
    """Make a solver known under one or more names; a decorator."""
    for name in names:
        text("name", name)

    def enter(solver: Solver) -> Solver:
        if not callable(solver):
            raise InvalidTypeError(f"a solver must be a function. Received: {spell(solver)}")
        for name in names:
            if _SOLVERS.setdefault(name, solver) is not solver:
                raise InvalidInputError(
                    f"a solver is registered already under this name. Received: {spell(name)}"
                )
        return solver

    return enter


def implementations() -> tuple[str, ...]:
    """Return the names that are known, in alphabetical order."""
    return tuple(sorted(_SOLVERS))


def find_solver(implementation: str) -> Solver:
    """Return the solver of a name.

    Raises
    ------
    InvalidInputError
        There is none.
    """
    return _SOLVERS[one_of("implementation", implementation, implementations())]
