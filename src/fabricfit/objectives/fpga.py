"""All resources of an FPGA at once, with the structure that pays in each layer.

=============================  ===============================================================
hls4ml builds the layer with   treatments of its weights
=============================  ===============================================================
Resource, reuse factor > 1     the RF weights of one multiplier are pruned together; where block
                               RAM is scarce, those of as many neighbouring multipliers as fill
                               one word of a block RAM (Ramhorst et al., 2023, arXiv:2308.05170)
Latency; Resource with a       each weight is kept, shares a value with others on the same input,
reuse factor of 1              is rounded to a constant that needs no multiplier, or zeroed
distributed arithmetic         each weight is kept, rounded to fewer signed digits, or zeroed
=============================  ===============================================================

The estimates are those of :mod:`fabricfit.hardware`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
from fabricfit.description.precision import FixedPrecision, quantize
from fabricfit.description.strategies import spell_strategy
from fabricfit.description.structures import SUPPORTED_STRUCTURES
from fabricfit.hardware.bram import memory_word
from fabricfit.hardware.cheap_constants import constants_of
from fabricfit.hardware.product import Product, Work, csd_digits
from fabricfit.hardware.resources import Resources
from fabricfit.hardware.synthesized import HLS, after_synthesis
from fabricfit.hardware.weight_costs import EASY_SHARE, weight_costs
from fabricfit.hls4ml.products import (
    hls4ml_attributes,
    weight_format,
    why_calls_differ,
    why_not_built,
)
from fabricfit.objectives.base import Amounts, Kernels, Objective
from fabricfit.objectives.counting import check_removed, left_over
from fabricfit.objectives.former_names import FormerNames
from fabricfit.objectives.resource_counter import ResourceCounter

__all__ = ["FPGAResources"]

_NO_WORK = Work(0, 0, 0, 0, 0)
"""Of a layer whose weights are all zero."""


class FPGAResources(FormerNames, ResourceCounter, Objective):
    """DSP blocks, block RAM, LUTs and flip-flops, those of them that matter.

    Parameters
    ----------
    resources
        Names out of :func:`fabricfit.hardware.resource_names`, those that are to be saved or limited; all
        that can be estimated by default.
    family
        What the design is built for and with, or a name of :func:`fabricfit.hardware.families`.
    scarce
        Those of the resources for whose sake larger structures are worth their loss; all by default.

    Raises
    ------
    InvalidInputError
        A name is not known, or there is none.
    """

    offers_choices = True
    counts_all_layers = True

    prices: np.ndarray | None = None
    """Price of a unit of each resource. With prices, a layer for which the configuration asks for plain
    Resource is counted so where that is not dearer than with ResourceUnrolled, as where few multipliers are
    without work; without them, it is counted with ResourceUnrolled."""

    def usage(self, layer: LayerAttributes, kernel: np.ndarray | None = None) -> Amounts:
        """Return the usage of a layer with these weights, its activation included.

        Without weights it is the most that any use, in whole numbers; layers without a kernel do not count
        then.
        """
        if kernel is None:
            if not layer.multiplies:
                return np.zeros(len(self.units))
            return np.rint(self._count_work(layer, Work.full(self.product(layer))))
        asked = self.builds_as_asked(layer, kernel)
        return self._count_calls(layer, kernel, asked=asked)

    def usage_as_asked(self, layer: LayerAttributes, kernel: np.ndarray) -> Amounts:
        """Return the usage of a layer with these weights, built as the configuration asks for it."""
        return self._count_calls(layer, kernel, asked=True)

    def builds_as_asked(self, layer: LayerAttributes, kernel: np.ndarray) -> bool:
        """Return whether a layer with these weights is counted with plain Resource, as was asked for."""
        if self.prices is None or not self._is_changed(layer):
            return False
        asked, built = (self._count_calls(layer, kernel, asked=each) for each in (True, False))
        return bool(asked @ self.prices <= built @ self.prices)

    def _is_changed(self, layer: LayerAttributes) -> bool:
        """Return whether a layer can be built otherwise than the configuration asks for it."""
        return layer.multiplies and self.product(layer) != self.product(layer, asked=True)

    def _count_calls(self, layer: LayerAttributes, kernel: np.ndarray, *, asked: bool) -> Amounts:
        used = np.zeros(len(self.units))
        for call in layer.calls:
            used = used + self.call_usage(replace(call, further_calls=()), kernel, asked=asked)
        return used

    def call_usage(
        self, layer: LayerAttributes, kernel: np.ndarray, *, asked: bool = False
    ) -> Amounts:
        """Return the usage of a layer with these weights, as it is built for one call."""
        if layer.multiplies:
            return self._count_work(layer, self.work(layer, kernel, asked=asked), asked=asked)
        found = self.estimate_others(layer)
        used = self._read_amounts(found)
        for part, matrix in layer.matrices:
            used = used + self.call_usage(part, matrix, asked=asked)
        return used

    def built_with(self, layer: LayerAttributes, kernel: np.ndarray) -> str:
        """Return the strategy and the reuse factor with which a layer is built."""
        if not layer.multiplies:
            return ""
        return self._describe_product(layer, asked=self.builds_as_asked(layer, kernel))

    def built_as_asked(self, layer: LayerAttributes) -> str:
        """Return the strategy and the reuse factor with which the configuration has a layer built."""
        return self._describe_product(layer, asked=True) if layer.multiplies else ""

    def _describe_product(self, layer: LayerAttributes, *, asked: bool) -> str:
        product = self.product(layer, asked=asked)
        return f"{spell_strategy(product.strategy)}, RF {product.reuse_factor}"

    def model_usage(self, attributes: Mapping[str, LayerAttributes], kernels: Kernels) -> Amounts:
        """Return the usage of a model with these very weights, layers without weights included."""
        none = np.zeros(0)
        used = [self.usage(layer, kernels.get(n, none)) for n, layer in attributes.items()]
        total: Amounts = np.sum(used, axis=0)
        return total

    def treated_usage(
        self, layer: LayerAttributes, kernel: np.ndarray, treatment: Treatment
    ) -> Amounts:
        """Return the largest usage of a layer whose weights were treated and then trained.

        A weight with a value of its own choice counts as a constant that needs a multiplier; a tenth of
        them may come to need an adder as well. One with a trained bit width, which is held while it trains,
        counts as the constant that it is.

        Returns
        -------
        array of shape ``(M,)``
        """
        product = self.product(layer)
        matrix = layer.axes.matrix
        treated = matrix(treatment.apply(kernel))
        if product.time_multiplexed:
            busy = (treated != 0).astype(np.int64)
            used = self._count_work(layer, Work.of(product, busy))
            if self.prices is None or not self._is_changed(layer):
                return used
            asked = self._count_work(
                layer, Work.of(self.product(layer, asked=True), busy), asked=True
            )
            return asked if asked @ self.prices <= used @ self.prices else used
        if layer.trains_bits:
            return self.usage(layer, treatment.apply(kernel))
        own = matrix((treatment.mask != 0) | (treatment.cluster > 0))
        precision = hls4ml_attributes(layer).weight_precision
        settled = Work.of(product, quantize(np.where(own, 0, treated), precision))
        full = Work.full(product)
        shared = np.unique(treatment.cluster[treatment.cluster > 0]).size
        distinct, kept = int(np.count_nonzero(treatment.mask)) + shared, int(np.count_nonzero(own))
        hard = min(settled.constants + distinct, full.constants)
        digits = settled.digits + round(full.digits / product.size * kept)
        adders = settled.adders + round(EASY_SHARE * distinct)
        nonzeros = settled.nonzeros + kept
        work = Work(product.multipliers, nonzeros, hard, adders, digits, settled.small)
        return self._count_work(layer, work)

    def groups(self, layer: LayerAttributes) -> OptimizationAttributes | None:
        """Choose the structure that pays."""
        if self.reason(layer):
            return None
        product = self.product(layer)
        if not product.time_multiplexed:
            return OptimizationAttributes(
                SUPPORTED_STRUCTURES.UNSTRUCTURED, pruning=True, constants=True
            )
        word = memory_word(product.reuse_factor, self.family) if "bram18" in self.scarce else 1
        return OptimizationAttributes(
            SUPPORTED_STRUCTURES.PATTERN,
            pruning=True,
            pattern_offset=product.multipliers,
            consecutive_patterns=max(-(-word // product.weight_width), 1),
        )

    def reason(self, layer: LayerAttributes) -> str:
        """Say why a layer is not optimizable."""
        if not layer.multiplies:
            return "the layer has no kernel."
        if reason := why_not_built(layer) or why_calls_differ(layer):
            return reason
        product = self.product(layer)
        if product.time_multiplexed and product.strategy != "resource_unrolled":
            if product.convolution and product.io_type == "io_parallel":
                return (
                    "with io_parallel hls4ml builds a convolution with Resource, which keeps "
                    "multipliers for zeros. Use io_stream, or Latency."
                )
            return (
                "hls4ml's backend does not build ResourceUnrolled, and Resource keeps multipliers for "
                "zeros. Use a reuse factor of 1."
            )
        full, empty = Work.full(product), _NO_WORK
        saved = self._count_work(layer, full) - self._count_work(layer, empty)
        if not saved.any():
            return f"its weights use none of {', '.join(self.units)}."
        return ""

    def saving(self, layer: LayerAttributes) -> Amounts:
        """Return what one group saves, on average over all of the layer's, in whole numbers."""
        if not layer.multiplies:
            return np.zeros(len(self.units))
        least = self._count_work(layer, _NO_WORK)
        return np.rint((self.usage(layer) - least) / layer.grouping.n_groups)

    def usage_without(self, layer: LayerAttributes, removed: int) -> Amounts:
        """Return the usage of the groups that are left, whichever they are, in whole numbers."""
        check_removed({layer.name: layer}, {layer.name: removed})
        if not removed or not layer.multiplies:
            return self.usage(layer)
        product, grouping = self.product(layer), layer.grouping
        full = Work.full(product)
        if product.time_multiplexed:
            runs = grouping.group_size // product.reuse_factor
            left = left_over(product.multipliers, runs, grouping, removed)
            return np.rint(self._count_work(layer, _share_work(full, left, product.multipliers)))
        left = left_over(product.size, grouping.group_size, grouping, removed)
        return np.rint(self._count_work(layer, _share_work(full, left, product.size)))

    def choices(
        self,
        layer: LayerAttributes,
        kernel: np.ndarray,
        *,
        metric: str | Criterion = "l1",
        statistics: Mapping[str, np.ndarray] | None = None,
        minimum_groups: int = 1,
    ) -> Choices:
        """Return the treatments to choose from for a layer's weights."""
        product, name = self.product(layer), layer.name
        settings = layer.optimization_attributes
        assert settings is not None
        empty = self._count_work(layer, _NO_WORK)
        if product.time_multiplexed or not settings.constants:
            grouping = layer.grouping
            losses = group_losses(kernel, settings, metric, statistics, name, layer.layout)
            if layer.trains_bits and not product.time_multiplexed:
                saved = self._savings_of_constants(layer, kernel, product, empty)
            else:
                full = self._count_work(layer, Work.full(product))
                saved = (full - empty) / grouping.n_groups
            return GroupChoices(kernel, grouping, losses, saved, empty, minimum_groups)
        precision = weight_format(layer)
        prices = self._price_weights(layer, precision, self.lut_scale(layer, kernel))
        loss = weight_loss(kernel, metric, statistics, name)
        return ConstantChoices(kernel, prices, loss, empty, minimum_groups, layer.layout)

    def _savings_of_constants(
        self, layer: LayerAttributes, kernel: np.ndarray, product: Product, empty: np.ndarray
    ) -> np.ndarray:
        """Return what each weight saves as the constant that it is, in all what the layer uses.

        Returns
        -------
        array of shape ``(n_weights, M)``
            In the order of the layer's groups, which are single weights.
        """
        prices = weight_costs(product, self.target)
        integers = quantize(kernel, hls4ml_attributes(layer).weight_precision, as_built=True)
        digits = layer.grouping.to_groups(csd_digits(integers))[:, 0]
        amounts = [np.zeros(len(self.resources))]
        for count in range(1, int(digits.max(initial=0)) + 1):
            settled = prices.settled.get(count)
            parts = [prices.kept, prices.distinct] if settled is None else [settled]
            amounts.append(self._sum_amounts(parts))
        saved = np.array(amounts)[digits]
        in_all = saved.sum(axis=0)
        used = self.usage(layer, kernel) - empty
        return saved * np.where(in_all > 0, used / np.maximum(in_all, 1e-12), 0.0)

    def _sum_amounts(self, several: Iterable[Mapping[str, float]]) -> np.ndarray:
        """Return sums of amounts by resource, in the order of the objective's own, shape ``(M,)``."""
        rows = [[one.get(name, 0.0) for name in self.resources] for one in several]
        total: np.ndarray = np.sum(rows, axis=0)
        return total

    def lut_scale(self, layer: LayerAttributes, kernel: np.ndarray) -> float:
        """Return what the prices of single weights in LUTs are multiplied by, in a layer of constants."""
        return 1.0

    def _scale_prices(self, product: Product) -> dict[str, float]:
        """Return what the laws' amounts are multiplied by for the stage that is counted."""
        if self.stage == HLS:
            return dict.fromkeys(self.resources, 1.0)
        one = Resources(**dict.fromkeys(self.resources, 1))
        work = Work(product.multipliers, product.size, 0, 0, product.size)
        found = after_synthesis(one, product, work).values_only
        if product.by_adders:
            found["lut"] /= product.size * product.accumulator_width * product.copies
        return {name: found[name] for name in self.resources}

    def _price_weights(
        self, layer: LayerAttributes, precision: FixedPrecision, lut_scale: float
    ) -> ConstantPrices:
        """Return the prices of a weight in all calls of a layer, by the digits of its constant."""
        products = [self.product(call) for call in layer.calls]
        costs = [weight_costs(product, self.target) for product in products]
        stage = self._scale_prices(products[0])
        scales = [scale * (lut_scale if n == "lut" else 1) for n, scale in stage.items()]

        def vector(several: Iterable[Mapping[str, float]]) -> np.ndarray:
            return np.multiply(scales, self._sum_amounts(several))

        levels = [ConstantLevel(np.zeros(1), np.zeros(len(self.resources)))]
        for digits in costs[0].settled:
            if any(digits not in cost.settled for cost in costs):
                continue  # not free everywhere
            constants = constants_of(precision, digits)
            if constants.size:
                amounts = (cost.settled[digits] for cost in costs)
                levels.append(ConstantLevel(constants, vector(amounts)))
        kept, distinct = (cost.kept for cost in costs), (cost.distinct for cost in costs)
        return ConstantPrices(tuple(levels), vector(kept), vector(distinct))


def _share_work(full: Work, left: int, of: int) -> Work:
    """Return the work of a part of all groups, each count rounded up."""
    return Work(*(-(-count * left // of) for count in vars(full).values()))
