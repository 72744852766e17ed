"""Group regularizers of a model's layers: attach them, and remove them again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from fabricfit.description.attributes import LayerAttributes
from fabricfit.layers import Kernel, family_of
from fabricfit.layers.regularizers import GroupRegularizer
from fabricfit.network.cloning import copy_model, every_layer
from fabricfit.network.reader import Network, read

__all__ = ["attach_regularizers", "remove_custom_regularizers", "strip_regularizers"]


def attach_regularizers(
    model: keras.Model,
    attributes: Mapping[str, LayerAttributes],
    strengths: Mapping[str, tuple[float, float]],
) -> keras.Model:
    """Attach group regularizers to a model's optimizable layers, on top of those they have.

    Parameters
    ----------
    model
        The model; it is changed.
    attributes
        Layer -> attributes.
    strengths
        Layer -> ``(alpha, beta)``, the weights of the norms and of the variances.
    """
    network = read(model)
    classes = _find_classes(network)
    for name, kernel, described, settings in network.iterate_optimizable(attributes):
        alpha, beta = strengths[name]
        regularizer = classes[id(kernel.variable)](
            alpha=alpha if settings.pruning else 0.0,
            beta=beta if settings.weight_sharing else 0.0,
            structure_type=settings.structure_type,
            block_shape=settings.block_shape,
            pattern_offset=settings.pattern_offset,
            consecutive_patterns=settings.consecutive_patterns,
            base=_strip_regularizer(getattr(kernel.owner, kernel.regularizer)),
            layout=described.layout,
        )
        _set_regularizer(kernel, regularizer)
    return model


def remove_custom_regularizers(model: keras.Model) -> keras.Model:
    """Return a copy of a model without fabricfit's regularizers.

    Parameters
    ----------
    model
        A model, for example of :func:`build_optimizable_model`. It is not changed.

    Returns
    -------
    keras.Model
        An uncompiled copy with the same weights, in which every layer has the regularizer again that it
        had before, if any. It saves and loads where fabricfit is not installed.
    """
    return strip_regularizers(copy_model(read(model).model))


def strip_regularizers(model: keras.Model) -> keras.Model:
    """Remove fabricfit's regularizers from a model's layers, in place; those they were added to are kept."""
    for layer in every_layer(model):
        for name, value in list(vars(layer).items()):
            if isinstance(value, GroupRegularizer):
                setattr(layer, name, value.base)
    for variable in model.variables:
        if isinstance(getattr(variable, "regularizer", None), GroupRegularizer):
            variable.regularizer = variable.regularizer.base
    return model


def _set_regularizer(kernel: Kernel, regularizer: Any) -> None:
    setattr(kernel.owner, kernel.regularizer, regularizer)
    kernel.variable.regularizer = regularizer


def _find_classes(network: Network) -> dict[int, type[GroupRegularizer]]:
    """Return the regularizer class of each kernel, by the variable's id."""
    return {
        id(kernel.variable): family.regularizer
        for layer in network.layers.values()
        if (family := family_of(layer)) is not None
        for kernel in family.kernels(layer)
    }


def _strip_regularizer(regularizer: Any) -> Any:
    return regularizer.base if isinstance(regularizer, GroupRegularizer) else regularizer
