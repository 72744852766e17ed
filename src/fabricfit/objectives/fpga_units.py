"""Resources of an FPGA, saved by removing whole units: the layers themselves become smaller.

Zeros inside a kernel save nothing where hls4ml multiplies by all weights (``io_parallel`` convolutions with
Resource, Intel's tools), and smaller layers also need fewer registers, adders and activations.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fabricfit.description.attributes import LayerAttributes, OptimizationAttributes
from fabricfit.description.structures import SUPPORTED_STRUCTURES
from fabricfit.hardware.product import Product
from fabricfit.hls4ml.products import product_of
from fabricfit.objectives.base import Amounts, Kernels, Objective
from fabricfit.objectives.fpga import FPGAResources

__all__ = ["UnitResources"]


class UnitResources(FPGAResources):
    """DSP blocks, block RAM, LUTs and flip-flops, of a model that loses neurons, filters and heads.

    The parameters are those of :class:`~fabricfit.objectives.fpga.FPGAResources`. A layer counts with
    all of its weights at work, which is the most that it can use, its activation included; layers without
    weights, which become smaller with those before them, do not count. Units that can only be removed
    together (through residual sums, for example) are chosen together, and what they use of each other's
    layers is counted once. The model comes back reduced.

    Layers keep the strategy and reuse factor that the configuration states. With a reuse factor other than 1
    a smaller layer may have to be built with another one, since that must divide its size: what is saved then
    changes in steps.
    """

    offers_choices = False
    counts_all_layers = False
    removes_units = True

    def product(self, layer: LayerAttributes, *, asked: bool = False) -> Product:
        """Return a layer's matrix product as the configuration asks for it."""
        return product_of(layer, self.target)

    def groups(self, layer: LayerAttributes) -> OptimizationAttributes | None:
        """Divide every kernel into units."""
        if self.reason(layer):
            return None
        return OptimizationAttributes(SUPPORTED_STRUCTURES.STRUCTURED, pruning=True)

    def reason(self, layer: LayerAttributes) -> str:
        """Say why a layer is not optimizable."""
        if not layer.multiplies:
            return "the layer has no kernel."
        if layer.axes.n_units < 2:
            return "the layer has one unit, which must stay."
        return ""

    def usage(self, layer: LayerAttributes, kernel: np.ndarray | None = None) -> Amounts:
        """Return the largest usage of a layer, whatever its weights."""
        return super().usage(layer, None if layer.multiplies else kernel)

    def usage_as_asked(self, layer: LayerAttributes, kernel: np.ndarray) -> Amounts:
        """Return the largest usage of a layer, which is built as the configuration asks for it."""
        return self.usage(layer, kernel)

    def usage_without(self, layer: LayerAttributes, removed: int) -> Amounts:
        """Return the usage of a layer with fewer units."""
        if not removed or not layer.multiplies:
            return super().usage_without(layer, 0)
        rows, units = layer.axes.n_rows, layer.axes.n_units
        return super().usage_without(layer.resized(rows, max(units - removed, 1)), 0)

    def saving(self, layer: LayerAttributes) -> Amounts:
        """Return what a unit saves, on average over all but one of the layer's."""
        if self.reason(layer):
            return np.zeros(len(self.units))
        others = layer.axes.n_units - 1
        return np.rint((self.usage(layer) - self.usage_without(layer, others)) / others)

    def model_usage(self, attributes: Mapping[str, LayerAttributes], kernels: Kernels) -> Amounts:
        """Return what is left of the model without the units whose weights are zero."""
        return Objective.model_usage(self, attributes, kernels)
