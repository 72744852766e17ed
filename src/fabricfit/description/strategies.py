"""hls4ml's strategies and interfaces, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fabricfit.errors import InvalidInputError

if TYPE_CHECKING:
    pass

__all__ = ["IO_TYPES", "STRATEGIES", "canonical_strategy"]


STRATEGIES = ("latency", "resource", "resource_unrolled", "distributed_arithmetic")
"""Strategies that hls4ml knows, in lower case; ``ResourceUnrolled`` is the third one's other name."""


IO_TYPES = ("io_parallel", "io_stream")


def canonical_strategy(strategy: str) -> str:
    """Return a strategy's name as :data:`STRATEGIES` spells it.

    Raises
    ------
    InvalidInputError
        hls4ml does not know the strategy (it would build the layer with Latency, silently).
    """
    name = str(strategy).lower()
    name = {"resourceunrolled": "resource_unrolled", "da": "distributed_arithmetic"}.get(name, name)
    if name in STRATEGIES:
        return name
    hint = " Did you mean 'ResourceUnrolled'?" if "unrolled" in name else ""
    raise InvalidInputError(
        "strategy must be 'Latency', 'Resource', 'ResourceUnrolled' or 'distributed_arithmetic'; "
        f"hls4ml takes any other for Latency without a word. Received: {strategy!r}.{hint}"
    )
