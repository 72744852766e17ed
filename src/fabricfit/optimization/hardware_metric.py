"""The validation metric of the network that hls4ml builds, bit for bit, of levels and results."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fabricfit.description.attributes import LayerAttributes
from fabricfit.errors import FabricFitError, MissingExtraError
from fabricfit.firmware.metric_errors import standard_error
from fabricfit.firmware.metrics import compute_outputs, measure
from fabricfit.firmware.quantized_network import QuantizedNetwork
from fabricfit.layers.family import count_positions, family_of
from fabricfit.losses import ModelLoss, ModelMetric
from fabricfit.network.ends import Targets
from fabricfit.network.reader import Network
from fabricfit.samples import Data, Dataset
from fabricfit.training import Engine

__all__ = ["Finish", "HardwareMetric", "count_samples", "make_hardware_metric", "select_samples"]

Finish = Callable[[Network, Mapping[str, LayerAttributes]], Any]
"""Changes the weights of a trained network, whose attributes it gets, to those that are handed out."""

logger = logging.getLogger(__name__)

_WORK = 2**30
"""Products that an evaluation computes, about: some seconds."""

_MUCH = 0.05
"""Part of a metric that formats may lose before it is told what to do."""

_LEAST_SAMPLES, _FEWEST_SAMPLES = 500, 100
_MOST_WORK = 2**34
"""Products that an evaluation on 500 samples may compute, about: some minutes. Of larger networks there are
fewer samples, at least 100."""

_MOST_STREAMED = 2**16
"""Samples of a stream or a file that an evaluation holds in memory at most."""


class HardwareMetric:
    """Evaluates the network that hls4ml builds; where it cannot be emulated, Keras' floats count instead.

    Parameters
    ----------
    network
        What was read of a model; any of the same layers can be evaluated.
    config
        hls4ml's configuration, opened.
    validation
        Samples to evaluate on; of a network of many products, the first ones.
    metric, loss
        The validation metric, and the loss where that is the metric.
    """

    def __init__(
        self,
        network: Network,
        config: Mapping[str, Any],
        validation: Dataset,
        metric: ModelMetric,
        loss: ModelLoss,
    ) -> None:
        self.config, self.metric, self.loss = config, metric, loss
        self.samples = select_samples(validation, network)
        self.reason = ""
        self._latest: tuple[Targets, list[np.ndarray]] | None = None
        self._values: list[float] = []
        self.first = self._evaluate(network)
        """The value for the network that it was made with; None where it is not emulated."""
        self._first = self._latest

    @property
    def is_exact(self) -> bool:
        """Whether the network can be emulated."""
        return self.first is not None

    @property
    def text(self) -> str:
        """What is evaluated, as a part of a sentence."""
        if self.is_exact:
            return (
                f"the quantized network, bit for bit, on {len(self.samples):,} validation samples"
            )
        return f"the model in floats, since {self.reason}"

    def tell_of_formats(self, in_floats: float, increasing: bool) -> str:
        """Return what to do where the number formats that were given lose much of the metric; else ``''``.

        Parameters
        ----------
        in_floats
            The metric of the model as it came in, in floats.
        increasing
            Whether a larger metric is better.
        """
        if self.first is None:
            return ""
        lost = in_floats - self.first if increasing else self.first - in_floats
        if not lost > _MUCH * abs(in_floats):
            return ""
        return (
            f"with the number formats of hls_config {self.metric.name} is {self.first:.4g}, and "
            f"{in_floats:.4g} in floats: fabricfit.calibrate(model, data) finds formats that lose nothing"
        )

    def __call__(self, network: Network, otherwise: float) -> float:
        """Return the metric of a network with its present weights.

        Parameters
        ----------
        network
            What was read of the model.
        otherwise
            The value where the network cannot be emulated.
        """
        found = self._evaluate(network) if self.is_exact else None
        return otherwise if found is None else found

    def errors(self, after: float) -> tuple[float, float]:
        """Return the standard errors of the first value and of the one that was computed last.

        Parameters
        ----------
        after
            The last value; the error of any other one is not known, and NaN.
        """
        known = (self._first, self._latest if self._values[-1:] == [after] else None)
        before, latest = (
            math.nan if each is None else standard_error(self.metric, *each, self.loss)
            for each in known
        )
        return before, latest

    def _evaluate(self, network: Network) -> float | None:
        self._latest = None
        try:
            built = QuantizedNetwork(network, self.config)
            self._latest = compute_outputs(built.predict, self.samples)
            values = measure(self.metric, *self._latest, self.loss)
        except MissingExtraError:
            self.reason = "hls4ml is not installed"
        except FabricFitError as error:
            self.reason = f"it cannot be emulated: {error}"
        else:
            self._values.append(float(np.mean([*values.values()])))
            return self._values[-1]
        logger.debug("the metric is of the model in floats, since %s", self.reason)
        return None


def make_hardware_metric(
    engine: Engine,
    attributes: Mapping[str, LayerAttributes],
    finish: Finish | None,
    hls_config: Mapping[str, Any],
    validation: Dataset,
    metric: ModelMetric,
) -> HardwareMetric:
    """Return the metric of the network that hls4ml builds, of the model as it came in.

    Where that cannot be emulated as it is, as with distributed arithmetic, which builds weights of any
    precision, it is that of the model with the weights that would be handed out.
    """
    made = HardwareMetric(engine.network, hls_config, validation, metric, engine.hard_loss)
    if made.is_exact or finish is None:
        return made
    present = engine.get_weights()
    finish(engine.network, attributes)
    made = HardwareMetric(engine.network, hls_config, validation, metric, engine.hard_loss)
    engine.set_weights(present)
    return made


def select_samples(validation: Dataset, network: Network) -> Data:
    """Return the samples that a network is evaluated on: some of them, where it has many products."""
    most = count_samples(network)
    if isinstance(validation, Data):
        return validation.head(most)
    return validation.arrays(min(most, _MOST_STREAMED))


def count_samples(network: Network) -> int:
    """Return how many samples a network may be emulated on: at least 500, or at least 100 of a large one."""
    products = _count_products(network)
    least = max(min(_MOST_WORK // products, _LEAST_SAMPLES), _FEWEST_SAMPLES)
    return max(_WORK // products, least)


def _count_products(network: Network) -> int:
    """Return the products of a sample, of layers that are known."""
    total = 1
    for call in network.graph.every_call():
        family = family_of(call.layer)
        if family is not None and family.has_kernels and (kernels := family.kernels(call.layer)):
            weights = sum(int(np.prod(kernel.shape)) for kernel in kernels)
            total += weights * count_positions(call)
    return total
