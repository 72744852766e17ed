"""What a design uses of the resources that are counted, layer by layer, as a budget means them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Self

import numpy as np

from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.precision import quantize
from fabricfit.errors import InvalidInputError, spell
from fabricfit.hardware.elementwise import other_resources
from fabricfit.hardware.estimates import Estimate
from fabricfit.hardware.families import find_family
from fabricfit.hardware.fifos import fifos_of
from fabricfit.hardware.product import Product, Work
from fabricfit.hardware.resource_records import find_resource, resource_kinds, resource_names
from fabricfit.hardware.resources import Resources, product_resources
from fabricfit.hardware.synthesized import HLS, after_synthesis
from fabricfit.hardware.targets import DEFAULT_TARGET, TargetLike, find_target
from fabricfit.hls4ml.products import hls4ml_attributes, product_of, realized_product

__all__ = ["ResourceCounter"]


class ResourceCounter:
    """Counts resources of layers; :class:`~fabricfit.objectives.fpga.FPGAResources` has its parameters."""

    stage: str = HLS
    """Whose LUTs and flip-flops are counted: those that HLS reports, or those after logic synthesis."""

    margin: float = 0.0
    """How much of the error bar above the most likely value is counted, from 0 to 1."""

    def __init__(
        self,
        resources: Iterable[str] | None = None,
        *,
        family: TargetLike = DEFAULT_TARGET,
        scarce: Iterable[str] | None = None,
    ) -> None:
        estimated = (kind.name for kind in resource_kinds() if kind.law is not None)
        names = tuple(resources) if resources is not None else tuple(estimated)
        if not names:
            known = ", ".join(map(repr, resource_names()))
            raise InvalidInputError(
                f"resources must name some of {known}. Received: {spell(names)}"
            )
        for name in names:
            find_resource(name)
        self.resources = names
        self.scarce = names if scarce is None else tuple(scarce)
        self.target = find_target(family)
        self.units = tuple(find_family(self.family).label(name) for name in names)

    @property
    def family(self) -> str:
        """Whose DSP blocks and memories are counted."""
        return self.target.family

    def product(self, layer: LayerAttributes, *, asked: bool = False) -> Product:
        """Return a layer's matrix product as it is counted.

        Parameters
        ----------
        layer
            A layer with a kernel.
        asked
            Whether it is built as the configuration asks for it; else so that pruned multipliers are removed.
        """
        return (product_of if asked else realized_product)(layer, self.target)

    def estimate(self, layer: LayerAttributes, work: Work, *, asked: bool = False) -> Resources:
        """Return the usage of a layer with some work, its activation and the error bars included.

        Each call of the layer has the work to do.
        """
        calls = (
            self.estimate_products(call, work, asked=asked) + self.estimate_others(call)
            for call in layer.calls
        )
        return sum(calls, Resources())

    def estimate_products(
        self, call: LayerAttributes, work: Work, *, asked: bool = False
    ) -> Resources:
        """Return the usage of the matrix product of one call of a layer."""
        product = self.product(call, asked=asked)
        found = product_resources(product, work, self.target)
        return self._at_stage(found, product, work)

    def estimate_others(self, call: LayerAttributes, *, fifos: bool = True) -> Resources:
        """Return the usage of one call beside its matrix product: its activation and its FIFOs."""
        found = other_resources(call, self.target)
        if fifos:
            found = found + fifos_of(call, self.target)
        return self._at_stage(found)

    def work(self, layer: LayerAttributes, kernel: np.ndarray, *, asked: bool = False) -> Work:
        """Return what a kernel leaves to do, its weights quantized first."""
        precision = hls4ml_attributes(layer).weight_precision
        integers = quantize(layer.axes.matrix(kernel), precision, as_built=True)
        return Work.of(self.product(layer, asked=asked), integers)

    def _count_work(self, layer: LayerAttributes, work: Work, *, asked: bool = False) -> np.ndarray:
        found = self.estimate(layer, work, asked=asked)
        return self._read_amounts(found)

    @property
    def counted(self) -> str:
        """What is counted, as a part of a sentence."""
        of = "as HLS reports it" if self.stage == HLS else "after logic synthesis"
        upper = f", {self.margin:.0%} of the error bars included" if self.margin else ""
        return f"{of}{upper}, for {self.target}"

    def remark_on(
        self, attributes: Mapping[str, LayerAttributes], kernels: Mapping[str, np.ndarray]
    ) -> tuple[str, ...]:
        """Return what the counted figures rest on: the reports behind the laws, and what those do not cover.

        Parameters
        ----------
        attributes
            Layer -> attributes.
        kernels
            Kernel -> weights.
        """
        total = Resources()
        for name, layer in attributes.items():
            for call in layer.calls:
                total = total + self.estimate_others(call)
                if call.multiplies and name in kernels:
                    total = total + self.estimate_products(call, self.work(call, kernels[name]))
        laws = self.target.laws
        return (f"laws of {laws.name}: {laws.source}.", *total.notes)

    def with_margin(self, margin: float) -> Self:
        """Return the same counter, by which so much of an error bar above the most likely value counts."""
        made = copy.copy(self)
        made.margin = margin
        return made

    def count_fifos(self, call: LayerAttributes) -> np.ndarray:
        """Return what the FIFOs of one call of a layer use, shape ``(M,)``."""
        return self._read_amounts(self._at_stage(fifos_of(call, self.target)))

    def _at_stage(
        self, found: Resources, product: Product | None = None, work: Work | None = None
    ) -> Resources:
        """Return what HLS reports as the stage that is counted has it."""
        return found if self.stage == HLS else after_synthesis(found, product, work)

    def amount(self, estimate: Estimate) -> float:
        """Return what of an estimate counts: the most likely value and the margin above it."""
        return estimate.counted(self.margin)

    def _read_amounts(self, found: Resources) -> np.ndarray:
        return np.array([self.amount(found[name]) for name in self.resources])
