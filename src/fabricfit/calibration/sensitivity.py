"""What rounding costs: the loss that an error of the size of a step adds, measured tensor by tensor.

An error is added to a tensor, or to weights, and then the same error with the other sign. Of the mean of the
two losses, less the loss without, what is linear in the error drops out: what is left is half of the error's
square times the curvature of the loss, the expected loss of rounding, whatever the backend. The error is that
of rounding: uniform over a step, independent from number to number, and zero where a number is a multiple of
the step already, as what a rectifier cuts off is.

References
----------
Z. Dong et al., "HAWQ-V2: Hessian aware trace-weighted quantization of neural networks", NeurIPS 2020,
arXiv:1911.03852: the loss of rounding is the mean of the Hessian's diagonal times the square of the error;
here, the diagonal is probed by random errors (M. F. Hutchinson, Commun. Stat. Simul. Comput. 19, 1990).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fabricfit.calibration.figures import Samples
from fabricfit.calibration.ranges import Range
from fabricfit.calibration.running import Runner
from fabricfit.calibration.tensors import Key, Numbers
from fabricfit.layers.units import to_numpy

__all__ = ["first_bits", "measure_coefficients"]

_ERRORS = 2**12
"""Errors of weights that are drawn, about: they are the same for all samples, unlike those of tensors."""

_LEAST_PROBES, _MOST_PROBES = 3, 16
"""How often errors of weights are drawn."""

_LEAST_SHARE = 1e-9
"""Least coefficient of any numbers, as a part of the largest one."""


def first_bits(numbers: Sequence[Numbers], ranges: Mapping[Key, Range]) -> list[int]:
    """Return fractional bits of a first measurement: a step of some 2^-6 of the size; 0 of whole numbers."""
    found = []
    for each in numbers:
        if each.kernel is not None:
            size = float(np.sqrt(np.mean(np.square(to_numpy(each.kernel.variable)))))
        else:
            observed = ranges[each.key]
            if observed.whole:
                found.append(0)
                continue
            size = max(-observed.least, observed.largest) / 4
        found.append(6 - round(np.log2(size)) if size > 0 else 6)
    return found


def measure_coefficients(
    runner: Runner,
    numbers: Sequence[Numbers],
    bits: Sequence[int],
    ranges: Mapping[Key, Range],
    samples: Samples,
    batch_size: int,
) -> np.ndarray:
    """Return the expected loss of rounding each of some numbers, times 4 to the power of the bits.

    Parameters
    ----------
    runner
        Runs the network.
    numbers
        Which numbers are rounded, one after the other.
    bits
        Fractional bits at which each is measured.
    ranges
        The numbers that occur in each tensor: with an error, they stay within.
    samples
        Samples and their loss.
    batch_size
        Samples that are computed at once.
    """
    rng = np.random.default_rng(0)
    found = np.zeros(len(numbers))
    errors = [
        [] if each.kernel is None else _draw_several(to_numpy(each.kernel.variable), f, rng)
        for each, f in zip(numbers, bits, strict=True)
    ]
    for batch in samples.batches(batch_size):
        whole = runner.run(batch.inputs)
        outputs = runner.outputs(whole)
        loss, part = samples.loss(batch, outputs, outputs), len(batch) / len(samples)
        for place, (each, f) in enumerate(zip(numbers, bits, strict=True)):
            if each.kernel is not None:
                values, observed = to_numpy(each.kernel.variable), None
            else:
                key = each.key
                values, observed = whole.tensors[key], ranges[key]
            drawn = errors[place] or [_draw(values, f, rng)]
            for error in drawn:
                for sign in (1.0, -1.0):
                    changed = values + sign * error
                    if observed is not None:
                        changed = np.clip(changed, observed.least, observed.largest)
                    made = runner.outputs(runner.run_from(whole, each, changed))
                    more = samples.loss(batch, made, outputs) - loss
                    found[place] += part * more / (2 * len(drawn))
    coefficients = np.abs(found) * np.exp2(2.0 * np.asarray(bits))
    floor = _LEAST_SHARE * coefficients.max(initial=0.0)
    return np.maximum(coefficients, max(floor, 1e-30))


def _draw_several(values: np.ndarray, bits: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return errors of weights: the more often, the fewer weights there are."""
    count = min(max(_ERRORS // values.size, _LEAST_PROBES), _MOST_PROBES)
    return [_draw(values, bits, rng) for _ in range(count)]


def _draw(values: np.ndarray, bits: int, rng: np.random.Generator) -> np.ndarray:
    """Return errors of rounding numbers to fractional bits."""
    scaled = np.ldexp(np.asarray(values, np.float64), bits)
    errors = rng.uniform(-0.5, 0.5, scaled.shape)
    return np.ldexp(np.where(scaled == np.rint(scaled), 0.0, errors), -bits)
