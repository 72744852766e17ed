"""Blocks of memory of a layer's weights.

With the Resource strategy and a reuse factor RF > 1, hls4ml stores the weights as RF words, each as
wide as all multipliers' weights together. A RAMB18 holds words of a width that depends on their
number (AMD UG573, "Port Aspect Ratios"): 512 of 36 bits, 1024 of 18, 2048 of 9 and so on.
"""

from __future__ import annotations

from fabricfit.checks import whole_number
from fabricfit.hardware.estimates import Estimate
from fabricfit.hardware.families import DEFAULT_FAMILY, Family, find_family
from fabricfit.hardware.product import Product, Work, check_product
from fabricfit.hardware.targets import DEFAULT_TARGET, TargetLike, find_target

__all__ = ["memory_blocks", "memory_word", "product_memory", "weight_bram18"]

_SLIVER = 2
"""Bits of a word left over beside whole blocks that are put into LUTs (twice as many of less than 64
words), if there are fewer words than…"""
_DEEP = 1024

_INDEX_BITS = 1024
"""Bits from which on HLS puts a table into block RAM by itself."""

_SHALLOW = 64
"""Words below which tools may prefer LUTs to the block RAM that hls4ml asks for; not measured."""

_MEASURED_DEPTHS = range(384, 1281)


def memory_word(depth: int, family: str | Family = DEFAULT_FAMILY) -> int:
    """Return the bits of a word in one block of memory that holds this many words.

    Parameters
    ----------
    depth
        Number of words; the reuse factor, for weights. More than a block can hold need several blocks
        for each bit, see :func:`memory_blocks`.
    family
        A name of :func:`fabricfit.hardware.families`; a RAMB18 by default.

    Raises
    ------
    InvalidInputError
        The depth is below 1.
    """
    depth = whole_number("depth", depth)
    shapes = find_family(family).memory_shapes
    return next((bits for words, bits in shapes if depth <= words), shapes[-1][1])


def memory_blocks(width: int, depth: int, family: str | Family = DEFAULT_FAMILY) -> int:
    """Return the number of blocks that hold ``depth`` words of ``width`` bits.

    Words are cut into slices as wide as the widest shape of a block (36 bits), each of which uses a
    block for every 512 words; what is left of a word has the shape that is deep enough. So it is
    ``ceil(width / 36)`` up to 512 words, ``ceil(width / 18)`` up to 1024, and
    ``3 · floor(width / 36) + ceil(rest / 9)`` up to 1536.

    Parameters
    ----------
    width, depth
        Bits of a word, and number of words.
    family
        A name of :func:`fabricfit.hardware.families`; RAMB18 by default, of which a RAMB36 is two.
    """
    width, depth = whole_number("width", width, 0), whole_number("depth", depth)
    shapes = find_family(family).memory_shapes
    words, bits = shapes[0]
    deepest = shapes[-1][0]
    whole, rest = divmod(width, bits)
    cascade = -(-depth // deepest) if depth > deepest else 1
    return whole * -(-depth // words) + -(-rest // memory_word(depth, family)) * cascade


def weight_bram18(patterns: int, weight_width: int, reuse_factor: int) -> int:
    """Return the number of RAMB18 that hold a layer's weights; a RAMB36 counts as two.

    None with RF = 1, else :func:`memory_blocks` of all multipliers' weights side by side. Each of 804
    runs of Vivado HLS 2020.1 with 1 < RF ≤ 1024 took this number or one more, for a table of its own;
    so did the repository's 53 runs with a larger RF, or one fewer.

    Parameters
    ----------
    patterns
        Multipliers whose weights are stored, ``n_in · n_out / RF`` of a full layer.
    weight_width
        Bits of a weight.
    reuse_factor
        Weights of each multiplier, RF.
    """
    width = whole_number("patterns", patterns, 0) * whole_number("weight_width", weight_width)
    reuse = whole_number("reuse_factor", reuse_factor)
    return 0 if reuse == 1 else memory_blocks(width, reuse)


def product_memory(product: Product, work: Work, target: TargetLike = DEFAULT_TARGET) -> Estimate:
    """Estimate the blocks of memory of a layer's matrix product.

    Only Resource and ResourceUnrolled with RF > 1 have any. Resource stores all weights; with
    ResourceUnrolled the words of multipliers without work are not read, and the tools drop them. With
    RF > n_in, Resource reads the output that each cycle adds to from a table of RF entries, which is in
    block RAM from 1,024 bits on. Slivers of up to two bits of a word are put into LUTs where there are
    fewer than 1,024 words. With these two, 379 of the repository's 382 runs with RF ≤ 1024 are exact, and
    three use one more.

    Parameters
    ----------
    product
        The product as hls4ml builds it.
    work
        What its weights leave it to do.
    target
        What it is built for, or a name of :func:`fabricfit.hardware.families`.
    """
    check_product(product, work)
    chosen, depth = find_family(find_target(target).family), product.reuse_factor
    if not product.time_multiplexed:
        return Estimate.exact(0)
    unrolled = product.strategy == "resource_unrolled"
    width = (work.multipliers if unrolled else product.multipliers) * product.weight_width
    value = memory_blocks(width, depth, chosen)
    sliver = width % memory_word(depth, chosen)
    if (
        0 < sliver <= (_SLIVER if depth >= _SHALLOW else 2 * _SLIVER)
        and width > sliver
        and depth < _DEEP
    ):
        value -= 1
    outputs = -(-depth // product.n_in)
    index = (outputs - 1).bit_length()
    if not unrolled and index * depth >= _INDEX_BITS:
        value += memory_blocks(index, depth, chosen)
    note = (
        ""
        if depth in _MEASURED_DEPTHS and chosen.name == DEFAULT_FAMILY
        else (
            f"memories were measured on {DEFAULT_FAMILY} with {_MEASURED_DEPTHS.start} to "
            f"{_MEASURED_DEPTHS.stop - 1} words"
        )
    )
    other = chosen.memory_shapes != find_family(DEFAULT_FAMILY).memory_shapes
    low = 0 if depth < _SHALLOW or other else max(value - (depth > _DEEP or unrolled), 0)
    return Estimate(value, low, value + (depth > _DEEP or unrolled), note)
