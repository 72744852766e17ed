"""Resources of FPGAs, for models that hls4ml builds with its Vivado and Vitis backends.

The attributes must be read with
:func:`fabricfit.attributes.get_attributes_from_keras_model_and_hls4ml_config`. How hls4ml's
strategies meet multipliers and memories, and how far each law reaches, is written in
:mod:`fabricfit.hardware`. Pattern pruning for DSPs and block RAMs follows Ramhorst et al., "FPGA
Resource-aware Structured Pruning for Real-Time Neural Networks" (2023), arXiv:2308.05170.
"""

from __future__ import annotations

import logging

from fabricfit.description.attributes import LayerAttributes, OptimizationAttributes
from fabricfit.description.strategies import canonical_strategy
from fabricfit.description.structures import SUPPORTED_STRUCTURES
from fabricfit.hardware.bram import memory_word
from fabricfit.hardware.registers import output_registers, weight_registers
from fabricfit.hls4ml.products import (
    MatrixProduct,
    hls4ml_attributes,
    why_calls_differ,
    why_not_built,
)
from fabricfit.objectives.counting import check_removed, left_over, prunes
from fabricfit.objectives.estimator import ObjectiveEstimator

__all__ = ["VivadoDSPEstimator", "VivadoFFEstimator", "VivadoMultiObjectiveEstimator"]

logger = logging.getLogger(__name__)

_NO_KERNEL = "the layer has no kernel."
_ADDERS = "distributed arithmetic builds products from adders and uses no DSPs."


class VivadoDSPEstimator(ObjectiveEstimator):
    """DSP blocks.

    - Resource and ResourceUnrolled: a multiplier serves RF weights, which form a pattern; all of
      them must be zero for its DSPs to be saved. To get the saving, convert with ResourceUnrolled:
      plain Resource keeps multipliers for zeros.
    - Latency: each weight is a multiplication of its own, counted as one multiplier whatever the
      reuse factor. That is an upper bound: powers of two and repeated weights use none
      (:func:`fabricfit.hardware.latency_dsp`).
    - Distributed arithmetic, and weights so narrow that products are built of LUTs, use no DSPs.
    """

    units = ("DSP",)

    @classmethod
    def is_layer_optimizable(
        cls, layer_attributes: LayerAttributes
    ) -> tuple[bool, OptimizationAttributes | None]:
        """Layers whose products use DSPs are, by pattern or (with Latency) weight by weight."""
        if cls.reason(layer_attributes):
            return False, None
        product = MatrixProduct.of(layer_attributes)
        if not product.by_pattern:
            return True, OptimizationAttributes(SUPPORTED_STRUCTURES.UNSTRUCTURED, pruning=True)
        return True, OptimizationAttributes(
            SUPPORTED_STRUCTURES.PATTERN, pruning=True, pattern_offset=product.multipliers
        )

    @classmethod
    def layer_resources(cls, layer_attributes: LayerAttributes) -> list[int]:
        """Return the DSPs of the layer."""
        if not layer_attributes.multiplies:
            return [0]
        product = MatrixProduct.of(layer_attributes)
        return [product.multipliers * product.dsps]

    @classmethod
    def layer_savings(cls, layer_attributes: LayerAttributes) -> list[int]:
        """Return the DSPs that one group surely saves; 0, with a warning, if groups are shared."""
        return [
            _count_multipliers_saved(layer_attributes)
            * _count_dsps_per_multiplier(layer_attributes)
        ]

    @classmethod
    def reason(cls, layer_attributes: LayerAttributes) -> str:
        """Say why a layer is not optimizable."""
        if not layer_attributes.multiplies:
            return _NO_KERNEL
        if reason := why_not_built(layer_attributes) or why_calls_differ(layer_attributes):
            return reason
        product = MatrixProduct.of(layer_attributes)
        if product.strategy == "distributed_arithmetic":
            return _ADDERS
        return "" if product.dsps else _explain_luts(product)


