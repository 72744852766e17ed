"""Number formats of a finished training: from trained fractional bits, and from the numbers that occur."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fabricfit.description.precision import FixedPrecision
from fabricfit.errors import InvalidInputError
from fabricfit.layers.units import to_numpy
from fabricfit.precision.layers import TrainedProduct, TrainedWeights
from fabricfit.precision.model import PrecisionModel
from fabricfit.precision.rounding import whole_bits

__all__ = [
    "Extremes",
    "TensorFormat",
    "find_extremes",
    "find_input_limits",
    "find_tensor_formats",
    "kif_of",
    "note_widths",
    "received_formats",
    "rounded_weights",
    "trailing_bits",
    "weight_format",
]

_BATCH = 4096
_MOST_BITS = 64


@dataclass(frozen=True)
class TensorFormat:
    """The format of one tensor of one width: a fixed-point number.

    Parameters
    ----------
    fractional
        Bits after the binary point; may be negative.
    integer
        Bits before it, the sign included; may be negative.
    signed
        Whether one of the bits is a sign.
    rounding
        ``'RND'``: half up; ``'TRN'``: down, where the half is part of the bias before.
    overflow
        ``'SAT'``: numbers beyond it saturate; ``'WRAP'``: they wrap, which costs nothing.
    """

    fractional: int
    integer: int
    signed: bool
    rounding: str = "RND"
    overflow: str = "SAT"

    @property
    def width(self) -> int:
        """Bits in all, at least one: a tensor of nothing but zeros has one, too."""
        return max(self.fractional + self.integer, 1)

    @property
    def signed_integer(self) -> int:
        """Bits before the point with one for the sign, which an unsigned format lacks."""
        return self.integer + (not self.signed)

    @property
    def plain(self) -> FixedPrecision:
        """The format without its modes, for numbers that it holds exactly."""
        return FixedPrecision(self.width, self.width - self.fractional, self.signed)

    def __str__(self) -> str:
        return f"{str(self.plain)[:-1]},{self.rounding},{self.overflow}>"

    @classmethod
    def covering(cls, fractional: int, least: float, largest: float) -> TensorFormat:
        """Return the narrowest format that holds all numbers between two, both on its grid."""
        high = _bits_below(math.ldexp(largest, fractional) + 1)
        if least >= 0:
            return cls(fractional, high - fractional, False)
        low = _bits_below(math.ldexp(-least, fractional))
        return cls(fractional, max(high, low) + 1 - fractional, True)


def _bits_below(count: float) -> int:
    """Return the bits of the largest whole number below a count."""
    return max(math.ceil(count) - 1, 0).bit_length()


def kif_of(formats: Sequence[TensorFormat]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return formats as arrays: whether signed, bits before the point without the sign, bits after it."""
    signed, integer, fractional = (
        np.array([getattr(each, name) for each in formats], int)
        for name in ("signed", "integer", "fractional")
    )
    return signed, integer - signed, fractional


Extremes = tuple[np.ndarray, np.ndarray]
"""The least and the largest number of each channel."""


def find_extremes(made: PrecisionModel, inputs: Sequence[np.ndarray]) -> dict[str, Extremes]:
    """Return the extremes of every rounded tensor, by the names of its rounding.

    Parameters
    ----------
    made
        A model that trains its precision, with the weights that count.
    inputs
        An array for each input.
    """
    found: dict[str, Extremes] = {}
    samples = len(inputs[0])
    for start in range(0, samples, _BATCH):
        start = max(min(start, samples - _BATCH), 0)  # every batch has the same size
        for name, tensors in made.observe(
            [array[start : start + _BATCH] for array in inputs]
        ).items():
            channels = made.model.get_layer(name).channels
            for tensor in tensors:
                values = tensor.reshape(-1, channels)
                least, largest = found.get(name, (np.inf, -np.inf))
                found[name] = (np.minimum(least, values.min(0)), np.maximum(largest, values.max(0)))
    return found


