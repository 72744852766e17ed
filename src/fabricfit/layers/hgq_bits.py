"""Bit widths that HGQ2 trains with the weights, and the effective bit operations that it counts by them.

Sun et al., 2024, arXiv:2405.00645.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from fabricfit.description.precision import FixedPrecision
from fabricfit.layers.einsum import read_equation
from fabricfit.layers.kernels import BitOperations

__all__ = [
    "FORMATS",
    "InputBits",
    "bit_operations",
    "bits_met_by_convolution",
    "bits_met_by_dense",
    "bits_met_by_einsum",
    "precision_of",
    "trained_bits",
]

FORMATS = {"FixedPointQuantizerKBI": ("_b",), "FixedPointQuantizerKIF": ("_i", "_f")}
"""Quantizers, and the trained variables that are zero where a number has no bits."""

InputBits = Callable[[Any], np.ndarray]
"""From a layer to the bits of the inputs that each of its weights meets, as the kernel or fewer axes."""


def trained_bits(quantizer: Any) -> tuple[keras.Variable, ...]:
    """Return a quantizer's trained variables that are bit widths; none where they stay as they are."""
    inner = quantizer.quantizer
    if not inner.trainable:
        return ()
    return tuple(getattr(inner, name) for name in FORMATS.get(type(inner).__name__, ()))


def precision_of(inner: Any) -> FixedPrecision | None:
    """Return the format that holds all numbers of a quantizer, which hls4ml uses for the whole tensor."""
    if type(inner).__name__ not in FORMATS:
        return None
    sign, integer, fractional = (ops.convert_to_numpy(part) for part in inner.kif)
    there = sign + integer + fractional > 0
    if not there.any():
        return FixedPrecision(1, 1)
    signed = int(sign[there].max())
    whole = int(integer[there].max()) + signed
    width = max(whole + int(fractional[there].max()), 1)
    return FixedPrecision(width, whole, bool(signed), "RND")


def bit_operations(layer: Any, met_bits: InputBits) -> BitOperations:
    """Return the bit operations that HGQ2 counts for a layer: of each weight, and of the rest."""
    kernel = tuple(layer.kernel.shape)
    bits = ops.convert_to_numpy(layer.kq.bits_(kernel))
    total = float(ops.convert_to_numpy(layer._compute_ebops((1, *_input_shape(layer)))))
    each = np.maximum(bits, 0) * np.broadcast_to(met_bits(layer), kernel)
    return BitOperations(each, max(total - float(each.sum()), 0.0))


def _input_shape(layer: Any) -> tuple[int, ...]:
    shape = layer.get_build_config()["input_shape"]
    return tuple(int(length or 1) for length in shape[1:])


def _bits_of_inputs(layer: Any) -> np.ndarray:
    """Return the bits of each number of one sample, in its shape."""
    found: np.ndarray = ops.convert_to_numpy(layer.iq.bits_((1, *_input_shape(layer))))
    return found[0]


def _share(layer: Any) -> float:
    """Return which part of the positions is computed at the same time."""
    return float(layer.parallelization_factor / layer.n_parallel)


def bits_met_by_dense(layer: Any) -> np.ndarray:
    """Return the bits of the inputs that each row of a dense kernel meets."""
    bits = _bits_of_inputs(layer)
    met: np.ndarray = bits.reshape(-1, bits.shape[-1]).sum(axis=0)[:, None] * _share(layer)
    return met


def bits_met_by_einsum(layer: Any) -> np.ndarray:
    """Return the bits of the inputs that each weight of an einsum meets."""
    einsum = read_equation(layer.equation)
    inputs, letters = einsum.inputs, einsum.kernel
    bits = _bits_of_inputs(layer)[None]
    spread = bits.ndim - len(inputs.replace("...", ""))
    spare = iter(c for c in "ABCDEFGHIJ" if c not in inputs + letters)
    inputs = inputs.replace("...", "".join(next(spare) for _ in range(spread)))
    common = "".join(letter for letter in letters if letter in inputs)
    sums = np.einsum(f"{inputs}->{common}", bits)
    shape = [bits.shape[inputs.index(c)] if c in inputs else 1 for c in letters]
    met: np.ndarray = sums.reshape(shape) * _share(layer)
    return met


def bits_met_by_convolution(layer: Any) -> np.ndarray:
    """Sum the bits of the inputs over all positions of the window, for each place in it."""
    bits = _bits_of_inputs(layer)
    window = tuple(layer.kernel.shape[:-2])
    padding = layer.padding
    if padding == "causal":
        before = layer.dilation_rate[0] * (window[0] - 1)
        bits, padding = np.pad(bits, ((before, 0), (0, 0))), "valid"
    places = math.prod(window)
    sums = ops.conv(
        np.moveaxis(bits, -1, 0)[..., None].astype("float32"),
        np.eye(places, dtype="float32").reshape(*window, 1, places),
        strides=layer.strides,
        padding=padding,
        dilation_rate=layer.dilation_rate,
        data_format="channels_last",
    )
    by_channel = ops.convert_to_numpy(sums).reshape(bits.shape[-1], -1, places).sum(axis=1)
    met: np.ndarray = by_channel.T.reshape(*window, bits.shape[-1], 1) * _share(layer)
    return met
