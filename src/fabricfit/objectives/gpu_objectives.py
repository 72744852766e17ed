"""Fewer operations on hardware that runs dense kernels: whole units must go."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping

from fabricfit.description.attributes import LayerAttributes, OptimizationAttributes
from fabricfit.description.structures import SUPPORTED_STRUCTURES
from fabricfit.objectives.counting import check_removed, prunes
from fabricfit.objectives.estimator import ObjectiveEstimator

__all__ = ["GPUFLOPEstimator"]

logger = logging.getLogger(__name__)


class GPUFLOPEstimator(ObjectiveEstimator):
    """Floating-point operations of one forward pass, for one sample.

    A layer with a kernel matrix of ``n_in`` rows and ``n_out`` units does, at each output position,
    a multiplication and an addition for every weight and one addition for every bias:
    ``positions · n_out · (2 n_in + 1)``, for each call of the layer. GPUs and CPUs gain only from
    smaller matrices, so the groups are whole units (neurons, filters), and the model is reduced at the end.

    With a unit, the rows of the kernels that it feeds are removed. What two layers save
    together is therefore not a sum: a product with both its row and its column removed is saved once.
    :meth:`layer_savings`, one unit alone, is exact; so is :meth:`model_utilization`, which counts
    what is left.
    """

    units = ("FLOP",)
    removes_units = True

    @classmethod
    def is_layer_optimizable(
        cls, layer_attributes: LayerAttributes
    ) -> tuple[bool, OptimizationAttributes | None]:
        """Every layer with a kernel is, unit by unit."""
        if cls.reason(layer_attributes):
            return False, None
        return True, OptimizationAttributes(SUPPORTED_STRUCTURES.STRUCTURED, pruning=True)

    @classmethod
    def layer_resources(cls, layer_attributes: LayerAttributes) -> list[int]:
        """Return the operations of the layer."""
        return [_count_flops(layer_attributes)]

    @classmethod
    def layer_savings(cls, layer_attributes: LayerAttributes) -> list[int]:
        """Return the operations that go with one unit, those of the layers it feeds included.

        0, with a warning, if groups are shared or are not units.
        """
        if not _prunes_units(layer_attributes):
            return [0]
        saved = _count_flops(layer_attributes, units=1)
        fed = layer_attributes.consumer_attributes
        for name, rows in layer_attributes.consumers.items():
            if name in fed:
                saved += _count_flops(fed[name]) - _count_flops(fed[name], rows_removed=rows)
        return [saved]

    @classmethod
    def layer_utilization(cls, layer_attributes: LayerAttributes, removed: int) -> list[int]:
        """Return the operations of the layer alone without some of its units."""
        check_removed({layer_attributes.name: layer_attributes}, {layer_attributes.name: removed})
        return [_count_flops(layer_attributes, units=_count_units_left(layer_attributes, removed))]

    @classmethod
    def model_utilization(
        cls, attributes: Mapping[str, LayerAttributes], removed: Mapping[str, int]
    ) -> list[int]:
        """Return the operations of the model without the units, counted exactly.

        Rows that several layers feed together are those that each layer's ``consumers`` names; a
        layer with a residual sum behind it names none.
        """
        check_removed(attributes, removed)
        left = {
            name: _count_units_left(layer, removed.get(name, 0))
            for name, layer in attributes.items()
        }
        rows_removed: Counter[str] = Counter()
        for name, layer in attributes.items():
            for consumer, rows in layer.consumers.items():
                rows_removed[consumer] += rows * (layer.axes.n_units - left[name])
        return [
            sum(
                _count_flops(layer, units=left[name], rows_removed=rows_removed[name])
                for name, layer in attributes.items()
            )
        ]

    @classmethod
    def reason(cls, layer_attributes: LayerAttributes) -> str:
        """Say why a layer is not optimizable."""
        if not layer_attributes.multiplies:
            return "the layer has no kernel."
        if len(layer_attributes.weight_shape) < 2:
            return "the layer's kernel has no units that could be removed."
        return ""


def _count_flops(
    layer_attributes: LayerAttributes, units: int | None = None, rows_removed: int = 0
) -> int:
    """Count the operations of a layer with the units that are left, and without some rows of its kernel."""
    if not layer_attributes.multiplies:
        return 0
    n_in, n_out = layer_attributes.matrix_shape
    rows = max(n_in - rows_removed, 0)
    positions = sum(call.positions for call in layer_attributes.calls)
    return positions * (n_out if units is None else units) * (2 * rows + 1)


def _count_units_left(layer_attributes: LayerAttributes, removed: int) -> int:
    if not layer_attributes.multiplies:
        return 0
    units = layer_attributes.axes.n_units
    return max(units - (removed if removed and _prunes_units(layer_attributes) else 0), 0)


def _prunes_units(layer_attributes: LayerAttributes) -> bool:
    """Whether the groups are units that are pruned; log a warning where they save nothing."""
    chosen = layer_attributes.optimization_attributes
    if chosen is None or not prunes(layer_attributes, logger, "operations"):
        return False
    if chosen.structure_type is SUPPORTED_STRUCTURES.STRUCTURED:
        return True
    logger.warning(
        "Layer %r: only whole units (structured pruning) save operations of dense kernels; its "
        "groups save none.",
        layer_attributes.name,
    )
    return False
