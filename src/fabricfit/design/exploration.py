"""``fabricfit.explore``: the designs that are worth building for a budget, without training."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.precision import fixed_point, parse_precision, write_precision
from fabricfit.description.strategies import (
    SHARED_MULTIPLIERS,
    canonical_strategy,
    spell_strategy,
)
from fabricfit.description.timing import DEADLINES
from fabricfit.design.choice import Choice, choose_options, least_costs
from fabricfit.design.loss_curvature import measure_curvature
from fabricfit.design.options import DesignSpace, LayerOption, list_options
from fabricfit.errors import InfeasibleError, InvalidInputError
from fabricfit.hardware.budget import Budget
from fabricfit.hardware.targets import Target
from fabricfit.hls4ml.config import default_configuration, read_io_type
from fabricfit.hls4ml.estimation import ModelEstimate, estimate_layers
from fabricfit.hls4ml.plain import ConfigurationLike
from fabricfit.hls4ml.sections import find_key
from fabricfit.hls4ml.target import choose_budget
from fabricfit.network.batch_norm import fold_normalizations
from fabricfit.network.configuration import open_configuration, state_every_call, without_layers
from fabricfit.network.describe import describe_for_hls4ml
from fabricfit.network.reader import Network, as_network
from fabricfit.network.scalings import replace_scalings
from fabricfit.tables import TextTable

__all__ = ["Design", "Exploration", "explore"]

_FRACTIONS = (1.0, 0.85, 0.7, 0.55, 0.4, 0.3, 0.2, 0.12, 0.07, 0.04)
"""Parts of the budget for which a design is chosen, the largest first."""


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
        How far the choice can be from the best one within its limits; 0 where it is proven to be the best.
    resources
        Usage with the pruning, of the stage that the budget means.
    latency, interval
        Cycles from input to output, and between two samples.
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
class Exploration:
    """Designs for a budget, those of the least predicted loss first.

    Parameters
    ----------
    designs
        None of them is beaten by another one in predicted loss and all limited resources.
    budget
        The budget.
    clock_ns
        Clock period in nanoseconds.
    """

    designs: tuple[Design, ...]
    budget: Budget
    clock_ns: float

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

    def __str__(self) -> str:
        header, body = self.rows()
        return "\n".join(TextTable(header, body, names=frozenset((0, len(header) - 1))).lines())


def explore(
    model: keras.Model,
    budget: Budget,
    data: Any = None,
    *,
    hls_config: ConfigurationLike | None = None,
    loss: Any = None,
    formats: ConfigurationLike | None = None,
    space: DesignSpace | None = None,
    samples: int = 512,
    fractions: tuple[float, ...] = _FRACTIONS,
    curvature: Mapping[str, np.ndarray] | None = None,
) -> Exploration:
    """Choose strategy, reuse factor, bits and pruning of each layer, for a budget and parts of it.

    Each layer has its options (:class:`DesignSpace`), each with its costs by the laws and the loss that a
    second-order model predicts; one option for each layer is chosen such that the predicted loss is least
    within the limits, proven by branch and bound (:mod:`fabricfit.design.choice`). Nothing is trained:
    :func:`fabricfit.fit` does that with the configuration of a design.

    Parameters
    ----------
    model
        A built model, which is not changed.
    budget
        The limits and deadlines; the clock. A relative one is relative to what ``hls_config`` uses.
    data
        ``(X, y)`` of which the Hessian of the loss is taken; without, the squared change of the weights is
        the loss.
    hls_config
        What is stated of the design, and kept: number formats, ``'IOType'``, strategies and reuse factors of
        single layers under ``'LayerName'``. hls4ml's defaults without it.
    formats
        A configuration with number formats for what ``hls_config`` leaves open, of which weights may become
        narrower: such as that of :func:`fabricfit.calibrate`.
    loss
        The loss; as the model was compiled by default.
    space
        What is tried for each layer.
    samples
        How many samples of the data are used.
    fractions
        Parts of the budget for which a design is chosen.
    curvature
        What :func:`fabricfit.design.loss_curvature.measure_curvature` returned, in place of the data.

    Raises
    ------
    InfeasibleError
        No design of the space is within the limits; the message names the limit and what is least.
    InvalidInputError
        The input cannot be worked with.
    """
    whole = as_network(model)
    stated = open_configuration(hls_config or default_configuration(), whole)
    config = stated if formats is None else open_configuration(formats, whole)
    budget = choose_budget(config, budget)
    network = replace_scalings(fold_normalizations(whole))
    without_layers(config, whole, whole.layers.keys() - network.layers.keys())
    state_every_call(config, network)
    attributes = describe_for_hls4ml(network, config)
    if curvature is None:
        known = None if data is None else measure_curvature(model, data, loss, samples, network)
        curvature = known or {}
    space = space or DesignSpace()
    spaces = {
        name: _narrow(space, stated, layer, budget.target) for name, layer in attributes.items()
    }
    table = _Table(network, attributes, config, budget, spaces, curvature)
    cycles = tuple(budget.deadlines.get(name, np.inf) / table.clock_ns for name in DEADLINES)
    designs: list[Design] = []
    for part in sorted(fractions, reverse=True):
        design = table.choose(part, *cycles)
        if design is None:
            break
        if not designs or design.options != designs[-1].options:
            designs.append(design)
    if not designs:
        raise InfeasibleError(table.explain(*cycles))
    return Exploration(tuple(designs), budget, table.clock_ns)


class _Table:
    """The options of all layers, and what the rest of the network uses."""

    def __init__(
        self,
        network: Network,
        attributes: Mapping[str, LayerAttributes],
        config: dict[str, Any],
        budget: Budget,
        spaces: Mapping[str, DesignSpace],
        hessians: Mapping[str, np.ndarray],
    ) -> None:
        self.budget, self.config, self.attributes = budget, config, attributes
        self.names = list(budget.resources)
        target, kernels = budget.target, network.kernel_arrays()
        self.clock_ns = target.clock_ns
        self.streams = read_io_type(config) == "io_stream"
        self.layers = {
            name: list_options(
                layer,
                kernels[name],
                hessians.get(name),
                spaces[name],
                target,
                budget.stage,
            )
            for name, layer in attributes.items()
            if layer.multiplies and name in kernels
        }
        if not self.layers:
            raise InvalidInputError(
                "the model has no layer with a kernel, so that there is nothing to choose."
            )
        others = {n: layer for n, layer in attributes.items() if n not in self.layers}
        self.rest: ModelEstimate = estimate_layers(others, {}, target=target, budget=budget)
        used = self.rest.compared
        self.fixed = np.array([used[name].value for name in self.names])
        given: Mapping[str, float] = {}
        if budget.is_relative:
            whole = estimate_layers(attributes, kernels, target=target, budget=budget)
            given = whole.compared.values_only
        limits = budget.limits(given)
        self.limits = np.array([limits[name] for name in self.names])

    def choose(self, part: float, latency: float, interval: float) -> Design | None:
        """Choose the design of the least loss within a part of the budget and the deadlines, in cycles."""
        slack = latency - self.rest.latency.value
        losses, costs, kept = [], [], []
        for options in self.layers.values():
            own = [o for o in options if o.interval <= interval]
            own = [o for o in own if not self.streams or o.latency <= latency]
            if not own:
                return None
            kept.append(own)
            losses.append(np.array([option.loss for option in own]))
            costs.append(np.array([self._cost(option) for option in own]))
        limits = np.append(part * self.limits - self.fixed, np.inf if self.streams else slack)
        if (limits < 0).any():
            return None
        found = choose_options(losses, costs, limits)
        return None if found is None else self._make_design(found, kept)

    def _cost(self, option: LayerOption) -> list[float]:
        return [*(option.resources[name].value for name in self.names), option.latency]

    def _make_design(self, found: Choice, kept: list[list[LayerOption]]) -> Design:
        chosen = {
            name: options[place]
            for name, options, place in zip(self.layers, kept, found.places, strict=True)
        }
        used = self.fixed + sum(
            np.array([option.resources[name].value for name in self.names])
            for option in chosen.values()
        )
        latencies = [option.latency for option in chosen.values()]
        latency = max(latencies) if self.streams else sum(latencies) + self.rest.latency.value
        interval = max(max(o.interval for o in chosen.values()), self.rest.interval.value)
        return Design(
            chosen,
            found.loss,
            found.gap,
            dict(zip(self.names, used.tolist(), strict=True)),
            float(latency),
            float(interval),
            _write_config(self.config, self.attributes, chosen),
        )

    def explain(self, latency: float, interval: float) -> str:
        """Say why no design is within the limits."""
        for name, options in self.layers.items():
            quick = min(options, key=lambda option: option.interval)
            if quick.interval > interval:
                return (
                    f"no design takes a sample every {interval * self.clock_ns:,.0f} ns: layer {name!r} "
                    f"needs {quick.interval:,.0f} cycles of {self.clock_ns:g} ns at least ({quick})."
                )
        costs = [np.array([self._cost(o) for o in options]) for options in self.layers.values()]
        least = least_costs(costs)
        quickest = least[-1] + self.rest.latency.value
        if self.streams:
            quickest = max(cost[:, -1].min() for cost in costs)
        if quickest > latency:
            slowest = max(self.layers, key=lambda n: min(o.latency for o in self.layers[n]))
            return (
                f"no design is done within {latency * self.clock_ns:,.0f} ns: the quickest needs "
                f"{quickest:,.0f} cycles of {self.clock_ns:g} ns, most of them in layer {slowest!r}."
            )
        short = [
            f"{name}: {limit:,.0f} are allowed, and {own + fixed:,.0f} is the least"
            for name, limit, own, fixed in zip(
                self.names, self.limits, least[:-1], self.fixed, strict=True
            )
            if own + fixed > limit
        ]
        reason = "; ".join(short) or "each limit can be met by itself, but not all together"
        return f"no design of the space is within {self.budget!r}: {reason}. Use a larger space."


def _narrow(
    space: DesignSpace, stated: Mapping[str, Any], layer: LayerAttributes, target: Target
) -> DesignSpace:
    """Return the space of a layer: what is stated of it by name, or all that the backend builds."""
    named = stated.get("HLSConfig", stated).get("LayerName") or {}
    key = find_key(named, layer.hls4ml_name)
    section = named.get(key, {}) if key else {}
    if (strategy := section.get("Strategy")) is not None:
        strategies: tuple[str, ...] = (canonical_strategy(strategy),)
    else:
        strategies = tuple(each for each in space.strategies if each not in target.unbuilt)
    reuse = section.get("ReuseFactor", space.reuse_factor)
    if strategy is None and reuse is not None and reuse > 1:
        strategies = tuple(each for each in strategies if each in SHARED_MULTIPLIERS) or strategies
    widths, precision = space.widths, section.get("Precision")
    weight = precision.get(layer.weight_name) if isinstance(precision, Mapping) else precision
    if weight is not None and str(weight) != "auto":
        widths = (fixed_point(parse_precision(weight)).width,)
    return replace(space, strategies=strategies, reuse_factor=reuse, widths=widths)


def _write_config(
    config: Mapping[str, Any],
    attributes: Mapping[str, LayerAttributes],
    chosen: Mapping[str, LayerOption],
) -> dict[str, Any]:
    """Return the configuration of a design, as hls4ml reads it."""
    made = copy.deepcopy(dict(config))
    inner = made.get("HLSConfig", made)
    named = inner.setdefault("LayerName", {})
    default = inner.get("Model", {}).get("Precision", "fixed<16,6>")
    for name, option in chosen.items():
        for call in attributes[name].calls:
            key = find_key(named, call.hls4ml_name) or call.hls4ml_name
            section = named.setdefault(key, {})
            stated = section.get("Precision", default)
            precision = dict(stated) if isinstance(stated, Mapping) else {"default": stated}
            precision[call.weight_name] = write_precision(option.precision)
            section |= {
                "Strategy": spell_strategy(option.strategy),
                "ReuseFactor": option.reuse_factor,
                "Precision": precision,
            }
    return made
