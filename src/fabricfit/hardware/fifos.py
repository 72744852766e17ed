"""FIFOs: what carries the pixels of a stream from one layer to the next."""

from __future__ import annotations

from fabricfit.description.attributes import LayerAttributes
from fabricfit.hardware.bram import memory_blocks
from fabricfit.hardware.estimates import Estimate
from fabricfit.hardware.families import find_family
from fabricfit.hardware.resources import Resources
from fabricfit.hardware.targets import DEFAULT_TARGET, TargetLike, find_target

__all__ = ["fifo_resources", "fifos_of"]

_BITS_IN_LUTS = 1024
"""Bits up to which a FIFO is a shift register in LUTs: one of 750 bits was, one of 1,026 was not."""

_WORDS_IN_LUTS = 2
"""Words up to which it is one, however wide they are: the default of Vitis HLS' ``config_storage fifo``."""

_WORD = 18
"""Bits of a word in a block, which has two ports of this width, for up to…"""
_WORDS = 1024

_SMALL_FF, _LARGE_FF, _FF_PER_ADDRESS_BIT = 99, 143, 2
_SMALL_LUT, _LARGE_LUT = 30, 98


def fifo_resources(depth: int, width: int, target: TargetLike = DEFAULT_TARGET) -> Resources:
    """Estimate one FIFO.

    Of up to two words or 1,024 bits it is a shift register in LUTs; else every 18 bits of a word use a block,
    more with more than 1,024 words. So it was in all of 22 FIFOs of two networks (Vitis HLS 2023.2 on
    UltraScale+ and 2024.2 on 7 series), from 9 to 4,096 words of 8 to 544 bits.

    Parameters
    ----------
    depth
        Words that it holds: the pixels of a sample, unless hls4ml's optimization of FIFOs left fewer.
    width
        Bits of a word: channels times the bits of a number.
    target
        What it is built for and with.
    """
    chosen = find_target(target)
    known = "FIFOs were measured with Vitis HLS, and are counted alike with other tools"
    note = "" if chosen.laws.name.startswith("Vitis") else known
    if depth * width <= _BITS_IN_LUTS or depth <= _WORDS_IN_LUTS:
        ff, lut, blocks = _SMALL_FF, _SMALL_LUT, 0
    else:
        ff = _LARGE_FF + _FF_PER_ADDRESS_BIT * (depth - 1).bit_length()
        lut = _LARGE_LUT
        blocks = _count_blocks(depth, width, chosen.family)
    loose = 2.0 if note else 1.2
    return Resources(
        bram18=Estimate(blocks, blocks // 2 if note else blocks, blocks, note),
        ff=Estimate(ff, ff / loose, ff * loose, note),
        lut=Estimate(lut, lut / (loose + 1), lut * (loose + 1), note),
    )


def fifos_of(layer_attributes: LayerAttributes, target: TargetLike = DEFAULT_TARGET) -> Resources:
    """Estimate the FIFOs that the results of a layer go through."""
    each = (fifo_resources(depth, width, target) for depth, width in layer_attributes.fifos)
    return sum(each, Resources())


def _count_blocks(depth: int, width: int, family: str) -> int:
    shapes = find_family(family).memory_shapes
    if shapes[0][1] > 36 or depth > _WORDS:
        return memory_blocks(width, max(depth, _WORDS), family)
    return -(-width // _WORD)
