"""Which numbers occur in each tensor, of the network as it is and of the rounded one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fabricfit.calibration.figures import Samples
from fabricfit.calibration.running import Runner
from fabricfit.calibration.tensors import Key, Numbers
from fabricfit.precision.formats import TensorFormat

__all__ = ["Range", "find_ranges", "format_within", "rounded"]


@dataclass(frozen=True)
class Range:
    """The least and the largest number of a tensor, and how far those of one sample are apart.

    Parameters
    ----------
    least, largest
        Of all samples.
    spread
        Largest distance of two numbers along the last axis.
    whole
        Whether all of them are whole numbers, such as those of classes or of pixels.
    """

    least: float
    largest: float
    spread: float = 0.0
    whole: bool = False

    @classmethod
    def of(cls, numbers: np.ndarray) -> Range:
        """Return that of some numbers, samples first."""
        if not numbers.size:
            return cls(0.0, 0.0)
        spread = np.ptp(numbers, axis=-1).max() if numbers.ndim > 1 else 0.0
        whole = bool((numbers == np.rint(numbers)).all())
        return cls(float(numbers.min()), float(numbers.max()), float(spread), whole)

    def joined(self, other: Range | None) -> Range:
        """Return the range of the numbers of two."""
        if other is None:
            return self
        return Range(
            min(self.least, other.least),
            max(self.largest, other.largest),
            max(self.spread, other.spread),
            self.whole and other.whole,
        )


def find_ranges(
    runner: Runner,
    samples: Samples,
    batch_size: int,
    fractional: Mapping[Key, int] | None = None,
) -> dict[Key, Range]:
    """Return the numbers that occur in each tensor.

    Parameters
    ----------
    runner
        Runs the network, with the weights that count.
    samples
        The samples.
    batch_size
        Samples that are computed at once.
    fractional
        Fractional bits to which tensors are rounded on the way, if they are.
    """
    found: dict[Key, Range] = {}
    bits = fractional or {}

    def observe(key: Key, numbers: np.ndarray) -> np.ndarray:
        made = rounded(numbers, bits[key]) if key in bits else numbers
        found[key] = Range.of(made).joined(found.get(key))
        return made

    for batch in samples.batches(batch_size):
        runner.run(batch.inputs, observe)
    return found


def rounded(numbers: np.ndarray, fractional: int) -> np.ndarray:
    """Return numbers rounded half up to fractional bits."""
    return np.ldexp(np.floor(np.ldexp(numbers.astype(np.float64), fractional) + 0.5), -fractional)


def format_within(
    numbers: Numbers, fractional: int, least: float, largest: float, spread: float, margin: int
) -> TensorFormat:
    """Return the narrowest format of so many fractional bits in which nothing overflows.

    Parameters
    ----------
    numbers
        What the format is for. Weights have a sign in any case; what a softmax receives has one, too, and
        half of its range holds the distance of any two numbers, since hls4ml subtracts in this format.
    fractional
        Bits after the point.
    least, largest, spread
        The numbers that occur, see :class:`Range`.
    margin
        Integer bits more than these need.
    """
    low, high = (float(rounded(np.asarray(each), fractional)) for each in (least, largest))
    if numbers.softmax:
        reach = max(float(rounded(np.asarray(spread), fractional)), 2.0**-fractional)
        low, high = min(low, -reach), max(high, reach)
    signed = low < 0 or numbers.softmax or numbers.kernel is not None
    found = TensorFormat.covering(fractional, low if low < 0 or not signed else 0.0, high)
    integer = (found.signed_integer if signed else found.integer) + margin
    return TensorFormat(fractional, max(integer, 1 - fractional), signed)
