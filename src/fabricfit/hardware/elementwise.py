"""Activations and layers without a matrix product: what hls4ml's code for them is made of."""

from __future__ import annotations

import math

from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.elementwise import ElementwiseWork
from fabricfit.hardware.estimates import Estimate
from fabricfit.hardware.resource_records import resource_kinds
from fabricfit.hardware.resources import Resources

__all__ = ["other_resources"]

_UNMEASURED = "activations and layers without a kernel are counted from hls4ml's code, not measured"


def other_resources(layer_attributes: LayerAttributes) -> Resources:
    """Estimate the resources of a layer beside its matrix product.

    - A table (sigmoid, tanh…) of 1,024 numbers of 18 bits, hls4ml's default, fills one RAMB18. It has two
      ports, so there is one for two results that are computed at once. Softmax has one such table of
      exponentials and one of inverses, and a product for each result: 4 RAMB18 and 5 DSPs for 5 classes, as
      hls4ml's published reports of jet taggers show.
    - A batch normalization that hls4ml cannot merge into the layer before it is a product for each
      result; for each channel where data stream through it, as everything is that works position by position.
    - ReLU, sums and pooling compare or add in LUTs, one for each bit.

    Parameters
    ----------
    layer_attributes
        Any layer; its :attr:`~fabricfit.description.attributes.LayerAttributes.elementwise` says the kind.
    """
    laws = {kind.name: kind.layer_law for kind in resource_kinds()}
    registered = {name: law(layer_attributes) for name, law in laws.items() if law is not None}
    return _count_built_in(layer_attributes) + Resources(**registered)


def _count_built_in(layer_attributes: LayerAttributes) -> Resources:
    work = layer_attributes.elementwise
    hls = layer_attributes.hls4ml
    width = hls.output_precision.width if hls is not None else 16
    results = math.prod(int(n) for n in layer_attributes.output_shape if n)
    io_type = hls.io_type if hls is not None else layer_attributes.io_type
    if io_type == "io_stream" and layer_attributes.output_shape:
        results = int(layer_attributes.output_shape[-1] or 1)  # position after position
    match work:
        case ElementwiseWork.FREE:
            return Resources()
        case ElementwiseWork.SOFTMAX:
            tables = -(-results // 2) + 1
            return Resources(
                dsp=Estimate(results, 0, results, _UNMEASURED),
                bram18=Estimate(tables, 2, 2 * tables, _UNMEASURED),
                lut=_estimate_bits(results, 2 * width),
                ff=_estimate_bits(results, 2 * width),
            )
        case ElementwiseWork.LOOKUP_TABLE:
            tables = -(-results // 2)
            return Resources(
                bram18=Estimate(tables, 0, results, _UNMEASURED), lut=_estimate_bits(results, width)
            )
        case ElementwiseWork.SCALE:
            return Resources(
                dsp=Estimate(results, 0, results, _UNMEASURED), lut=_estimate_bits(results, width)
            )
        case ElementwiseWork.COMPARE:
            return Resources(lut=_estimate_bits(results, width), ff=_estimate_bits(results, width))


def _estimate_bits(results: int, width: int) -> Estimate:
    return Estimate(results * width, 0, 2 * results * width, _UNMEASURED)
