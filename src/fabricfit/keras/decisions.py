"""Which layers take part in a run, and for each of the others why it does not."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import keras

from fabricfit.attributes import LayerAttributes
from fabricfit.config import SUPPORTED_STRUCTURES
from fabricfit.errors import InvalidInputError, InvalidTypeError
from fabricfit.grouping import Grouping
from fabricfit.keras.layers import reason_to_skip
from fabricfit.keras.reading import kernels_of, named_layers, output_layers
from fabricfit.objectives import ObjectiveEstimator
from fabricfit.selection import Objective, measure_costs

__all__ = ["Decisions", "check_objective", "decide"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decisions:
    """The layers of a model as an objective sees them.

    Parameters
    ----------
    attributes
        Layer -> attributes of the run's own, ``optimizable`` set as decided.
    skipped
        Layer with weights -> why it is not optimized.
    objective
        The objective that decided.
    """

    attributes: dict[str, LayerAttributes]
    skipped: dict[str, str]
    objective: Objective

    @property
    def optimized(self) -> list[str]:
        """Names of the layers that take part."""
        return [name for name, layer in self.attributes.items() if layer.optimizable]


def decide(
    model: keras.Model, attributes: Mapping[str, LayerAttributes], objective: Objective
) -> Decisions:
    """Ask the objective, the layer families and the graph which layers can be optimized.

    The caller's attributes are not changed.

    Raises
    ------
    InvalidInputError
        The attributes do not describe this model, or no layer can be optimized.
    """
    layers, kernels = named_layers(model), kernels_of(model)
    _check_names(attributes, layers, kernels)
    outputs = output_layers(model)
    decided: dict[str, LayerAttributes] = {}
    skipped: dict[str, str] = {}
    for name, given in attributes.items():
        own = replace(given, args=dict(given.args), optimizable=False)
        reason = reason_to_skip(layers[name])
        if not reason:
            own, reason = _ask(own, objective, name in outputs)
        decided[name] = own
        if reason and layers[name].weights:
            skipped[name] = reason
            logger.info("layer %r stays as it is: %s", name, reason)
    result = Decisions(decided, skipped, objective)
    if not result.optimized:
        reasons = "; ".join(f"{name!r}: {reason}" for name, reason in skipped.items())
        raise InvalidInputError(
            f"no layer of model {model.name!r} can be optimized for "
            f"{getattr(objective, '__name__', type(objective).__name__)}. {reasons}"
        )
    return result


def check_objective(objective: Objective) -> Objective:
    """Return the objective if it is an estimator, as a class or an instance.

    Raises
    ------
    InvalidTypeError
        It is something else.
    """
    kind = objective if isinstance(objective, type) else type(objective)
    if not issubclass(kind, ObjectiveEstimator):
        raise InvalidTypeError(
            "objective must be an ObjectiveEstimator, as a class or an instance of it. "
            f"Received: {objective!r}"
        )
    return objective


def _ask(
    layer: LayerAttributes, objective: Objective, is_output: bool
) -> tuple[LayerAttributes, str]:
    """Return the layer as the objective wants it, and why it cannot be optimized, if so."""
    optimizable, settings = objective.is_layer_optimizable(layer)
    if not optimizable or settings is None:
        return layer, objective.reason(layer) or "the objective has nothing to gain from it"
    settings = replace(settings)
    if (
        is_output
        and settings.pruning
        and settings.structure_type is SUPPORTED_STRUCTURES.STRUCTURED
    ):
        settings.pruning = False
        if not settings.weight_sharing:
            return layer, "its units are outputs of the model, which must all stay"
    if not (settings.pruning or settings.weight_sharing):
        return layer, "the objective allows neither pruning nor weight sharing"
    if (
        not settings.pruning
        and Grouping.from_attributes(layer.weight_shape, settings).group_size == 1
    ):
        return layer, "a group of one weight has nothing to share"
    wanted = replace(layer, optimizable=True, optimization_attributes=settings)
    if not measure_costs({layer.name: wanted}, objective).per_group:
        return layer, objective.reason(wanted) or (
            f"a group of its {settings.structure_type.value} structure saves nothing"
        )
    return wanted, ""


def _check_names(
    attributes: Mapping[str, LayerAttributes],
    layers: Mapping[str, keras.layers.Layer],
    kernels: Mapping[str, keras.Variable],
) -> None:
    unknown = sorted(set(attributes) - set(layers))
    if unknown:
        raise InvalidInputError(
            f"model_attributes name layers that the model does not have: {unknown}. "
            "Read them from this model with get_attributes_from_keras_model."
        )
    missing = sorted(set(kernels) - set(attributes))
    if missing:
        raise InvalidInputError(
            f"model_attributes lack layers of the model: {missing}. "
            "Read them from this model with get_attributes_from_keras_model."
        )
    for name, kernel in kernels.items():
        if tuple(attributes[name].weight_shape) != tuple(kernel.shape):
            raise InvalidInputError(
                f"layer {name!r} has a kernel of shape {tuple(kernel.shape)}, but model_attributes "
                f"say {tuple(attributes[name].weight_shape)}. Read them from this model."
            )
