"""What of a model hls4ml would build as something else, or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras

from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.strategies import canonical_strategy
from fabricfit.errors import InvalidInputError, warn_caller
from fabricfit.hls4ml.backends import read_backend
from fabricfit.hls4ml.config import leaves_result_open, read_io_type, stated_strategy
from fabricfit.hls4ml.findings import BuildWarning, Finding
from fabricfit.hls4ml.limits import find_limits
from fabricfit.hls4ml.site import Site
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
        hls = None if described is None else described.hls4ml
        before = _find_before(graph, call)
        kernel = network.kernels.get(name)
        yield Site(
            call.layer,
            name,
            tuple(tensor.shape[1:] for tensor in call.inputs),
            tuple(tensor.shape[1:] for tensor in call.outputs),
            io_type,
            backend,
            "" if described is None or hls is None else _find_strategy(config, described),
            1 if hls is None else hls.reuse_factor,
            0 if kernel is None else int(kernel.axes.n_rows * kernel.axes.n_columns),
            before,
            _leaves_open(before, network, attributes, config),
            any(tensor.masked for tensor in call.inputs),
            not call.plain,
        )
        if isinstance(call.layer, keras.Model) and call.name in graph.nested:
            nested = graph.nested[call.name]
            yield from _list_sites(nested, network, attributes, config, io_type, backend)


def _find_strategy(config: Mapping[str, Any], described: LayerAttributes) -> str:
    """Return the strategy that is stated, by the attributes where the configuration says nothing of it."""
    if any(config.get(section) for section in ("HLSConfig", "Model", "LayerName", "LayerType")):
        return stated_strategy(config, described)
    assert described.hls4ml is not None
    return canonical_strategy(described.hls4ml.strategy)


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
