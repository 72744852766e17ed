"""The validation metric of the network that hls4ml builds, bit for bit, of levels and results."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from fabricfit.errors import FabricFitError, MissingExtraError
from fabricfit.firmware.quantized_network import QuantizedNetwork
from fabricfit.layers.family import count_positions, family_of
from fabricfit.losses import ModelLoss, ModelMetric
from fabricfit.network.reader import Network
from fabricfit.samples import Dataset

__all__ = ["HardwareMetric"]

logger = logging.getLogger(__name__)

_WORK = 2**30
"""Products that an evaluation computes, about: some seconds."""

_LEAST_SAMPLES = 500


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
        most = max(_WORK // _count_products(network), _LEAST_SAMPLES)
        self.samples = validation.head(most)
        self.reason = ""
        self.first = self._evaluate(network)
        """The value for the network that it was made with; None where it is not emulated."""

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

    def _evaluate(self, network: Network) -> float | None:
        try:
            built = QuantizedNetwork(network, self.config)
            values = built.evaluate(self.samples, self.metric, self.loss)
        except MissingExtraError:
            self.reason = "hls4ml is not installed"
        except FabricFitError as error:
            self.reason = f"it cannot be emulated: {error}"
        else:
            return float(np.mean([*values.values()]))
        logger.info("the metric is that of %s", self.reason)
        return None


def _count_products(network: Network) -> int:
    """Return the products of a sample, of layers that are known."""
    total = 1
    for call in network.graph.every_call():
        family = family_of(call.layer)
        if family is not None and family.has_kernels and (kernels := family.kernels(call.layer)):
            weights = sum(int(np.prod(kernel.shape)) for kernel in kernels)
            total += weights * count_positions(call)
    return total
