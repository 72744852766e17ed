# ruff: noqa: D102 - the methods are documented where Rule declares them
"""Layers without weights that treat every unit alike: activations, dropout, pooling, resizing."""

from __future__ import annotations

from fabricfit.layers.calls import Call
from fabricfit.surgery.activations import activate, why_mixing
from fabricfit.surgery.rules import (
    Constants,
    Rule,
    apply_elementwise,
    only_zero,
    public_layers,
    register,
)

__all__ = ["ActivationByName", "ActivationLayer", "Identity", "Pooling", "ZeroPadding"]


@register
class Identity(Rule):
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

    def obstacle(self, call: Call) -> str | None:
        if getattr(call.layer, "noise_shape", None) is not None:
            return f"{call.name!r} has a noise_shape of its own"
        return None


@register
class ActivationLayer(Rule):
    """Layers that are one elementwise function, always the same one."""

    handles = public_layers(("ReLU", "LeakyReLU", "ELU"))

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        return apply_elementwise(call.layer.call, inputs[0])


@register
class ActivationByName(Rule):
    """Layers that apply a function which may or may not work unit by unit."""

    handles = (*public_layers(("Activation",)), "qkeras.QActivation")

    def obstacle(self, call: Call) -> str | None:
        why = why_mixing(call.layer.activation)
        return why and f"{call.name!r} applies a function that blocks: {why}"

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        return activate(call.layer.activation, inputs[0])


@register
class Pooling(Rule):
    """Pooling, cropping and enlarging: over a constant they give that constant.

    So they do at a padded border: Keras leaves the padding out of averages and maxima.
    """

    handles = public_layers(
        [
            *(
                f"{prefix}{kind}Pooling{n}D"
                for prefix in ("", "Global")
                for kind in ("Average", "Max")
                for n in (1, 2, 3)
            ),
            *(f"{kind}{n}D" for kind in ("Cropping", "UpSampling") for n in (1, 2, 3)),
        ]
    )

    def obstacle(self, call: Call) -> str | None:
        return _channels_first(call)


@register
class ZeroPadding(Rule):
    """Padding with zeros: only the constant 0 stays constant."""

    handles = public_layers(("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D"))

    def obstacle(self, call: Call) -> str | None:
        return _channels_first(call)

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        return only_zero(inputs[0])


def _channels_first(call: Call) -> str | None:
    data_format = getattr(call.layer, "data_format", None)
    if data_format in (None, "channels_last"):
        return None
    return f"{call.name!r} has data_format={data_format!r}"
