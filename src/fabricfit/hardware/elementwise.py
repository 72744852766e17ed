"""Activations and layers without a matrix product: what hls4ml's code for them is made of."""

from __future__ import annotations

import math

from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.elementwise import ElementwiseWork
from fabricfit.hardware.estimates import Estimate
from fabricfit.hardware.resource_records import resource_kinds
from fabricfit.hardware.resources import Resources
from fabricfit.hardware.targets import DEFAULT_TARGET, Target, TargetLike, find_target
from fabricfit.hardware.windows import line_buffer_ff, line_buffer_lut

__all__ = ["elementwise_cycles", "other_resources", "pool_shape"]

_UNMEASURED = "activations and layers without a kernel are counted from hls4ml's code, not measured"
_SEEN = "activations and pooling in streams were seen in two networks built with Vitis HLS"

_CASTS = ("Activation", "QActivation")
"""Layers that hls4ml builds for the sake of a number format, even where their function is linear."""

_CONTROL_LUT = 100
"""LUTs of the loop of a layer that works pixel by pixel."""

_CONTROL_FF = 12

_ADDER_EXTRA = 7
"""LUTs of an adder or a comparison beyond its width, as HLS counts them."""

_POOL_LUT = 600
"""The same of a pooling, which keeps count of rows and columns."""

_POOL_FF = 160

_POOL_CYCLES = 2
"""Cycles a pixel of a pooling in a stream with Vitis HLS."""


def other_resources(
    layer_attributes: LayerAttributes, target: TargetLike = DEFAULT_TARGET
) -> Resources:
    """Estimate the resources of a layer beside its matrix product.

    - A table (sigmoid, tanh…) of 1,024 numbers of 18 bits, hls4ml's default, fills one RAMB18. It has two
      ports, so there is one for two results that are computed at once. Softmax has tables of exponentials and
      of inverses, and a product for each result: how many depends on the tool (with Vivado HLS 4 RAMB18 and 5
      DSPs for 5 classes, a RAMB18 for each class with Vitis HLS 2021.1).
    - A batch normalization that hls4ml cannot merge into the layer before it is a product for each
      result; for each channel where data stream through it, as everything is that works position by position.
    - ReLU, sums and pooling compare or add in LUTs, one for each bit of what they receive and of their
      result; rounding and saturation of a result are an addition and two comparisons more.
    - In a stream, there are counters for its pixels; pooling has line buffers and a window besides.

    Parameters
    ----------
    layer_attributes
        Any layer; its :attr:`~fabricfit.description.attributes.LayerAttributes.elementwise` says the kind.
    target
        What it is built for and with.
    """
    laws = {kind.name: kind.layer_law for kind in resource_kinds()}
    registered = {name: law(layer_attributes) for name, law in laws.items() if law is not None}
    return _count_built_in(layer_attributes, find_target(target)) + Resources(**registered)


def elementwise_cycles(layer_attributes: LayerAttributes, target: TargetLike) -> Estimate:
    """Return the cycles between two samples of a layer without a matrix product.

    One, but in a stream one for each pixel, and two for each that a pooling of Vitis HLS receives.

    Parameters
    ----------
    layer_attributes
        Any layer.
    target
        What it is built for and with.
    """
    if _io_type(layer_attributes) != "io_stream":
        return Estimate.exact(1)
    received, made = (
        math.prod(int(n or 1) for n in shape[:-1])
        for shape in (layer_attributes.input_shape, layer_attributes.output_shape)
    )
    if max(received, made) == 1:
        return Estimate(1, 1, 3, _SEEN)
    each = 1
    if pool_shape(layer_attributes)[1] > 1 and find_target(target).laws.stages:
        each = _POOL_CYCLES
    cycles = each * max(received, made) + 2
    return Estimate(cycles, max(received, made), cycles + 2, _SEEN)


def pool_shape(layer_attributes: LayerAttributes) -> tuple[int, int]:
    """Return the rows and the pixels of what becomes one result of a layer; both 1 unless it pools."""
    received, made = layer_attributes.input_shape, layer_attributes.output_shape
    if layer_attributes.elementwise is not ElementwiseWork.COMPARE or layer_attributes.weight_shape:
        return 1, 1
    axes = [int(n or 1) for n in received[:-1]]
    left = [int(n or 1) for n in made[:-1]] or [1] * len(axes)
    if len(left) != len(axes):
        return (axes[0], math.prod(axes)) if len(left) < len(axes) else (1, 1)
    steps = [max(round(before / after), 1) for before, after in zip(axes, left, strict=True)]
    return (steps[0] if len(steps) > 1 else 1), math.prod(steps)


