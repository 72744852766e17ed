"""The hls4ml configuration that leaves out the multipliers of pruned weights."""

from __future__ import annotations

from dataclasses import replace

import keras

from fabricfit.hardware.families import DEFAULT_FAMILY
from fabricfit.hls4ml.plain import ConfigurationLike
from fabricfit.hls4ml.realize import Realized, realize_configuration
from fabricfit.network.configuration import open_configuration, state_every_call
from fabricfit.network.describe import describe_for_hls4ml
from fabricfit.network.finite import open_network

__all__ = ["Realized", "realize"]


def realize(
    model: keras.Model, hls_config: ConfigurationLike, family: str = DEFAULT_FAMILY
) -> Realized:
    """Return the configuration with which hls4ml builds a model without its pruned multipliers.

    - Resource becomes ResourceUnrolled where hls4ml can build that: with a reuse factor above 1, for
      dense layers, and for convolutions with ``io_stream``.
    - Every layer with a kernel gets strategy, reuse factor and parallelization factor by name, legal
      ones, so that hls4ml has nothing to replace; ``TargetCycles`` is removed.
    - A layer that is called several times is built several times; calls without a section of their own are
      built as the first one is.
    - A network that hls4ml pipelines as a whole is so with the largest reuse factor of its products, where
      the configuration states a larger one for something else.
    - Everything else is unchanged.

    Parameters
    ----------
    model
        A built Sequential or Functional model.
    hls_config
        hls4ml's configuration, or a file of it; it is not changed.
    family
        Family of the FPGA, a name of :func:`fabricfit.hardware.families`. hls4ml's backends for Intel's
        FPGAs know Resource only.

    Raises
    ------
    InvalidInputError
        hls4ml would compute a layer wrongly, or not build it: a convolution with ``io_parallel``,
        Resource and a reuse factor above its inputs, or a strategy that does not exist. Or the calls of a
        layer, which share its weights, are to be built in different ways.

    Warns
    -----
    ReuseFactorWarning
        A reuse or parallelization factor is replaced by one that hls4ml can build.
    """
    network = open_network(model)
    config = open_configuration(hls_config, network)
    remarks = state_every_call(config, network)
    found = realize_configuration(describe_for_hls4ml(network, config), config, family)
    return replace(found, remarks=(*remarks, *found.remarks))
