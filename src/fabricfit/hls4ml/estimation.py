"""Resource usage and timing of a model before any synthesis: layer by layer, with error bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.precision import quantize
from fabricfit.hardware.budget import Budget
from fabricfit.hardware.elementwise import elementwise_cycles, other_resources
from fabricfit.hardware.estimates import Estimate, joined_notes
from fabricfit.hardware.fifos import fifos_of
from fabricfit.hardware.product import Product, Work
from fabricfit.hardware.resources import Resources, product_resources
from fabricfit.hardware.synthesized import HLS, LOGIC_SYNTHESIS, after_synthesis
from fabricfit.hardware.targets import DEFAULT_TARGET, Target, TargetLike, find_target
from fabricfit.hardware.timing import product_interval, product_latency
from fabricfit.hls4ml.model_estimate import LayerEstimate, ModelEstimate
from fabricfit.hls4ml.products import hls4ml_attributes, product_of

__all__ = [
    "CallEstimator",
    "LayerEstimate",
    "ModelEstimate",
    "estimate_layers",
    "estimate_product",
]


def estimate_layers(
    attributes: Mapping[str, LayerAttributes],
    kernels: Mapping[str, np.ndarray],
    *,
    target: TargetLike = DEFAULT_TARGET,
    budget: Budget | None = None,
) -> ModelEstimate:
    """Estimate the resource usage of layers as an hls4ml configuration builds them.

    Parameters
    ----------
    attributes
        Layer -> attributes, read with
        :func:`fabricfit.attributes.get_attributes_from_keras_model_and_hls4ml_config`.
    kernels
        Layer -> weights; they are quantized first.
    target
        What it is built for and with, or a name of :func:`fabricfit.hardware.families`.
    budget
        What to compare with.
    """
    chosen = find_target(target)
    layers = []
    calls = [
        (call, kernels.get(name)) for name, layer in attributes.items() for call in layer.calls
    ]
    for layer, kernel in calls:
        found = []
        if layer.multiplies and kernel is not None:
            found.append(_estimate_kernel(layer, kernel, chosen))
        parts = layer.matrices
        found += [_estimate_kernel(part, matrix, chosen) for part, matrix in parts]
        layers += found or [_estimate_without_kernel(layer, chosen)]
    layers = [
        layer
        for layer in layers
        if layer.strategy or any(each.high for each in layer.resources.values())
    ]
    streams = any(layer.io_type == "io_stream" for layer, _ in calls)
    fifos = sum((fifos_of(layer, chosen) for layer, _ in calls), Resources())
    if any(each.high for each in fifos.values()):
        layers.append(_describe_fifos(fifos))
    return ModelEstimate(tuple(layers), budget, chosen, streams=streams)


def _estimate_kernel(layer: LayerAttributes, kernel: np.ndarray, target: Target) -> LayerEstimate:
    precision = hls4ml_attributes(layer).weight_precision
    integers = quantize(layer.axes.matrix(kernel), precision, as_built=True)
    return estimate_product(layer, integers, target)


def estimate_product(layer: LayerAttributes, integers: np.ndarray, target: Target) -> LayerEstimate:
    """Estimate one call of a layer with a kernel, its FIFO apart.

    Parameters
    ----------
    layer
        Attributes of the call.
    integers
        The weights in units of their last bit, in the shape of the layer's matrix.
    target
        What it is built for and with.
    """
    estimator = CallEstimator.of(layer, target)
    return estimator.estimate(Work.of(estimator.product, integers))


@dataclass(frozen=True)
class CallEstimator:
    """Estimates one call of a layer for one kernel after another.

    Parameters
    ----------
    layer
        Attributes of the call.
    target
        What it is built for and with.
    product
        Its matrix product.
    others
        What it uses beside that as HLS reports it, its FIFO apart.
    """

    layer: LayerAttributes
    target: Target
    product: Product
    others: Resources

    @classmethod
    def of(cls, layer: LayerAttributes, target: Target) -> CallEstimator:
        """Read the product off the layer, and count what does not depend on its weights."""
        return cls(layer, target, product_of(layer, target), other_resources(layer, target))

    def estimate(self, work: Work) -> LayerEstimate:
        """Estimate the call, with the work that its weights leave."""
        product = self.product
        products = product_resources(product, work, self.target)
        latency, interval, filling = self.time(work)
        return LayerEstimate(
            self.layer.name,
            self.layer.layer_type.__name__,
            product.strategy,
            product.reuse_factor,
            product.size,
            work.nonzeros,
            self._widen(products) + self.count_others(HLS),
            interval,
            latency,
            self._widen(after_synthesis(products, product, work))
            + self.count_others(LOGIC_SYNTHESIS),
            filling,
        )

    def count_product(self, work: Work, stage: str) -> Resources:
        """Return what the product uses at a stage, see :data:`fabricfit.hardware.synthesized.STAGES`."""
        products = product_resources(self.product, work, self.target)
        if stage != HLS:
            products = after_synthesis(products, self.product, work)
        return self._widen(products)

    def count_others(self, stage: str) -> Resources:
        """Return what the call uses beside the product at a stage."""
        return self._widen(self.others if stage == HLS else after_synthesis(self.others))

    def time(self, work: Work) -> tuple[Estimate, Estimate, Estimate]:
        """Return latency, interval and filling; time-multiplexed products do not heed the work."""
        interval = product_interval(self.product, work, self.target)
        latency = product_latency(self.product, work, self.target)
        if note := self.layer.note:
            interval, latency = _widen_estimate(interval, note), _widen_estimate(latency, note)
        positions = max(self.product.positions // self.product.copies, 1)
        return latency, interval, latency if positions == 1 else latency.times(1 / positions)

    def _widen(self, found: Resources) -> Resources:
        return _widen_all(found, note) if (note := self.layer.note) else found


def _widen_all(resources: Resources, note: str) -> Resources:
    return Resources(**{name: _widen_estimate(each, note) for name, each in resources.items()})


def _widen_estimate(estimate: Estimate, note: str) -> Estimate:
    """Say of an estimate that it may be half of what there is, or that there may be nothing."""
    joined = joined_notes((estimate.note, note)) if estimate.high else estimate.note
    return Estimate(estimate.value, 0, 2 * estimate.high, joined)


def _estimate_without_kernel(layer: LayerAttributes, target: Target) -> LayerEstimate:
    found = other_resources(layer, target)
    interval = elementwise_cycles(layer, target)
    latency = Estimate(1, 0, 3, *found.notes[:1]) if interval.value == 1 else interval
    return LayerEstimate(
        layer.name,
        layer.layer_type.__name__,
        "",
        1,
        0,
        0,
        found,
        interval,
        latency,
        filling=Estimate(min(2, latency.value), 0, max(3, latency.low)),
    )


def _describe_fifos(fifos: Resources) -> LayerEstimate:
    """Return the FIFOs of a model as a row of their own, as HLS lists them apart from the layers."""
    none = Estimate.exact(0)
    return LayerEstimate("FIFOs", "io_stream", "", 1, 0, 0, fifos, none, none)
