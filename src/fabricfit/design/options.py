"""The options of a layer: how it can be built, what each costs, and what the network loses by it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fabricfit.checks import numbers, optional_whole_number, whole_number, whole_numbers
from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.precision import (
    WIDEST,
    FixedPrecision,
    dequantize,
    fixed_point,
    quantize,
)
from fabricfit.description.strategies import (
    CONSTANTS_ONLY,
    SHARED_MULTIPLIERS,
    STRATEGIES,
    canonical_strategy,
    spell_strategy,
)
from fabricfit.design.layer_timing import LayerTiming
from fabricfit.design.pruning import Pruning
from fabricfit.errors import InvalidInputError, spell
from fabricfit.hardware.fifos import fifos_of
from fabricfit.hardware.product import CountedKernel, Product
from fabricfit.hardware.resources import Resources
from fabricfit.hardware.synthesized import HLS, after_synthesis
from fabricfit.hardware.targets import Target
from fabricfit.hls4ml.estimation import CallEstimator
from fabricfit.hls4ml.products import hls4ml_attributes
from fabricfit.hls4ml.reuse_factor import (
    effective_strategy,
    legal_reuse_factor,
    valid_reuse_factors,
)

__all__ = ["DesignSpace", "LayerOption", "list_options", "list_reuse_factors"]


@dataclass(frozen=True)
class DesignSpace:
    """What is tried for each layer.

    Parameters
    ----------
    strategies
        hls4ml's strategies, as :data:`fabricfit.description.strategies.STRATEGIES` spells them.
    widths
        Bits of weights; the integer bits are those that the weights need.
    kept
        Parts of the groups of weights that are kept.
    reuse_factors
        How many of the legal reuse factors of a layer are tried, spread evenly over their logarithms.
    reuse_factor
        The only one that is tried; None for all of those.
    constants_up_to
        Weights of the largest layer whose weights may all be constants (Latency, distributed arithmetic): the
        compilers need hours for larger ones, and their sums become chains.

    Raises
    ------
    InvalidInputError
        One of them is empty, or a part is not above 0 and at most 1.
    """

    strategies: tuple[str, ...] = (
        "latency",
        "resource",
        "resource_unrolled",
        "distributed_arithmetic",
    )
    widths: tuple[int, ...] = (16, 12, 10, 8, 6, 4)
    kept: tuple[float, ...] = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.08)
    reuse_factors: int = 8
    reuse_factor: int | None = None
    constants_up_to: int = 8192

    def __post_init__(self) -> None:
        if not isinstance(self.strategies, tuple | list) or not self.strategies:
            raise InvalidInputError(
                "strategies must be a tuple of hls4ml's strategies, and must not be empty. "
                f"Received: strategies={spell(self.strategies)}"
            )
        for strategy in self.strategies:
            canonical_strategy(strategy)
        for width in whole_numbers("widths", self.widths):
            whole_number("widths", width, most=WIDEST)
        numbers("kept", self.kept, above=0, most=1)
        whole_number("reuse_factors", self.reuse_factors)
        optional_whole_number("reuse_factor", self.reuse_factor)
        whole_number("constants_up_to", self.constants_up_to, 0)


@dataclass(frozen=True)
class LayerOption:
    """One way to build a layer.

    Parameters
    ----------
    strategy, reuse_factor
        As hls4ml really builds them.
    precision
        Number format of the weights.
    kept
        Part of the groups of weights that is kept: single weights where they are constants, those of a
        multiplier where multipliers are shared.
    loss
        What the network loses by rounding and pruning the weights, predicted.
    resources
        Usage of all calls of the layer, with error bars.
    timing
        Cycles of all calls of the layer, with error bars.
    stated_reuse_factor
        What the configuration states: where a layer has several kernels, each of them is built with the
        factor that is legal for it.
    """

    strategy: str
    reuse_factor: int
    precision: FixedPrecision
    kept: float
    loss: float
    resources: Resources = field(repr=False)
    timing: LayerTiming = field(repr=False)
    stated_reuse_factor: int = field(default=1, repr=False)

    def __str__(self) -> str:
        reuse = "" if self.reuse_factor == 1 else f", RF {self.reuse_factor}"
        pruned = "" if self.kept == 1 else f", {self.kept:.0%} kept"
        return f"{spell_strategy(self.strategy)}{reuse}, {self.precision}{pruned}"


def list_options(
    layer: LayerAttributes,
    kernel: np.ndarray,
    curvature: np.ndarray | None,
    space: DesignSpace,
    target: Target,
    stage: str = HLS,
    reuse_factors: Sequence[int] = (),
) -> list[LayerOption]:
    r"""Return the options of a layer with a kernel.

    The predicted loss of an option is :math:`\frac12 \sum_i h_i (w_i - q_i)^2` over its weights *w*,
    rounded and pruned to *q*, with *h* the diagonal of the Hessian (LeCun, Denker and Solla, 1990). The
    groups of the least loss are pruned.

    Parameters
    ----------
    layer
        Attributes with those of hls4ml, as the configuration states them.
    kernel
        Its weights.
    curvature
        The Hessian's diagonal, in the kernel's shape; None for ones.
    space
        What is tried.
    target
        What it is built for and with.
    stage
        Whose LUTs and flip-flops count, see :data:`fabricfit.hardware.synthesized.STAGES`.
    reuse_factors
        Those that are stated for all kernels of a layer, if it has several; else the layer's own are tried.

    Raises
    ------
    InvalidInputError
        The space has no strategy with which hls4ml builds the layer.
    """
    matrix = layer.axes.matrix(np.asarray(kernel, float))
    weight = 0.5 * (np.ones_like(matrix) if curvature is None else layer.axes.matrix(curvature))
    found: list[LayerOption] = []
    seen: set[tuple[str, int, int]] = set()
    ways = list(_list_ways(layer, space, target, reuse_factors))
    for precision in _list_precisions(layer, matrix, space):
        integers = quantize(matrix, precision, as_built=True)
        rounded, counted_kernel = dequantize(integers, precision), CountedKernel.of(integers)
        for strategy, reuse in ways:
            counter = _Counter.of(_as_built(layer, strategy, reuse, precision), target, stage)
            product = counter.product
            stated = reuse if reuse_factors else product.reuse_factor
            key = (product.strategy, stated, precision.width)
            if key in seen or product.strategy not in space.strategies:
                continue
            seen.add(key)
            pruning = Pruning.of(product, matrix, rounded, weight)
            parts: dict[int, float] = {}  # of parts of as many groups the largest
            for part in _list_parts(product, space):
                parts.setdefault(pruning.count(part), part)
            counts = list(parts)
            found += [
                LayerOption(
                    product.strategy,
                    product.reuse_factor,
                    precision,
                    part,
                    float(pruning.losses[count]),
                    *counted,
                    stated,
                )
                for (count, part), counted in zip(
                    parts.items(), counter.count(counted_kernel, pruning.ranks, counts), strict=True
                )
            ]
    if not found:
        raise InvalidInputError(_say_why_none(layer, space, target))
    return found


def _list_precisions(
    layer: LayerAttributes, matrix: np.ndarray, space: DesignSpace
) -> Iterator[FixedPrecision]:
    """Yield the format that is stated, and those of fewer bits with as many integer bits as needed."""
    stated = fixed_point(hls4ml_attributes(layer).weight_precision)
    yield stated
    largest = max(float(np.abs(matrix).max(initial=0)), 2.0**-30)
    integer = int(np.ceil(np.log2(largest + 1e-12))) + 1
    for width in space.widths:
        if width < stated.width:
            modes = stated.rounding, stated.overflow
            yield FixedPrecision(width, min(integer, stated.integer), True, *modes)


def _list_ways(
    layer: LayerAttributes, space: DesignSpace, target: Target, stated: Sequence[int]
) -> Iterator[tuple[str, int]]:
    """Yield strategies with their reuse factors."""
    asked, few = space.reuse_factor, stated or list_reuse_factors(layer, space)
    for strategy in _list_built(layer, space, target):
        if strategy not in space.strategies or _is_too_large(layer, strategy, space):
            continue
        if asked is not None:
            own = legal_reuse_factor(*layer.matrix_shape, asked, strategy)
            yield strategy, asked if stated else own
            continue
        for reuse in few if strategy in SHARED_MULTIPLIERS else (1,):
            yield strategy, reuse


def list_reuse_factors(layer: LayerAttributes, space: DesignSpace) -> list[int]:
    """Return the few reuse factors of a layer that are tried.

    Parameters
    ----------
    layer
        Attributes of a layer with a kernel.
    space
        What is tried.
    """
    legal = valid_reuse_factors(*layer.matrix_shape)
    places = np.unique(np.geomspace(1, len(legal), min(space.reuse_factors, len(legal))).round())
    return [legal[int(place) - 1] for place in places]


def _list_built(layer: LayerAttributes, space: DesignSpace, target: Target) -> list[str]:
    """Return the strategies with which a layer is built as they say and pruned weights save something."""
    hls, reuse = hls4ml_attributes(layer), space.reuse_factor or 2
    kind = (layer.is_convolution, layer.built_instead)
    return [
        strategy
        for strategy in layer.strategies or STRATEGIES
        if effective_strategy(strategy, reuse, hls.io_type, *kind) == strategy
        and strategy not in target.unbuilt
    ]


def _is_too_large(layer: LayerAttributes, strategy: str, space: DesignSpace) -> bool:
    """Whether a layer has more weights than may all be constants, which a strategy makes them."""
    weights = math.prod(layer.matrix_shape)
    return strategy in CONSTANTS_ONLY and weights > space.constants_up_to


def _say_why_none(layer: LayerAttributes, space: DesignSpace, target: Target) -> str:
    """Say why a layer can be built with none of the strategies of a space, and what to do."""
    built, weights = _list_built(layer, space, target), math.prod(layer.matrix_shape)
    asked, known = (" or ".join(map(spell_strategy, each)) for each in (space.strategies, built))
    what = f"layer {layer.name!r} ({layer.layer_type.__name__})"
    if set(built) & set(space.strategies):
        return (
            f"{what} must have at most {space.constants_up_to:,} weights to be built with {asked}, which "
            f"makes each of them a constant. Received: {weights:,}. Use a DesignSpace with "
            f"constants_up_to={weights}, or a strategy that shares multipliers where hls4ml builds it."
        )
    factor = "" if space.reuse_factor is None else f" and ReuseFactor={space.reuse_factor}"
    return (
        f"{what} must be built with {known}: hls4ml stops at others here, builds another one instead, or "
        f"keeps pruned weights. Received: {asked}{factor}. State one of these for it, or no strategy."
    )


def _as_built(
    layer: LayerAttributes, strategy: str, reuse: int, precision: FixedPrecision
) -> LayerAttributes:
    """Return a layer as another configuration builds it, all of its calls alike."""

    def change(call: LayerAttributes) -> LayerAttributes:
        hls = replace(
            hls4ml_attributes(call),
            strategy=spell_strategy(strategy),
            reuse_factor=reuse,
            weight_precision=precision,
        )
        return call.with_hls4ml(hls)

    built = change(layer)
    if not layer.further_calls:
        return built
    return replace(built, further_calls=tuple(change(call) for call in layer.further_calls))


def _list_parts(product: Product, space: DesignSpace) -> list[float]:
    """Return the parts of groups that are kept, the largest first."""
    if product.strategy == "resource" and product.time_multiplexed:
        return [1.0]  # it keeps the multipliers of zeros
    return sorted(set(space.kept), reverse=True)


@dataclass(frozen=True, eq=False)
class _Counter:
    """Counts the resources and cycles of a layer that is built in one way, as an estimate does."""

    calls: list[CallEstimator]
    others: Resources
    stage: str

    @classmethod
    def of(cls, layer: LayerAttributes, target: Target, stage: str) -> _Counter:
        fifos = sum((fifos_of(call, target) for call in layer.calls), Resources())
        calls = [CallEstimator.of(call, target) for call in layer.calls]
        others = fifos if stage == HLS else after_synthesis(fifos)
        return cls(calls, sum((call.count_others(stage) for call in calls), others), stage)

    @property
    def product(self) -> Product:
        """The product of the first call."""
        return self.calls[0].product

    def count(
        self, kernel: CountedKernel, ranks: np.ndarray, counts: Sequence[int]
    ) -> Iterator[tuple[Resources, LayerTiming]]:
        """Yield the usage and the cycles of all calls with each number of groups that are kept."""
        works = [kernel.count(call.product, ranks, counts) for call in self.calls]
        timing = None
        for each in zip(*works, strict=True):
            pairs = list(zip(self.calls, each, strict=True))
            if timing is None or not self.product.time_multiplexed:
                timing = LayerTiming.joined(
                    LayerTiming.of_call(*call.time(work)) for call, work in pairs
                )
            yield (
                sum((call.count_product(work, self.stage) for call, work in pairs), self.others),
                timing,
            )
