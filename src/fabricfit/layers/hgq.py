# ruff: noqa: D102 - the methods are documented where LayerFamily and UnitFlow declare them
"""Quantized layers of HGQ2, whose weights have trained bit widths of their own.

A pruned weight loses its bits with its value: with bits left it would grow again, and the effective bit
operations that HGQ2 counts would stay. Like those of QKeras, the layers are recognized by the names of their
classes, so that nothing here imports HGQ2.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from fabricfit.errors import InvalidInputError
from fabricfit.layers.attention import AttentionFamily
from fabricfit.layers.calls import Call
from fabricfit.layers.conv import Conv2DFamily, ConvFamily
from fabricfit.layers.dense import DenseFamily
from fabricfit.layers.einsum import EinsumFamily
from fabricfit.layers.family import LayerFamily, register_layer
from fabricfit.layers.hgq_bits import (
    FORMATS,
    InputBits,
    bit_operations,
    bits_met_by_convolution,
    bits_met_by_dense,
    bits_met_by_einsum,
    precision_of,
    trained_bits,
)
from fabricfit.layers.kernels import Kernel
from fabricfit.layers.plain_layers import PlainLayer, make_alike
from fabricfit.layers.quantized import (
    LayerView,
    QuantizedFamily,
    RoundingFamily,
    namesake,
    without_constants,
)
from fabricfit.layers.recurrent import RecurrentFamily
from fabricfit.layers.units import Cut, Replacement, to_array

__all__ = [
    "HGQFamily",
    "HGQUnitsFamily",
    "QAverageFamily",
    "QFunctionFamily",
    "QNormalizationFamily",
    "QRoundingFamily",
    "QSoftmaxFamily",
    "QuantizerFamily",
    "is_quantizer",
    "refuse_affine",
]


class HGQFamily(QuantizedFamily):
    """Layers of HGQ2, read as their counterparts in Keras are; their units stay.

    Parameters
    ----------
    handles
        The layer types.
    plain
        The family of the layers that they quantize.
    met_bits
        Returns the bits that each weight meets; None where HGQ2 counts in another way.
    fused
        From a layer and its kernel to the kernel that is quantized, where a normalization is fused into it.
    """

    passes_units = False

    def __init__(
        self,
        handles: tuple[type | str, ...],
        plain: LayerFamily,
        met_bits: InputBits | None = None,
        fused: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        super().__init__(handles, plain)
        self._met_bits = met_bits
        self._fused = fused

    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
        return tuple(self._with_bits(kernel) for kernel in self.plain.kernels(layer))

    def refusal(self, layer: Any) -> str:
        """Refuse number formats that are not built, and bits that cannot become zero."""
        for kernel in self.plain.kernels(layer):
            inner = _quantizer_of(kernel).quantizer
            if type(inner).__name__ not in (*FORMATS, "DummyQuantizer"):
                return f"its kernel quantizer {type(inner).__name__} has no fixed point"
            if _quantizer_of(kernel).affine is not None:
                return "its kernel quantizer shifts its results (affine), so that it has no zero"
        if reason := self.plain.refusal(layer):
            return reason
        if getattr(layer, "data_format", "channels_last") != "channels_last":
            return f"its data_format is {layer.data_format!r}, which hls4ml does not build"
        return ""

    def plain_layers(self, layer: Any) -> tuple[PlainLayer, ...] | None:
        if isinstance(self.plain, RecurrentFamily):
            raise InvalidInputError("its activations saturate by the formats of its quantizers")
        if isinstance(self.plain, AttentionFamily):
            raise InvalidInputError("fabricfit does not read the layers inside it")
        made = PlainLayer(make_alike(layer, self._find_kind(layer)), self._latent_weights(layer))
        return _with_rectifiers(layer, made)

    def _find_kind(self, layer: Any) -> Any:
        """Return the class of Keras: that of the plain family, whichever name the layer has."""
        (single, *others) = self.plain.handles
        return namesake(layer) if others else single

    def _latent_weights(self, layer: Any) -> list[np.ndarray]:
        """Return the kernel and the bias as floats, with the normalization that is fused into them."""
        if self._fused is None:
            return [to_array(each) for each in (layer.kernel, layer.bias) if each is not None]
        return [to_array(each) for each in _fuse_without_quantizers(layer)]

    def quantized(self, call: Call) -> Call:
        layer = call.layer
        bias = layer.qbias if layer.bias is not None else None
        return replace(call, layer=LayerView(layer, {"kernel": layer.qkernel, "bias": bias}))

    def _with_bits(self, kernel: Kernel) -> Kernel:
        owner, quantizer = kernel.owner, _quantizer_of(kernel)
        fused = self._fused
        counted = None
        if self._met_bits is not None and getattr(owner, "enable_ebops", False):
            counted = partial(bit_operations, owner, self._met_bits)
        return replace(
            kernel,
            quantizer=quantizer if fused is None else lambda value: quantizer(fused(owner, value)),
            bias_quantizer=owner.bq if kernel.bias is not None else None,
            precision=precision_of(quantizer.quantizer),
            bits=trained_bits(quantizer),
            bias_bits=trained_bits(owner.bq) if kernel.bias is not None else (),
            bit_operations=counted,
        )


class HGQUnitsFamily(HGQFamily):
    """Layers of HGQ2 whose units can be removed: the bits of a number are removed with it."""

    passes_units = True

    def obstacle(self, call: Call) -> str | None:
        layer = call.layer
        if getattr(layer, "groups", 1) != 1:
            return f"{call.name!r} is a convolution in {layer.groups} groups"
        if getattr(layer, "data_format", None) not in (None, "channels_last"):
            return f"{call.name!r} has data_format={layer.data_format!r}"
        return self.plain.obstacle(call) if isinstance(self.plain, EinsumFamily) else None

    def replacement(self, call: Call, cut: Cut) -> Replacement:
        layer, cut = call.layer, without_constants(cut)
        own = [to_array(v) for v in (layer.kernel, layer.bias) if v is not None]

        def cut_out(weights: list[np.ndarray]) -> Replacement:
            view = LayerView(layer, {"get_weights": lambda: weights})
            return self.plain.replacement(replace(call, layer=view), cut)

        places = {id(variable): place for place, variable in enumerate((layer.kernel, layer.bias))}
        for place, quantizer in enumerate((layer.kq, layer.bq)):
            if quantizer is not None:
                places |= {id(variable): place for variable in quantizer.weights}
        channels = {
            id(variable): kept
            for name, kept in (("_iq", cut.kept_inputs[0]), ("_oq", cut.kept_output))
            if (quantizer := getattr(layer, name, None)) is not None
            for variable in quantizer.weights
        }
        made = []
        for variable in layer.weights:
            value = to_array(variable)
            place = places.get(id(variable), -1)
            if place >= 0 and value.ndim == own[place].ndim:
                whole = list(own)
                whole[place] = np.broadcast_to(value, own[place].shape)
                part = cut_out(whole).weights[place]
                # One number for a whole axis stays one.
                part = part[tuple(slice(0, 1) if n == 1 else slice(None) for n in value.shape)]
            elif (kept := channels.get(id(variable))) is not None and value.ndim:
                part = value[..., kept] if value.shape[-1] == kept.size else value
            else:
                part = value
            made.append(part.astype(value.dtype))
        return Replacement(cut_out(own).config, made)


class QRoundingFamily(RoundingFamily):
    """Layers that round what they receive and return, and are else as their namesakes in Keras."""

    def plain_layers(self, layer: Any) -> tuple[PlainLayer, ...] | None:
        return _with_rectifiers(layer, self.plain_layer(layer))

    def plain_layer(self, layer: Any) -> PlainLayer:
        """Return the layer of Keras."""
        return PlainLayer(make_alike(layer, namesake(layer)))


class QuantizerFamily(QRoundingFamily):
    """Quantizers that stand by themselves: nothing stays of them, or a rectifier."""

    def plain_layers(self, layer: Any) -> tuple[PlainLayer, ...] | None:
        refuse_affine(layer)
        return _find_rectifier(layer, layer.name)


class QNormalizationFamily(QRoundingFamily):
    """Batch normalization. Where it is not centered, HGQ2 adds ones."""

    def plain_layer(self, layer: Any) -> PlainLayer:
        mean = to_array(layer.moving_mean)
        weights = [
            *([to_array(layer.bn_gamma)] if layer.scale else []),
            to_array(layer.bn_beta) if layer.center else np.ones_like(mean),
            mean,
            to_array(layer.moving_variance),
        ]
        return PlainLayer(make_alike(layer, namesake(layer), center=True), weights)


class QFunctionFamily(QRoundingFamily):
    """Functions of a number, looked up in a table."""

    def plain_layer(self, layer: Any) -> PlainLayer:
        return PlainLayer(make_alike(layer, keras.layers.Activation))


class QSoftmaxFamily(QRoundingFamily):
    """Softmax, of two tables."""

    def plain_layer(self, layer: Any) -> PlainLayer:
        if layer.input_scaler != 1:
            raise InvalidInputError(f"it scales its input (input_scaler={layer.input_scaler})")
        axes = list(layer.axes)
        made = make_alike(layer, keras.layers.Softmax, axis=axes if axes[1:] else axes[0])
        return PlainLayer(made)


class QAverageFamily(QRoundingFamily):
    """Sums divided by a power of two, which are averages of so many."""

    def plain_layer(self, layer: Any) -> PlainLayer:
        count = len(keras.tree.flatten(layer.input))
        if layer._scale * count != 1:
            raise InvalidInputError(f"it divides {count} numbers by {1 / layer._scale:g}")
        return PlainLayer(make_alike(layer, keras.layers.Average))


def refuse_affine(layer: Any) -> None:
    """Refuse quantizers of a layer that scale and shift what they have rounded.

    Raises
    ------
    InvalidInputError
        One does.
    """
    for each in (layer, *_list_inner(layer)):
        if getattr(each, "affine", None) is not None:
            raise InvalidInputError(
                f"its quantizer {each.name!r} scales and shifts what it rounds (affine={each.affine})"
            )


def _list_inner(layer: Any) -> Iterator[Any]:
    """Yield the layers in a layer, quantizers and tables, and what is in them."""
    for value in vars(layer).values():
        for each in value if isinstance(value, list | tuple) else [value]:
            if isinstance(each, keras.layers.Layer):
                yield each
                yield from _list_inner(each)


def _with_rectifiers(layer: Any, made: PlainLayer) -> tuple[PlainLayer, ...]:
    """Return a plain layer with what the formats of its input and its results cut off."""
    refuse_affine(layer)
    before, behind = (
        _find_rectifier(getattr(layer, f"_{each}", None), f"{layer.name}_{each}")
        for each in ("iq", "oq")
    )
    return (*before, made, *behind)


def _find_rectifier(quantizer: Any, name: str) -> tuple[PlainLayer, ...]:
    """Return the rectifier that a quantizer is whose format saturates and has no sign."""
    inner = getattr(quantizer, "quantizer", None)
    saturates = getattr(inner, "overflow_mode", "").startswith("SAT")
    if inner is None or not saturates or to_array(inner.k).any():
        return ()
    return (PlainLayer(keras.layers.Activation("relu", name=name), rectifies=True),)


def is_quantizer(layer: Any) -> bool:
    """Return whether a layer is a quantizer of HGQ2 that stands by itself."""
    return f"{type(layer).__module__}.{type(layer).__name__}" == "hgq.quantizer.quantizer.Quantizer"


def _quantizer_of(kernel: Kernel) -> Any:
    recurrent = kernel.regularizer == "recurrent_regularizer"
    return kernel.owner.rkq if recurrent else kernel.owner.kq


def _normalized(variance: Any, gamma: Any, epsilon: float) -> Any:
    return (1.0 if gamma is None else gamma) / ops.sqrt(variance + epsilon)


def _fused_dense(layer: Any, kernel: Any) -> Any:
    gamma = layer.bn_gamma if layer.scale else None
    return _normalized(layer.moving_variance, gamma, layer.epsilon)[:, None] * kernel


def _fused_einsum(layer: Any, kernel: Any) -> Any:
    gamma = layer.bn_gamma if layer.scale else None
    scale = _normalized(layer.moving_variance, gamma, keras.config.epsilon())
    return ops.einsum(layer.fused_kernel_equation, kernel, scale)


def _fuse_without_quantizers(layer: Any) -> tuple[Any, Any]:
    """Return the kernel and the bias with the normalization in them, as the layer makes them itself."""

    def keep(value: Any, training: Any = None) -> Any:
        return value

    view = LayerView(layer, {"kq": keep, "bq": keep})
    options = {"mean": layer.moving_mean, "var": layer.moving_variance}
    fuse = type(layer).get_fused_qkernel_and_qbias
    if "training" in inspect.signature(fuse).parameters:
        options["training"] = False
    found: tuple[Any, Any] = fuse(view, **options)
    return found


_NAMESAKES = (
    *("Add", "Subtract", "Multiply", "Maximum", "Minimum", "Dot"),
    *(f"{kind}Pooling{rank}D" for kind in ("Average", "Max") for rank in (1, 2, 3)),
    *(f"Global{kind}Pooling{rank}D" for kind in ("Average", "Max") for rank in (1, 2, 3)),
)
"""Layers of Keras that HGQ2 has with a Q in front, without a kernel."""

_DENSE, _EINSUM, _CONV, _CONV2D = DenseFamily(), EinsumFamily(), ConvFamily(), Conv2DFamily()

for _known in (
    HGQUnitsFamily(("hgq.QDense",), _DENSE, bits_met_by_dense),
    HGQUnitsFamily(("hgq.QEinsumDense",), _EINSUM, bits_met_by_einsum),
    HGQUnitsFamily(("hgq.QConv1D", "hgq.QConv3D"), _CONV, bits_met_by_convolution),
    HGQUnitsFamily(("hgq.QConv2D",), _CONV2D, bits_met_by_convolution),
    HGQFamily(("hgq.QBatchNormDense",), _DENSE, bits_met_by_dense, _fused_dense),
    HGQFamily(("hgq.QEinsumDenseBatchnorm",), _EINSUM, bits_met_by_einsum, _fused_einsum),
    HGQFamily(("hgq.QSimpleRNN", "hgq.QGRU"), RecurrentFamily()),
    HGQFamily(("hgq.QMultiHeadAttention",), AttentionFamily()),
    QuantizerFamily(("hgq.Quantizer",)),
    QNormalizationFamily(("hgq.QBatchNormalization",)),
    QFunctionFamily(("hgq.QUnaryFunctionLUT",)),
    QSoftmaxFamily(("hgq.QSoftmax",)),
    QAverageFamily(("hgq.QAveragePow2",)),
    QRoundingFamily(tuple(f"hgq.Q{kind}" for kind in _NAMESAKES)),
):
    register_layer(_known)
