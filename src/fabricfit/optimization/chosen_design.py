"""A design where none is stated: number formats from data, strategies and reuse factors by the laws."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from fabricfit.calibration import calibrate
from fabricfit.description.strategies import canonical_strategy, spell_strategy
from fabricfit.design.exploration import Design, Exploration, explore
from fabricfit.design.loss_curvature import measure_curvature
from fabricfit.design.options import DesignSpace
from fabricfit.errors import InfeasibleError, InvalidInputError, spell
from fabricfit.hardware.budget import Budget
from fabricfit.hls4ml.config import default_configuration
from fabricfit.hls4ml.findings import BuildWarning
from fabricfit.hls4ml.products import product_of
from fabricfit.hls4ml.sections import stated_io_type
from fabricfit.network.configuration import open_configuration
from fabricfit.network.describe import describe_for_hls4ml
from fabricfit.network.reader import Network, as_network
from fabricfit.optimization.hardware_metric import count_samples
from fabricfit.optimization.settings import OptimizationSettings
from fabricfit.reporting.alternatives import largest_share
from fabricfit.samples import Dataset

__all__ = ["DESIGNS", "ChosenDesign", "leaves_design_open", "list_designs", "why_not_unrolled"]

logger = logging.getLogger(__name__)

DESIGNS = "designs.json"
"""File of a run's folder: the designs that it chose from."""

_SAMPLES = 2048
"""Samples that formats are measured on, fewer for networks of many products."""

_LUTS_PER_WEIGHT = 2
"""Fewer LUTs for each weight that is kept than networks of trained precision have."""

_PRODUCTS_PER_LUT = 20
"""More products of weights a LUT than any network of trained precision has."""


@dataclass(frozen=True)
class ChosenDesign:
    """A design and those that it was chosen from.

    Parameters
    ----------
    io_type
        hls4ml's name of its interface.
    exploration
        All designs that it is one of.
    allowed
        A predicted loss up to which nothing is lost.
    """

    io_type: str
    exploration: Exploration
    allowed: float = 0.0

    @property
    def design(self) -> Design:
        """The smallest design that loses nothing, or the one of the least predicted loss."""
        enough = max(self.exploration.best.loss, self.allowed)
        return next(each for each in reversed(self.exploration.designs) if each.loss <= enough)

    @property
    def share(self) -> float:
        """The largest share of a limit that it uses."""
        limits = self.exploration.budget.amounts
        return largest_share((self.design.resources[name] for name in limits), limits.values())

    @property
    def config(self) -> dict[str, Any]:
        """hls4ml's configuration of the design."""
        return self.design.config

    @property
    def name(self) -> str:
        """Its interface and the strategies that it uses, such as ``'io_stream, Latency and Resource'``."""
        used = dict.fromkeys(spell_strategy(each.strategy) for each in self.design.options.values())
        return f"{self.io_type}, {' and '.join(used)}"

    @property
    def built(self) -> str:
        """How each of its layers is built."""
        options = self.design.options.items()
        return "; ".join(f"{layer}: {option}" for layer, option in options)

    def documents(self) -> dict[str, str]:
        """Return what is written into the folder of the run: file name -> text."""
        return {DESIGNS: json.dumps(self.exploration.to_dict(), indent=2) + "\n"}


def leaves_design_open(config: Mapping[str, Any]) -> bool:
    """Tell whether a configuration says nothing of how the whole model is built, single layers apart."""
    return not config.get("HLSConfig", config).get("Model")


