# ruff: noqa: D102 - the methods are documented where LayerFamily and UnitFlow declare them
"""Layers that work number by number: activations, dropout, noise; and the model's input."""

from __future__ import annotations

from typing import Any

import keras

from fabricfit.description.elementwise import ElementwiseWork
from fabricfit.layers.activations import activate, why_units_mix
from fabricfit.layers.calls import Call
from fabricfit.layers.family import LayerFamily, register_layer
from fabricfit.layers.units import Constants, apply_elementwise, public_layers

__all__ = [
    "ActivationFamily",
    "ELUFamily",
    "ElementwiseFamily",
    "IdentityFamily",
    "InputFamily",
    "LambdaFamily",
    "RectifierFamily",
    "SoftmaxFamily",
]


class ElementwiseFamily(LayerFamily):
    """A layer that applies one function to every number by itself; a subclass needs nothing but ``handles``.

    Its ``call`` takes one tensor. A constant unit becomes the layer's result on that constant. Declare
    ``piecewise_linear = True`` where the function is.
    """

    passes_units = True
    multiplies = False

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        return apply_elementwise(call.layer.call, inputs[0], rank=len(call.inputs[0].shape))


@register_layer
class RectifierFamily(ElementwiseFamily):
    """ReLU and LeakyReLU."""

    handles = public_layers(("ReLU", "LeakyReLU"))
    piecewise_linear = True


@register_layer
class ELUFamily(ElementwiseFamily):
    """ELU, which bends."""

    handles = public_layers(("ELU",))


@register_layer
class ActivationFamily(ElementwiseFamily):
    """A function that may or may not work unit by unit."""

    handles: tuple[type | str, ...] = public_layers(("Activation",))
    piecewise_linear = True
    final_activation: str | None = "call"

    def hands_on(self, layer: Any) -> bool:
        return layer.activation is keras.activations.linear

    def obstacle(self, call: Call) -> str | None:
        why = why_units_mix(call.layer.activation)
        return why and f"{call.name!r} applies a function that blocks: {why}"

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        return activate(call.layer.activation, inputs[0])


@register_layer
class SoftmaxFamily(LayerFamily):
    """The Softmax layer, which mixes units."""

    handles = public_layers(("Softmax",))
    final_activation = "call"
    multiplies = False
    own_work = ElementwiseWork.SOFTMAX

    def function(self, layer: Any) -> Any:
        return keras.activations.softmax if layer.axis == -1 else None


@register_layer
class IdentityFamily(ElementwiseFamily):
    """Layers that pass on what they receive when they do not train."""

    handles = public_layers(
        [
            "ActivityRegularization",
            "AlphaDropout",
            "Dropout",
            "GaussianDropout",
            "GaussianNoise",
            "Identity",
            "RepeatVector",
            *(f"SpatialDropout{n}D" for n in (1, 2, 3)),
        ]
    )
    piecewise_linear = True
    own_work = ElementwiseWork.FREE

    def hands_on(self, layer: Any) -> bool:
        return True

    def keeps_grid(self, layer: Any) -> bool:
        return False  # in training, some scale what they keep

    def obstacle(self, call: Call) -> str | None:
        if getattr(call.layer, "noise_shape", None) is not None:
            return f"{call.name!r} has a noise_shape of its own"
        return None

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        return inputs[0]


@register_layer
class LambdaFamily(LayerFamily):
    """Any function of the user's."""

    handles = (keras.layers.Lambda,)


@register_layer
class InputFamily(LayerFamily):
    """The model's input."""

    handles = (keras.layers.InputLayer,)
    piecewise_linear = True
    own_work = ElementwiseWork.FREE
