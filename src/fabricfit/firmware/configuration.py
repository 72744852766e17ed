"""The hls4ml configuration that leaves out the multipliers of pruned weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from fabricfit.hardware.families import DEFAULT_FAMILY
from fabricfit.hls4ml.realize import Realized, realize_configuration
from fabricfit.network.describe import get_attributes_from_keras_model_and_hls4ml_config

__all__ = ["Realized", "realize"]


def realize(
    model: keras.Model, hls_config: Mapping[str, Any], family: str = DEFAULT_FAMILY
) -> Realized:
    """Return the configuration with which hls4ml builds a model without its pruned multipliers.

    - Resource becomes ResourceUnrolled where hls4ml can build that: with a reuse factor above 1, for
      dense layers, and for convolutions with ``io_stream``.
    - Every layer with a kernel gets strategy, reuse factor and parallelization factor by name, legal
      ones, so that hls4ml has nothing to replace; ``TargetCycles`` is removed.
    - Everything else is unchanged.

    Parameters
    ----------
    model
        A built Sequential or Functional model.
    hls_config
        hls4ml's configuration; it is not changed.
    family
        Family of the FPGA, a name of :func:`fabricfit.hardware.families`. hls4ml's backends for Intel's
        FPGAs know Resource only.

    Raises
    ------
    InvalidInputError
        hls4ml would compute a layer wrongly, or not build it: a convolution with ``io_parallel``,
        Resource and a reuse factor above its inputs, or a strategy that does not exist.

    Warns
    -----
    ReuseFactorWarning
        A reuse or parallelization factor is replaced by one that hls4ml can build.
    """
    attributes = get_attributes_from_keras_model_and_hls4ml_config(model, hls_config)
    return realize_configuration(attributes, hls_config, family)