def _io_type(layer_attributes: LayerAttributes) -> str:
    hls = layer_attributes.hls4ml
    return hls.io_type if hls is not None else layer_attributes.io_type


def _count_built_in(layer_attributes: LayerAttributes, target: Target) -> Resources:
    work = layer_attributes.elementwise
    shape = [int(n) for n in layer_attributes.output_shape if n]
    streams = _io_type(layer_attributes) == "io_stream"
    results = shape[-1] if streams and shape else math.prod(shape)
    width = _width_of(layer_attributes)
    match work:
        case ElementwiseWork.FREE:
            return _count_cast(layer_attributes, results)
        case ElementwiseWork.SOFTMAX:
            each, beside = target.laws.softmax_tables
            tables = math.ceil(each * results + beside)
            return Resources(
                dsp=Estimate(results, 0, results, _UNMEASURED),
                bram18=Estimate(tables, min(2, tables), 2 * max(tables, 1), _UNMEASURED),
                lut=_estimate_bits(2 * results * width),
                ff=_estimate_bits(2 * results * width),
            )
        case ElementwiseWork.LOOKUP_TABLE:
            tables = -(-results // 2)
            return Resources(
                bram18=Estimate(tables, 0, results, _UNMEASURED),
                lut=_estimate_bits(results * width),
            )
        case ElementwiseWork.SCALE:
            return Resources(
                dsp=Estimate(results, 0, results, _UNMEASURED), lut=_estimate_bits(results * width)
            )
        case ElementwiseWork.COMPARE:
            return _count_comparisons(layer_attributes, target, results, streams)


def _count_cast(layer_attributes: LayerAttributes, results: int) -> Resources:
    """Count what rounds and saturates the results of a linear activation; nothing else is free at a cost."""
    result, received = layer_attributes.result_precision, layer_attributes.received_precision
    if layer_attributes.layer_type.__name__ not in _CASTS or result is None or received is None:
        return Resources()
    lut = results * _count_cast_lut(result, received.width, result.width)
    return Resources(lut=_estimate_bits(lut)) if lut else Resources()


def _count_comparisons(
    layer_attributes: LayerAttributes, target: Target, results: int, streams: bool
) -> Resources:
    """Count ReLU, sums and pooling."""
    result, received = layer_attributes.result_precision, layer_attributes.received_precision
    made = result.width if result is not None else _width_of(layer_attributes)
    hls = layer_attributes.hls4ml
    before = hls.output_precision if hls is not None else received
    read = before.width if before is not None else made
    rows, pixels = pool_shape(layer_attributes)
    if streams and pixels > 1 and len(layer_attributes.output_shape) == 1:
        sums = read + (pixels - 1).bit_length()  # a global pooling keeps a sum for each channel
        lut: float = _CONTROL_LUT + results * (2 * sums + _ADDER_EXTRA)
        return Resources(lut=_estimate_bits(lut), ff=_estimate_bits(_CONTROL_FF + results * sums))
    each = max(pixels - 1, 1) * (read + made) / 2 + _count_cast_lut(result, read, made)
    if not streams:
        return Resources(lut=_estimate_bits(results * each), ff=_estimate_bits(results * made))
    if pixels == 1:
        lut = _CONTROL_LUT + results * (each + made / 2)
        return Resources(lut=_estimate_bits(lut), ff=_estimate_bits(_CONTROL_FF))
    lut = _POOL_LUT + results * each + line_buffer_lut(rows, results, target)
    ff = _POOL_FF + results * (pixels + 1) * read + line_buffer_ff(rows, results)
    return Resources(lut=_estimate_bits(lut), ff=_estimate_bits(ff))


def _count_cast_lut(result: object, read: int, made: int) -> float:
    """Return the LUTs with which a result is rounded and saturates; to truncate and to wrap is free."""
    rounding, overflow = (getattr(result, name, "") for name in ("rounding", "overflow"))
    lut = 0.0
    if rounding and rounding != "TRN":
        lut += read + _ADDER_EXTRA
    if overflow and overflow != "WRAP":
        lut += read + made + 2 * _ADDER_EXTRA
    return lut


def _width_of(layer_attributes: LayerAttributes) -> int:
    hls = layer_attributes.hls4ml
    if hls is not None:
        return hls.output_precision.width
    result = layer_attributes.result_precision
    return result.width if result is not None else 16


def _estimate_bits(count: float) -> Estimate:
    return Estimate(count, 0, 2 * count, _UNMEASURED)
