"""Cycles of layers, and what they make of a design: layer after layer, or all at once in a stream."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fabricfit.hardware.estimates import Estimate, total
from fabricfit.hls4ml.estimation import LayerEstimate

__all__ = ["LayerTiming"]

_NONE = Estimate.exact(0)


@dataclass(frozen=True)
class LayerTiming:
    """Cycles of layers.

    Parameters
    ----------
    latency
        From input to output, one after the other.
    interval
        Between two samples, of the slowest one.
    filling
        In a stream: from the last pixel that arrives to the last result, summed.
    ahead
        In a stream: the most cycles that one of them needs before its filling.
    """

    latency: Estimate = _NONE
    interval: Estimate = _NONE
    filling: Estimate = _NONE
    ahead: float = 0.0

    @classmethod
    def of(cls, layers: Sequence[LayerEstimate]) -> LayerTiming:
        """Return the cycles of estimated layers."""
        return cls.joined(cls.of_call(each.latency, each.interval, each.filling) for each in layers)

    @classmethod
    def of_call(cls, latency: Estimate, interval: Estimate, filling: Estimate) -> LayerTiming:
        """Return the cycles of one call of a layer."""
        return cls(latency, interval, filling, latency.value - filling.value)

    @classmethod
    def joined(cls, parts: Iterable[LayerTiming]) -> LayerTiming:
        """Return the cycles of several together."""
        found = list(parts)
        return cls(
            total(each.latency for each in found),
            Estimate(
                max((each.interval.value for each in found), default=0),
                0,
                max((each.interval.high for each in found), default=0),
            ),
            total(each.filling for each in found),
            max((each.ahead for each in found), default=0.0),
        )

    def count_latency(self, margin: float, *, streams: bool) -> float:
        """Return the cycles from input to output, with so much of the error bar.

        In a stream all layers work at once: it is what the slowest one is ahead, and the filling of all; by
        its error bar it may be no less than one after the other.

        Parameters
        ----------
        margin
            From 0, the most likely value, to 1, the upper end.
        streams
            Whether the layers work on a stream.
        """
        if not streams:
            return self.latency.counted(margin)
        likely = self.ahead + self.filling.value
        return likely + margin * (self.latency.high - likely)