def why_not_unrolled(network: Network, config: Mapping[str, Any], budget: Budget) -> str:
    """Say why a network cannot be a graph of adders, as it is where precision is trained; '' if it may be.

    Parameters
    ----------
    network
        What was read of the model.
    config
        An opened configuration, which says nothing of the whole model.
    budget
        The limits.
    """
    for name, section in (config.get("HLSConfig", config).get("LayerName") or {}).items():
        stated = section.get("Strategy") if isinstance(section, Mapping) else None
        if stated is not None and canonical_strategy(stated) in ("resource", "resource_unrolled"):
            return f"layer {name!r} is to be built with {stated}"
    if budget.is_relative or "lut" not in budget.amounts:
        return ""
    luts = budget.amounts["lut"]
    whole = open_configuration({**default_configuration(), **config}, network)
    attributes = describe_for_hls4ml(network, whole)
    products = {
        name: product_of(layer, budget.target)
        for name, layer in attributes.items()
        if layer.multiplies
    }
    total = sum(product.size * product.copies for product in products.values())
    if total > _PRODUCTS_PER_LUT * luts:
        return f"its {total:,} products of weights are too many for adders of their own in {luts:,.0f} LUTs"
    largest, most = max(products, key=lambda name: products[name].size), DesignSpace.constants_up_to
    kept = min(products[largest].size, luts / _LUTS_PER_WEIGHT)
    if kept > most:
        return (
            f"of the {products[largest].size:,} weights of layer {largest!r} some {kept:,.0f} would be kept "
            f"in {luts:,.0f} LUTs, and compilers need hours for more than {most:,} constants of a layer"
        )
    return ""


def list_designs(
    model: keras.Model,
    config: Mapping[str, Any],
    budget: Budget,
    data: Any,
    settings: OptimizationSettings,
    most: int,
) -> list[ChosenDesign]:
    """Choose number formats, strategies, reuse factors and ``'IOType'`` of a model in different ways.

    Formats are those in which nothing is lost (:func:`fabricfit.calibrate`); the rest is the smallest design
    that is predicted to lose nothing either, or the one of the least predicted loss, within the budget and
    its deadlines (:func:`fabricfit.explore`): of all strategies,
    of those whose weights are constants, and of those that share multipliers; of both kinds of interfaces
    where the model has a convolution and the configuration does not say which. What the configuration states
    is kept.

    Parameters
    ----------
    model
        The caller's model.
    config
        An opened configuration, which says nothing of the whole model.
    budget
        With the target that the design is built for.
    data
        Samples for training.
    settings
        They say what counts.
    most
        How many designs are returned, those of the least predicted loss first.

    Raises
    ------
    InfeasibleError
        No design is within the budget and its deadlines.
    InvalidInputError
        The budget is relative, though there is no design that it could be relative to.
    """
    if budget.is_relative:
        raise InvalidInputError(
            "a relative budget needs hls_config, the design that it is relative to. "
            f"Received: {spell(budget)}"
        )
    with warnings.catch_warnings():  # how it is built is chosen afterwards
        warnings.simplefilter("ignore", BuildWarning)
        found = calibrate(
            model,
            data,
            config or None,
            loss=settings.loss_fn,
            metric=settings.validation_metric,
            samples=min(_SAMPLES, count_samples(as_network(model))),
        )
    kinds = _list_io_types(model, config)
    known: dict[str, np.ndarray] = {}
    if isinstance(data, tuple | list | Dataset):
        known = measure_curvature(model, data, settings.loss_fn)
    designs: list[ChosenDesign] = []
    refusals = []
    for kind in kinds:
        try:
            explored = explore(
                model,
                budget,
                hls_config={**config, "IOType": kind},
                formats={**found.config, "IOType": kind},
                curvature=known,
                by_strategies=most > 1,
            )
        except InfeasibleError as error:
            refusals.append(error if len(kinds) == 1 else InfeasibleError(f"{kind}: {error}"))
            continue
        for each in (explored, *explored.by_strategies.values()):
            made = ChosenDesign(kind, each, found.allowed)
            if all(made.design.options != other.design.options for other in designs):
                designs.append(made)
    if not designs:
        raise InfeasibleError(" ".join(map(str, refusals)))
    designs.sort(key=lambda each: (max(each.design.loss, each.allowed), each.share))
    logger.info(
        "%d designs; the one of the least predicted loss:\n%s", len(designs), designs[0].exploration
    )
    return designs[:most]


def _list_io_types(model: keras.Model, config: Mapping[str, Any]) -> list[str]:
    if stated := stated_io_type(config):
        return [stated]
    convolutions = any("Conv" in type(layer).__name__ for layer in model.layers)
    return ["io_parallel", "io_stream"] if convolutions else ["io_parallel"]
