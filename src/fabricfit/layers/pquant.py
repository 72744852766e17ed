"""Layers of PQuantML, read as layers of HGQ2 and of Keras that compute the same at inference, bit for bit.

PQuantML masks and rounds weights whenever they are used; the layers that stand for its own hold them as they
are used, with quantizers of the same formats, in which pruned weights have no bits and so stay zero. Pruning
methods, their thresholds and penalties are left behind. Like those of HGQ2, the layers are recognized by the
names of their classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from fabricfit.errors import InvalidInputError
from fabricfit.layers.family import LayerFamily, register_layer
from fabricfit.layers.plain_layers import make_alike
from fabricfit.layers.pquant_formats import (
    data_quantizers,
    fill_quantizer,
    has_one_format,
    import_hgq,
    standing_quantizer,
    translate_configuration,
)
from fabricfit.layers.pquant_tables import tabulate_activation, translate_softmax
from fabricfit.layers.translation import Neighbours, TranslatedLayer
from fabricfit.layers.units import to_array

__all__ = ["PQuantFamily"]

Parts = tuple[TranslatedLayer, ...]


class PQuantFamily(LayerFamily):
    """Layers of PQuantML, for which others stand.

    Parameters
    ----------
    handles
        The layer types.
    """

    is_translated = True

    def __init__(self, *handles: str) -> None:
        self.handles = tuple(f"pquant.{each}" for each in handles)


class _ProductFamily(PQuantFamily):
    """Layers with a kernel and a bias that HGQ2 has, too."""

    def __init__(self, handle: str, kind: str) -> None:
        super().__init__(handle)
        self._kind = kind

    def translation(self, layer: Any, around: Neighbours) -> Parts:
        return _translate_product(layer, self._kind, power=_power_behind(layer, around))


class _DepthwiseFamily(PQuantFamily):
    """Depthwise convolutions, which HGQ2 does not have: that of Keras, between quantizers."""

    def translation(self, layer: Any, around: Neighbours) -> Parts:
        return _translate_depthwise(layer, layer.name, _power_behind(layer, around))


class _SeparableFamily(PQuantFamily):
    """Separable convolutions: a depthwise one, and one of kernel size 1 behind it."""

    def translation(self, layer: Any, around: Neighbours) -> Parts:
        return (
            *_translate_depthwise(layer.depthwise_conv, f"{layer.name}_depthwise"),
            *_translate_product(
                layer.pointwise_conv, "Conv2D", layer.name, _power_behind(layer, around)
            ),
        )


class _ActivationFamily(PQuantFamily):
    """Activations, with a power of two before them where PQuantML has trained one."""

    def translation(self, layer: Any, around: Neighbours) -> Parts:
        if layer.use_fitcompress and layer.is_pretraining and layer.activation_name == "relu":
            raise InvalidInputError(
                "whether it rounds depends on how far FITcompress has come, which files do not hold. Build "
                "the model with enable_fitcompress=False once the search has ended, and copy the weights"
            )
        inputs, outputs = data_quantizers(layer)
        if layer.activation_name == "relu":
            behind = _surround(layer, keras.layers.ReLU(name=layer.name))
            return (*_scale(layer, around), *behind)
        if layer.activation_name not in ("tanh", "hard_tanh"):
            raise InvalidInputError(f"its activation is {layer.activation_name!r}")
        made = outputs or _find_quantizer_behind(layer, around)
        tabled = inputs is not None and (made is None or has_one_format(made))
        if not tabled or (made is None and layer.activation_name == "tanh"):
            return _surround(layer, keras.layers.Activation(layer.activation_name, name=layer.name))
        return tabulate_activation(layer, inputs, made)


class _SoftmaxFamily(PQuantFamily):
    """Softmax, of two tables."""

    def translation(self, layer: Any, around: Neighbours) -> Parts:
        if not layer.enable_quantization:
            return (TranslatedLayer(keras.layers.Softmax(axis=list(layer.axes), name=layer.name)),)
        return (translate_softmax(layer),)


class _NormalizationFamily(PQuantFamily):
    """Batch normalizations, whose factors are rounded before the variance divides them, unlike HGQ2's."""

    def translation(self, layer: Any, around: Neighbours) -> Parts:
        rounded = layer.enable_quantization and layer.quantize_parameters
        names = [("gamma", layer.weight_quantizer)] if layer.scale else []
        names += [("beta", layer.bias_quantizer)] if layer.center else []
        weights = [
            to_array(
                quantizer(getattr(layer, name))
                if rounded and not layer.final_compression_done
                else getattr(layer, name)
            )
            for name, quantizer in names
        ]
        power = _power_behind(layer, around)
        weights = [np.ldexp(each, power) for each in weights]
        weights += [to_array(layer.moving_mean), to_array(layer.moving_variance)]
        made = make_alike(layer, keras.layers.BatchNormalization)
        return _surround(layer, made, weights)