class VivadoMultiObjectiveEstimator(ObjectiveEstimator):
    """DSP blocks and block RAMs (RAMB18; a RAMB36 counts as two), both at once.

    With Resource and RF > 1 the weights are words of a block RAM, as wide as all multipliers'
    weights together. A group is as many neighbouring patterns as fill the 36 (RF ≤ 512) or 18 bits
    of one RAMB18, so that each group saves DSPs and at least one block RAM. With Latency, and with
    RF = 1, there are no block RAMs to save and single weights are pruned for their DSPs.

    Weights too narrow for DSPs still save block RAMs. Output positions computed in parallel
    multiply the DSPs and share the weights' memory.
    """

    units = ("DSP", "BRAM18")

    @classmethod
    def is_layer_optimizable(
        cls, layer_attributes: LayerAttributes
    ) -> tuple[bool, OptimizationAttributes | None]:
        """Layers with DSPs or block RAMs are, by groups of patterns or weight by weight."""
        if cls.reason(layer_attributes):
            return False, None
        product = MatrixProduct.of(layer_attributes)
        if product.reuse_factor == 1:
            return True, OptimizationAttributes(SUPPORTED_STRUCTURES.UNSTRUCTURED, pruning=True)
        return True, OptimizationAttributes(
            SUPPORTED_STRUCTURES.PATTERN,
            pruning=True,
            pattern_offset=product.multipliers,
            consecutive_patterns=-(-memory_word(product.reuse_factor) // product.weight_width),
        )

    @classmethod
    def layer_resources(cls, layer_attributes: LayerAttributes) -> list[int]:
        """Return the DSPs and RAMB18 of the layer."""
        if not layer_attributes.multiplies:
            return [0, 0]
        product = MatrixProduct.of(layer_attributes)
        return [product.multipliers * product.dsps, product.bram18(product.multipliers)]

    @classmethod
    def layer_savings(cls, layer_attributes: LayerAttributes) -> list[int]:
        """Return the DSPs and RAMB18 that one group surely saves, whatever else is removed."""
        saved = _count_multipliers_saved(layer_attributes)
        if not saved:
            return [0, 0]
        product = MatrixProduct.of(layer_attributes)
        if saved >= product.multipliers:
            return cls.layer_resources(layer_attributes)
        bits = saved * product.weight_width
        whole_words = 0 if product.reuse_factor == 1 else bits // memory_word(product.reuse_factor)
        return [saved * product.dsps, product.calls * whole_words]

    @classmethod
    def layer_utilization(cls, layer_attributes: LayerAttributes, removed: int) -> list[int]:
        """Return the usage of the patterns that are left, their words packed without gaps."""
        check_removed({layer_attributes.name: layer_attributes}, {layer_attributes.name: removed})
        if not removed or not layer_attributes.multiplies:
            return cls.layer_resources(layer_attributes)
        product = MatrixProduct.of(layer_attributes)
        saved = _count_multipliers_saved(layer_attributes)
        left = left_over(product.multipliers, saved, layer_attributes.grouping, removed)
        return [left * product.dsps, product.bram18(left)]

    @classmethod
    def reason(cls, layer_attributes: LayerAttributes) -> str:
        """Say why a layer is not optimizable."""
        if not layer_attributes.multiplies:
            return _NO_KERNEL
        if reason := why_not_built(layer_attributes) or why_calls_differ(layer_attributes):
            return reason
        product = MatrixProduct.of(layer_attributes)
        if product.strategy == "distributed_arithmetic":
            return _ADDERS
        if product.dsps or product.reuse_factor > 1:
            return ""
        return f"{_explain_luts(product)} Its weights are in no block RAM."


class VivadoFFEstimator(ObjectiveEstimator):
    """Flip-flops that hold weights and results: an approximation.

    Counted is what is stored (:mod:`fabricfit.hardware.registers`), not the pipeline that the HLS compiler
    makes of it, so the numbers rank choices and do not predict a report. They never grow when
    groups go.

    - Latency: all bits of the weights; with ``io_parallel`` also those of the results. Weights are
      pruned one by one.
    - Resource and distributed arithmetic with ``io_parallel``: the bits of the results. Whole units
      are pruned; call :func:`fabricfit.keras.reduction.reduce_model` on the result to save them.
    - The same with ``io_stream``: weights and results are elsewhere, there is nothing to save.
    """

    units = ("FF",)

    @classmethod
    def is_layer_optimizable(
        cls, layer_attributes: LayerAttributes
    ) -> tuple[bool, OptimizationAttributes | None]:
        """Layers that keep weights or results in flip-flops are."""
        if cls.reason(layer_attributes):
            return False, None
        weights = _count_weight_bits(layer_attributes) > 0
        structure = (
            SUPPORTED_STRUCTURES.UNSTRUCTURED if weights else SUPPORTED_STRUCTURES.STRUCTURED
        )
        return True, OptimizationAttributes(structure, pruning=True)

    @classmethod
    def layer_resources(cls, layer_attributes: LayerAttributes) -> list[int]:
        """Return the bits of weights and results that the layer keeps in flip-flops."""
        if not layer_attributes.multiplies:
            return [0]
        n_in, n_out = layer_attributes.matrix_shape
        weights = n_in * n_out * _count_weight_bits(layer_attributes)
        return [weights + n_out * _count_bits_per_unit(layer_attributes)]

    @classmethod
    def layer_savings(cls, layer_attributes: LayerAttributes) -> list[int]:
        """Return the flip-flops that one group saves; 0, with a warning, if groups are shared."""
        if not prunes(layer_attributes, logger, "flip-flops"):
            return [0]
        groups = layer_attributes.grouping
        saved = groups.group_size * _count_weight_bits(layer_attributes)
        if groups.structure is SUPPORTED_STRUCTURES.STRUCTURED:
            saved += _count_bits_per_unit(layer_attributes)
        if not saved:
            _warn_nothing_saved(layer_attributes, "flip-flops")
        return [saved]

    @classmethod
    def reason(cls, layer_attributes: LayerAttributes) -> str:
        """Say why a layer is not optimizable."""
        if not layer_attributes.multiplies:
            return _NO_KERNEL
        if _count_weight_bits(layer_attributes) or _count_bits_per_unit(layer_attributes):
            return ""
        strategy = hls4ml_attributes(layer_attributes).strategy
        return f"with io_stream and {strategy}, weights and results are not in flip-flops."


def _count_multipliers_saved(layer_attributes: LayerAttributes) -> int:
    """Multipliers that one group surely saves; logs a warning where pruning it saves none."""
    if not prunes(layer_attributes, logger, "DSPs or block RAMs"):
        return 0
    product = MatrixProduct.of(layer_attributes)
    saved = product.multipliers_per_group(layer_attributes)
    if not saved:
        _warn_nothing_saved(layer_attributes, "multipliers", product.reuse_factor)
    return saved


def _count_dsps_per_multiplier(layer_attributes: LayerAttributes) -> int:
    return MatrixProduct.of(layer_attributes).dsps if layer_attributes.multiplies else 0


def _warn_nothing_saved(
    layer_attributes: LayerAttributes, resource: str, reuse_factor: int | None = None
) -> None:
    logger.warning(
        "Layer %r: a %s group of its kernel%s leaves no %s without work. Use the attributes that "
        "is_layer_optimizable returns.",
        layer_attributes.name,
        layer_attributes.grouping.structure.value,
        "" if reuse_factor is None else f" with reuse factor {reuse_factor}",
        resource,
    )


def _explain_luts(product: MatrixProduct) -> str:
    return f"products with its {product.weight_width}-bit weights are built from LUTs, not DSPs."


def _count_weight_bits(layer_attributes: LayerAttributes) -> int:
    """Flip-flops for one weight, in all calls of the layer."""
    calls = map(hls4ml_attributes, layer_attributes.calls)
    return sum(
        weight_registers(1, hls.weight_precision.width, canonical_strategy(hls.strategy))
        for hls in calls
    )


def _count_bits_per_unit(layer_attributes: LayerAttributes) -> int:
    """Flip-flops for the results of one unit, in all calls of the layer."""
    calls = [(call.positions, hls4ml_attributes(call)) for call in layer_attributes.calls]
    return sum(
        output_registers(positions, hls.output_precision.width, hls.io_type)
        for positions, hls in calls
    )
