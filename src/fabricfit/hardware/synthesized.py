"""LUTs and flip-flops after logic synthesis, which needs fewer than HLS reports."""

from __future__ import annotations

from dataclasses import replace

from fabricfit.errors import unknown_name
from fabricfit.hardware.estimates import Estimate, joined_notes
from fabricfit.hardware.product import Product, Work
from fabricfit.hardware.resources import Resources

__all__ = [
    "ADDER_GRAPH_BAR",
    "ADDER_GRAPH_RATIO",
    "HLS",
    "LOGIC_SYNTHESIS",
    "STAGES",
    "SYNTHESIZED_RATIOS",
    "after_synthesis",
    "check_stage",
]

HLS, LOGIC_SYNTHESIS = "hls", "logic synthesis"
STAGES = (HLS, LOGIC_SYNTHESIS)
"""Whose figures are meant: the report of HLS, or what is left after logic synthesis."""

SYNTHESIZED_RATIOS = {
    "lut": (0.49, 0.42, 0.60),
    "ff": (0.70, 0.40, 1.00),
    "bram18": (1.00, 0.68, 1.00),
}
"""Resource -> what is left of the HLS report: value, low and high. LUTs were 0.45 to 0.53 in three
networks, blocks of memory 68 to 84 of 100 in one; flip-flops are a guess."""

ADDER_GRAPH_RATIO = 1.23
"""LUTs after logic synthesis for each unit of an adder graph's cost: 1.21 to 1.26 in three networks."""

ADDER_GRAPH_BAR = 0.1
"""What the LUTs of an adder graph may be more by, of themselves."""

_GRAPH_PER_DIGIT = 1.09
"""Cost of a network's adder graph for each signed digit and bit of its input: within 10 % in 12 networks."""

_GRAPH_BAND = (0.75, 1.20)


def check_stage(stage: str) -> str:
    """Return the name of a stage.

    Raises
    ------
    InvalidInputError
        It is none of :data:`STAGES`.
    """
    if stage not in STAGES:
        raise unknown_name("stage", stage, STAGES)
    return stage


def after_synthesis(
    resources: Resources, product: Product | None = None, work: Work | None = None
) -> Resources:
    """Return what is left of an estimate after logic synthesis.

    Parameters
    ----------
    resources
        As HLS reports it.
    product, work
        The matrix product that it is of, if any. Where products are a graph of adders, their LUTs are
        counted by the digits of the weights: 1.34 for each digit and bit of the input.
    """
    found = {name: _scale(each, name) for name, each in resources.items()}
    if product is not None and work is not None and product.by_adders:
        digits = float(work.digits) * product.input_width * product.copies
        lut = digits * _GRAPH_PER_DIGIT * ADDER_GRAPH_RATIO
        low, high = _GRAPH_BAND
        note = joined_notes(
            (resources["lut"].note, "a network's adder graph shares sums across layers")
        )
        found["lut"] = Estimate(lut, lut * low, lut * high, note)
    return Resources(**found)


def _scale(estimate: Estimate, name: str) -> Estimate:
    if name not in SYNTHESIZED_RATIOS:
        return estimate
    value, low, high = SYNTHESIZED_RATIOS[name]
    return replace(
        estimate,
        value=estimate.value * value,
        low=estimate.low * low,
        high=max(estimate.high * high, estimate.value * value),
    )
