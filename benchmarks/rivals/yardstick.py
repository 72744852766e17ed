"""One yardstick for quantized networks of dense layers, whoever trained them: bit for bit in NumPy.

A network is a list of layers; each quantizes what it receives, multiplies and adds. Inputs arrive in their
number formats, and the largest output counts, so that neither costs anything. The cost is that of the adder
graph of the whole network (``alkaid``), about a LUT for each bit of each adder. The half that rounding adds
is part of the bias before, for everybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "Layer",
    "Network",
    "accuracy",
    "count_layer",
    "count_luts",
    "load_networks",
    "save_networks",
    "to_exact",
]


@dataclass(frozen=True)
class Layer:
    """A dense layer behind the quantizer of its input.

    Parameters
    ----------
    kernel
        Exact weights, shape ``(n_in, n_out)``.
    bias
        Exact biases, shape ``(n_out,)``.
    signed, integer, fractional
        Of each input: whether there is a sign, bits before the point without it, bits after it.
    saturates
        Whether numbers beyond the format saturate; else they wrap.
    rounds
        Whether numbers are rounded half up; else what is below the last bit is cut off.
    """

    kernel: np.ndarray
    bias: np.ndarray
    signed: np.ndarray
    integer: np.ndarray
    fractional: np.ndarray
    saturates: bool
    rounds: bool = True


Network = list[Layer]
_FIELDS = ("kernel", "bias", "signed", "integer", "fractional")


def to_exact(tensor: Any) -> np.ndarray:
    """Return a tensor of Keras as numbers of double precision, which hold it exactly."""
    import keras

    return np.asarray(keras.ops.convert_to_numpy(tensor), np.float64)


def compute(network: Network, X: np.ndarray) -> np.ndarray:
    """Return the outputs of a network, shape ``(samples, n_out)``; between layers there are rectifiers."""
    x = np.asarray(X, np.float64)
    for number, layer in enumerate(network):
        x = np.maximum(x, 0) if number else x
        x = _quantize(x, layer) @ layer.kernel + layer.bias
    return x


def accuracy(network: Network, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return for each sample whether its largest output is its class."""
    return compute(network, X).argmax(1) == y


def count_luts(network: Network) -> float:
    """Return the cost of the adder graph of a whole network."""
    from alkaid.trace import trace

    folded = _fold_rounding(network)
    x = inputs = _receive(folded[0])
    for number, layer in enumerate(folded):
        x = _multiply(_quantize_traced(x.relu(), layer) if number else x, layer)
    return float(trace(inputs, x).cost)


def count_layer(layer: Layer, behind: Layer | None, *, rectifies: bool) -> float:
    """Return the cost of the adder graph of a layer by itself, with the quantizer that follows it.

    Parameters
    ----------
    layer
        The layer; for a convolution, the matrix that a position is multiplied by.
    behind
        Has the quantizer, of one number for each result; None where there is none.
    rectifies
        Whether there is a rectifier in front of it.
    """
    from alkaid.trace import trace

    if behind is not None:
        layer, behind = _fold_rounding([layer, behind])
    inputs = _receive(layer)
    x = _multiply(inputs, layer)
    x = x.relu() if rectifies else x
    return float(trace(inputs, x if behind is None else _quantize_traced(x, behind)).cost)


def _receive(layer: Layer) -> Any:
    """Return the inputs of a layer as they arrive, in their number formats."""
    from alkaid.trace import FVArray

    dead = _width(layer) <= 0
    return FVArray.from_kif(
        np.where(dead, 0, layer.signed).astype(int),
        np.where(dead, 0, layer.integer).astype(int),
        np.where(dead, 1, layer.fractional).astype(int),
    )


def _quantize_traced(x: Any, layer: Layer) -> Any:
    return x.quantize(
        layer.signed.astype(int),
        layer.integer.astype(int),
        layer.fractional.astype(int),
        overflow_mode="SAT" if layer.saturates else "WRAP",
        round_mode="RND" if layer.rounds else "TRN",
    )


def _multiply(x: Any, layer: Layer) -> Any:
    kernel = np.where((_width(layer) <= 0)[:, None], 0.0, layer.kernel)
    return x @ kernel + layer.bias


def save_networks(path: Path, networks: Sequence[Network]) -> None:
    """Write networks to an ``.npz`` file."""
    arrays = {}
    for number, network in enumerate(networks):
        for place, layer in enumerate(network):
            for name in _FIELDS:
                arrays[f"{number:04d}.{place}.{name}"] = getattr(layer, name)
            arrays[f"{number:04d}.{place}.modes"] = np.array([layer.saturates, layer.rounds])
    np.savez(path, **arrays)


def load_networks(path: Path) -> list[Network]:
    """Read what :func:`save_networks` wrote."""
    with np.load(path) as file:
        found: dict[str, dict[int, Layer]] = {}
        for number, place in sorted({tuple(key.split(".")[:2]) for key in file.files}):
            parts = [file[f"{number}.{place}.{name}"] for name in _FIELDS]
            saturates, rounds = file[f"{number}.{place}.modes"]
            layer = Layer(*parts, bool(saturates), bool(rounds))
            found.setdefault(number, {})[int(place)] = layer
    return [[layers[place] for place in sorted(layers)] for layers in found.values()]


def _width(layer: Layer) -> np.ndarray:
    width: np.ndarray = layer.signed + layer.integer + layer.fractional
    return width


def _quantize(x: np.ndarray, layer: Layer) -> np.ndarray:
    scaled = np.floor(np.ldexp(x, layer.fractional.astype(int)) + 0.5 * layer.rounds)
    top = np.exp2(layer.integer + layer.fractional)
    low, high = -layer.signed * top, top - 1
    fitted = (
        np.clip(scaled, low, high) if layer.saturates else (scaled - low) % (high - low + 1) + low
    )
    return np.where(_width(layer) <= 0, 0.0, np.ldexp(fitted, -layer.fractional.astype(int)))


def _fold_rounding(network: Network) -> Network:
    """Return a network that computes the same, with the half that rounding adds in the biases before."""
    folded = [network[0]]
    for layer in network[1:]:
        before = folded[-1]
        if layer.rounds:
            half = np.exp2(-layer.fractional.astype(float) - 1)
            folded[-1] = replace(before, bias=before.bias + half)
            layer = replace(layer, rounds=False)
        folded.append(layer)
    return folded
