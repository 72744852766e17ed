"""What a run hands out, as hls4ml builds it: time, part and tool, number formats and reuse factors."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.precision import write_precision
from fabricfit.description.strategies import spell_strategy
from fabricfit.description.timing import Timing
from fabricfit.errors import InvalidInputError
from fabricfit.hardware.budget import Budget
from fabricfit.hls4ml.backends import DEFAULT_BACKEND
from fabricfit.hls4ml.config import leaves_result_open, read_io_type
from fabricfit.hls4ml.estimation import LayerEstimate, ModelEstimate, estimate_layers
from fabricfit.network.configuration import open_configuration
from fabricfit.network.estimation import describe_as_built
from fabricfit.network.reader import Network, as_network
from fabricfit.reporting.report_parts import BuiltLayer

__all__ = ["BuiltDesign", "describe_built"]


@dataclass(frozen=True)
class BuiltDesign:
    """A design as hls4ml builds it.

    Parameters
    ----------
    estimate
        What :func:`fabricfit.estimate` says of it.
    layers
        Its layers.
    built_for
        Names and values: part, clock, backend, tool.
    """

    estimate: ModelEstimate
    layers: tuple[BuiltLayer, ...]
    built_for: tuple[tuple[str, str], ...]

    def timing(self, before: ModelEstimate) -> tuple[Timing, ...]:
        """Return latency and interval before and after, beside their deadlines.

        Parameters
        ----------
        before
            The estimate of the model as it was given to the run.
        """
        pairs = zip(self.estimate.timings, before.timings, strict=True)
        return tuple(Timing(**{**vars(after), "before": given.cycles}) for after, given in pairs)


def describe_built(
    model: keras.Model | Network, hls_config: Mapping[str, Any], budget: Budget
) -> BuiltDesign:
    """Describe what a run hands out.

    Parameters
    ----------
    model, hls_config
        What it hands out.
    budget
        With the target that the design is built for, and the deadlines if there are any.
    """
    network = as_network(model)
    with warnings.catch_warnings():  # of what was said before the run
        warnings.simplefilter("ignore")
        config = open_configuration(hls_config, network, lenient=True)
        built, attributes = describe_as_built(network, config)
    kernels = built.kernel_arrays()
    estimate = estimate_layers(attributes, kernels, target=budget.target, budget=budget)
    calls = {call.name: call for layer in attributes.values() for call in layer.calls}
    layers = tuple(_describe_layer(each, calls.get(each.name), config) for each in estimate.layers)
    return BuiltDesign(estimate, layers, _describe_target(budget, config))


def _describe_layer(
    layer: LayerEstimate, call: LayerAttributes | None, config: Mapping[str, Any]
) -> BuiltLayer:
    stated = None if call is None else call.hls4ml
    return BuiltLayer(
        layer.name,
        layer.kind,
        spell_strategy(layer.strategy) if layer.strategy else "",
        layer.reuse_factor if layer.strategy else 0,
        _write(stated.weight_precision) if stated is not None and layer.strategy else "",
        _write_result(call, config),
        layer.latency.value,
        layer.interval.value,
    )


def _write_result(call: LayerAttributes | None, config: Mapping[str, Any]) -> str:
    if call is None:
        return ""
    return "auto" if leaves_result_open(config, call) else _write(call.result_precision)


def _write(precision: Any) -> str:
    if precision is None:
        return ""
    try:
        return write_precision(precision)
    except InvalidInputError:  # a format of a quantizer's own, such as one with an exponent
        return str(precision)


def _describe_target(budget: Budget, config: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    target = budget.target
    clock = f"{target.clock_ns:g} ns ({1000 / target.clock_ns:.4g} MHz)"
    named = (("board", budget.name), ("part", target.part), ("family", target.family))
    found = [pair for pair in named if pair[1]]
    backend = {**config.get("HLSConfig", {}), **config}.get("Backend") or DEFAULT_BACKEND
    found += [("clock", clock), ("backend", str(backend)), ("tool", target.tool)]
    if target.binding != "auto":
        found.append(("products", "in DSPs" if target.binding == "dsp" else "in LUTs"))
    return (*found, ("data", read_io_type(config)))
