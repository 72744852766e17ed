"""What a calibration works with: the network, what is stated of it, the data and the options."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from fabricfit.calibration.figures import Sources
from fabricfit.calibration.statements import Statements
from fabricfit.calibration.tensors import Numbers, Plan
from fabricfit.network.cloning import copy_model
from fabricfit.network.reader import Network, read
from fabricfit.precision.formats import TensorFormat

__all__ = ["Task"]


@dataclass(frozen=True)
class Task:
    """The network, what is stated of it, the data and the options of :func:`fabricfit.calibrate`.

    Parameters
    ----------
    network
        The network as it was given.
    plan
        Which numbers have a format.
    statements
        What is stated of them.
    backend
        hls4ml's backend.
    sources
        The data.
    tolerance, margin, overflow, batch_size
        The options.
    on_grid
        Whether the network is measured with its weights on their grids, since hls4ml builds them as they are.
    """

    network: Network
    plan: Plan
    statements: Statements
    backend: str
    sources: Sources
    tolerance: float = 0.1
    margin: int = 0
    overflow: str = "SAT"
    batch_size: int = 256
    on_grid: bool = False

    @property
    def numbers(self) -> tuple[Numbers, ...]:
        """The tensors and weights that have a format."""
        return self.plan.numbers

    @cached_property
    def delivered(self) -> Network:
        """A copy of the network as hls4ml builds it, whose weights go on their grids."""
        return read(copy_model(self.plan.network.model))

    @cached_property
    def stated(self) -> tuple[TensorFormat | None, ...]:
        """The format that is stated of each of the numbers, if one is."""
        found: list[TensorFormat | None] = []
        for each in self.numbers:
            formats = (self.statements.find(*where) for where in each.places)
            form = next((form for form in formats if form is not None), None)
            found.append(
                None
                if form is None
                else TensorFormat(
                    form.fractional, form.integer, form.signed, form.rounding, form.overflow
                )
            )
        return tuple(found)
