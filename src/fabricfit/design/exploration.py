"""``fabricfit.explore``: the designs that are worth building for a budget, without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from fabricfit.checks import flag, instance, mapping, numbers, whole_number
from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.precision import fixed_point, parse_precision
from fabricfit.description.strategies import SHARED_MULTIPLIERS, canonical_strategy
from fabricfit.design.buildable import Buildable
from fabricfit.design.designs import STRATEGY_SETS, Design, Exploration
from fabricfit.design.loss_curvature import measure_curvature
from fabricfit.design.options import DesignSpace
from fabricfit.design.table import OptionTable
from fabricfit.errors import InfeasibleError, InvalidInputError, spell
from fabricfit.hardware.budget_forms import BudgetLike, as_budget
from fabricfit.hardware.targets import Target
from fabricfit.hls4ml.config import default_configuration, read_io_type
from fabricfit.hls4ml.plain import ConfigurationLike
from fabricfit.hls4ml.sections import find_key
from fabricfit.hls4ml.target import choose_budget
from fabricfit.network.batch_norm import fold_normalizations
from fabricfit.network.configuration import open_configuration, state_every_call, without_layers
from fabricfit.network.describe import describe_for_hls4ml
from fabricfit.network.finite import open_network
from fabricfit.network.reader import Network
from fabricfit.network.scalings import replace_scalings
from fabricfit.network.unknown_layers import describe_matrices
from fabricfit.network.whole_pooling import replace_whole_pooling
from fabricfit.objectives.stream_memory import fit_fifos
from fabricfit.selection.choice_targets import objective_of

__all__ = ["Design", "Exploration", "explore"]

_FRACTIONS = (1.0, 0.85, 0.7, 0.55, 0.4, 0.3, 0.2, 0.12, 0.07, 0.04)
"""Parts of the budget for which a design is chosen, the largest first."""


_MORE = 32
"""Reuse factors of each layer that are tried where no design is within the limits with a few."""


def explore(
    model: keras.Model,
    budget: BudgetLike,
    data: Any = None,
    *,
    hls_config: ConfigurationLike | None = None,
    loss: Any = None,
    formats: ConfigurationLike | None = None,
    space: DesignSpace | None = None,
    samples: int = 512,
    fractions: tuple[float, ...] = _FRACTIONS,
    curvature: Mapping[str, np.ndarray] | None = None,
    by_strategies: bool = False,
) -> Exploration:
    """Choose strategy, reuse factor, bits and pruning of each layer, for a budget and parts of it.

    Each layer has its options (:class:`DesignSpace`), each with its costs by the laws and the loss that a
    second-order model predicts; one option for each layer is chosen such that the predicted loss is least
    within the limits, proven by branch and bound (:mod:`fabricfit.design.choice`). The kernels of one layer
    are built in one way, as hls4ml does; what it does not build is not proposed. Nothing is trained:
    :func:`fabricfit.fit` does that with the configuration of a design.

    Parameters
    ----------
    model
        A built model, which is not changed.
    budget
        The limits and deadlines, and the clock, in any form of
        :func:`fabricfit.hardware.budget_forms.as_budget`. A relative one is relative to what ``hls_config``
        uses. Of the costs of an option so much of the error bars counts as the budget's ``margin`` says.
    data
        ``(X, y)`` of which the Hessian of the loss is taken; without, the squared change of the weights is
        the loss.
    hls_config
        What is stated of the design, and kept: number formats, ``'IOType'``, strategies and reuse factors of
        single layers under ``'LayerName'``. hls4ml's defaults without it.
    formats
        A configuration with number formats for what ``hls_config`` leaves open, of which weights may become
        narrower: such as that of :func:`fabricfit.calibrate`.
    loss
        The loss; as the model was compiled by default.
    space
        What is tried for each layer.
    samples
        How many samples of the data are used.
    fractions
        Parts of the budget for which a design is chosen.
    curvature
        What :func:`fabricfit.design.loss_curvature.measure_curvature` returned, in place of the data.
    by_strategies
        Whether designs of constants, and of shared multipliers, are chosen from the same options as well, see
        :attr:`Exploration.by_strategies`.

    Raises
    ------
    InfeasibleError
        No design of the space is within the limits; the message names the limit and what is least.
    InvalidInputError
        The input cannot be worked with, or hls4ml does not build the model with any design.
    """
    samples = whole_number("samples", samples)
    numbers("fractions", fractions, above=0, most=1)
    flag("by_strategies", by_strategies)
    if space is not None:
        instance("space", space, DesignSpace, "fabricfit.design.DesignSpace()")
    limits = as_budget(budget)
    whole = open_network(model)
    if curvature is not None:
        curvature = _check_curvature(curvature, whole)
    if hls_config is None or (isinstance(hls_config, Mapping) and not hls_config):
        hls_config = default_configuration()
    stated = open_configuration(hls_config, whole)
    config = stated if formats is None else open_configuration(formats, whole)
    budget = choose_budget(config, limits)
    network = replace_scalings(fold_normalizations(whole))
    if read_io_type(config) == "io_stream":
        network = replace_whole_pooling(network)
    without_layers(config, whole, whole.layers.keys() - network.layers.keys())
    state_every_call(config, network)
    attributes = describe_for_hls4ml(network, config)
    describe_matrices(network, attributes, config)
    buildable = Buildable(network)
    buildable.refuse(attributes, config)
    named = [
        name for name, layer in attributes.items() if _read_named(stated, layer).get("Strategy")
    ]
    if not budget.is_relative:
        none = np.zeros(len(budget.resources))
        attributes = fit_fifos(attributes, objective_of(budget), budget, none)
    if curvature is None:
        known = None if data is None else measure_curvature(model, data, loss, samples, network)
        curvature = known or {}
    # Few reuse factors suffice for most networks; where no design is within the limits, more are tried.
    for tried in (space,) if space else (DesignSpace(), DesignSpace(reuse_factors=_MORE)):
        spaces = {
            name: _narrow(tried, stated, layer, budget.target) for name, layer in attributes.items()
        }
        table = OptionTable(
            network.kernel_arrays(),
            *(attributes, config, budget, spaces, curvature, named, buildable.find_wrong),
        )
        if designs := _choose_designs(table, fractions):
            sets = {
                name: Exploration(chosen, budget, table.clock_ns)
                for name, own in STRATEGY_SETS.items()
                if by_strategies and (chosen := _choose_designs(table, fractions, own))
            }
            return Exploration(designs, budget, table.clock_ns, sets)
        if table.is_late:  # the smallest reuse factors are among the few
            break
    raise InfeasibleError(table.explain())


def _check_curvature(curvature: Any, network: Network) -> dict[str, np.ndarray]:
    """Return diagonals of the Hessian of the loss, by the names of kernels."""
    found = {}
    for name, each in mapping("curvature", curvature).items():
        kernel = network.kernels.get(name)
        try:
            array = np.asarray(each, np.float64)
        except Exception:  # of several kinds, by what NumPy finds in there
            array = np.array(np.nan)
        if not np.isfinite(array).all() or (array < 0).any():
            raise InvalidInputError(
                f"curvature[{spell(name)}] must hold finite numbers that are not negative. "
                f"Received: {spell(each)}"
            )
        if kernel is not None and array.shape != tuple(kernel.variable.shape):
            raise InvalidInputError(
                f"curvature[{name!r}] must have the shape of the kernel, {tuple(kernel.variable.shape)}. "
                f"Received: {array.shape}"
            )
        found[str(name)] = array
    return found


def _choose_designs(
    table: OptionTable, fractions: Sequence[float], strategies: Sequence[str] = ()
) -> tuple[Design, ...]:
    """Return the designs for parts of the limits, the largest part first, each of them once."""
    designs: list[Design] = []
    for part in sorted(fractions, reverse=True):
        design = table.choose(part, strategies)
        if design is None:
            break
        while designs and design.loss <= designs[-1].loss:
            designs.pop()  # of which another one within smaller limits loses no more
        designs.append(design)
    return tuple(designs)


def _read_named(stated: Mapping[str, Any], layer: LayerAttributes) -> Mapping[str, Any]:
    """Return what a configuration states of a layer by its name."""
    named = stated.get("HLSConfig", stated).get("LayerName") or {}
    key = find_key(named, layer.hls4ml_name)
    found: Mapping[str, Any] = (named.get(key) if key else None) or {}
    return found


def _narrow(
    space: DesignSpace, stated: Mapping[str, Any], layer: LayerAttributes, target: Target
) -> DesignSpace:
    """Return the space of a layer: what is stated of it by name, or all that the backend builds."""
    section = _read_named(stated, layer)
    if (strategy := section.get("Strategy")) is not None:
        strategies: tuple[str, ...] = (canonical_strategy(strategy),)
    else:
        strategies = tuple(each for each in space.strategies if each not in target.unbuilt)
    reuse = section.get("ReuseFactor", space.reuse_factor)
    if strategy is None and reuse is not None and reuse > 1:
        strategies = tuple(each for each in strategies if each in SHARED_MULTIPLIERS) or strategies
    widths, precision = space.widths, section.get("Precision")
    weight = precision.get(layer.weight_name) if isinstance(precision, Mapping) else precision
    if weight is not None and str(weight) != "auto":
        widths = (fixed_point(parse_precision(weight)).width,)
    return replace(space, strategies=strategies, reuse_factor=reuse, widths=widths)
