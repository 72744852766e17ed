"""Networks of number formats, built and measured: bit for bit, or rounded tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fabricfit.calibration.building import Builder, Built
from fabricfit.calibration.figures import Figures, Samples
from fabricfit.calibration.ranges import Range
from fabricfit.calibration.rounding import biases_on_grid, rounded_outputs, weights_on_grid
from fabricfit.calibration.running import Runner
from fabricfit.calibration.task import Task
from fabricfit.calibration.tensors import Key
from fabricfit.errors import InvalidInputError
from fabricfit.precision.formats import TensorFormat

__all__ = ["Attempt", "Measurement"]

_PART = 0.5
"""The part of its standard error by which a metric may differ: both networks have the same samples."""


@dataclass(frozen=True)
class Attempt:
    """Formats that were tried, and what came of them.

    Parameters
    ----------
    formats
        The format of each of the numbers.
    built
        The configuration, and the network that hls4ml makes of it.
    figures
        Its loss and metrics.
    not_emulated
        Why it was not computed bit for bit; empty where it was.
    """

    formats: list[TensorFormat]
    built: Built
    figures: Figures
    not_emulated: str


@dataclass(frozen=True)
class Measurement:
    """Measures networks of number formats.

    Parameters
    ----------
    task
        The network, the data and the options.
    runner
        Runs the network in floats.
    samples
        The samples.
    exact
        The outputs in floats.
    in_floats
        What these are worth.
    """

    task: Task
    runner: Runner
    samples: Samples
    exact: list[np.ndarray]
    in_floats: Figures

    @property
    def allowed(self) -> float:
        """The rise of the loss that counts as none."""
        return self.task.tolerance * self.in_floats.loss_error

    def try_formats(
        self, formats: list[TensorFormat], ranges: Mapping[Key, Range], larger: int
    ) -> Attempt:
        """Build the network with formats, and evaluate it.

        Parameters
        ----------
        formats
            The format of each of the numbers.
        ranges
            The numbers that occur in each tensor.
        larger
            How often tables get twice the entries.
        """
        task = self.task
        weights_on_grid(task.delivered, task.plan, formats)
        network = task.delivered if task.on_grid else task.network
        builder = Builder(network, task.plan, task.statements, ranges, task.backend)
        built = builder.build(task.numbers, formats, larger)
        biases_on_grid(task.delivered, task.plan, built.derived)
        try:
            outputs, why = built.quantized.predict(self.samples.inputs), ""
        except InvalidInputError as error:
            outputs, why = self._round(formats), str(error)
        return Attempt(formats, built, self._figures(outputs), why)

    def rounded_rise(self, formats: Sequence[TensorFormat | None]) -> float:
        """Return the rise of the loss where tensors and weights are rounded, and nothing else is done."""
        return self._figures(self._round(formats)).loss - self.in_floats.loss

    def loss_of_stated(self) -> float:
        """Return the rise of the loss by the formats that are stated; 0 where they are harmless."""
        if not any(form is not None for form in self.task.stated):
            return 0.0
        rise = self.rounded_rise(self.task.stated)
        return rise if rise > self.allowed / 2 else 0.0

    def is_lossless(self, figures: Figures, more: float = 0.0) -> bool:
        """Return whether a network loses nothing, or no more than a loss that cannot be helped."""
        if not figures.loss - self.in_floats.loss <= self.allowed + more:
            return False
        return more > 0 or all(
            abs(figures.metrics[name] - value) <= _PART * self.in_floats.metric_errors[name]
            for name, value in self.in_floats.metrics.items()
        )

    def _round(self, formats: Sequence[TensorFormat | None]) -> list[np.ndarray]:
        return rounded_outputs(
            self.runner, self.task.numbers, formats, self.samples, self.task.batch_size
        )

    def _figures(self, outputs: Sequence[np.ndarray]) -> Figures:
        shaped = [a.reshape(b.shape) for a, b in zip(outputs, self.exact, strict=True)]
        return self.samples.figures(shaped, self.exact)
