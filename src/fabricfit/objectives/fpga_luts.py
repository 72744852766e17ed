"""LUTs without DSPs: layers of constants as graphs of adders, or by their effective bit operations.

For models whose products are all to be built in LUTs: hls4ml's ``distributed_arithmetic``, and Latency
with narrow weights. Each weight is kept, rounded to a constant that uses less, or zeroed. The cost of an
adder graph is not a sum over weights, so that the choice is guided by the digits of constants, scaled to
what their law makes of the layer as it is, and what comes out is counted in its own graph.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from fabricfit.choices import (
    Choices,
    ConstantChoices,
    ConstantLevel,
    ConstantPrices,
    GroupChoices,
    Treatment,
)
from fabricfit.choices.ranking import Criterion, group_losses, weight_loss
from fabricfit.description.attributes import LayerAttributes, OptimizationAttributes
from fabricfit.description.precision import quantize
from fabricfit.description.structures import SUPPORTED_STRUCTURES
from fabricfit.hardware.adder_graphs import adder_graph_lut, bit_operations, remark_on_digits
from fabricfit.hardware.cheap_constants import constants_of
from fabricfit.hardware.dsp import DEFAULT_INPUT_WIDTH
from fabricfit.hardware.product import Product, Work
from fabricfit.hardware.synthesized import ADDER_GRAPH_RATIO, HLS, graph_cost
from fabricfit.hls4ml.products import hls4ml_attributes, weight_format
from fabricfit.objectives.base import Amounts, Kernels, Objective
from fabricfit.objectives.former_names import FormerNames
from fabricfit.objectives.fpga import FPGAResources

__all__ = ["AdderGraphResources", "BitOperations"]


class AdderGraphResources(FPGAResources):
    """Resources of a device where layers of constants are graphs of adders and use no DSPs.

    LUTs of layers built with Latency, with Resource at a reuse factor of 1, or with distributed
    arithmetic are the costs of their adder graphs, with the very weights that they have. Large graphs are
    estimated (:data:`fabricfit.hardware.adder_graphs.MOST_DIGITS`), which the remarks of a report say.
    Everything else is counted as :class:`~fabricfit.objectives.fpga.FPGAResources` does, whose parameters
    these are.

    Raises
    ------
    MissingExtraError
        ``alkaid`` (extra ``adders``) is not installed; raised when a layer is counted.
    """

    counts_slowly = True
    _traces = True

    def product(self, layer: LayerAttributes, *, asked: bool = False) -> Product:
        """Return a layer's product, built of adders where its weights are constants."""
        found = super().product(layer, asked=asked)
        return replace(found, strategy="distributed_arithmetic") if found.by_constants else found

    def call_usage(
        self, layer: LayerAttributes, kernel: np.ndarray, *, asked: bool = False
    ) -> Amounts:
        """Return the usage of a layer with these very weights, in the cost of their graph."""
        used = super().call_usage(layer, kernel, asked=asked)
        if "lut" not in self.resources or not layer.multiplies:
            return used
        product = self.product(layer)
        if product.by_adders:
            index = self.resources.index("lut")
            by_digits = self._count_digit_lut(layer, kernel)
            used[index] += self._count_graph_lut(layer, kernel) - by_digits
        return used

    def treated_usage(
        self, layer: LayerAttributes, kernel: np.ndarray, treatment: Treatment
    ) -> Amounts:
        """Return the usage of the treated weights as they are; training changes it a little."""
        if self.product(layer).by_adders:
            return self.usage(layer, treatment.apply(kernel))
        return super().treated_usage(layer, kernel, treatment)

    def rough_usage(
        self, layer: LayerAttributes, kernel: np.ndarray, treatment: Treatment
    ) -> Amounts:
        """Return the usage of the treated weights by the law of their digits."""
        return self._by_law().treated_usage(layer, kernel, treatment)

    def remark_on(
        self, attributes: Mapping[str, LayerAttributes], kernels: Mapping[str, np.ndarray]
    ) -> tuple[str, ...]:
        """Return what the counted figures rest on, and whose graphs are estimated."""
        digits = {
            name: self.work(layer, kernels[name]).digits
            for name, layer in attributes.items()
            if name in kernels and layer.multiplies and self.product(layer).by_adders
        }
        return (*super().remark_on(attributes, kernels), *remark_on_digits(digits))

    def lut_scale(self, layer: LayerAttributes, kernel: np.ndarray) -> float:
        """Return the cost of the layer's graph as it is by its law, in terms of its digits."""
        if "lut" not in self.resources:
            return 1.0
        by_digits = sum(self._count_digit_lut(call, kernel) for call in layer.calls)
        if not by_digits:
            return 1.0
        by_law = self._by_law()
        return sum(by_law._count_graph_lut(call, kernel) for call in layer.calls) / by_digits

    def _by_law(self) -> AdderGraphResources:
        """Return the same counter, by which all graphs are estimated."""
        made = copy.copy(self)
        made._traces = False
        return made

    def _count_graph_lut(self, layer: LayerAttributes, kernel: np.ndarray) -> float:
        product = self.product(layer)
        precision = hls4ml_attributes(layer).weight_precision
        integers = quantize(layer.axes.matrix(kernel), precision, as_built=True)
        if self._traces:
            found = product.copies * adder_graph_lut(integers, product.input_width)
        else:
            found = graph_cost(product, Work.of(product, integers))
        return found * (1.0 if self.stage == HLS else ADDER_GRAPH_RATIO)

    def _count_digit_lut(self, layer: LayerAttributes, kernel: np.ndarray) -> float:
        return self.amount(self.estimate_products(layer, self.work(layer, kernel))["lut"])