class _AverageFamily(PQuantFamily):
    """Average poolings."""

    def translation(self, layer: Any, around: Neighbours) -> Parts:
        kind = next(each for each in type(layer).__mro__ if each.__module__.startswith("keras."))
        return _surround(layer, make_alike(layer, getattr(keras.layers, kind.__name__)))


class _AttentionFamily(PQuantFamily):
    """Attention, which is not translated."""

    def translation(self, layer: Any, around: Neighbours) -> Parts:
        raise InvalidInputError(
            "HGQ2's attention rounds other tensors than it does, so that none of its layers computes the "
            "same. Build the model with hgq.layers.QMultiHeadAttention"
        )


class _QuantizerFamily(PQuantFamily):
    """Quantizers that stand by themselves."""

    def translation(self, layer: Any, around: Neighbours) -> Parts:
        return (standing_quantizer(layer, layer.name),)


def _surround(
    layer: Any,
    made: Any,
    weights: list[np.ndarray] | None = None,
    name: str = "",
    power: int = 0,
) -> Parts:
    """Return a layer of Keras between the quantizers of a layer of PQuantML.

    The power of two is that which its results are multiplied by.
    """
    inputs, outputs = data_quantizers(layer)
    name = name or layer.name
    before = () if inputs is None else (standing_quantizer(inputs, f"{name}_iq"),)
    behind = () if outputs is None else (standing_quantizer(outputs, f"{name}_oq", power),)

    def fill(new: Any) -> None:
        if weights:
            new.set_weights(weights)

    return (*before, TranslatedLayer(made, fill), *behind)


def _translate_product(layer: Any, kind: str, name: str = "", power: int = 0) -> Parts:
    """Return the layer of HGQ2, or of Keras without quantizers, that stands for one with a kernel.

    The power of two is that which its results are multiplied by.
    """
    name, weights = name or layer.name, _used_weights(layer, power)
    if not layer.enable_quantization:
        made = make_alike(layer, getattr(keras.layers, kind), name=name)
        return (TranslatedLayer(made, lambda new: new.set_weights(weights)),)
    pruned = _find_pruned(layer)
    inputs, outputs = data_quantizers(layer)
    each_of = pruned.ndim if pruned.any() else None
    options = {"kq_conf": translate_configuration(layer.weight_quantizer, "weight", each_of)}
    if layer.use_bias:
        options["bq_conf"] = translate_configuration(layer.bias_quantizer, "bias")
    for key, quantizer in (("iq", inputs), ("oq", outputs)):
        options[f"enable_{key}"] = quantizer is not None
        if quantizer is not None:
            options[f"{key}_conf"] = translate_configuration(quantizer, "datalane")
    made = make_alike(
        layer,
        getattr(import_hgq("layers"), f"Q{kind}"),
        name=name,
        parallelization_factor=-1,
        enable_ebops=layer.use_hgq and inputs is not None,
        beta0=layer.hgq_beta,
        **options,
    )

    def fill(new: Any) -> None:
        fill_quantizer(new.kq, layer.weight_quantizer, pruned, power)
        if layer.use_bias:
            fill_quantizer(new.bq, layer.bias_quantizer, power=power)
        if inputs is not None:
            fill_quantizer(new.iq, inputs)
        if outputs is not None:
            fill_quantizer(new.oq, outputs, power=power)
        _fill_weights(new, weights)

    return (TranslatedLayer(made, fill),)


