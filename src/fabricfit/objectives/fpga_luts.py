"""LUTs without DSPs: layers of constants as graphs of adders, or by their effective bit operations.

For models whose products are all to be built in LUTs: hls4ml's ``distributed_arithmetic``, and Latency
with narrow weights. Each weight is kept, rounded to a constant that takes less, or zeroed. The cost of an
adder graph is not a sum over weights, so that the choice is guided by the digits of constants, scaled to
the graph of the layer as it is, and what comes out is counted in its own graph.
"""

# As in the module of FPGAResources, methods that need an instance are no class methods.
# mypy: disable-error-code="override"

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fabricfit.choices import (
    Choices,
    ConstantChoices,
    ConstantLevel,
    ConstantPrices,
    GroupChoices,
    Treatment,
)
from fabricfit.choices.ranking import group_losses, weight_loss
from fabricfit.description.attributes import LayerAttributes, OptimizationAttributes
from fabricfit.description.precision import quantize
from fabricfit.description.structures import SUPPORTED_STRUCTURES
from fabricfit.hardware.adder_graphs import adder_graph_lut, bit_operations
from fabricfit.hardware.cheap_constants import constants_of
from fabricfit.hardware.dsp import DEFAULT_INPUT_WIDTH
from fabricfit.hardware.luts_and_ffs import product_lut
from fabricfit.hardware.product import Product
from fabricfit.hls4ml.products import hls4ml_attributes, weight_format
from fabricfit.objectives.base import ObjectiveEstimator
from fabricfit.objectives.fpga import FPGAResources

__all__ = ["AdderGraphResources", "BitOperations"]


class AdderGraphResources(FPGAResources):
    """Resources of a device where layers of constants are graphs of adders and take no DSPs.

    LUTs of layers built with Latency, with Resource at a reuse factor of 1, or with distributed
    arithmetic are the costs of their adder graphs, with the very weights that they have. Everything
    else is counted as :class:`~fabricfit.objectives.fpga.FPGAResources` does, whose parameters
    these are.

    Raises
    ------
    MissingExtraError
        ``alkaid`` (extra ``adders``) is not installed; raised when a layer is counted.
    """

    def product(self, layer_attributes: LayerAttributes) -> Product:
        """Return a layer's product, built of adders where its weights are constants."""
        found = super().product(layer_attributes)
        return replace(found, strategy="distributed_arithmetic") if found.by_constants else found

    def layer_use(self, layer_attributes: LayerAttributes, kernel: np.ndarray) -> list[float]:
        """Return what the layer takes with these very weights, in the cost of their graph."""
        used = super().layer_use(layer_attributes, kernel)
        if "lut" not in self.resources or not layer_attributes.multiplies:
            return used
        product = self.product(layer_attributes)
        if product.by_adders:
            index = self.resources.index("lut")
            by_digits = self._lut_by_digits(layer_attributes, kernel)
            used[index] += self._lut_of_graph(layer_attributes, kernel) - by_digits
        return used

    def treated_use(
        self, layer_attributes: LayerAttributes, kernel: np.ndarray, treatment: Treatment
    ) -> np.ndarray:
        """Return what the treated weights take as they are; training changes that a little."""
        if self.product(layer_attributes).by_adders:
            return np.array(self.layer_use(layer_attributes, treatment.apply(kernel)))
        return super().treated_use(layer_attributes, kernel, treatment)

    def lut_scale(self, layer_attributes: LayerAttributes, kernel: np.ndarray) -> float:
        """Return the cost of the layer's graph as it is, in terms of its digits."""
        if "lut" not in self.resources:
            return 1.0
        by_digits = self._lut_by_digits(layer_attributes, kernel)
        if not by_digits:
            return 1.0
        return self._lut_of_graph(layer_attributes, kernel) / by_digits

    def _lut_of_graph(self, layer_attributes: LayerAttributes, kernel: np.ndarray) -> float:
        product = self.product(layer_attributes)
        precision = hls4ml_attributes(layer_attributes).weight_precision
        matrix = layer_attributes.axes.matrix(kernel)
        found = adder_graph_lut(quantize(matrix, precision, as_built=True), product.input_width)
        return product.copies * found

    def _lut_by_digits(self, layer_attributes: LayerAttributes, kernel: np.ndarray) -> float:
        return product_lut(
            self.product(layer_attributes), self.work(layer_attributes, kernel)
        ).value


