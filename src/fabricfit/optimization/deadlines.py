"""Deadlines of a run: refused before it where no pruning keeps them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.strategies import spell_strategy
from fabricfit.description.timing import Timing, spell_ns
from fabricfit.errors import InfeasibleError
from fabricfit.hardware.budget import Budget
from fabricfit.hls4ml.estimation import LayerEstimate, ModelEstimate, estimate_layers

__all__ = ["refuse_late"]

logger = logging.getLogger(__name__)


def refuse_late(
    budget: Budget, attributes: Mapping[str, LayerAttributes], kernels: Mapping[str, np.ndarray]
) -> None:
    """Refuse a budget whose deadlines the design cannot keep as it is configured, whatever is pruned.

    Strategies and reuse factors are given, and with them most of the time that a design needs. Layers of
    constants may be faster with fewer weights: they are given the time that they need without any.

    Parameters
    ----------
    budget
        With the target that the design is built for.
    attributes, kernels
        Of the layers, as the configuration describes them.

    Raises
    ------
    InfeasibleError
        The message names the slowest layer, and what a reuse factor of 1 would reach.
    """
    if not budget.deadlines:
        return
    none = {name: np.zeros_like(kernel) for name, kernel in kernels.items()}
    least = estimate_layers(attributes, none, target=budget.target, budget=budget)
    late = [each for each in least.timings if not each.is_within(budget.margin)]
    if late:
        quick = {name: _without_reuse(layer) for name, layer in attributes.items()}
        quickest = estimate_layers(quick, none, target=budget.target, budget=budget)
        sentences = " ".join(_describe(each, least, quickest, budget.margin) for each in late)
        raise InfeasibleError(f"{budget!r} cannot be met. {sentences}")
    present = estimate_layers(attributes, kernels, target=budget.target, budget=budget)
    for each in present.timings:
        if not each.is_within(budget.margin):
            logger.warning(
                "%s, with the weights that the model has; it is within the deadline only if pruning makes "
                "sums shorter, which training does not aim at",
                each,
            )


def _without_reuse(layer: LayerAttributes) -> LayerAttributes:
    """Return a layer as it is built with a reuse factor of 1."""
    if layer.hls4ml is not None:
        layer = layer.with_hls4ml(replace(layer.hls4ml, reuse_factor=1))
    return replace(
        layer,
        further_calls=tuple(_without_reuse(call) for call in layer.further_calls),
        matrices=tuple((_without_reuse(part), matrix) for part, matrix in layer.matrices),
    )


def _describe(late: Timing, least: ModelEstimate, quickest: ModelEstimate, margin: float) -> str:
    """Say what is late, which layer is the slowest, and what a reuse factor of 1 would reach."""
    assert late.deadline_ns is not None
    best = next(each for each in quickest.timings if each.name == late.name)
    slowest = max(least.layers, key=lambda layer: _cycles(layer, late.name))
    upper = ""
    if late.ns <= late.deadline_ns:
        upper = f", up to {spell_ns(late.highest_ns)} ns by its error bar (margin={margin:g})"
    text = (
        f"{late.name}: {spell_ns(late.deadline_ns)} ns are allowed and the design needs {_amount(late)}"
        f"{upper}, whatever is pruned. The slowest layer is {slowest.name!r} ({_built(slowest)}): "
        f"{_cycles(slowest, late.name):,.0f} cycles."
    )
    if best.cycles >= late.cycles:
        return f"{text} No smaller reuse factor helps: use a faster clock or a smaller model."
    reached = f"with a reuse factor of 1 in every layer it would be {_amount(best)} at best"
    if best.is_within(margin):
        return f"{text} W{reached[1:]}: use smaller reuse factors."
    return f"{text} Even {reached}: use a faster clock, another strategy or a smaller model."


def _amount(timing: Timing) -> str:
    return f"{spell_ns(timing.ns)} ns ({timing.cycles:,.0f} cycles of {timing.clock_ns:g} ns)"


def _cycles(layer: LayerEstimate, name: str) -> float:
    return (layer.latency if name == "latency" else layer.interval).value


def _built(layer: LayerEstimate) -> str:
    if not layer.strategy:
        return layer.kind
    return f"{spell_strategy(layer.strategy)}, RF {layer.reuse_factor}"
