"""The search for formats: chosen by what rounding costs, measured on the quantized network, chosen again."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np

from fabricfit.calibration.bits import Bits, ranges_of_all
from fabricfit.calibration.measurement import Attempt, Measurement
from fabricfit.calibration.result import Calibration, NumberFormat
from fabricfit.calibration.rounding import rounded_outputs
from fabricfit.calibration.running import Runner
from fabricfit.calibration.task import Task
from fabricfit.errors import InvalidInputError
from fabricfit.precision.formats import TensorFormat

__all__ = ["find_formats"]

logger = logging.getLogger(__name__)

_EXPECTED_SHARE = 0.25
"""The part of the rise that is allowed for which formats are chosen at first: the rest is for what is linear
in the errors, which the expectation leaves out, and for tables."""

_FINER = 4
"""How often bits are chosen anew for a quarter of the loss."""

_SLACK = 1.05
"""How well the loss of stated formats is known, which is measured tensor by tensor."""

_LARGER_TABLES = 4
"""How often tables get twice the entries."""


def find_formats(task: Task, count: int) -> Calibration:
    """Return the formats of a network, measured on so many samples.

    Parameters
    ----------
    task
        The network, the data and the options.
    count
        Number of samples.

    Raises
    ------
    InvalidInputError
        The loss of all samples is the same.
    """
    runner = Runner(task.plan)
    ranges = ranges_of_all(task, runner)
    samples = task.sources.head(count)
    exact = rounded_outputs(runner, (), (), samples, task.batch_size)
    if not samples.has_loss:
        samples.variances = tuple(max(float(np.var(each)), 1e-30) for each in exact)
    in_floats = samples.figures(exact, exact)
    if not in_floats.loss_error > 0:
        raise InvalidInputError(
            "data must have a loss that differs between samples, as that tells what its statistical error "
            f"is. Received: {len(samples)} samples of equal loss; give more, or inputs alone"
        )
    measurement = Measurement(task, runner, samples, exact, in_floats)
    bits = Bits(task, runner, ranges, samples)
    found = _try_until_lossless(bits, measurement)
    return Calibration(
        found.built.config,
        tuple(_describe(task, bits, found)),
        len(samples),
        in_floats,
        found.figures,
        bits.expected,
        measurement.allowed,
        measurement.is_lossless(found.figures),
        "loss" if samples.has_loss else "deviation",
        dict(task.plan.left),
        found.not_emulated,
        task.delivered.model,
    )


def _try_until_lossless(bits: Bits, measurement: Measurement) -> Attempt:
    """Choose formats and measure them, until nothing is lost but what stated formats lose."""
    given = _SLACK * measurement.loss_of_stated()
    enough = measurement.allowed + given
    finer, larger = 0, 0
    share = _EXPECTED_SHARE * measurement.allowed
    formats = bits.choose(share)
    while True:
        found = measurement.try_formats(formats, bits.ranges, larger)
        before, after = measurement.in_floats.loss, found.figures.loss
        logger.info("the loss is %.5g in floats, and %.5g quantized", before, after)
        if measurement.is_lossless(found.figures, given):
            return found
        # What rounding tensor by tensor does not explain is the doing of tables.
        may_enlarge = larger < _LARGER_TABLES and not found.not_emulated
        if may_enlarge and measurement.rounded_rise(formats) <= enough / 2:
            larger += 1
        elif finer < _FINER and bits.free:
            finer += 1
            formats = bits.choose(share / 4**finer)
        else:
            return found


def _describe(task: Task, bits: Bits, found: Attempt) -> Iterator[NumberFormat]:
    losses = bits.losses()
    for place, (each, form) in enumerate(zip(task.numbers, found.formats, strict=True)):
        least, largest, _ = bits.extremes(place)
        stated, (layer, kind) = task.stated[place] is not None, each.places[0]
        yield NumberFormat(
            layer,
            kind,
            least,
            largest,
            str(form),
            form.width,
            form.width - form.fractional,
            form.fractional,
            stated,
            None if stated else 3 * float(losses[place]),
        )
        for key in ("bias", "accum") if each.kernel is not None else ():
            if (layer, key) in found.built.derived:
                yield _describe_derived(task, layer, key, found.built.derived[layer, key])


def _describe_derived(task: Task, layer: str, key: str, form: TensorFormat) -> NumberFormat:
    stated = task.statements.find(layer, key)
    text = str(form if key == "bias" else form.plain)
    if stated is not None:
        form, text = TensorFormat(stated.fractional, stated.integer, stated.signed), str(stated)
    bits = (form.width, form.integer, form.fractional)
    return NumberFormat(layer, key, None, None, text, *bits, stated is not None)
