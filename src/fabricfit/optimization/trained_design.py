"""Designs of networks whose precision was trained: as hls4ml builds them, and what they use."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import keras
import numpy as np

from fabricfit.description.attributes import LayerAttributes
from fabricfit.hardware.adder_graphs import remark_on_digits
from fabricfit.hardware.budget import Budget
from fabricfit.hardware.synthesized import ADDER_GRAPH_BAR, ADDER_GRAPH_RATIO, HLS
from fabricfit.network.describe import describe_for_hls4ml
from fabricfit.network.reader import Network, read
from fabricfit.network.unknown_layers import describe_matrices
from fabricfit.objectives.base import Amounts
from fabricfit.objectives.fpga import FPGAResources
from fabricfit.precision.biases import is_rectifier_or_none
from fabricfit.precision.delivery import Delivery
from fabricfit.precision.model import PrecisionModel
from fabricfit.selection.choice_targets import objective_of

__all__ = ["DesignCounter", "ParetoPoint", "TrainedDesign", "merge_configurations", "with_defaults"]

_ADDERS = (
    "products are counted in the graph of their adders; after logic synthesis each unit of its cost was 1.21 "
    "to 1.26 LUTs in three networks."
)


@dataclass(frozen=True, eq=False)
class TrainedDesign:
    """A network whose precision was trained, as hls4ml builds it.

    Parameters
    ----------
    network
        What was read of the model, its weights on their grids.
    hls_config
        hls4ml's configuration.
    attributes, kernels
        Of its layers.
    units
        Names of the resources that are counted.
    layers
        Layer -> its usage.
    built
        Layer -> how it is built.
    of_adders
        What the products use of each resource.
    luts_of_adders
        LUTs of the adders.
    formats
        Name of a layer whose results are rounded -> the format of each channel, or one for all, as texts.
    highest
        Upper ends of the error bars of what the whole network uses.
    counted
        What is counted, as a part of a sentence.
    remarks
        What the counted figures rest on.
    """

    network: Network
    hls_config: dict[str, Any]
    attributes: Mapping[str, LayerAttributes]
    kernels: Mapping[str, np.ndarray]
    units: tuple[str, ...]
    layers: Mapping[str, Amounts]
    built: Mapping[str, str]
    of_adders: np.ndarray
    luts_of_adders: float
    formats: Mapping[str, tuple[str, ...]]
    highest: np.ndarray
    counted: str
    remarks: tuple[str, ...]

    @property
    def model(self) -> keras.Model:
        """The model."""
        return self.network.model

    @property
    def total(self) -> np.ndarray:
        """Usage of the whole network."""
        total: np.ndarray = np.sum([*self.layers.values()], axis=0)
        return total


@dataclass(frozen=True, eq=False)
class ParetoPoint:
    """A network of the Pareto front of a training of precision.

    Parameters
    ----------
    metric
        The validation metric of the quantized network, as it was in training.
    resources
        Its usage of each of the budget's resources, estimated.
    epoch
        The epoch after which it was found, from 1 on.
    build
        Builds the network, and counts its adders.
    """

    metric: float
    resources: tuple[float, ...]
    epoch: int
    build: Callable[[], TrainedDesign] = field(repr=False)

    @cached_property
    def design(self) -> TrainedDesign:
        """The network as hls4ml builds it, with its configuration and what it uses."""
        return self.build()

    def load(self) -> keras.Model:
        """Return the network as a model, its weights on their grids."""
        return self.design.model


class DesignCounter:
    """Counts designs: adders as they were counted, everything else by its law.

    Parameters
    ----------
    made
        The model that trains its precision.
    config
        hls4ml's configuration as it was given; what it says beside number formats is kept.
    strategies
        Layer -> hls4ml's strategy.
    budget
        Whose resources are counted.
    """

    def __init__(
        self,
        made: PrecisionModel,
        config: Mapping[str, Any],
        strategies: Mapping[str, str],
        budget: Budget,
    ) -> None:
        self.made, self.config, self.strategies = made, config, strategies
        self.resources = budget.resources
        self.objective = objective_of(budget)

    def count(
        self,
        delivery: Delivery,
        adders: Mapping[str, float],
        settle: Callable[[Network, dict[str, Any]], dict[str, Any]] | None = None,
    ) -> TrainedDesign:
        """Return the design of a network.

        Parameters
        ----------
        delivery
            The network.
        adders
            Kernel -> LUTs of its adders, all calls together.
        settle
            Settles in a network's configuration what is still open.
        """
        config = merge_configurations(self.config, delivery.hls_config)
        network = read(delivery.model)
        if settle is not None:
            config = settle(network, config)
        attributes = describe_for_hls4ml(network, config)
        describe_matrices(network, attributes, config)
        kernels, none = network.kernel_arrays(), np.zeros(0)
        layers, of_products, highest = {}, *np.zeros((2, len(self.resources)))
        digits = {
            name: self.objective.work(attributes[name], kernels[name]).digits
            for name in adders
            if name in attributes and name in kernels
        }
        upper = self.objective.with_margin(1)
        for name, layer in attributes.items():
            kernel = kernels.get(name, none)
            if name in delivery.added:  # what rounding costs is counted with the adders before it
                layers[name] = np.zeros(len(self.resources))
                continue
            layers[name] = self._count_layer(self.objective, layer, kernel, adders.get(name))
            highest += self._count_layer(upper, layer, kernel, adders.get(name))
            if name in adders:
                idle = self._count_layer(self.objective, layer, np.zeros_like(kernel), 0.0)
                of_products += layers[name] - idle
        return TrainedDesign(
            network,
            config,
            attributes,
            kernels,
            self.objective.units,
            layers,
            {name: self.objective.built_as_asked(layer) for name, layer in attributes.items()},
            np.maximum(of_products, 0.0),
            sum(adders.values()),
            {name: tuple(map(str, each)) for name, each in delivery.formats.items()},
            highest,
            self.objective.counted,
            (_ADDERS, *remark_on_digits(digits), *self.objective.remark_on(attributes, kernels)),
        )

    def _count_layer(
        self,
        objective: FPGAResources,
        layer: LayerAttributes,
        kernel: np.ndarray,
        adders: float | None,
    ) -> Amounts:
        """Return a layer's usage, its counted adders (if any) in place of what the law says of them."""
        used = objective.usage(layer, kernel)
        if adders is None or "lut" not in self.resources:
            return used
        found, counted = used.copy(), 0.0
        for call in layer.calls:
            work = objective.work(call, kernel)
            counted += objective.amount(objective.estimate_products(call, work)["lut"])
            if is_rectifier_or_none(self.made.weights[layer.layer_name]):
                counted += objective.amount(objective.estimate_others(call, fifos=False)["lut"])
        ratio = 1.0 if objective.stage == HLS else ADDER_GRAPH_RATIO
        ratio *= 1 + ADDER_GRAPH_BAR * objective.margin
        found[self.resources.index("lut")] += ratio * adders - counted
        return found


