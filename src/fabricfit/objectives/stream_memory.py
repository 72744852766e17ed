"""FIFOs of a stream that do not fit at hls4ml's default depths, counted as its optimization leaves them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fabricfit.description.attributes import LayerAttributes
from fabricfit.errors import warn_caller
from fabricfit.hardware.budget import Budget
from fabricfit.hls4ml.checking import ConfigurationWarning
from fabricfit.hls4ml.streams import shorten_fifos
from fabricfit.objectives.fpga import FPGAResources

__all__ = ["fit_fifos"]


def fit_fifos(
    attributes: dict[str, LayerAttributes],
    objective: FPGAResources,
    budget: Budget,
    given: np.ndarray,
) -> dict[str, LayerAttributes]:
    """Return layers whose FIFOs leave room for the rest of the design, if shorter ones make the difference.

    Parameters
    ----------
    attributes
        Layer -> attributes.
    objective
        What counts the budget's resources.
    budget
        The limits.
    given
        What a relative budget is relative to, shape ``(M,)``.

    Warns
    -----
    ConfigurationWarning
        FIFOs are counted shorter than hls4ml builds them by default.
    """
    named = dict(zip(budget.resources, given.tolist(), strict=True))
    limits = np.array([budget.limits(named)[name] for name in budget.resources])
    fifos = _count_fifos(attributes, objective)
    if not fifos.any():
        return attributes
    rest = _count_least(attributes, objective) - fifos
    shortened = shorten_fifos(attributes)
    short = _count_fifos(shortened, objective)
    if (rest + fifos <= limits).all() or not (rest + short <= limits).all():
        return attributes
    over = int(np.argmax(rest + fifos - limits))
    warn_caller(
        f"the FIFOs of the stream use {fifos[over]:,.0f} {objective.units[over]} at hls4ml's default "
        f"depths, which leaves no room within {limits[over]:,.0f}. They are counted as hls4ml's optimization "
        f"of their depths leaves them ({short[over]:,.0f}): build the project with config['Flow'] = "
        "'vitis:fifo_depth_optimization' (or 'vivado:…'), as the default does not fit.",
        ConfigurationWarning,
    )
    return shortened


def _count_fifos(attributes: Mapping[str, LayerAttributes], objective: FPGAResources) -> np.ndarray:
    """Return what the FIFOs of all layers use, shape ``(M,)``."""
    return sum(
        (objective.count_fifos(call) for layer in attributes.values() for call in layer.calls),
        np.zeros(len(objective.resources)),
    )


def _count_least(attributes: Mapping[str, LayerAttributes], objective: FPGAResources) -> np.ndarray:
    """Return what the design uses with no weights left, shape ``(M,)``."""
    total = np.zeros(len(objective.resources))
    for layer in attributes.values():
        kernel = np.zeros(layer.weight_shape) if layer.multiplies else np.zeros(0)
        total += objective.usage(layer, kernel)
    return total
