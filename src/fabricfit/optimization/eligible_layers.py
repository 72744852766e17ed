"""Layers that are optimized in a run, and the reason for each that is not."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from fabricfit.description.attributes import LayerAttributes, grouping_of
from fabricfit.description.coupled_units import is_coupled
from fabricfit.description.skip_reasons import Skip, SkipReason
from fabricfit.description.structures import SUPPORTED_STRUCTURES
from fabricfit.errors import InvalidInputError
from fabricfit.layers import find_skip
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
    skipped: dict[str, Skip]
    objective: Objective

    @property
    def reasons(self) -> dict[str, str]:
        """Layer with weights -> why it is not optimized, in a sentence."""
        return {name: skip.sentence for name, skip in self.skipped.items()}

    @property
    def optimized(self) -> list[str]:
        """Names of the layers that are optimized."""
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
    skipped: dict[str, Skip] = {}
    for name, given in attributes.items():
        own = replace(given, args=dict(given.args), optimizable=False)
        layer = layers[given.layer_name]
        skip = find_skip(layer)
        if skip is None:
            is_output = given.layer_name in outputs and not given.inner
            own, skip = _ask_objective(own, objective, is_output)
        if coupling is not None and own.weight_shape:
            own, skip = _couple_kernel(own, coupling, skip)
        decided[name] = own
        if skip is not None and layer.weights and not given.kernels:
            skipped[name] = skip
            logger.info("layer %r is not optimized: %s", name, skip.sentence)
    if coupling is not None:
        _assign_scales(decided, coupling)
    result = Decisions(decided, skipped, objective)
    if not result.optimized:
        reasons = "; ".join(f"{name!r}: {reason}" for name, reason in result.reasons.items())
        raise InvalidInputError(
            f"no layer of model {network.model.name!r} can be optimized for {objective.name}. "
            f"{reasons}"
        )
    return result


def _couple_kernel(
    layer: LayerAttributes, coupling: Coupling, skip: Skip | None
) -> tuple[LayerAttributes, Skip | None]:
    """Note in a kernel what its units and channels are coupled with; refuse it where all have to be kept."""
    units = coupling.units.get(layer.name)
    if units is None:
        unknown = "it is not known which units of other layers belong to its own"
        return replace(layer, optimizable=False), skip or Skip(SkipReason.UNKNOWN_UNITS, unknown)
    rows = coupling.rows.get(layer.name, np.empty(0, int))
    layer = replace(layer, unit_classes=tuple(units.tolist()), row_classes=tuple(rows.tolist()))
    if layer.optimizable and is_coupled(layer) and (units < 0).all():
        needed = Skip(SkipReason.UNITS_NEEDED, coupling.reasons[layer.name])
        return replace(layer, optimizable=False), needed
    return layer, skip


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


def _ask_objective(
    layer: LayerAttributes, objective: Objective, is_output: bool
) -> tuple[LayerAttributes, Skip | None]:
    """Return the layer as the objective wants it, and why it cannot be optimized, if so."""
    settings = objective.groups(layer)
    if settings is None:
        reason = SkipReason.NOTHING_TO_SAVE if layer.multiplies else SkipReason.NO_KERNEL
        sentence = objective.reason(layer) or "the objective has nothing to gain from it"
        return layer, Skip(reason, sentence)
    settings = replace(settings)
    if (
        is_output
        and settings.pruning
        and settings.structure_type is SUPPORTED_STRUCTURES.STRUCTURED
    ):
        settings.pruning = False
        if not settings.weight_sharing:
            outputs = "its units are outputs of the model, which must all stay"
            return layer, Skip(SkipReason.MODEL_OUTPUT, outputs)
    if layer.trains_bits:
        # Equal weights would be rounded to their own bits each.
        settings.weight_sharing = settings.constants = False
        if not settings.pruning:
            bits = "its weights train bits of their own, so that they cannot share values"
            return layer, Skip(SkipReason.TRAINS_BITS, bits)
    if not (settings.pruning or settings.weight_sharing):
        neither = "the objective allows neither pruning nor weight sharing"
        return layer, Skip(SkipReason.NO_TREATMENT, neither)
    if (
        not settings.pruning
        and grouping_of(layer.weight_shape, settings, layer.layout).group_size == 1
    ):
        single = "a group of one weight has nothing to share"
        return layer, Skip(SkipReason.SINGLE_WEIGHTS, single)
    wanted = replace(layer, optimizable=True, optimization_attributes=settings)
    if not measure_costs({layer.name: wanted}, objective).per_group:
        nothing = f"a group of its {settings.structure_type.value} structure saves nothing"
        sentence = objective.reason(wanted) or nothing
        return layer, Skip(SkipReason.NOTHING_TO_SAVE, sentence)
    return wanted, None


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
