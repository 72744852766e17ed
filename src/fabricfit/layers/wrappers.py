"""Layers that apply another one: its kernels are theirs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras

from fabricfit.layers.base import CONSTANTS_ONLY, Kernel, LayerHandler, find_handler, register_layer
from fabricfit.layers.recurrent import steps_of

__all__ = ["BidirectionalHandler", "TimeDistributedHandler"]


class TimeDistributedHandler(LayerHandler):
    """``keras.layers.TimeDistributed`` around any layer that is known."""

    def handles(self, layer_type: type) -> bool:
        """Tell whether this is TimeDistributed itself."""
        return layer_type is keras.layers.TimeDistributed

    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
        """Return the inner layer's kernels."""
        handler = find_handler(layer.layer)
        return handler.kernels(layer.layer) if handler is not None else ()

    def refusal(self, layer: Any) -> str:
        """Refuse what the inner layer's handler refuses."""
        return _refusal(layer.layer)


class BidirectionalHandler(LayerHandler):
    """``keras.layers.Bidirectional``: the kernels of both directions.

    With ResourceUnrolled hls4ml builds them as with Resource, whose multipliers stay.
    """

    def handles(self, layer_type: type) -> bool:
        """Tell whether this is Bidirectional itself."""
        return layer_type is keras.layers.Bidirectional

    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
        """Return the kernels of the forward and of the backward layer."""
        found: list[Kernel] = []
        steps = steps_of(layer)
        for direction in ("forward", "backward"):
            inner = getattr(layer, f"{direction}_layer")
            handler = find_handler(inner)
            for kernel in handler.kernels(inner) if handler is not None else ():
                found.append(
                    replace(
                        kernel,
                        part=f"{direction}/{kernel.part}",
                        weight_name=f"{direction}_{kernel.weight_name}",
                        positions=steps,
                        strategies=CONSTANTS_ONLY,
                    )
                )
        return tuple(found)

    def refusal(self, layer: Any) -> str:
        """Refuse what the handlers of the two layers refuse."""
        return _refusal(layer.forward_layer) or _refusal(layer.backward_layer)


def _refusal(inner: Any) -> str:
    handler = find_handler(inner)
    if handler is None:
        return f"the {type(inner).__name__} in it is not a supported layer type"
    reason = handler.refusal(inner)
    return reason and f"of the {type(inner).__name__} in it: {reason}"


register_layer(TimeDistributedHandler())
register_layer(BidirectionalHandler())
