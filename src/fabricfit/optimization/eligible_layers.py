"""Which layers take part in a run, and for each of the others why it does not."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from fabricfit.description.attributes import LayerAttributes, grouping_of
from fabricfit.description.coupled_units import is_coupled
from fabricfit.description.structures import SUPPORTED_STRUCTURES
from fabricfit.errors import InvalidInputError
from fabricfit.layers import reason_to_skip
from fabricfit.network.reader import Network
from fabricfit.objectives import Objective, ObjectiveLike, as_objective
from fabricfit.selection.costs import measure_costs
from fabricfit.surgery.coupling import Coupling, couple_units

__all__ = ["Decisions", "decide"]

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
    network: Network, attributes: Mapping[str, LayerAttributes], objective: ObjectiveLike
) -> Decisions:
    """Ask the objective, the layer families and the graph which layers can be optimized.

    The caller's attributes are not changed.

    Raises
    ------
    InvalidInputError
        The attributes do not describe this model, or no layer can be optimized.
    """
    layers, outputs = network.layers, network.output_layers
    _check_names(attributes, network)
    objective = as_objective(objective)
    coupling = couple_units(network) if objective.removes_units else None
    decided: dict[str, LayerAttributes] = {}
    skipped: dict[str, str] = {}
    for name, given in attributes.items():
        own = replace(given, args=dict(given.args), optimizable=False)
        layer = layers[given.layer_name]
        reason = reason_to_skip(layer)
        if not reason:
            is_output = given.layer_name in outputs and not given.inner
            own, reason = _ask(own, objective, is_output)
        if coupling is not None and own.weight_shape:
            own, reason = _coupled(own, coupling, reason)
        decided[name] = own
        if reason and layer.weights and not given.kernels:
            skipped[name] = reason
            logger.info("layer %r stays as it is: %s", name, reason)
    if coupling is not None:
        _assign_scales(decided, coupling)
    result = Decisions(decided, skipped, objective)
    if not result.optimized:
        reasons = "; ".join(f"{name!r}: {reason}" for name, reason in skipped.items())
        raise InvalidInputError(
            f"no layer of model {network.model.name!r} can be optimized for {objective.name}. "
            f"{reasons}"
        )
    return result


def _coupled(
    layer: LayerAttributes, coupling: Coupling, reason: str
) -> tuple[LayerAttributes, str]:
    """Tell a kernel what its units and channels are tied to; refuse it where all of them have to stay."""
    units = coupling.units.get(layer.name)
    if units is None:
        why = reason or "it is not known which units of other layers belong to its own"
        return replace(layer, optimizable=False), why
    rows = coupling.rows.get(layer.name, np.empty(0, int))
    layer = replace(layer, unit_classes=tuple(units.tolist()), row_classes=tuple(rows.tolist()))
    if layer.optimizable and is_coupled(layer) and (units < 0).all():
        return replace(layer, optimizable=False), coupling.reasons[layer.name]
    return layer, reason


def _assign_scales(decided: Mapping[str, LayerAttributes], coupling: Coupling) -> None:
    """Give each number of a batch normalization to one of the kernels that make its unit."""
    for variable, classes in coupling.scales.items():
        free = np.array(classes)
        for layer in decided.values():
            if not is_coupled(layer):
                continue
            unit_of = {
                number: unit for unit, number in enumerate(layer.unit_classes) if number >= 0
            }
            found = np.array([unit_of.get(int(number), -1) for number in free])
            if (found >= 0).any():
                layer.scales = {**layer.scales, variable: tuple(found.tolist())}
                free = np.where(found >= 0, -1, free)


def _ask(
    layer: LayerAttributes, objective: Objective, is_output: bool
) -> tuple[LayerAttributes, str]:
    """Return the layer as the objective wants it, and why it cannot be optimized, if so."""
    settings = objective.groups(layer)
    if settings is None:
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
    if layer.trains_bits:
        # Equal weights would be rounded to their own bits each.
        settings.weight_sharing = settings.constants = False
        if not settings.pruning:
            return layer, "its weights train bits of their own, so that they cannot share values"
    if not (settings.pruning or settings.weight_sharing):
        return layer, "the objective allows neither pruning nor weight sharing"
    if (
        not settings.pruning
        and grouping_of(layer.weight_shape, settings, layer.layout).group_size == 1
    ):
        return layer, "a group of one weight has nothing to share"
    wanted = replace(layer, optimizable=True, optimization_attributes=settings)
    if not measure_costs({layer.name: wanted}, objective).per_group:
        return layer, objective.reason(wanted) or (
            f"a group of its {settings.structure_type.value} structure saves nothing"
        )
    return wanted, ""


def _check_names(attributes: Mapping[str, LayerAttributes], network: Network) -> None:
    layers, kernels = network.layers, network.kernels
    unknown = sorted(set(attributes) - set(layers) - set(kernels))
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