class BitOperations(FormerNames, Objective):
    """Effective bit operations (EBOPs): bits of weights times bits of inputs, whatever is built of them.

    About the LUTs, plus 55 for each DSP, of layers of constants (Sun et al., 2024, arXiv:2405.00645). It
    needs nothing but the weights and is quick; :class:`AdderGraphResources` is nearer to synthesis.

    A layer that trains bit-widths of its own (HGQ2's) is counted as it counts itself, less the weights that
    are zero for the hardware; its weights are kept or zeroed. Those of others are kept, rounded to fewer
    bits, or zeroed, and have the bits from the first to the last that is set.
    """

    units = ("EBOP",)
    offers_choices = True

    def groups(self, layer: LayerAttributes) -> OptimizationAttributes | None:
        """Divide every kernel into single weights."""
        if not layer.multiplies:
            return None
        return OptimizationAttributes(
            SUPPORTED_STRUCTURES.UNSTRUCTURED,
            pruning=True,
            constants=_find_own_count(layer) is None,
        )

    def usage(self, layer: LayerAttributes, kernel: np.ndarray | None = None) -> Amounts:
        """Return the bit operations of a layer; without weights, with all bits of all weights set."""
        own = _find_own_count(layer)
        if kernel is None:
            if own is not None:
                return np.array([float(math.ceil(own[0].sum() + own[1]))])
            n_in, n_out = layer.matrix_shape if layer.multiplies else (0, 0)
            return n_in * n_out * self.saving(layer)
        if not layer.multiplies:
            return np.zeros(1)
        if own is not None:
            return np.array([float(own[0][kernel != 0].sum() + own[1])])
        integers = quantize(kernel, weight_format(layer), as_built=True)
        return np.array([float(bit_operations(integers, _count_input_bits(layer)))])

    def saving(self, layer: LayerAttributes) -> Amounts:
        """Return the largest number of bit operations of a weight."""
        if not layer.multiplies:
            return np.zeros(1)
        if (own := _find_own_count(layer)) is not None:
            return np.array([float(math.ceil(own[0].max(initial=0.0)))])
        precision = weight_format(layer)
        return np.array([float((precision.width - precision.signed) * _count_input_bits(layer))])

    def model_usage(self, attributes: Mapping[str, LayerAttributes], kernels: Kernels) -> Amounts:
        """Return the bit operations of a model with these very weights."""
        total = sum(self.usage(attributes[name], kernel)[0] for name, kernel in kernels.items())
        return np.array([float(total)])

    def treated_usage(
        self, layer: LayerAttributes, kernel: np.ndarray, treatment: Treatment
    ) -> Amounts:
        """Return the usage of a layer, weights that may still train counted as any of their size."""
        if _find_own_count(layer) is not None:
            return self.usage(layer, treatment.mask)
        integers = quantize(kernel, weight_format(layer))
        own = (treatment.mask != 0) | (treatment.cluster > 0)
        settled = np.where(own, 0, treatment.apply(kernel))
        free = np.count_nonzero(own) * _average_bits(integers[own]) * _count_input_bits(layer)
        return self.usage(layer, settled) + free

    def choices(
        self,
        layer: LayerAttributes,
        kernel: np.ndarray,
        *,
        metric: str | Criterion = "l1",
        statistics: Mapping[str, np.ndarray] | None = None,
        minimum_groups: int = 1,
    ) -> Choices:
        """Return the treatments to choose from: kept, rounded to fewer bits, or zeroed."""
        if (own := _find_own_count(layer)) is not None:
            settings = layer.optimization_attributes
            assert settings is not None
            grouping, name = layer.grouping, layer.name
            layout = layer.layout
            losses = group_losses(kernel, settings, metric, statistics, name, layout)
            saved = grouping.to_groups(np.where(kernel != 0, own[0], 0))
            empty = np.array([own[1]])
            return GroupChoices(kernel, grouping, losses, saved, empty, minimum_groups)
        precision, inputs = weight_format(layer), float(_count_input_bits(layer))
        levels = [ConstantLevel(np.zeros(1), np.zeros(1))]
        for bits in range(1, precision.width):
            values = constants_of(precision, bits, "bits")
            if values.size:
                levels.append(ConstantLevel(values, np.array([bits * inputs])))
        kept = np.array([inputs * _average_bits(quantize(kernel, precision))])
        prices = ConstantPrices(tuple(levels), kept, np.zeros(1))
        loss = weight_loss(kernel, metric, statistics, layer.name)
        return ConstantChoices(kernel, prices, loss, np.zeros(1), minimum_groups, layer.layout)


def _find_own_count(layer: LayerAttributes) -> tuple[np.ndarray, float] | None:
    """Return the bit operations that a layer counts itself, all calls: of each weight, and of the rest."""
    calls, of_weights = len(layer.calls), layer.bit_operations
    return None if of_weights is None else (calls * of_weights, calls * layer.other_bit_operations)


def _average_bits(integers: np.ndarray) -> float:
    """Return the bits of a weight that may end at any number as large: its last bit is set in half."""
    sizes = np.abs(integers[integers != 0])
    lengths = np.frexp(sizes.astype(np.float64))[1]
    return float(np.maximum(lengths - 1, 1).mean()) if sizes.size else 1.0


def _count_input_bits(layer: LayerAttributes) -> int:
    """Return the bits of an input, added up over the calls of the layer."""
    known = [hls4ml_attributes(call).input_precision for call in layer.calls]
    return sum(DEFAULT_INPUT_WIDTH if each is None else each.width for each in known)
