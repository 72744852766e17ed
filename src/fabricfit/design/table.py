"""The options of all layers of a network, of which a design is chosen within limits and deadlines."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.precision import write_precision
from fabricfit.description.strategies import spell_strategy
from fabricfit.description.timing import DEADLINES, spell_ns
from fabricfit.design.choice import Choice, choose_options, least_costs
from fabricfit.design.designs import Design
from fabricfit.design.layer_timing import LayerTiming
from fabricfit.design.options import DesignSpace, LayerOption, list_options
from fabricfit.errors import InvalidInputError
from fabricfit.hardware.budget import Budget
from fabricfit.hardware.estimates import Estimate
from fabricfit.hls4ml.config import read_io_type
from fabricfit.hls4ml.estimation import ModelEstimate, estimate_layers
from fabricfit.hls4ml.pipelining import state_interval
from fabricfit.hls4ml.sections import find_key

__all__ = ["OptionTable"]

_NEARLY = 1 + 1e-9
"""A deadline is kept by whole cycles of just its length, whatever floating point makes of their quotient."""

Options = list[list[LayerOption]]
Costs = list[np.ndarray]


class OptionTable:
    """The options of all layers, what the rest of the network uses, and the limits.

    All that is compared with the limits has the budget's margin of its error bar.

    Parameters
    ----------
    kernels
        Kernel -> weights.
    attributes
        Layer -> attributes, as the configuration describes them.
    config
        An opened configuration.
    budget
        The limits and deadlines, with the target.
    spaces
        Layer -> what is tried of it.
    hessians
        Kernel -> diagonal of the Hessian, as far as it is known.

    Raises
    ------
    InvalidInputError
        No layer has a kernel.
    """

    def __init__(
        self,
        kernels: Mapping[str, np.ndarray],
        attributes: Mapping[str, LayerAttributes],
        config: dict[str, Any],
        budget: Budget,
        spaces: Mapping[str, DesignSpace],
        hessians: Mapping[str, np.ndarray],
    ) -> None:
        self.budget, self.config, self.attributes = budget, config, attributes
        self.names, self.margin = list(budget.resources), budget.margin
        target = budget.target
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
        rest: ModelEstimate = estimate_layers(others, {}, target=target, budget=budget)
        self.rest = LayerTiming.of(rest.layers)
        self.fixed = self._count(rest.compared)
        given: Mapping[str, float] = {}
        if budget.is_relative:
            whole = estimate_layers(attributes, kernels, target=target, budget=budget)
            given = dict(zip(self.names, self._count(whole.compared).tolist(), strict=True))
        limits = budget.limits(given)
        self.limits = np.array([limits[name] for name in self.names])
        self.latency, self.interval = (
            budget.deadlines.get(name, np.inf) / self.clock_ns * _NEARLY for name in DEADLINES
        )

    def choose(self, part: float) -> Design | None:
        """Choose the design of the least loss within a part of the limits, and the deadlines."""
        limits = np.append(part * self.limits - self.fixed, self._latency_limits())
        if (limits < 0).any():
            return None
        best: Choice | None = None
        kept: Options = []
        bound = np.inf
        for options, losses, costs in self._in_time:
            found = choose_options(losses, costs, limits)
            if found is not None:
                bound = min(bound, found.bound)
                if best is None or found.loss < best.loss:
                    best, kept = found, options
        return None if best is None else self._make_design(replace(best, bound=bound), kept)

    @cached_property
    def _in_time(self) -> list[tuple[Options, Costs, Costs]]:
        """Options of which any may go together by the deadline of the interval, their losses and costs."""
        return [
            (
                kept,
                [np.array([option.loss for option in options]) for options in kept],
                self._list_costs(kept),
            )
            for kept in self._list_in_time()
        ]

    def _count(self, resources: Mapping[str, Estimate]) -> np.ndarray:
        return np.array([resources[name].counted(self.margin) for name in self.names])

    def _list_costs(self, kept: Options) -> Costs:
        """Return of each layer the costs of its options: the resources, and cycles of latency if limited."""
        return [
            np.array(
                [
                    [*self._count(option.resources), *self._latency_costs(option.timing, place)]
                    for option in options
                ]
            )
            for place, options in enumerate(kept)
        ]

    def _latency_costs(self, timing: LayerTiming, place: int) -> list[float]:
        """Return cycles of a layer, in a stream a number for each layer that may be the slowest one."""
        if not np.isfinite(self.latency):
            return []
        if not self.streams:
            return [timing.count_latency(self.margin, streams=False)]
        fast = replace(timing, ahead=0.0).count_latency(self.margin, streams=True)
        found = [fast] * (len(self.layers) + 1)
        found[place] = timing.count_latency(self.margin, streams=True)
        return found

    def _latency_limits(self) -> np.ndarray:
        return self.latency - np.array(self._latency_costs(self.rest, -1))

    def _list_in_time(self) -> Iterator[Options]:
        """Yield options of each layer, of which any may go together by the deadline of the interval.

        The slowest layer counts, and by the error bar another one may be it. Within a likely value *v* of
        all, the upper ends may be as high as the margin leaves room for; there is more than one such *v*
        only where the margin is neither 0 nor 1.
        """
        everything, margin, most = list(self.layers.values()), self.margin, self.interval
        if not np.isfinite(most):
            yield everything
            return
        seen: list[set[int]] = []
        values = {most}
        if 0 < margin < 1:
            known = {o.timing.interval.value for options in everything for o in options}
            values |= {each for each in known if each < most}
        for value in sorted(values, reverse=True):
            high = (most - (1 - margin) * value) / margin if margin else np.inf
            quick = [
                [o for o in options if _is_within(o.timing.interval, value, high)]
                for options in everything
            ]
            if not all(quick) or not _is_within(self.rest.interval, value, high):
                continue
            own = {id(option) for options in quick for option in options}
            if not any(own <= other for other in seen):
                seen.append(own)
                yield quick

    def _make_design(self, found: Choice, kept: Options) -> Design:
        chosen = {
            name: options[place]
            for name, options, place in zip(self.layers, kept, found.places, strict=True)
        }
        used = self.fixed + sum(self._count(option.resources) for option in chosen.values())
        timing = LayerTiming.joined((*(each.timing for each in chosen.values()), self.rest))
        return Design(
            chosen,
            found.loss,
            found.gap,
            dict(zip(self.names, used.tolist(), strict=True)),
            timing.count_latency(self.margin, streams=self.streams),
            timing.interval.counted(self.margin),
            _write_config(self.config, self.attributes, chosen),
        )

    def explain(self) -> str:
        """Say why no design is within the limits."""
        return self._explain_interval() or self._explain_latency() or self._explain_resources()

    def _explain_interval(self) -> str:
        slowest, cycles, built = "", self.rest.interval.counted(self.margin), ""
        for name, options in self.layers.items():
            quick = min(options, key=lambda o: o.timing.interval.counted(self.margin))
            own = quick.timing.interval.counted(self.margin)
            if own > cycles:
                slowest, cycles, built = f"layer {name!r} needs", own, f" ({quick})"
        if cycles <= self.interval:
            return ""
        return (
            f"no design takes a sample every {self._spell(self.interval)} ns: "
            f"{slowest or 'a layer without weights needs'} {cycles:,.0f} cycles of {self.clock_ns:g} ns at "
            f"least{built}."
        )

    def _explain_latency(self) -> str:
        least = least_costs(self._list_costs(list(self.layers.values())))[len(self.names) :]
        needed = least + np.array(self._latency_costs(self.rest, -1))
        if not len(needed) or needed.max() <= self.latency:
            return ""
        quickest = {
            name: min(o.timing.latency.counted(self.margin) for o in options)
            for name, options in self.layers.items()
        }
        return (
            f"no design is done within {self._spell(self.latency)} ns: the quickest needs "
            f"{needed.max():,.0f} cycles of {self.clock_ns:g} ns, most of them in layer "
            f"{max(quickest, key=lambda name: quickest[name])!r}."
        )

    def _explain_resources(self) -> str:
        least = least_costs(self._list_costs(list(self.layers.values())))[: len(self.names)]
        short = [
            f"{name}: {limit:,.0f} are allowed, and {own + fixed:,.0f} is the least"
            for name, limit, own, fixed in zip(
                self.names, self.limits, least, self.fixed, strict=True
            )
            if own + fixed > limit
        ]
        reason = "; ".join(short) or "each limit can be met by itself, but not all together"
        return f"no design of the space is within {self.budget!r}: {reason}. Use a larger space."

    def _spell(self, cycles: float) -> str:
        return spell_ns(round(cycles * self.clock_ns, 6))


def _is_within(cycles: Estimate, value: float, high: float) -> bool:
    return cycles.value <= value and cycles.high <= high


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
    state_interval(made, attributes, max(option.reuse_factor for option in chosen.values()))
    return made
