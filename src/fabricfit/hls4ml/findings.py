"""Limits of hls4ml as data, and what is found of them in a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from fabricfit.hls4ml.site import Site

__all__ = ["BuildWarning", "Finding", "Limit", "Verdict"]


class BuildWarning(UserWarning):
    """hls4ml will not build a model as it is, or an HLS tool may not."""


class Verdict(StrEnum):
    """What fabricfit makes of a limit.

    ``REFUSED``: ``fit`` refuses the model, before anything is trained. ``WORKED_AROUND``: ``fit`` changes the
    model to one that computes the same and that hls4ml builds. ``WARNED``: it is told.
    """

    REFUSED = "refused"
    WORKED_AROUND = "worked around"
    WARNED = "warned"


@dataclass(frozen=True)
class Limit:
    """A row of the table.

    Parameters
    ----------
    name
        What it is called in tests.
    applies
        Whether it holds for a call of a layer.
    effect
        What hls4ml does, as the rest of a sentence that begins with "hls4ml".
    way_out
        What to do about it.
    verdict
        What fabricfit makes of it.
    """

    name: str
    applies: Callable[[Site], bool]
    effect: str
    way_out: str
    verdict: Verdict = Verdict.REFUSED

    @property
    def is_wrong(self) -> bool:
        """Whether hls4ml builds another function, or none, of a model as it is."""
        return self.verdict is not Verdict.WARNED


@dataclass(frozen=True)
class Finding:
    """A limit that a layer of a model meets.

    Parameters
    ----------
    layer, kind
        The layer's name and class.
    limit
        The limit.
    """

    layer: str
    kind: str
    limit: Limit

    def __str__(self) -> str:
        effect = self.limit.effect.format(kind=self.kind)
        return f"layer {self.layer!r} ({self.kind}): hls4ml {effect}. {self.limit.way_out}"
