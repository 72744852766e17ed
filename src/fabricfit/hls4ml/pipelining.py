"""How hls4ml pipelines a network: as a whole, with one initiation interval, or each layer by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.strategies import STRATEGIES, canonical_strategy
from fabricfit.errors import InvalidInputError
from fabricfit.hls4ml.backends import read_backend
from fabricfit.hls4ml.config import read_io_type, stated_strategy
from fabricfit.hls4ml.sections import find_key

__all__ = ["pipelined_interval", "state_interval"]

Stated = tuple[str, int]
"""A strategy and a reuse factor."""

_, _RESOURCE, _UNROLLED, _ = STRATEGIES


def pipelined_interval(
    config: Mapping[str, Any], attributes: Mapping[str, LayerAttributes]
) -> int | None:
    """Return the initiation interval that hls4ml states for a network as a whole; None where it states none.

    With io_parallel, ResourceUnrolled for a layer and Resource for none, it pipelines the whole network with
    the largest reuse factor of all that it builds: those of inputs and activations too, which have that of
    ``'Model'`` where no section of their own says otherwise.

    Parameters
    ----------
    config
        A configuration that is plain data already.
    attributes
        Layer -> attributes, with those of hls4ml.
    """
    inner = config.get("HLSConfig", config)
    if not read_backend({**inner, **config}).compiler.startswith(("Vitis", "Vivado")):
        return None
    model = inner.get("Model") or {}
    style = str(model.get("PipelineStyle") or "auto").lower()
    if style != "auto":
        interval = model.get("PipelineInterval")
        return int(interval) if style == "pipeline" and interval is not None else None
    calls = [call for layer in attributes.values() for call in layer.calls]
    if read_io_type(config) == "io_stream" or any(map(_is_divided, calls)):
        return None
    stated = [*_list_products(config, calls), *_list_others(config, calls)]
    strategies = {strategy for strategy, _ in stated}
    if _UNROLLED not in strategies or _RESOURCE in strategies:
        return None
    return max(factor for _, factor in stated)


def state_interval(
    config: dict[str, Any], attributes: Mapping[str, LayerAttributes], interval: int
) -> tuple[str, ...]:
    """State the interval of a network in its configuration, where hls4ml would pipeline it more slowly.

    Parameters
    ----------
    config, attributes
        As for :func:`pipelined_interval`; the configuration is changed.
    interval
        Cycles that the network's products need: their largest reuse factor.

    Returns
    -------
    tuple of str
        A remark where something is stated.
    """
    model = config.get("HLSConfig", config).get("Model")
    found = pipelined_interval(config, attributes)
    if not model or found is None or found <= interval:
        return ()
    model |= {"PipelineStyle": "pipeline", "PipelineInterval": interval}
    return (
        f"the network is to be pipelined with an interval of {interval} cycles, the largest reuse factor "
        f"of its products, not of {found}, which is stated for what has no kernel or for the network",
    )


def _is_divided(layer: LayerAttributes) -> bool:
    """Whether a convolution computes its positions one after the other, which makes hls4ml use dataflow."""
    hls = layer.hls4ml
    return hls is not None and layer.is_convolution and layer.positions > hls.parallelization_factor


def _list_products(config: Mapping[str, Any], calls: list[LayerAttributes]) -> Iterator[Stated]:
    for call in calls:
        if call.hls4ml is not None:
            yield stated_strategy(config, call), call.hls4ml.reuse_factor


def _list_others(config: Mapping[str, Any], calls: list[LayerAttributes]) -> Iterator[Stated]:
    """Yield what is stated for what has no kernel: inputs, other layers and split activations."""
    inner = config.get("HLSConfig", config)
    named, typed = inner.get("LayerName") or {}, inner.get("LayerType") or {}
    kinds = {call.hls4ml_name: call.layer_type.__name__ for call in calls if call.hls4ml is None}
    names = kinds | {str(name): "Input" for call in calls for name in call.input_layers}
    products = {call.hls4ml_name.lower() for call in calls if call.hls4ml is not None}
    names |= {name: "" for name in named if name.lower() not in products and name not in names}
    for name, kind in names.items():
        sections = [
            each[key]
            for each, wanted in ((named, name), (typed, kind))
            if (key := find_key(each, wanted)) is not None
        ]
        found = [section for section in (*sections, inner.get("Model")) if section]
        yield _find_strategy(found), _find_factor(found)


def _find_strategy(sections: list[Mapping[str, Any]]) -> str:
    for section in sections:
        if section.get("Strategy"):
            try:
                return canonical_strategy(section["Strategy"])
            except InvalidInputError:  # a softmax has others
                return str(section["Strategy"])
    return STRATEGIES[0]


def _find_factor(sections: list[Mapping[str, Any]]) -> int:
    return next((int(each["ReuseFactor"]) for each in sections if each.get("ReuseFactor")), 1)
