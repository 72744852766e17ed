"""Recurrent layers: kernel ``(n_in, gates · units)``, recurrent kernel ``(units, gates · units)``."""

from __future__ import annotations

from typing import Any

import keras

from fabricfit.description.layout import Layout
from fabricfit.layers.base import Kernel, LayerHandler, register_layer, shape_at

__all__ = ["RecurrentHandler", "recurrent_kernels", "steps_of"]

L = keras.layers
_GATES = {L.SimpleRNN: 1, L.LSTM: 4, L.GRU: 3}


class RecurrentHandler(LayerHandler):
    """SimpleRNN, LSTM and GRU.

    hls4ml multiplies by both kernels as dense layers do, all gates side by side; a unit is what all of
    its gates compute.
    """

    def handles(self, layer_type: type) -> bool:
        """Tell whether this is one of the three."""
        return layer_type in _GATES

    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
        """Return the kernel and the recurrent kernel."""
        return recurrent_kernels(layer, _GATES[type(layer)])


def recurrent_kernels(layer: Any, gates: int) -> tuple[Kernel, ...]:
    """Return the two kernels of a recurrent layer with so many gates."""
    cell = layer.cell
    units = int(cell.units)
    bias, bias_layout = cell.bias, None
    if bias is not None:
        sets = int(bias.shape[0]) if len(bias.shape) > 1 else 1
        bias_layout = Layout((sets, gates, units), (), (0, 1, 2), (2,))

    def kernel(variable: Any, part: str, **options: Any) -> Kernel:
        layout = Layout((int(variable.shape[0]), gates, units), (0,), (1, 2), (2,))
        return Kernel(
            variable, cell, part, layout=layout, dense=True, positions=steps_of(layer), **options
        )

    return (
        kernel(cell.kernel, "kernel", bias=bias, bias_layout=bias_layout),
        kernel(
            cell.recurrent_kernel,
            "recurrent_kernel",
            regularizer="recurrent_regularizer",
            weight_name="recurrent_weight",
        ),
    )


def steps_of(layer: Any) -> int:
    """Return how many steps a layer takes for one sample; 1 where that is not known."""
    return next(iter(shape_at(layer, "input")), None) or 1


register_layer(RecurrentHandler())
