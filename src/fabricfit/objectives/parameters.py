"""Fewer weights: the objective that depends on no hardware."""

from __future__ import annotations

import logging
import math

from fabricfit.description.attributes import LayerAttributes, OptimizationAttributes
from fabricfit.description.structures import SUPPORTED_STRUCTURES
from fabricfit.objectives.counting import prunes
from fabricfit.objectives.estimator import ObjectiveEstimator

__all__ = ["ParameterEstimator"]

logger = logging.getLogger(__name__)


class ParameterEstimator(ObjectiveEstimator):
    """The number of weights in the kernels that are not zero.

    Weights are pruned one by one (``UNSTRUCTURED``) unless a layer's attributes say otherwise; a
    group of another structure saves as many weights as it has members. Biases do not count.
    """

    units = ("parameters",)

    @classmethod
    def is_layer_optimizable(
        cls, layer_attributes: LayerAttributes
    ) -> tuple[bool, OptimizationAttributes | None]:
        """Every layer with a kernel is, weight by weight."""
        if cls.reason(layer_attributes):
            return False, None
        return True, OptimizationAttributes(SUPPORTED_STRUCTURES.UNSTRUCTURED, pruning=True)

    @classmethod
    def layer_resources(cls, layer_attributes: LayerAttributes) -> list[int]:
        """Return the number of weights in the kernel."""
        shape = layer_attributes.weight_shape
        return [math.prod(shape) if shape else 0]

    @classmethod
    def layer_savings(cls, layer_attributes: LayerAttributes) -> list[int]:
        """Return the number of weights in a full group; 0, with a warning, if groups are shared."""
        if not prunes(layer_attributes, logger, "weights"):
            return [0]
        return [layer_attributes.grouping.group_size]

    @classmethod
    def reason(cls, layer_attributes: LayerAttributes) -> str:
        """Say why a layer is not optimizable."""
        return "" if layer_attributes.weight_shape else "the layer has no kernel."