def note_widths(made: PrecisionModel, inputs: Sequence[np.ndarray]) -> None:
    """Let the roundings note the widths that samples need, as a training step does.

    Parameters
    ----------
    made
        A model that trains its precision, with the weights that count.
    inputs
        An array for each input.
    """
    for name, formats in find_tensor_formats(made, find_extremes(made, inputs)).items():
        widths = [max(each.fractional + each.integer, 0) for each in formats]
        made.model.get_layer(name).widths.assign(np.array(widths, np.float32))


def find_tensor_formats(
    made: PrecisionModel, extremes: Mapping[str, Extremes]
) -> dict[str, tuple[TensorFormat, ...]]:
    """Return the format of each channel of every rounded tensor; inputs saturate in any case."""
    found = {}
    for name, (least, largest) in extremes.items():
        bits = to_numpy(whole_bits(made.model.get_layer(name).bits))
        triples = zip(bits, least, largest, strict=True)
        formats = (TensorFormat.covering(int(f), low, high) for f, low, high in triples)
        maker = made.makers[name]
        wraps = made.wraps and (maker is None or bool(maker.inputs))
        found[name] = tuple(replace(each, overflow="WRAP" if wraps else "SAT") for each in formats)
    return found


def find_input_limits(
    inputs: Sequence[np.ndarray], part: float = 0.98, *, by_channel: bool = True
) -> dict[int, np.ndarray]:
    """Return sizes at which the channels of each input may saturate: powers of two.

    Inputs arrive in hardware in their number formats, so that they saturate in front of the network, where it
    costs nothing. Rare large numbers then need no bits.

    Parameters
    ----------
    inputs
        An array for each input, samples first, channels last.
    part
        The part of the numbers that is within the sizes, at least; 1 for all of them.
    by_channel
        Whether each channel has a size of its own.

    Returns
    -------
    dict
        Place of the input -> sizes, shape (channels,), or (1,) for one for all.

    Raises
    ------
    InvalidInputError
        The part is not between 0 and 1.
    """
    if not 0 < part <= 1:
        raise InvalidInputError(f"part must be above 0, and at most 1. Received: part={part}")
    found = {}
    for place, array in enumerate(inputs):
        sizes = np.abs(np.asarray(array, np.float64))
        columns = sizes.reshape(-1, sizes.shape[-1] if by_channel else 1)
        reached = np.quantile(columns, part, axis=0)
        exponents = np.ceil(np.log2(np.maximum(reached, 2.0**-_MOST_BITS)))
        found[place] = np.exp2(exponents)
    return found


def received_formats(
    product: TrainedProduct, formats: Mapping[str, tuple[TensorFormat, ...]]
) -> tuple[TensorFormat, ...]:
    """Return the formats of what a kernel multiplies, a channel each or one for all.

    Parameters
    ----------
    product
        The kernel.
    formats
        Name of each rounding -> the format of each channel, or one for all.
    """
    if product.source is None:
        inner = product.inner
        return (TensorFormat(inner.fractional, inner.integer, inner.signed),)
    return formats[product.source.name]


def rounded_weights(wrapper: TrainedWeights) -> list[np.ndarray]:
    """Return the rounded weights of each kernel, exactly."""
    return [product.weights for product in wrapper.products]


def trailing_bits(numbers: np.ndarray) -> np.ndarray:
    """Return the fractional bits that hold each number exactly; few for zero, which needs none."""
    mantissas, exponents = np.frexp(np.where(numbers == 0, 1.0, np.abs(numbers)))
    integers = np.ldexp(mantissas, 53).astype(np.int64)
    trailing = np.log2((integers & -integers).astype(float)).astype(int)
    return np.where(numbers == 0, -_MOST_BITS, 53 - trailing - exponents)


def weight_format(weights: np.ndarray) -> TensorFormat:
    """Return the narrowest signed format that holds numbers exactly."""
    if not np.any(weights):
        return TensorFormat(0, 1, True)
    fractional = int(trailing_bits(weights).max())
    found = TensorFormat.covering(fractional, float(weights.min()), float(weights.max()))
    return found if found.signed else TensorFormat(fractional, found.signed_integer, True)
