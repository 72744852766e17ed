"""Resource usage and timing of a model before any synthesis: layer by layer, with error bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.precision import quantize
from fabricfit.errors import require
from fabricfit.hardware.budget import Budget
from fabricfit.hardware.elementwise import other_resources
from fabricfit.hardware.estimates import Estimate, joined_notes, total
from fabricfit.hardware.families import DEFAULT_FAMILY, find_family
from fabricfit.hardware.product import Product, Work
from fabricfit.hardware.resource_records import resource_names
from fabricfit.hardware.resources import Resources, product_resources
from fabricfit.hardware.timing import product_interval, product_latency
from fabricfit.hls4ml.products import hls4ml_attributes, product_of
from fabricfit.tables import TextTable

__all__ = ["LayerEstimate", "ModelEstimate", "estimate_layers"]


@dataclass(frozen=True)
class LayerEstimate:
    """One layer as it is built for one call of it.

    Parameters
    ----------
    name, kind
        The layer's name and its class; for the second call of a layer and those after it the name that hls4ml
        gives it, such as ``'layer_0'``.
    strategy
        The strategy that hls4ml really builds; empty for a layer without a kernel.
    reuse_factor
        The reuse factor that hls4ml really uses.
    weights, nonzeros
        Weights in the kernel, and those that are not zero after quantization.
    resources
        Resource usage.
    interval, latency
        Cycles between two samples, and from input to output.
    """

    name: str
    kind: str
    strategy: str
    reuse_factor: int
    weights: int
    nonzeros: int
    resources: Resources
    interval: Estimate
    latency: Estimate


@dataclass(frozen=True)
class ModelEstimate:
    """A whole model.

    Parameters
    ----------
    layers
        Its layers in the order of the model, but those that use nothing.
    budget
        What it is compared with, if anything.
    family
        Whose DSP blocks and memories are counted.
    remarks
        What hls4ml would not build as the model says.
    """

    layers: tuple[LayerEstimate, ...]
    budget: Budget | None = None
    family: str = DEFAULT_FAMILY
    remarks: tuple[str, ...] = ()

    @property
    def resources(self) -> Resources:
        """Resource usage of all layers together."""
        return sum((layer.resources for layer in self.layers), Resources())

    @property
    def interval(self) -> Estimate:
        """Cycles between two samples: those of the slowest layer."""
        none = Estimate.exact(1)
        return max((layer.interval for layer in self.layers), key=lambda e: e.value, default=none)

    @property
    def latency(self) -> Estimate:
        """Cycles from input to output, layer after layer."""
        return total(layer.latency for layer in self.layers)

    def label(self, resource: str) -> str:
        """Return what the family calls a resource."""
        return find_family(self.family).label(resource)

    @property
    def limits(self) -> dict[str, float]:
        """Resource -> what the budget allows; empty without one."""
        return self.budget.limits(self.resources.values_only) if self.budget else {}

    @property
    def fits(self) -> bool:
        """Whether the most likely values are within the budget; True without one."""
        used = self.resources
        return all(used[name].value <= limit for name, limit in self.limits.items())

    @property
    def surely_fits(self) -> bool:
        """Whether the upper ends of the error bars are within the budget too."""
        used = self.resources
        return all(used[name].high <= limit for name, limit in self.limits.items())

    def to_dict(self) -> dict[str, Any]:
        """Return the estimate as plain numbers, strings, lists and dictionaries."""
        return {
            "layers": [_layer_to_dict(layer) for layer in self.layers],
            "total": {name: _range_to_dict(each) for name, each in self.resources.items()},
            "interval": _range_to_dict(self.interval),
            "latency": _range_to_dict(self.latency),
            "limits": self.limits,
            "fits": self.fits,
            "remarks": list(self.remarks),
        }

    def to_frame(self) -> Any:
        """Return a ``pandas.DataFrame`` with one row for each layer.

        Columns are the layer's description and, for each resource, the most likely value and the ends
        of its error bar (``dsp``, ``dsp_low``, ``dsp_high``…).

        Raises
        ------
        MissingExtraError
            pandas is not installed.
        """
        pandas = require("pandas", "frames", "to_frame")
        rows = []
        for layer in self.layers:
            row: dict[str, Any] = {
                name: getattr(layer, name)
                for name in ("name", "kind", "strategy", "reuse_factor", "weights", "nonzeros")
            }
            timing = {"interval": layer.interval, "latency": layer.latency}
            for name, each in {**layer.resources, **timing}.items():
                row |= {name: each.value, f"{name}_low": each.low, f"{name}_high": each.high}
            rows.append(row)
        return pandas.DataFrame(rows)

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Return the table of layers as text: its header, and its rows with the total last."""
        used = [
            name for name in resource_names() if self.resources[name].high or name in self.limits
        ]
        header = ["layer", "built with", "weights", "non-zero"]
        header += [self.label(name) for name in used] + ["II", "latency"]
        body = [
            [
                f"{layer.name} ({layer.kind})",
                f"{layer.strategy}, RF {layer.reuse_factor}" if layer.strategy else "",
                f"{layer.weights:,}",
                f"{layer.nonzeros:,}",
                *(str(layer.resources[name]) for name in used),
                str(layer.interval),
                str(layer.latency),
            ]
            for layer in self.layers
        ]
        weights, nonzeros = (
            sum(getattr(x, n) for x in self.layers) for n in ("weights", "nonzeros")
        )
        resources = self.resources
        body.append(
            [
                "total",
                "",
                f"{weights:,}",
                f"{nonzeros:,}",
                *(str(resources[name]) for name in used),
                str(self.interval),
                str(self.latency),
            ]
        )
        return header, body

    def __str__(self) -> str:
        lines = TextTable(*self.rows(), names=frozenset((0, 1)), closing=1).lines()
        for name, limit in self.limits.items():
            used = self.resources[name]
            verdict = (
                "fits"
                if used.high <= limit
                else "does not fit"
                if used.low > limit
                else ("fits, but not by its error bar" if used.value <= limit else "may not fit")
            )
            lines.append(f"{self.label(name)}: {used} of {limit:,.0f}: {verdict}")
        lines += [f"note: {note}" for note in (*self.resources.notes, *self.remarks)]
        return "\n".join(lines)


