"""Quantizers of PQuantML as HGQ2's: the same numbers, rounded and limited in the same way.

PQuantML quantizes by HGQ2's quantizers where bit widths are trained (``use_high_granularity_quantization``),
and else by the functions that these are made of, with bits of its own: one number for a tensor, for a channel
or for a weight. Such bits stay as they are, so the quantizers that stand for them do not train.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fabricfit.errors import InvalidInputError, require
from fabricfit.layers.translation import TranslatedLayer
from fabricfit.layers.units import to_array

__all__ = [
    "bits_of",
    "constant_configuration",
    "data_quantizers",
    "fill_quantizer",
    "has_one_format",
    "import_hgq",
    "standing_quantizer",
    "translate_configuration",
]


def import_hgq(module: str) -> Any:
    """Return a module of HGQ2."""
    return require(f"hgq.{module}", "pquant", "A model of PQuantML")


def translate_configuration(quantizer: Any, place: str, each_of: int | None = None) -> Any:
    """Return the configuration of the quantizer of HGQ2 that stands for one of PQuantML.

    Parameters
    ----------
    quantizer
        A ``pquant`` quantizer that is built.
    place
        What it rounds, in HGQ2's words: ``'weight'``, ``'bias'`` or ``'datalane'``.
    each_of
        The number of axes of what it rounds, where each number is to have a format of its own that stays.

    Raises
    ------
    InvalidInputError
        HGQ2 has no such format.
    """
    if quantizer.use_hgq:
        trained = quantizer.quantizer.config
        kind = import_hgq("quantizer").QuantizerConfig
        return kind(trained.q_type, trained.place, **trained.config)
    sizes = _fixed_bits(quantizer)[0].shape if each_of is None else (0,) * each_of
    varied = tuple(axis for axis, size in enumerate(sizes) if size != 1)
    return _fixed_configuration(place, quantizer.round_mode, quantizer.overflow, varied)


def constant_configuration(signed: int, integers: int, fractions: int) -> Any:
    """Return the configuration of a quantizer of one format that rounds to nearest and saturates."""
    made = _fixed_configuration("datalane", "RND", "SAT", ())
    made.config.update(k0=signed, i0=integers, f0=fractions)
    return made


def _fixed_configuration(place: str, rounding: str, overflow: str, varied: tuple[int, ...]) -> Any:
    """Return the configuration of a quantizer that does not train its bits."""
    kind = import_hgq("quantizer").QuantizerConfig
    unbound = dict.fromkeys(("ic", "ir", "fc", "fr"))
    return kind(
        "kif",
        place,
        round_mode=rounding,
        overflow_mode=overflow,
        heterogeneous_axis=varied,
        trainable=False,
        **unbound,
    )


def fill_quantizer(
    made: Any, quantizer: Any, pruned: np.ndarray | None = None, power: int = 0
) -> None:
    """Give a quantizer of HGQ2 the bits of the one of PQuantML that it stands for.

    Parameters
    ----------
    made
        The quantizer of HGQ2, built.
    quantizer
        That of PQuantML.
    pruned
        Which numbers get no bits, where each has its own: they stay zero, whatever is trained.
    power
        The power of two that the numbers are multiplied by.
    """
    inner = made.quantizer
    old = quantizer.quantizer.quantizer if quantizer.use_hgq else None
    bits = _fixed_bits(quantizer) if old is None else (old._k, old._i, old._f)
    sign, integer, fractional = map(to_array, bits)
    shifted = ((inner._k, sign), (inner._i, integer + power), (inner._f, fractional - power))
    for target, value in shifted:
        flat = value.reshape(()) if value.size == 1 else value
        held = np.array(np.broadcast_to(flat, target.shape))
        if pruned is not None and pruned.shape == held.shape:
            held[pruned] = 0
        target.assign(held.astype(target.dtype))
    if old is not None and hasattr(inner, "_i_decay_speed") and hasattr(old, "_i_decay_speed"):
        inner._i_decay_speed.assign(to_array(old._i_decay_speed))


def bits_of(quantizer: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return sign, integer and fractional bits of a quantizer of PQuantML that is built."""
    if quantizer.use_hgq:
        sign, integer, fractional = map(to_array, quantizer.quantizer.quantizer.kif)
        return sign, integer, fractional
    return _fixed_bits(quantizer)


def has_one_format(quantizer: Any) -> bool:
    """Return whether a quantizer has one format for all numbers."""
    return all(bits.size == 1 for bits in bits_of(quantizer))


def _fixed_bits(quantizer: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sign, integer, fractional = (
        to_array(quantizer.k),
        to_array(quantizer.i),
        to_array(quantizer.f),
    )
    shape = np.broadcast_shapes(sign.shape, integer.shape, fractional.shape)
    if any((bits != np.round(bits)).any() for bits in (sign, integer, fractional)):
        raise InvalidInputError("a quantizer of it has bits that are no whole numbers")
    if (sign + integer + fractional <= 0).any():
        raise InvalidInputError("a quantizer of it has a format without bits")
    return (
        np.broadcast_to(sign, shape),
        np.broadcast_to(integer, shape),
        np.broadcast_to(fractional, shape),
    )


def standing_quantizer(quantizer: Any, name: str, power: int = 0) -> TranslatedLayer:
    """Return a quantizer of HGQ2 that stands by itself for one of PQuantML in a layer.

    What it rounds is multiplied by a power of two.
    """
    made = import_hgq("quantizer").Quantizer(
        translate_configuration(quantizer, "datalane"), name=name
    )
    return TranslatedLayer(made, lambda layer: fill_quantizer(layer, quantizer, power=power))


def data_quantizers(layer: Any) -> tuple[Any, Any]:
    """Return the quantizers of what a layer receives and returns, None where it does not round them."""
    quantized = layer.enable_quantization
    before = layer.input_quantizer if quantized and layer.quantize_input else None
    behind = quantized and getattr(layer, "quantize_output", False)
    return before, layer.output_quantizer if behind else None
