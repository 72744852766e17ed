# ruff: noqa: D102 - the methods are documented where Rule declares them
"""Layers of QKeras and HGQ2: as those that they quantize, with the weights that they multiply by.

Only what the quantizers cannot notice is removed: a constant folded into a bias would be rounded, so that
nothing but the constant 0 goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from fabricfit.layers import find_handler
from fabricfit.layers.calls import Call
from fabricfit.surgery.families.dense_and_conv import (
    EinsumProduct,
    Product,
    SeparableProduct,
    TransposedProduct,
)
from fabricfit.surgery.families.depthwise import Depthwise
from fabricfit.surgery.families.recurrent import Recurrent
from fabricfit.surgery.rules import (
    Constants,
    Cut,
    Link,
    Numbers,
    Replacement,
    Rule,
    Wiring,
    only_zero,
    register,
    to_numpy,
)

__all__ = [
    "HGQEinsum",
    "HGQProduct",
    "QuantizedDepthwise",
    "QuantizedProduct",
    "QuantizedRecurrent",
    "QuantizedSeparable",
    "QuantizedTransposed",
]

_KERNELS = ("kernel", "recurrent_kernel", "depthwise_kernel", "pointwise_kernel")
_Quantizer = Callable[[Any], Any]


class _Quantized(Rule):
    """A layer of QKeras.

    A quantizer whose scale depends on the whole kernel is asked again with the smaller one.
    """

    plain: Rule
    shareable = False

    def obstacle(self, call: Call) -> str | None:
        layer = call.layer
        owner = getattr(layer, "cell", layer)
        if not any(name.endswith("_quantizer_internal") for name in vars(owner)):
            return f"the quantizers of {call.name!r} cannot be read"
        if getattr(layer, "_mask", None) is not None:
            return f"{call.name!r} has a mask of its own"
        return self.plain.obstacle(call)

    def pins_output(self, call: Call) -> str | None:
        return self.plain.pins_output(call)

    def links(self, call: Call) -> list[Link]:
        return self.plain.links(call)

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        return self.plain.constants(self._seen(call), tuple(map(only_zero, inputs)))

    def dispensable(
        self, call: Call, port: int, constants: Constants, kept_output: np.ndarray
    ) -> np.ndarray:
        return self.plain.dispensable(self._seen(call), port, only_zero(constants), kept_output)

    def needs_of_its_own(
        self, call: Call, constants: Constants, kept_output: np.ndarray
    ) -> np.ndarray:
        return self.plain.needs_of_its_own(self._seen(call), constants, kept_output)

    def zero_units(self, call: Call) -> np.ndarray:
        return self.plain.zero_units(self._seen(call))

    def wiring(self, call: Call, numbers: Numbers) -> dict[str, Wiring]:
        return self.plain.wiring(call, numbers)

    def why_constants_matter(self, call: Call) -> str:
        return f"{call.name!r} is quantized, and a constant other than 0 would be rounded"

    def replacement(self, call: Call, cut: Cut) -> Replacement:
        return self.plain.replacement(call, _without_constants(cut))

    def refusal(self, call: Call, cut: Cut) -> str | None:
        smaller = self.replacement(call, cut).weights
        expected = self.plain.replacement(self._seen(call), _without_constants(cut)).weights
        quantizers = _fresh_quantizers(call.layer)
        found = (quantize(part) for quantize, part in zip(quantizers, smaller, strict=True))
        if all(map(np.array_equal, found, expected)):
            return None
        return f"the scale of the quantizers of {call.name!r} depends on what would be removed"

    def _seen(self, call: Call) -> Call:
        """Return the call of a layer whose weights are those that it multiplies by."""
        return replace(call, layer=_seen_through(call.layer, list(_fresh_quantizers(call.layer))))


@register
class QuantizedProduct(_Quantized):
    """Dense layers and convolutions of QKeras."""

    handles = ("qkeras.QConv1D", "qkeras.QConv2D", "qkeras.QDense")
    has_own_units = True
    plain = Product()


@register
class QuantizedTransposed(_Quantized):
    """Transposed convolutions of QKeras."""

    handles = ("qkeras.QConv2DTranspose",)
    has_own_units = True
    plain = TransposedProduct()


@register
class QuantizedSeparable(_Quantized):
    """Separable convolutions of QKeras."""

    handles = ("qkeras.QSeparableConv1D", "qkeras.QSeparableConv2D")
    has_own_units = True
    plain = SeparableProduct()


@register
class QuantizedDepthwise(_Quantized):
    """Depthwise convolutions of QKeras."""

    handles = ("qkeras.QDepthwiseConv2D",)
    plain = Depthwise()


@register
class QuantizedRecurrent(_Quantized):
    """Recurrent layers of QKeras."""

    handles = ("qkeras.QSimpleRNN", "qkeras.QLSTM", "qkeras.QGRU")
    has_own_units = True
    plain = Recurrent()


class _HGQ(_Quantized):
    """A layer of HGQ2: what it knows of each number goes with the number."""

    def obstacle(self, call: Call) -> str | None:
        layer = call.layer
        if getattr(layer, "groups", 1) != 1:
            return f"{call.name!r} is a convolution in {layer.groups} groups"
        if getattr(layer, "data_format", None) not in (None, "channels_last"):
            return f"{call.name!r} has data_format={layer.data_format!r}"
        return None

    def replacement(self, call: Call, cut: Cut) -> Replacement:
        layer, cut = call.layer, _without_constants(cut)
        own = [_native(v) for v in (layer.kernel, layer.bias) if v is not None]

        def cut_out(weights: list[np.ndarray]) -> Replacement:
            seen = _View(layer, {"get_weights": lambda: weights})
            return self.plain.replacement(replace(call, layer=seen), cut)

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
            value = _native(variable)
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

    def refusal(self, call: Call, cut: Cut) -> str | None:
        return None

    def _seen(self, call: Call) -> Call:
        layer = call.layer
        bias = layer.qbias if layer.bias is not None else None
        return replace(call, layer=_View(layer, {"kernel": layer.qkernel, "bias": bias}))


@register
class HGQProduct(_HGQ):
    """Dense layers and convolutions of HGQ2."""

    handles = ("hgq.QConv1D", "hgq.QConv2D", "hgq.QConv3D", "hgq.QDense")
    has_own_units = True
    plain = Product()


@register
class HGQEinsum(_HGQ):
    """Einsums of HGQ2."""

    handles = ("hgq.QEinsumDense",)
    has_own_units = True
    plain = EinsumProduct()

    def obstacle(self, call: Call) -> str | None:
        return super().obstacle(call) or self.plain.obstacle(call)


class _View:
    """A layer some of whose attributes are others."""

    def __init__(self, layer: Any, seen: dict[str, Any]) -> None:
        self._layer, self._seen = layer, seen

    def __getattr__(self, name: str) -> Any:
        seen = self.__dict__["_seen"]
        return seen[name] if name in seen else getattr(self.__dict__["_layer"], name)


def _seen_through(layer: Any, quantizers: list[_Quantizer]) -> _View:
    weights = [q(w) for q, w in zip(quantizers, layer.get_weights(), strict=True)]
    owner = getattr(layer, "cell", layer)
    names = [name for name in (*_KERNELS, "bias") if isinstance(_of(owner, name), keras.Variable)]
    seen = {
        name: weights[place]
        for name in names
        for place, variable in enumerate(layer.weights)
        if variable is _of(owner, name)
    }
    if owner is not layer:
        seen = {"cell": _View(owner, seen)}
    return _View(layer, {**seen, "get_weights": lambda: weights})


def _of(owner: Any, name: str) -> Any:
    return getattr(owner, name, None)


def _fresh_quantizers(layer: Any) -> Iterator[_Quantizer]:
    """Yield what quantizes each weight of a layer, in their order.

    They are of a fresh layer: a quantizer may remember the scale of its last call.
    """
    handler = find_handler(layer)
    assert handler is not None
    fresh = type(layer).from_config(layer.get_config())
    owner = getattr(fresh, "cell", fresh)
    names = [kernel.regularizer.partition("_")[0] for kernel in handler.kernels(layer)]
    if len(layer.weights) > len(names):
        names.append("bias")
    for name in names:
        quantizer = getattr(owner, f"{name}_quantizer_internal")
        yield to_numpy if quantizer is None else _as_arrays(quantizer)


def _as_arrays(quantizer: _Quantizer) -> _Quantizer:
    return lambda weights: to_numpy(quantizer(keras.ops.convert_to_tensor(weights)))


def _without_constants(cut: Cut) -> Cut:
    return replace(cut, constants=tuple(map(only_zero, cut.constants)))


def _native(variable: Any) -> np.ndarray:
    """Return a variable as an array of its own type."""
    return np.asarray(keras.ops.convert_to_numpy(variable))
