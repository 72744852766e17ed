"""How many flip-flops hold the weights and results of a layer: a deliberately coarse picture.

The flip-flops of a design depend on pipelining that only the HLS compiler decides. These laws count
what is stored, not what is pipelined; they are of no use as absolute numbers, but fewer weights or
outputs never count as more flip-flops, which is what choosing between groups needs.
"""

from __future__ import annotations

from fabricfit.checks import whole_number
from fabricfit.description.strategies import canonical_strategy, check_io_type

__all__ = ["output_registers", "weight_registers"]


def weight_registers(n_weights: int, weight_width: int, strategy: str) -> int:
    """Return the flip-flops that hold weights.

    With Latency all of their bits are in the fabric; with Resource they are in block RAM, and with
    distributed arithmetic they are wiring, so that none is in a register.

    Parameters
    ----------
    n_weights
        Number of weights.
    weight_width
        Bits of a weight.
    strategy
        The strategy that is built, as ``fabricfit.description.strategies.canonical_strategy`` spells it.
    """
    bits = whole_number("n_weights", n_weights, 0) * whole_number("weight_width", weight_width)
    return bits if canonical_strategy(strategy) == "latency" else 0


def output_registers(n_outputs: int, output_width: int, io_type: str) -> int:
    """Return the flip-flops that hold results.

    With ``io_parallel`` every result has a register; with ``io_stream`` results go through FIFOs.

    Parameters
    ----------
    n_outputs
        Number of results: units × output positions.
    output_width
        Bits of a result.
    io_type
        ``'io_parallel'`` or ``'io_stream'``.
    """
    bits = whole_number("n_outputs", n_outputs, 0) * whole_number("output_width", output_width)
    return bits if check_io_type(io_type) == "io_parallel" else 0
