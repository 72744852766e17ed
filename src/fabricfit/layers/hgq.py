"""Quantized layers of HGQ2, whose weights have trained bit-widths of their own.

A pruned weight loses its bits with its value: with bits left it would grow again, and the effective bit
operations that HGQ2 counts (Sun et al., 2024, arXiv:2405.00645) would stay. Like QKeras', the layers are told
by the names of their classes, so that nothing here imports HGQ2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from fabricfit.description.precision import FixedPrecision
from fabricfit.layers.attention import attention_kernels
from fabricfit.layers.base import BitOperations, Kernel, LayerHandler, register_layer
from fabricfit.layers.conv import ConvHandler
from fabricfit.layers.dense import DenseHandler
from fabricfit.layers.einsum import EinsumDenseHandler
from fabricfit.layers.recurrent import recurrent_kernels
from fabricfit.layers.regularizers import Conv2DRegularizer

__all__ = ["HGQHandler"]

L = keras.layers
_FORMATS = {"FixedPointQuantizerKBI": ("_b",), "FixedPointQuantizerKIF": ("_i", "_f")}
"""Quantizers, and the trained variables that are zero where a number has no bits."""

_Reading = Callable[[Any], np.ndarray]
"""From a layer to the bits of the inputs that each of its weights meets, as the kernel or fewer axes."""


class HGQHandler(LayerHandler):
    """A layer of HGQ2, read as its counterpart in Keras is.

    Parameters
    ----------
    name
        The layer's class.
    plain
        Returns the kernels of the layer that it quantizes.
    reading
        Returns the bits that each weight meets; None where HGQ2 counts in another way.
    refusal
        Says why a layer cannot be optimized.
    fused
        What becomes of a kernel before it is quantized.
    """

    def __init__(
        self,
        name: str,
        plain: Callable[[Any], tuple[Kernel, ...]],
        reading: _Reading | None = None,
        refusal: Callable[[Any], str] = lambda layer: "",
        fused: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        self._name = name
        self._plain = plain
        self._reading = reading
        self._refusal = refusal
        self._fused = fused
        if name == "QConv2D":
            self.regularizer = Conv2DRegularizer

    def handles(self, layer_type: type) -> bool:
        """Tell whether this is the class of HGQ2."""
        return layer_type.__module__.split(".")[0] == "hgq" and layer_type.__name__ == self._name

    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
        """Return the kernels with their quantizers and bits."""
        return tuple(self._quantized(kernel) for kernel in self._plain(layer))

    def refusal(self, layer: Any) -> str:
        """Refuse number formats that are not built, and bits that cannot become zero."""
        for kernel in self._plain(layer):
            inner = _quantizer_of(kernel).quantizer
            if type(inner).__name__ not in (*_FORMATS, "DummyQuantizer"):
                return f"its kernel quantizer {type(inner).__name__} has no fixed point"
            if _quantizer_of(kernel).affine is not None:
                return "its kernel quantizer shifts its results (affine), so that it has no zero"
        return self._refusal(layer)

    def _quantized(self, kernel: Kernel) -> Kernel:
        owner, quantizer = kernel.owner, _quantizer_of(kernel)
        fused = self._fused
        counted = None
        if self._reading is not None and getattr(owner, "enable_ebops", False):
            counted = partial(_bit_operations, owner, self._reading)
        return replace(
            kernel,
            quantizer=quantizer if fused is None else lambda value: quantizer(fused(owner, value)),
            bias_quantizer=owner.bq if kernel.bias is not None else None,
            precision=_precision(quantizer.quantizer),
            bits=_bits(quantizer),
            bias_bits=_bits(owner.bq) if kernel.bias is not None else (),
            bit_operations=counted,
        )


def _quantizer_of(kernel: Kernel) -> Any:
    recurrent = kernel.regularizer == "recurrent_regularizer"
    return kernel.owner.rkq if recurrent else kernel.owner.kq


def _bits(quantizer: Any) -> tuple[keras.Variable, ...]:
    """Return the trained variables that say how many bits there are."""
    inner = quantizer.quantizer
    return tuple(getattr(inner, name) for name in _FORMATS.get(type(inner).__name__, ()))


def _precision(inner: Any) -> FixedPrecision | None:
    """Return the format that holds all numbers of a quantizer, which hls4ml gives the whole tensor."""
    if type(inner).__name__ not in _FORMATS:
        return None
    sign, integer, fractional = (ops.convert_to_numpy(part) for part in inner.kif)
    there = sign + integer + fractional > 0
    if not there.any():
        return FixedPrecision(1, 1)
    signed = int(sign[there].max())
    whole = int(integer[there].max()) + signed
    width = max(whole + int(fractional[there].max()), 1)
    return FixedPrecision(width, whole, bool(signed), "RND")


def _bit_operations(layer: Any, reading: _Reading) -> BitOperations:
    """Return what HGQ2 counts for a layer, taken apart into its weights and the rest."""
    kernel = tuple(layer.kernel.shape)
    bits = ops.convert_to_numpy(layer.kq.bits_(kernel))
    total = float(ops.convert_to_numpy(layer._compute_ebops((1, *_input_shape(layer)))))
    each = np.maximum(bits, 0) * np.broadcast_to(reading(layer), kernel)
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


def _met_by_dense(layer: Any) -> np.ndarray:
    bits = _bits_of_inputs(layer)
    met: np.ndarray = bits.reshape(-1, bits.shape[-1]).sum(axis=0)[:, None] * _share(layer)
    return met


def _met_by_einsum(layer: Any) -> np.ndarray:
    inputs, rest = layer.equation.replace(" ", "").split(",")
    letters = rest.split("->")[0]
    bits = _bits_of_inputs(layer)[None]
    spread = bits.ndim - len(inputs.replace("...", ""))
    spare = iter(c for c in "ABCDEFGHIJ" if c not in inputs + letters)
    inputs = inputs.replace("...", "".join(next(spare) for _ in range(spread)))
    common = "".join(letter for letter in letters if letter in inputs)
    sums = np.einsum(f"{inputs}->{common}", bits)
    shape = [bits.shape[inputs.index(c)] if c in inputs else 1 for c in letters]
    met: np.ndarray = sums.reshape(shape) * _share(layer)
    return met


def _met_by_convolution(layer: Any) -> np.ndarray:
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


def _normalized(variance: Any, gamma: Any, epsilon: float) -> Any:
    return (1.0 if gamma is None else gamma) / ops.sqrt(variance + epsilon)


def _fused_dense(layer: Any, kernel: Any) -> Any:
    gamma = layer.bn_gamma if layer.scale else None
    return _normalized(layer.moving_variance, gamma, layer.epsilon)[:, None] * kernel


def _fused_einsum(layer: Any, kernel: Any) -> Any:
    gamma = layer.bn_gamma if layer.scale else None
    scale = _normalized(layer.moving_variance, gamma, keras.config.epsilon())
    return ops.einsum(layer.fused_kernel_equation, kernel, scale)


def _channels_last(layer: Any) -> str:
    if layer.data_format != "channels_last":
        return f"its data_format is {layer.data_format!r}, which hls4ml does not build"
    return ""


def _register(name: str, plain: LayerHandler, reading: _Reading, **options: Any) -> None:
    def refusal(layer: Any) -> str:
        return plain.refusal(layer) or (_channels_last(layer) if "Conv" in name else "")

    register_layer(HGQHandler(name, plain.kernels, reading, refusal, **options))


_register("QDense", DenseHandler(), _met_by_dense)
_register("QBatchNormDense", DenseHandler(), _met_by_dense, fused=_fused_dense)
_register("QEinsumDense", EinsumDenseHandler(), _met_by_einsum)
_register("QEinsumDenseBatchnorm", EinsumDenseHandler(), _met_by_einsum, fused=_fused_einsum)
for _rank in (1, 2, 3):
    _register(f"QConv{_rank}D", ConvHandler(getattr(L, f"Conv{_rank}D")), _met_by_convolution)
register_layer(HGQHandler("QSimpleRNN", partial(recurrent_kernels, gates=1)))
register_layer(HGQHandler("QGRU", partial(recurrent_kernels, gates=3)))
register_layer(HGQHandler("QMultiHeadAttention", attention_kernels))