def _fill_weights(new: Any, weights: list[np.ndarray]) -> None:
    """Give a layer of HGQ2 its kernel and bias, if its quantizers leave them as they are."""
    targets = [new._kernel, new.bias][: len(weights)]
    for target, value in zip(targets, weights, strict=True):
        target.assign(value)
    rounded = [new.qkernel, new.qbias][: len(weights)]
    for value, now in zip(weights, rounded, strict=True):
        if not np.array_equal(to_array(now), value):
            raise InvalidInputError(
                "its weights, as PQuantML uses them, are not in the format of their quantizer: its pruning "
                "has not come to an end, and multiplies rounded weights by other factors than 0 and 1. Call "
                "pquant.core.keras.layers.pre_finetune_functions(model), which fixes what is pruned, or "
                "train with pruning_first=True"
            )


def _translate_depthwise(layer: Any, name: str, power: int = 0) -> Parts:
    made = make_alike(layer, keras.layers.DepthwiseConv2D, name=name)
    return _surround(layer, made, _used_weights(layer, power), name, power)


def _used_weights(layer: Any, power: int = 0) -> list[np.ndarray]:
    """Return the kernel and the bias, masked and rounded as the layer uses them, times a power of two."""
    with _unchanged(layer.pruning_layer):
        kernel = to_array(layer.kernel)
    weights = [kernel, to_array(layer.bias)] if layer.use_bias else [kernel]
    return [np.ldexp(each, power) for each in weights]


def _find_pruned(layer: Any) -> np.ndarray:
    """Return which weights the layer's pruning has removed."""
    with _unchanged(layer.pruning_layer):
        removed = to_array(layer._prune(layer._kernel)) == 0
        return removed & (to_array(layer.kernel) == 0) & bool(layer.enable_pruning)


@contextmanager
def _unchanged(layer: Any) -> Iterator[None]:
    """Give the weights of a layer back what they hold: some pruning methods note masks when they are used."""
    held = [] if layer is None else [(each, to_array(each)) for each in layer.variables]
    try:
        yield
    finally:
        for variable, value in held:
            variable.assign(value)


def _find_quantizer_behind(layer: Any, around: Neighbours) -> Any:
    """Return the quantizer by which the only receiver of a layer's results rounds them first, if it does."""
    receiver = around.only_behind(layer)
    if not hasattr(receiver, "quantize_input") or not hasattr(receiver, "enable_quantization"):
        return None
    return data_quantizers(receiver)[0]


_SCALABLE = ("PQDense", "PQConv1d", "PQConv2d", "PQDepthwiseConv2d", "PQSeparableConv2d")


def _power_behind(layer: Any, around: Neighbours) -> int:
    """Return the power of two of the rectifier behind a layer if the layer's weights take it over, else 0."""
    behind = around.only_behind(layer)
    kind = type(layer).__name__
    scalable = kind in _SCALABLE or (kind == "PQBatchNormalization" and layer.scale)
    if not scalable or around.only_before(behind) is not layer:
        return 0
    return _power_of(behind)


def _power_of(layer: Any) -> int:
    """Return the power of two that a rectifier of PQuantML multiplies its inputs by; 0 of other layers."""
    multiplies = getattr(layer, "use_multiplier", False) and layer.activation_name == "relu"
    return round(to_array(layer.multiplier).item()) if multiplies and not layer.use_hgq else 0


def _scale(layer: Any, around: Neighbours) -> Parts:
    """Return a multiplication by the power of two of a rectifier that no layer before it takes over."""
    power = _power_of(layer)
    before = around.only_before(layer)
    if power == 0 or (before is not None and _power_behind(before, around) == power):
        return ()
    return (TranslatedLayer(keras.layers.Rescaling(2.0**power, name=f"{layer.name}_scale")),)


for _known in (
    _ProductFamily("PQDense", "Dense"),
    _ProductFamily("PQConv1d", "Conv1D"),
    _ProductFamily("PQConv2d", "Conv2D"),
    _DepthwiseFamily("PQDepthwiseConv2d"),
    _SeparableFamily("PQSeparableConv2d"),
    _ActivationFamily("PQActivation"),
    _SoftmaxFamily("PQSoftmax"),
    _NormalizationFamily("PQBatchNormalization"),
    _AverageFamily("PQAvgPool1d", "PQAvgPool2d"),
    _AttentionFamily("PQMultiheadAttention"),
    _QuantizerFamily("Quantizer"),
):
    register_layer(_known)
