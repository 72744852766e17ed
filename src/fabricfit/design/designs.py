"""Designs for a budget: an option for each layer, and tables of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fabricfit.description.strategies import CONSTANTS_ONLY, SHARED_MULTIPLIERS
from fabricfit.design.options import LayerOption
from fabricfit.hardware.budget import Budget
from fabricfit.tables import Document, Printable, TextTable

__all__ = ["STRATEGY_SETS", "Design", "Exploration"]

STRATEGY_SETS: Mapping[str, tuple[str, ...]] = {
    "constants": CONSTANTS_ONLY,
    "shared multipliers": SHARED_MULTIPLIERS,
}
"""Sets of strategies of which designs are chosen beside those of all strategies."""


@dataclass(frozen=True)
class Design:
    """One design: an option for each layer with a kernel.

    Parameters
    ----------
    options
        Layer -> how it is built.
    loss
        What the network loses by rounding and pruning its weights, predicted.
    gap
        How far the choice can be from the best one within its limits, of the best one's loss; 0 where it is
        proven to be the best, or better by less than a thousandth of what all weights are worth by the
        second-order model: no metric tells the difference.
    resources
        Usage with the pruning as the budget counts it: of its stage, with its margin of the error bars.
    latency, interval
        Cycles from input to output, and between two samples, with that margin.
    config
        The hls4ml configuration that builds it.
    """

    options: Mapping[str, LayerOption]
    loss: float
    gap: float
    resources: Mapping[str, float]
    latency: float
    interval: float
    config: dict[str, Any]


@dataclass(frozen=True)
class Exploration(Printable):
    """Designs for a budget, those of the least predicted loss first.

    Parameters
    ----------
    designs
        None of them is beaten by another one in predicted loss and all limited resources.
    budget
        The budget.
    clock_ns
        Clock period in nanoseconds.
    by_strategies
        Where it was asked for, the designs that are made of some strategies only: ``'constants'`` (Latency
        and distributed arithmetic), ``'shared multipliers'`` (Resource and ResourceUnrolled). One is missing
        where no such design is within the limits, or a layer cannot be built so. A layer whose strategy is
        stated by its name has it in both.
    """

    designs: tuple[Design, ...]
    budget: Budget
    clock_ns: float
    by_strategies: Mapping[str, Exploration] = field(default_factory=dict)

    @property
    def best(self) -> Design:
        """The design of the least predicted loss."""
        return self.designs[0]

    def to_dict(self) -> dict[str, Any]:
        """Return the designs as plain numbers, strings, lists and dictionaries."""
        return {
            "clock_ns": self.clock_ns,
            "designs": [
                {
                    "loss": design.loss,
                    "gap": design.gap,
                    "resources": dict(design.resources),
                    "latency": design.latency,
                    "interval": design.interval,
                    "options": {name: str(option) for name, option in design.options.items()},
                    "config": design.config,
                }
                for design in self.designs
            ],
        }

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Return the table of designs as text: its header, and its rows."""
        names = list(self.budget.resources)
        header = ["design", "predicted loss", *names, "latency", "II", "built with"]
        body = [
            [
                str(number),
                f"{design.loss:.3g}",
                *(f"{design.resources[name]:,.0f}" for name in names),
                f"{design.latency * self.clock_ns:,.0f} ns",
                f"{design.interval:,.0f}",
                "; ".join(f"{layer}: {option}" for layer, option in design.options.items()),
            ]
            for number, design in enumerate(self.designs)
        ]
        return header, body

    def _make_document(self) -> Document:
        header, body = self.rows()
        return Document([TextTable(header, body, names=frozenset((0, len(header) - 1)))])
