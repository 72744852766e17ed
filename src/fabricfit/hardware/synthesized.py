"""LUTs and flip-flops after logic synthesis, which needs fewer than HLS reports."""

from __future__ import annotations

from fabricfit.checks import one_of
from fabricfit.hardware.adder_graphs import GRAPH_BAND, law_of_digits
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
    "graph_cost",
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


def check_stage(stage: str) -> str:
    """Return the name of a stage.

    Raises
    ------
    InvalidInputError
        It is none of :data:`STAGES`.
    """
    return str(one_of("stage", stage, STAGES))


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
        counted by the graph, see :func:`graph_cost`.
    """
    found = {name: _scale(each, name) for name, each in resources.items()}
    if product is not None and work is not None and product.by_adders:
        lut = ADDER_GRAPH_RATIO * graph_cost(product, work)
        low, high = GRAPH_BAND
        note = joined_notes(
            (resources["lut"].note, "a network's adder graph shares sums across layers")
        )
        found["lut"] = Estimate(lut, lut * low, lut * high, note)
    return Resources(**found)


def graph_cost(product: Product, work: Work) -> float:
    """Return the cost of the graph of adders of a product by its law, in all copies.

    Parameters
    ----------
    product
        The product.
    work
        What its weights leave it to do.
    """
    shape = product.n_in, product.n_out
    return product.copies * law_of_digits(work.digits, work.nonzeros, shape, product.input_width)


def _scale(estimate: Estimate, name: str) -> Estimate:
    if name not in SYNTHESIZED_RATIOS:
        return estimate
    value, low, high = SYNTHESIZED_RATIOS[name]
    scaled = estimate.value * value
    return Estimate(scaled, estimate.low * low, max(estimate.high * high, scaled), estimate.note)
