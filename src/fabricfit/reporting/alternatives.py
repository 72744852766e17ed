"""Designs that competed for a run: what each reached, and why the others lost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fabricfit.description.timing import spell_ns
from fabricfit.reporting.plain import (
    read_amounts,
    read_count,
    read_error,
    read_number,
    read_text,
    read_texts,
    require_list,
    to_plain,
)
from fabricfit.tables import Document, Printable, TextTable

__all__ = ["Alternative", "SimpleAlternatives", "largest_share", "tabulate_alternatives"]


@dataclass(frozen=True)
class Alternative:
    """A design that was tried.

    Parameters
    ----------
    name
        Where its number formats come from, and how its layers are built.
    built
        How each layer is built; ``''`` where that is trained.
    epochs
        The part of its training that it had: 1 for all of it, 0 for none.
    metric
        The validation metric of the quantized network after that; NaN without a training.
    resources
        Its usage of each of the report's resources; empty where it was not built.
    latency_ns, interval_ns
        From a sample to its result, and between two samples; NaN where it was not built.
    outcome
        ``'chosen'``, or why it was not.
    error
        Standard error of the difference of its metric to that of the chosen design; NaN if not known.
    """

    name: str
    built: str
    epochs: float
    metric: float
    resources: tuple[float, ...]
    latency_ns: float
    interval_ns: float
    outcome: str
    error: float = float("nan")

    @property
    def is_chosen(self) -> bool:
        """Whether the run's result is of this design."""
        return self.outcome == "chosen"

    def largest_share(self, limits: Sequence[float]) -> float:
        """Return the largest share of a limit that it uses, see :func:`largest_share`."""
        return largest_share(self.resources, limits)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain numbers and strings; NaN becomes None."""
        return to_plain(asdict(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Alternative:
        """Return the design that plain data describe, each of its values checked."""
        known = dict(values)
        read = {name: _READERS.get(name, read_number)(each) for name, each in known.items()}
        return cls(**read)


_READERS: dict[str, Any] = {
    **dict.fromkeys(("name", "built", "outcome"), read_text),
    "resources": read_amounts,
    "error": read_error,
}


def largest_share(used: Iterable[float], limits: Iterable[float]) -> float:
    """Return the largest part of a limit that is used: infinite where something is of which none is allowed.

    Parameters
    ----------
    used, limits
        Amounts, and their limits, at least 0.
    """
    pairs = zip(used, limits, strict=True)
    shares = (amount / limit if limit else math.inf if amount else 0.0 for amount, limit in pairs)
    return max(shares, default=0.0)


@dataclass(frozen=True)
class SimpleAlternatives(Printable):
    """A result beside what is simpler to do for the same budget.

    Parameters
    ----------
    designs
        The result first, then the alternatives; ``outcome`` says whether each fits, ``error`` is that of the
        difference of its metric to the result's.
    units
        Names of the resources.
    metric_name
        The validation metric, which is of the quantized networks.
    budget
        Limits of the resources.
    samples
        Validation samples that it is of.
    """

    designs: tuple[Alternative, ...]
    units: tuple[str, ...]
    metric_name: str
    budget: tuple[float, ...]
    samples: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain numbers, strings, lists and dictionaries; NaN becomes None."""
        found: dict[str, Any] = to_plain(asdict(self))
        return found

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SimpleAlternatives:
        """Return what plain data describe, each value checked.

        Raises
        ------
        KeyError, TypeError, ValueError
            The values are not those of a comparison.
        """
        designs = tuple(map(Alternative.from_dict, require_list(values["designs"])))
        units, budget = read_texts(values["units"]), read_amounts(values["budget"])
        if len(budget) != len(units):
            raise ValueError(f"there must be a limit for each of {units}")
        if any(each.resources and len(each.resources) != len(units) for each in designs):
            raise ValueError(f"there must be a number for each of {units}")
        name = read_text(values["metric_name"])
        return cls(designs, units, name, budget, read_count(values["samples"]))

    def _make_document(self) -> Document:
        table = tabulate_alternatives(self.designs, self.units, self.metric_name)
        built = [f"{each.name}: {each.built}" for each in self.designs if each.built]
        said = f"{self.metric_name} is of the quantized networks, on {self.samples:,} validation samples"
        return Document([table, *built, said])


def tabulate_alternatives(
    alternatives: Sequence[Alternative], units: Sequence[str], metric: str
) -> TextTable:
    """Return the table of designs, those that were trained longest first.

    Parameters
    ----------
    alternatives
        The designs.
    units
        Names of the resources.
    metric
        Name of the validation metric.
    """
    header = ["design", "trained", metric, *units, "latency, ns", "II, ns", "outcome"]
    rows = [
        [
            each.name,
            f"{each.epochs:.0%}",
            _spell(each.metric, "{:.4f}"),
            *([f"{used:,.0f}" for used in each.resources] or ["-"] * len(units)),
            *map(_spell_time, (each.latency_ns, each.interval_ns)),
            each.outcome,
        ]
        for each in alternatives
    ]
    return TextTable(header, rows, names=frozenset((0, len(header) - 1)))


def _spell_time(value: float) -> str:
    return spell_ns(value) if value == value else "-"


def _spell(value: float, pattern: str) -> str:
    return pattern.format(value) if value == value else "-"