def estimate_layers(
    attributes: Mapping[str, LayerAttributes],
    kernels: Mapping[str, np.ndarray],
    *,
    family: str = DEFAULT_FAMILY,
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
    family
        Whose DSP blocks and memories, a name of :func:`fabricfit.hardware.families`.
    budget
        What to compare with.
    """
    layers = []
    calls = [
        (call, kernels.get(name)) for name, layer in attributes.items() for call in layer.calls
    ]
    for layer, kernel in calls:
        found = []
        if layer.multiplies and kernel is not None:
            found.append(_estimate_kernel(layer, kernel, family))
        parts = layer.matrices
        found += [_estimate_kernel(part, matrix, family) for part, matrix in parts]
        layers += found or [_estimate_without_kernel(layer)]
    layers = [
        layer
        for layer in layers
        if layer.strategy or any(each.high for each in layer.resources.values())
    ]
    return ModelEstimate(tuple(layers), budget, family)


def _estimate_kernel(layer: LayerAttributes, kernel: np.ndarray, family: str) -> LayerEstimate:
    product: Product = product_of(layer, family)
    precision = hls4ml_attributes(layer).weight_precision
    work = Work.of(product, quantize(layer.axes.matrix(kernel), precision, as_built=True))
    resources = product_resources(product, work, family) + other_resources(layer)
    interval, latency = product_interval(product, work), product_latency(product, work)
    note = layer.note
    if note:
        resources = Resources(
            **{name: _widen_estimate(each, note) for name, each in resources.items()}
        )
        interval, latency = _widen_estimate(interval, note), _widen_estimate(latency, note)
    return LayerEstimate(
        layer.name,
        layer.layer_type.__name__,
        product.strategy,
        product.reuse_factor,
        kernel.size,
        work.nonzeros,
        resources,
        interval,
        latency,
    )


def _widen_estimate(estimate: Estimate, note: str) -> Estimate:
    """Say of an estimate that it may be half of what there is, or that there may be nothing."""
    joined = joined_notes((estimate.note, note)) if estimate.high else estimate.note
    return Estimate(estimate.value, 0, 2 * estimate.high, joined)


def _estimate_without_kernel(layer: LayerAttributes) -> LayerEstimate:
    found = other_resources(layer)
    one = Estimate(1, 0, 3, *found.notes[:1])
    kind = layer.layer_type.__name__
    return LayerEstimate(layer.name, kind, "", 1, 0, 0, found, Estimate.exact(1), one)


def _range_to_dict(estimate: Estimate) -> dict[str, Any]:
    return dict(vars(estimate))


def _layer_to_dict(layer: LayerEstimate) -> dict[str, Any]:
    resources = {name: _range_to_dict(each) for name, each in layer.resources.items()}
    rest = {"interval": _range_to_dict(layer.interval), "latency": _range_to_dict(layer.latency)}
    return {**vars(layer), "resources": resources, **rest}
