"""The FIFOs that hls4ml puts between the layers of a stream."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.elementwise import ElementwiseWork

__all__ = ["find_fifos", "shorten_fifos"]

_DEFAULT_BITS = 16

_CHAIN_WORDS = 2
_LINES_HELD = 4


def find_fifos(described: Mapping[str, LayerAttributes]) -> None:
    """Set the FIFOs of every layer of a model with ``io_stream``.

    hls4ml builds a layer and its activation as two nodes, and nothing of what only passes numbers on. The
    results of each node but the last go through a FIFO that holds all pixels of a sample; where several
    nodes read them, a clone follows with a FIFO for each.

    Parameters
    ----------
    described
        Layer -> attributes, in the order of the model; their ``fifos`` are set.
    """
    nodes = {name: layer for name, layer in described.items() if not layer.kernel_of}
    readers = _count_readers(nodes)
    for name, layer in nodes.items():
        each = -(
            -readers.get(name, 0) // len(layer.calls)
        )  # of a layer of several calls, each is read alike
        for call in layer.calls:
            call.fifos = tuple(_list_fifos(call, layer, described, each))


def shorten_fifos(described: Mapping[str, LayerAttributes]) -> dict[str, LayerAttributes]:
    """Return layers with FIFOs as short as hls4ml's optimization of their depths leaves them.

    Along a chain, each pixel is read as soon as it is there: two words are enough. Where a stream was
    cloned, one branch waits for the others, which hold back some lines of pixels; how many is known after
    a simulation only, and is counted as four lines of the map, two for each of two convolutions.

    Parameters
    ----------
    described
        Layer -> attributes, as :func:`find_fifos` left them.
    """
    return {
        name: replace(
            _shorten(layer), further_calls=tuple(_shorten(call) for call in layer.further_calls)
        )
        for name, layer in described.items()
    }


def _shorten(call: LayerAttributes) -> LayerAttributes:
    if not call.fifos:
        return call
    fifos = [(min(_CHAIN_WORDS, words), bits) for words, bits in call.fifos]
    clones = len(fifos) - 1 - (call.hls4ml is not None and len(fifos) > _CHAIN_WORDS)
    if clones > 1:
        line = next((int(n) for n in call.output_shape[-2:-1] if n), 1)
        words, bits = call.fifos[-1]
        fifos[-1] = (min(_LINES_HELD * line, words), bits)
    return replace(call, fifos=tuple(fifos))


def _is_node(layer: LayerAttributes) -> bool:
    """Whether hls4ml builds something of a layer."""
    works = layer.elementwise is not ElementwiseWork.FREE
    return works or bool(layer.weight_shape or layer.kernels or layer.matrices)


def _count_readers(nodes: Mapping[str, LayerAttributes]) -> dict[str, int]:
    """Count the nodes that read the results of each layer, through what only passes them on."""
    counts: dict[str, int] = {}
    for layer in reversed(tuple(nodes.values())):
        reading = 1 if _is_node(layer) else counts.get(layer.name, 0)
        for call in layer.calls:
            for name in call.inbound_layers:
                counts[name] = counts.get(name, 0) + reading
    return counts


def _list_fifos(
    call: LayerAttributes,
    layer: LayerAttributes,
    described: Mapping[str, LayerAttributes],
    readers: int,
) -> Iterator[tuple[int, int]]:
    if not _is_node(layer) or not call.output_shape:
        return
    shape = [int(n or 1) for n in call.output_shape]
    depth, channels = math.prod(shape[:-1]), shape[-1]
    kernel = call if call.hls4ml is not None else None
    if layer.kernels:
        kernel = described[layer.kernels[-1]]
    result = call.result_precision
    result_bits = result.width if result is not None else _DEFAULT_BITS
    if kernel is not None and call.elementwise is not ElementwiseWork.FREE:
        sums = kernel.hls4ml.output_precision.width if kernel.hls4ml else _DEFAULT_BITS
        yield depth, channels * sums
    if readers:
        yield from [(depth, channels * result_bits)] * (1 if readers == 1 else readers + 1)
