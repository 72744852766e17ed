"""The options of all layers of a network, of which a design is chosen within limits and deadlines."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.timing import DEADLINES, spell_ns
from fabricfit.design.choice import Choice, choose_options, least_costs
from fabricfit.design.configuration import write_config
from fabricfit.design.designs import Design
from fabricfit.design.layer_timing import LayerTiming
from fabricfit.design.layered_options import LayeredOptions
from fabricfit.design.options import (
    DesignSpace,
    LayerOption,
    list_options,
    list_reuse_factors,
)
from fabricfit.errors import InvalidInputError
from fabricfit.hardware.budget import Budget
from fabricfit.hardware.estimates import Estimate
from fabricfit.hls4ml.config import read_io_type
from fabricfit.hls4ml.estimation import ModelEstimate, estimate_layers
from fabricfit.hls4ml.findings import Finding
from fabricfit.network.buildable import refuse_limits

__all__ = ["OptionTable"]

_NEARLY = 1 + 1e-9
"""A deadline is kept by whole cycles of just its length, whatever floating point makes of their quotient."""

_GAP = 0.01
"""Relative gap at which a choice of many options is good enough: the predicted losses are no more exact."""

_RESOLUTION = 1e-3
"""Differences of losses that are none, in parts of what all weights are worth by the second-order model."""

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
    stated
        Kernels whose strategy is stated by the layer's name.
    find_wrong
        Returns what hls4ml does not build with the configuration of a design.

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
        stated: Collection[str] = (),
        find_wrong: Callable[[Mapping[str, Any]], Sequence[Finding]] = lambda config: (),
    ) -> None:
        self._find_wrong = find_wrong
        self._kinds: dict[tuple[str, int], int] = {}
        self._in_time: dict[frozenset[str], list[tuple[Options, LayeredOptions]]] = {}
        self._stated = frozenset(stated)
        self.budget, self.config, self.attributes = budget, config, attributes
        self.names, self.margin = list(budget.resources), budget.margin
        target = budget.target
        self.clock_ns = target.clock_ns
        self.streams = read_io_type(config) == "io_stream"
        chosen = {
            name: layer
            for name, layer in attributes.items()
            if layer.multiplies and name in kernels
        }
        self._built = _list_built_together(chosen)
        self.layers = {
            name: list_options(
                layer,
                kernels[name],
                hessians.get(name),
                spaces[name],
                target,
                budget.stage,
                _list_stated(self._built[layer.layer_name], chosen, spaces),
            )
            for name, layer in chosen.items()
        }
        if not self.layers:
            raise InvalidInputError(
                "the model has no layer with a kernel, so that there is nothing to choose."
            )
        worth = (
            0.5 * float(np.sum(np.square(kernels[name]) * hessians.get(name, 1.0)))
            for name in self.layers
        )
        self._resolution = _RESOLUTION * sum(worth)
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

    def choose(self, part: float, strategies: Collection[str] = ()) -> Design | None:
        """Choose the design of the least loss within a part of the limits, and the deadlines.

        How hls4ml does not build a layer is left out of the table when a design would have it.

        Parameters
        ----------
        part
            The part of the limits.
        strategies
            Those that are used where none is stated of a layer; all without.

        Raises
        ------
        InvalidInputError
            There is no other way to build a layer.
        """
        while (design := self._choose(part, frozenset(strategies))) is not None:
            wrong = self._find_wrong(design.config)
            if not wrong:
                return design
            if not self._leave_out(design, {finding.layer for finding in wrong}):
                refuse_limits(wrong, "fabricfit.explore")
        return None

    def _choose(self, part: float, strategies: frozenset[str]) -> Design | None:
        limits = np.append(part * self.limits - self.fixed, self._latency_limits())
        if (limits < 0).any():
            return None
        best: Choice | None = None
        kept: Options = []
        bound = np.inf
        for options, layered in self._list_in_time(strategies):
            found = choose_options(layered, limits, gap=_GAP, resolution=self._resolution)
            if found is not None:
                bound = min(bound, found.bound)
                if best is None or found.loss < best.loss:
                    best, kept = found, options
        return None if best is None else self._make_design(replace(best, bound=bound), kept)

    def _leave_out(self, design: Design, layers: Collection[str]) -> bool:
        """Leave out how a design builds some layers; return whether there are other ways."""
        kernels = [name for layer in layers for name in self._built.get(layer, ())]
        for name in kernels:
            kind = _kind(design.options[name])
            self.layers[name] = [each for each in self.layers[name] if _kind(each) != kind]
        self._in_time.clear()
        return bool(kernels) and all(self.layers[name] for name in kernels)

    def _find_together(self) -> list[list[int]]:
        """Return the places of kernels of one layer, which hls4ml builds in one way."""
        places = {name: place for place, name in enumerate(self.layers)}
        return [[places[n] for n in names] for names in self._built.values() if len(names) > 1]

    def _number_kind(self, option: LayerOption) -> int:
        return self._kinds.setdefault(_kind(option), len(self._kinds))

    def _list_in_time(self, strategies: frozenset[str]) -> list[tuple[Options, LayeredOptions]]:
        """Return options of which any may go together by the interval's deadline, and those worthwhile."""
        if strategies not in self._in_time:
            everything = [
                [
                    o
                    for o in options
                    if not strategies or name in self._stated or o.strategy in strategies
                ]
                for name, options in self.layers.items()
            ]
            self._in_time[strategies] = [
                (kept, self._keep_worthwhile(kept)) for kept in self._yield_in_time(everything)
            ]
        return self._in_time[strategies]

    def _keep_worthwhile(self, kept: Options) -> LayeredOptions:
        kinds = [np.array([self._number_kind(option) for option in each]) for each in kept]
        losses = [np.array([option.loss for option in each]) for each in kept]
        return LayeredOptions.of(losses, self._list_costs(kept), kinds, self._find_together())

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

    def _yield_in_time(self, everything: Options) -> Iterator[Options]:
        """Yield options of each layer, of which any may go together by the deadline of the interval.

        The slowest layer counts, and by the error bar another one may be it. Within a likely value *v* of
        all, the upper ends may be as high as the margin leaves room for; there is more than one such *v*
        only where the margin is neither 0 nor 1.
        """
        margin, most = self.margin, self.interval
        if not np.isfinite(most):
            if all(everything):
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
            write_config(self.config, self.attributes, chosen),
        )

    @property
    def is_late(self) -> bool:
        """Whether a deadline cannot be kept by any design, whatever it uses."""
        return bool(self._why_late)

    def explain(self) -> str:
        """Say why no design is within the limits."""
        return self._why_late or self._explain_resources()

    @cached_property
    def _why_late(self) -> str:
        return self._explain_interval() or self._explain_latency()

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


def _kind(option: LayerOption) -> tuple[str, int]:
    """Return what a configuration states of a layer besides formats."""
    return option.strategy, option.stated_reuse_factor


def _list_built_together(layers: Mapping[str, LayerAttributes]) -> dict[str, list[str]]:
    """Return the kernels of each layer."""
    found: dict[str, list[str]] = {}
    for name, layer in layers.items():
        found.setdefault(layer.layer_name, []).append(name)
    return found


def _list_stated(
    names: Sequence[str],
    layers: Mapping[str, LayerAttributes],
    spaces: Mapping[str, DesignSpace],
) -> list[int]:
    """Return the reuse factors that are tried for a layer of several kernels; none where there is one."""
    if len(names) == 1:
        return []
    return sorted({each for n in names for each in list_reuse_factors(layers[n], spaces[n])})


def _is_within(cycles: Estimate, value: float, high: float) -> bool:
    return cycles.value <= value and cycles.high <= high
