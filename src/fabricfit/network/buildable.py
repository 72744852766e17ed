"""What of a model hls4ml would build as something else, or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras

from fabricfit.description.attributes import LayerAttributes
from fabricfit.errors import InvalidInputError, warn_caller
from fabricfit.hls4ml.backends import read_backend
from fabricfit.hls4ml.config import leaves_result_open, read_io_type, stated_strategy
from fabricfit.hls4ml.findings import BuildWarning, Finding
from fabricfit.hls4ml.limits import find_limits
from fabricfit.hls4ml.reuse_factor import effective_strategy
from fabricfit.hls4ml.sections import own_strategy
from fabricfit.hls4ml.site import Site
from fabricfit.hls4ml.vocabulary import KEEPS_NAME
from fabricfit.layers.calls import Call
from fabricfit.network.graph import Graph
from fabricfit.network.reader import Network

__all__ = ["list_limits", "refuse_limits", "warn_of_limits"]


def list_limits(
    network: Network,
    attributes: Mapping[str, LayerAttributes],
    config: Mapping[str, Any],
    *,
    io_type: str | None = None,
    backend: str | None = None,
) -> tuple[Finding, ...]:
    """Return what hls4ml is known to build otherwise than a model says, or not to build.

    Parameters
    ----------
    network
        What was read of the model.
    attributes
        Layer -> attributes, read from it with the configuration.
    config
        hls4ml's configuration.
    io_type
        How data are passed, if it is not what the configuration says.
    backend
        hls4ml's backend, if it is not what the configuration says.
    """
    passed = read_io_type(config) if io_type is None else io_type
    chosen = read_backend(config).name if backend is None else backend
    sites = _list_sites(network.graph, network, attributes, config, passed, chosen)
    return find_limits(sites)


def refuse_limits(findings: Sequence[Finding], purpose: str) -> None:
    """Raise an error where hls4ml would not build a model, or build another one.

    Parameters
    ----------
    findings
        What :func:`list_limits` found.
    purpose
        What it is refused for, as the subject of a sentence.

    Raises
    ------
    InvalidInputError
        A finding is more than a warning.
    """
    refused = [finding for finding in findings if finding.limit.is_wrong]
    if refused:
        listed = "\n".join(f"- {finding}" for finding in refused)
        raise InvalidInputError(
            f"{purpose} needs a model that hls4ml builds as it is. This one it does not:\n{listed}"
        )


def warn_of_limits(findings: Sequence[Finding]) -> None:
    """Warn of what :func:`list_limits` found, at the line of the caller's own."""
    for finding in findings:
        warn_caller(str(finding), BuildWarning)


def _list_sites(
    graph: Graph,
    network: Network,
    attributes: Mapping[str, LayerAttributes],
    config: Mapping[str, Any],
    io_type: str,
    backend: str,
) -> Iterator[Site]:
    for call in graph.calls:
        name = network.names.get(id(call.layer), call.name)
        described = attributes.get(name)
        multiplied = _find_product(described, attributes)
        hls = None if multiplied is None else multiplied.hls4ml
        before = _find_before(graph, call)
        kernel = network.kernels.get(name)
        yield Site(
            call.layer,
            name,
            tuple(tensor.shape[1:] for tensor in call.inputs),
            tuple(tensor.shape[1:] for tensor in call.outputs),
            io_type,
            backend,
            "" if multiplied is None else _find_strategy(config, multiplied, io_type),
            1 if hls is None else hls.reuse_factor,
            () if described is None else _list_own_strategies(call.layer, config, described),
            0 if kernel is None else int(kernel.axes.n_rows * kernel.axes.n_columns),
            before,
            _leaves_open(before, network, attributes, config),
            any(tensor.masked for tensor in call.inputs),
            not call.plain,
            tuple(_list_reuse_factors(described, attributes)),
        )
        if isinstance(call.layer, keras.Model) and call.name in graph.nested:
            nested = graph.nested[call.name]
            yield from _list_sites(nested, network, attributes, config, io_type, backend)


def _find_product(
    described: LayerAttributes | None, attributes: Mapping[str, LayerAttributes]
) -> LayerAttributes | None:
    """Return the attributes of a layer's kernel, the first of several, where it is known how it is built."""
    if described is not None and described.kernels:
        described = attributes.get(described.kernels[0])
    return None if described is None or described.hls4ml is None else described


def _list_reuse_factors(
    described: LayerAttributes | None, attributes: Mapping[str, LayerAttributes]
) -> Iterator[int]:
    kernels = () if described is None else described.kernels or (described.name,)
    for kernel in kernels:
        own = attributes.get(kernel)
        if own is not None and own.hls4ml is not None:
            yield own.hls4ml.reuse_factor


def _find_strategy(config: Mapping[str, Any], described: LayerAttributes, io_type: str) -> str:
    """Return the strategy that is built where a configuration, or without one the attributes, ask for it."""
    assert described.hls4ml is not None
    strategy, reuse_factor = described.hls4ml.strategy, described.hls4ml.reuse_factor
    if any(config.get(section) for section in ("HLSConfig", "Model", "LayerName", "LayerType")):
        strategy = stated_strategy(config, described)
    convolution, instead = described.is_convolution, described.built_instead
    return effective_strategy(strategy, reuse_factor, io_type, convolution, instead)


def _list_own_strategies(
    layer: Any, config: Mapping[str, Any], described: LayerAttributes
) -> tuple[str, ...]:
    """Return the strategies that sections of their own state for what of a layer has no kernel."""
    activation = getattr(getattr(layer, "activation", None), "__name__", "linear")
    kind = described.layer_type.__name__
    named: list[tuple[str, str]] = []
    product = described.multiplies or described.kernels
    if not product and (kind, activation) != ("Activation", "linear"):
        named.append((described.hls4ml_name, kind if kind in KEEPS_NAME else ""))
    if activation != "linear" and kind != "Activation":
        split = "Softmax" if activation == "softmax" else "Activation"
        named.append((f"{described.hls4ml_name}_{activation}", split))
    found = (own_strategy(config, *each) for each in named)
    return tuple(strategy for strategy in found if strategy)


def _find_before(graph: Graph, call: Call) -> Any:
    if len(call.inputs) != 1 or call.inputs[0].index in graph.outputs:
        return None
    index = call.inputs[0].index
    return graph.producer(index).layer if len(graph.receivers(index)) == 1 else None


def _leaves_open(
    layer: Any,
    network: Network,
    attributes: Mapping[str, LayerAttributes],
    config: Mapping[str, Any],
) -> bool:
    described = attributes.get(network.names.get(id(layer), ""))
    return described is not None and leaves_result_open(config, described)
