"""``fabricfit.estimate``: the resources and timing of a Keras model, without training or synthesis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import keras

from fabricfit.description.attributes import LayerAttributes
from fabricfit.errors import warn_caller
from fabricfit.hardware.budget import Budget
from fabricfit.hardware.budget_forms import BudgetLike, as_budget
from fabricfit.hls4ml.backends import list_backend_notes
from fabricfit.hls4ml.checking import ConfigurationWarning
from fabricfit.hls4ml.config import default_configuration
from fabricfit.hls4ml.estimation import ModelEstimate, estimate_layers
from fabricfit.hls4ml.pipelining import pipelined_interval
from fabricfit.hls4ml.plain import ConfigurationLike
from fabricfit.hls4ml.target import choose_target
from fabricfit.network.as_built import folded_by_hls4ml
from fabricfit.network.batch_norm import find_folds, fold_normalizations
from fabricfit.network.buildable import list_limits
from fabricfit.network.configuration import open_configuration, unstated_calls
from fabricfit.network.describe import describe_for_hls4ml, describe_network
from fabricfit.network.finite import open_network
from fabricfit.network.reader import Network
from fabricfit.network.unknown_layers import describe_matrices

__all__ = ["describe_as_built", "estimate"]


def estimate(
    model: keras.Model,
    hls_config: ConfigurationLike | Budget | None = None,
    *,
    budget: BudgetLike | None = None,
    family: str | None = None,
    part: str | None = None,
    clock_ns: float | None = None,
    tool: str | None = None,
    binding: str | None = None,
) -> ModelEstimate:
    """Estimate the resources and the timing of a model, without training or synthesis.

    Any layer counts. Those that fabricfit does not know have wider error bars and a note: they are counted as
    a dense layer for each of their matrices. What hls4ml would not build as the model says is noted, too,
    and what is not known of the backend that a project's configuration names.

    Parameters
    ----------
    model
        A built Sequential or Functional model.
    hls_config
        How hls4ml is to build it, see
        :func:`fabricfit.attributes.get_attributes_from_keras_model_and_hls4ml_config`; hls4ml's
        defaults (``fixed<16,6>``, Latency, a reuse factor of 1) without it. A budget may stand in its
        place.
    budget
        What to compare with, in any form of :func:`fabricfit.hardware.budget_forms.as_budget`; its family
        counts.
    family
        Whose DSP blocks and memories, a name of :func:`fabricfit.hardware.families`.
    part
        The part instead of its family, such as ``'xc7z020clg400-1'``.
    clock_ns
        Clock period in nanoseconds.
    tool
        The HLS compiler, such as ``'Vitis HLS 2024.1'``, see :func:`fabricfit.hardware.find_tool`.
    binding
        ``'auto'``, ``'dsp'`` or ``'fabric'``: what the compiler is told to build products from.

    Notes
    -----
    What is not given is what the budget says, then what the configuration says (``'Part'``,
    ``'ClockPeriod'``, ``'Backend'``), then a board's usual clock; else UltraScale+, 5 ns and Vivado HLS
    2020.1, on which the laws were established.

    Returns
    -------
    ModelEstimate
        Prints as a table; ``to_dict()`` and ``to_frame()`` give the numbers.

    Raises
    ------
    InvalidInputError
        The model's graph cannot be read, a weight is not finite, or the configuration is not one that hls4ml
        can build, or is of another model.

    Warns
    -----
    ConfigurationWarning
        A section of the configuration fits one call of a layer and not the others.

    Examples
    --------
    >>> import keras
    >>> from fabricfit import Budget
    >>> layers = [keras.Input((16,)), keras.layers.Dense(8, name="fc")]
    >>> found = estimate(
    ...     keras.Sequential(layers),
    ...     {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 4, "Strategy": "Resource"}},
    ...     budget=Budget.device("pynq-z2"),
    ... )
    >>> found.resources["dsp"].value, found.fits
    (32, True)
    """
    if isinstance(hls_config, Budget):
        hls_config, budget = None, hls_config
    limits = None if budget is None else as_budget(budget)
    whole = open_network(model)
    given = default_configuration() if hls_config is None else hls_config
    config = open_configuration(given, whole)
    for stated, name in unstated_calls(config, whole):
        warn_caller(
            f"config['LayerName'] has a section {stated!r}, but none for {name!r}, as hls4ml calls another "
            "call of the same layer: it is built as its type or the model says, and counted so.",
            ConfigurationWarning,
        )
    network, attributes = describe_as_built(whole, config)
    asked: dict[str, Any] = {"clock_ns": clock_ns, "tool": tool, "binding": binding}
    chosen = choose_target(config, limits, family=family, part=part, **asked)
    found = estimate_layers(attributes, network.kernel_arrays(), target=chosen, budget=limits)
    differing = list_limits(whole, attributes, config)
    pipelined = pipelined_interval(config, attributes) or 0
    remarks = (*map(str, differing), *_remark_on_interval(found, pipelined))
    return replace(found, remarks=(*remarks, *list_backend_notes(config)), pipelined=pipelined)


def _remark_on_interval(found: ModelEstimate, pipelined: int) -> Iterator[str]:
    """Say that a network is pipelined more slowly than any layer needs."""
    if pipelined > found.interval.value:
        yield (
            f"hls4ml pipelines the network as a whole with an interval of {pipelined} cycles, the largest "
            "ReuseFactor that is stated for any of its layers, inputs and activations, or its "
            f"PipelineInterval; the slowest layer needs {found.interval.value:,.0f}. State no larger "
            "ReuseFactor under 'Model' than that."
        )


def describe_as_built(
    network: Network, config: Mapping[str, Any]
) -> tuple[Network, dict[str, LayerAttributes]]:
    """Return a network without the batch normalizations that hls4ml folds, and the attributes of its layers.

    Parameters
    ----------
    network
        What was read of a model.
    config
        An opened configuration.
    """
    if find_folds(network):
        choose = folded_by_hls4ml(network, config, describe_network(network))
        network = fold_normalizations(network, choose)
    attributes = describe_for_hls4ml(network, config)
    describe_matrices(network, attributes, config)
    return network, attributes
