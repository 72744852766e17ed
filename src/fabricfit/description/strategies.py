"""hls4ml's strategies and interfaces, by name."""

from __future__ import annotations

from collections.abc import Mapping

from fabricfit.checks import one_of
from fabricfit.errors import InvalidInputError, spell

__all__ = [
    "CONSTANTS_ONLY",
    "IO_TYPES",
    "NO_GRAPH",
    "SHARED_MULTIPLIERS",
    "STRATEGIES",
    "canonical_strategy",
    "check_io_type",
    "spell_strategy",
]

_SPELLINGS = {
    "latency": "Latency",
    "resource": "Resource",
    "resource_unrolled": "ResourceUnrolled",
    "distributed_arithmetic": "distributed_arithmetic",
}
"""Strategy as :data:`STRATEGIES` has it -> as hls4ml's configurations do."""

STRATEGIES = tuple(_SPELLINGS)
"""Strategies that hls4ml knows, in lower case; ``ResourceUnrolled`` is the third one's other name."""

SHARED_MULTIPLIERS = ("resource", "resource_unrolled")
"""Strategies with which one multiplier serves as many weights as the reuse factor says."""

CONSTANTS_ONLY = ("latency", "distributed_arithmetic")
"""Strategies that make every weight a constant in the logic."""

NO_GRAPH: Mapping[str, str] = {"distributed_arithmetic": "latency"}
"""What hls4ml builds instead for layers that it cannot build as graphs of adders."""

IO_TYPES = ("io_parallel", "io_stream")
"""How hls4ml passes data from layer to layer; the first one is its default."""


def canonical_strategy(strategy: str) -> str:
    """Return a strategy's name as :data:`STRATEGIES` spells it.

    Raises
    ------
    InvalidInputError
        hls4ml does not know the strategy (it would build the layer with Latency, silently).
    """
    name = strategy.lower() if isinstance(strategy, str) else ""
    name = {"resourceunrolled": "resource_unrolled", "da": "distributed_arithmetic"}.get(name, name)
    if name in STRATEGIES:
        return name
    hint = " Did you mean 'ResourceUnrolled'?" if "unrolled" in name else ""
    raise InvalidInputError(
        "strategy must be 'Latency', 'Resource', 'ResourceUnrolled' or 'distributed_arithmetic'; "
        f"hls4ml silently builds any other as Latency. Received: {spell(strategy)}.{hint}"
    )


def spell_strategy(strategy: str) -> str:
    """Return a strategy's name as hls4ml's configurations spell it.

    Raises
    ------
    InvalidInputError
        hls4ml does not know the strategy.
    """
    return _SPELLINGS[canonical_strategy(strategy)]


def check_io_type(io_type: str, name: str = "io_type") -> str:
    """Return an io_type if hls4ml knows it.

    Parameters
    ----------
    io_type
        One of :data:`IO_TYPES`.
    name
        Where it was stated, for the message.

    Raises
    ------
    InvalidInputError
        It is none of them.
    """
    return str(one_of(name, io_type, IO_TYPES))
