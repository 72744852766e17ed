"""A layer's products as hls4ml builds them: what its groups mean in multipliers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fabricfit.attributes import LayerAttributes, canonical_strategy, hls4mlAttributes
from fabricfit.config import SUPPORTED_STRUCTURES
from fabricfit.errors import InvalidInputError
from fabricfit.hardware.bram import weight_bram18
from fabricfit.hardware.dsp import dsps_per_multiplier, multipliers
from fabricfit.hardware.reuse import legal_reuse_factor

__all__ = ["MatrixProduct", "hls4ml_attributes"]


def hls4ml_attributes(layer_attributes: LayerAttributes) -> hls4mlAttributes:
    """Return what the hls4ml configuration says of a layer.

    Raises
    ------
    InvalidInputError
        The attributes were read without a configuration.
    """
    found = layer_attributes.args.get("hls4ml_attributes")
    if found is None:
        raise InvalidInputError(
            f"layer {layer_attributes.name!r} has no args['hls4ml_attributes'], which objectives "
            "for FPGAs need. Read the model with get_attributes_from_keras_model_and_hls4ml_config"
            "(model, config)."
        )
    return found


@dataclass(frozen=True)
class MatrixProduct:
    """The matrix product of one layer in hardware.

    Parameters
    ----------
    n_in
        Rows of the kernel's matrix.
    size
        Number of weights.
    strategy
        ``'latency'``, ``'resource'``, ``'resource_unrolled'`` or ``'distributed_arithmetic'``.
    reuse_factor
        Weights of each multiplier: 1 with Latency, where a larger one was seen to save hardly any
        DSP; else the one that hls4ml would use.
    weight_width
        Bits of a weight.
    dsps
        DSP blocks that go with one multiplier, over all output positions computed at once.
    """

    n_in: int
    size: int
    strategy: str
    reuse_factor: int
    weight_width: int
    dsps: int

    @classmethod
    def of(cls, layer_attributes: LayerAttributes) -> MatrixProduct:
        """Read it off a layer with a kernel."""
        hls = hls4ml_attributes(layer_attributes)
        strategy = canonical_strategy(hls.strategy)
        dsps = 0
        if strategy != "distributed_arithmetic":
            inputs = hls.input_precision.width if hls.input_precision is not None else None
            at_once = hls.parallelization_factor if hls.io_type == "io_parallel" else 1
            dsps = dsps_per_multiplier(hls.weight_precision.width, inputs) * at_once
        reuse_factor = 1
        if strategy in ("resource", "resource_unrolled"):
            reuse_factor = legal_reuse_factor(hls.n_in, hls.n_out, hls.reuse_factor, strategy)
        size = math.prod(layer_attributes.weight_shape)
        width = hls.weight_precision.width
        return cls(hls.n_in, size, strategy, reuse_factor, width, dsps)

    @property
    def by_pattern(self) -> bool:
        """Whether multipliers, not single weights, are what can be saved."""
        return self.strategy in ("resource", "resource_unrolled")

    @property
    def multipliers(self) -> int:
        """Number of multipliers, for one output position."""
        return multipliers(self.size, 1, self.reuse_factor)

    def bram18(self, patterns: int) -> int:
        """RAMB18 that hold the weights of so many multipliers; none unless RF > 1."""
        return weight_bram18(patterns, self.weight_width, self.reuse_factor)

    def multipliers_per_group(self, layer_attributes: LayerAttributes) -> int:
        """Return the multipliers that surely have no work left when one full group is gone.

        A multiplier serves RF consecutive weights, output by output. Of a pattern or a unit all
        members are consecutive; of a block those in one column are.
        """
        groups = layer_attributes.grouping
        if groups.structure is SUPPORTED_STRUCTURES.BLOCK:
            rows, columns = groups.block_shape
            columns = min(columns, layer_attributes.weight_shape[-1])
            return columns * self._whole_runs(min(rows, self.n_in))
        return self._whole_runs(groups.group_size)

    def _whole_runs(self, length: int) -> int:
        """Count the runs of RF weights inside any stretch of so many that starts at a multiple."""
        if length % self.reuse_factor == 0 or length == self.size:
            return -(-length // self.reuse_factor)
        return max((length + 1) // self.reuse_factor - 1, 0)