def with_defaults(config: Mapping[str, Any], strategy: str) -> dict[str, Any]:
    """Return a configuration whose model has a precision, a reuse factor and a strategy.

    Parameters
    ----------
    config
        An opened configuration.
    strategy
        The strategy where none is stated.
    """
    found = copy.deepcopy(dict(config))
    inner = found.get("HLSConfig", found)
    defaults = {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": strategy}
    inner["Model"] = {**defaults, **(inner.get("Model") or {})}
    return found


def merge_configurations(given: Mapping[str, Any], trained: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration that says what a trained one says, and whatever else the given one does.

    Parameters
    ----------
    given
        The opened configuration of the caller.
    trained
        That of a network whose precision was trained.
    """
    merged = copy.deepcopy(dict(given))
    inner = merged.get("HLSConfig", merged)
    inner.pop(
        "LayerType", None
    )  # each layer has a section of its own, which hides that of its type
    inner["Model"] = {**(inner.get("Model") or {}), **trained["Model"]}
    sections = inner.setdefault("LayerName", {})
    for name, section in trained["LayerName"].items():
        before = sections.get(name) or {}
        known = before.get("Precision")
        precision = {**(known if isinstance(known, dict) else {}), **section.get("Precision", {})}
        sections[name] = {**before, **section, "Precision": precision}
    return merged
