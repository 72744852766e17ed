"""Resources of an FPGA, saved by removing whole units: the layers themselves become smaller.

Zeros inside a kernel save nothing where hls4ml multiplies by all weights (``io_parallel`` convolutions with
Resource, Intel's tools), and smaller layers also need fewer registers, adders and activations.
"""

# As in the module of FPGAResources, methods that need an instance are no class methods.
# mypy: disable-error-code="override"

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fabricfit.description.attributes import LayerAttributes, OptimizationAttributes
from fabricfit.description.structures import SUPPORTED_STRUCTURES
from fabricfit.hardware.product import Product
from fabricfit.hls4ml.products import product_of
from fabricfit.objectives.base import use_without_groups
from fabricfit.objectives.fpga import FPGAResources

__all__ = ["UnitResources"]


class UnitResources(FPGAResources):
    """DSP blocks, block RAM, LUTs and flip-flops, of a model that loses neurons, filters and heads.

    The parameters are those of :class:`~fabricfit.objectives.fpga.FPGAResources`. A layer counts with
    all of its weights at work, which is the most that it can take, its activation included; layers without
    weights, which become smaller with those before them, do not count. Units that can only be removed
    together (through residual sums, for example) are chosen together, and what they take from each other's
    layers is counted once. The model comes back reduced.

    Layers keep the strategy and reuse factor that the configuration states. With a reuse factor other than 1
    a smaller layer may have to be built with another one, since that must divide its size: what is saved then
    goes in steps.
    """

    offers_choices = False
    counts_all_layers = False
    removes_units = True

    def product(self, layer_attributes: LayerAttributes) -> Product:
        """Return a layer's matrix product as the configuration asks for it."""
        return product_of(layer_attributes, self.family)

    def is_layer_optimizable(
        self, layer_attributes: LayerAttributes
    ) -> tuple[bool, OptimizationAttributes | None]:
        """Every layer with a kernel is, unit by unit."""
        if self.reason(layer_attributes):
            return False, None
        return True, OptimizationAttributes(SUPPORTED_STRUCTURES.STRUCTURED, pruning=True)

    def reason(self, layer_attributes: LayerAttributes) -> str:
        """Say why a layer is not optimizable."""
        if not layer_attributes.multiplies:
            return "the layer has no kernel."
        if layer_attributes.axes.n_units < 2:
            return "the layer has one unit, which must stay."
        return ""

    def layer_utilization(self, layer_attributes: LayerAttributes, removed: int) -> list[int]:
        """Return what the layer takes with fewer units."""
        rows, units = layer_attributes.axes.n_rows, layer_attributes.axes.n_units
        if not removed or not layer_attributes.multiplies:
            return super().layer_utilization(layer_attributes, 0)
        smaller = layer_attributes.resized(rows, max(units - removed, 1))
        return super().layer_utilization(smaller, 0)

    def layer_savings(self, layer_attributes: LayerAttributes) -> list[int]:
        """Return what a unit saves, on average over all but one of the layer's."""
        if self.reason(layer_attributes):
            return [0] * len(self.units)
        others = layer_attributes.axes.n_units - 1
        whole = np.array(self.layer_utilization(layer_attributes, 0))
        return [
            round(each / others)
            for each in whole - self.layer_utilization(layer_attributes, others)
        ]

    def layer_use(self, layer_attributes: LayerAttributes, kernel: np.ndarray) -> list[float]:
        """Return what the layer takes at most, whatever its weights."""
        if not layer_attributes.multiplies:
            return super().layer_use(layer_attributes, kernel)
        return list(map(float, self.layer_utilization(layer_attributes, 0)))

    def model_use(
        self, attributes: Mapping[str, LayerAttributes], kernels: Mapping[str, np.ndarray]
    ) -> list[float]:
        """Return what is left of the model without the units whose weights are zero."""
        return use_without_groups(self, attributes, kernels)