class BitOperations(ObjectiveEstimator):
    """Effective bit operations (EBOPs): bits of weights times bits of inputs, whatever is built of them.

    About the LUTs, plus 55 for each DSP, of layers of constants (Sun et al., 2024, arXiv:2405.00645). It
    needs nothing but the weights and is quick; :class:`AdderGraphResources` is nearer to synthesis.

    A layer that trains bit-widths of its own (HGQ2's) is counted as it counts itself, less the weights that
    are zero for the hardware; its weights are kept or zeroed. Those of others are kept, rounded to fewer
    bits, or zeroed, and have the bits from the first to the last that is set.
    """

    units = ("EBOP",)
    offers_choices = True

    @classmethod
    def is_layer_optimizable(
        cls, layer_attributes: LayerAttributes
    ) -> tuple[bool, OptimizationAttributes | None]:
        """Every layer with a kernel is, weight by weight."""
        if not layer_attributes.multiplies:
            return False, None
        return True, OptimizationAttributes(
            SUPPORTED_STRUCTURES.UNSTRUCTURED,
            pruning=True,
            constants=_own_count(layer_attributes) is None,
        )

    @classmethod
    def layer_resources(cls, layer_attributes: LayerAttributes) -> list[int]:
        """Return what the layer takes if all bits of all weights are set."""
        if (own := _own_count(layer_attributes)) is not None:
            return [math.ceil(own[0].sum() + own[1])]
        n_in, n_out = layer_attributes.matrix_shape if layer_attributes.multiplies else (0, 0)
        return [n_in * n_out * cls.layer_savings(layer_attributes)[0]]

    @classmethod
    def layer_savings(cls, layer_attributes: LayerAttributes) -> list[int]:
        """Return what a weight takes at most."""
        if not layer_attributes.multiplies:
            return [0]
        if (own := _own_count(layer_attributes)) is not None:
            return [math.ceil(own[0].max(initial=0.0))]
        precision = weight_format(layer_attributes)
        return [(precision.width - precision.signed) * _input_bits(layer_attributes)]

    @classmethod
    def layer_use(cls, layer_attributes: LayerAttributes, kernel: np.ndarray) -> list[float]:
        """Return what the layer takes with these very weights."""
        if not layer_attributes.multiplies:
            return [0.0]
        if (own := _own_count(layer_attributes)) is not None:
            return [float(own[0][kernel != 0].sum() + own[1])]
        integers = quantize(kernel, weight_format(layer_attributes), as_built=True)
        return [float(bit_operations(integers, _input_bits(layer_attributes)))]

    @classmethod
    def model_use(
        cls, attributes: Mapping[str, LayerAttributes], kernels: Mapping[str, np.ndarray]
    ) -> list[float]:
        """Return what the model takes with these very weights."""
        return [sum(cls.layer_use(attributes[name], kernel)[0] for name, kernel in kernels.items())]

    @classmethod
    def treated_use(
        cls, layer_attributes: LayerAttributes, kernel: np.ndarray, treatment: Treatment
    ) -> np.ndarray:
        """Return what the layer takes, weights that may still train counted as any of their size."""
        if _own_count(layer_attributes) is not None:
            return np.array(cls.layer_use(layer_attributes, treatment.mask))
        integers = quantize(kernel, weight_format(layer_attributes))
        own = (treatment.mask != 0) | (treatment.cluster > 0)
        settled = np.where(own, 0, treatment.apply(kernel))
        free = np.count_nonzero(own) * _usual_bits(integers[own]) * _input_bits(layer_attributes)
        return np.array(cls.layer_use(layer_attributes, settled)) + free

    @classmethod
    def layer_choices(
        cls,
        layer_attributes: LayerAttributes,
        kernel: np.ndarray,
        *,
        metric: Any = "l1",
        statistics: Mapping[str, np.ndarray] | None = None,
        minimum_groups: int = 1,
    ) -> Choices:
        """Return what may become of the layer's weights: kept, rounded to fewer bits, or zeroed."""
        if (own := _own_count(layer_attributes)) is not None:
            settings = layer_attributes.optimization_attributes
            assert settings is not None
            grouping, name = layer_attributes.grouping, layer_attributes.name
            layout = layer_attributes.layout
            losses = group_losses(kernel, settings, metric, statistics, name, layout)
            saved = grouping.to_groups(np.where(kernel != 0, own[0], 0))
            empty = np.array([own[1]])
            return GroupChoices(kernel, grouping, losses, saved, empty, minimum_groups)
        precision, inputs = weight_format(layer_attributes), float(_input_bits(layer_attributes))
        levels = [ConstantLevel(np.zeros(1), np.zeros(1))]
        for bits in range(1, precision.width):
            values = constants_of(precision, bits, "bits")
            if values.size:
                levels.append(ConstantLevel(values, np.array([bits * inputs])))
        kept = np.array([inputs * _usual_bits(quantize(kernel, precision))])
        prices = ConstantPrices(tuple(levels), kept, np.zeros(1))
        loss = weight_loss(kernel, metric, statistics, layer_attributes.name)
        return ConstantChoices(
            kernel, prices, loss, np.zeros(1), minimum_groups, layer_attributes.layout
        )


def _own_count(layer_attributes: LayerAttributes) -> tuple[np.ndarray, float] | None:
    """Return the bit operations that a layer counts itself: of each weight, and of the rest."""
    of_weights = layer_attributes.bit_operations
    return None if of_weights is None else (of_weights, layer_attributes.other_bit_operations)


def _usual_bits(integers: np.ndarray) -> float:
    """Return the bits of a weight that may end at any number as large: its last bit is set in half."""
    sizes = np.abs(integers[integers != 0])
    lengths = np.frexp(sizes.astype(np.float64))[1]
    return float(np.maximum(lengths - 1, 1).mean()) if sizes.size else 1.0


def _input_bits(layer_attributes: LayerAttributes) -> int:
    known = hls4ml_attributes(layer_attributes).input_precision
    return known.width if known is not None else DEFAULT_INPUT_WIDTH
