"""Work on single numbers that hardware does for a layer's results, beside its matrix product."""

from __future__ import annotations

from enum import Enum

__all__ = ["ElementwiseWork"]


class ElementwiseWork(Enum):
    """What is done for each result of a layer."""

    FREE = "free"
    """Nothing, or wires: the numbers are passed on, or moved."""
    COMPARE = "compare or add"
    """A comparison or a sum, in LUTs, one for each bit: ReLU, pooling, sums."""
    SCALE = "scale"
    """A product with a constant, and a sum: a batch normalization."""
    LOOKUP_TABLE = "look-up table"
    """A function read from a table in memory: sigmoid, tanh."""
    SOFTMAX = "softmax"
    """Exponentials from a table, their sum, and a product with its inverse from another table."""
