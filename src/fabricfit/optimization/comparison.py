"""How sure the difference of two results is: the standard error of that of their metrics."""

from __future__ import annotations

import logging
from typing import Any

import keras
import numpy as np

from fabricfit.errors import FabricFitError
from fabricfit.firmware.metric_errors import measure_parts
from fabricfit.firmware.quantized_network import QuantizedNetwork
from fabricfit.losses import ModelLoss, ModelMetric
from fabricfit.network.configuration import open_configuration
from fabricfit.network.reader import Network, as_network
from fabricfit.optimization.hardware_metric import select_samples
from fabricfit.optimization.result import OptimizationResult
from fabricfit.optimization.settings import OptimizationSettings
from fabricfit.optimization.setup import open_both

__all__ = ["Comparison"]

logger = logging.getLogger(__name__)


class Comparison:
    """Returns the standard error of the difference of two results' metrics.

    Both metrics are taken of the same 20 parts of the validation samples, of the quantized networks: the
    differences' deviation divided by the root of their number.

    Parameters
    ----------
    whole
        What was read of the model that the results are of.
    data
        For training and for validation.
    settings
        With the metric.
    """

    def __init__(
        self, whole: Network, data: tuple[Any, Any], settings: OptimizationSettings
    ) -> None:
        self._whole, self._data, self._settings = whole, data, settings

    def __call__(self, one: OptimizationResult, other: OptimizationResult) -> float:
        """Return the standard error; NaN where a network cannot be emulated."""
        try:
            difference = self._measure(one) - self._measure(other)
        except FabricFitError as error:  # a layer is not emulated, or hls4ml is missing
            logger.info("the designs' metrics are compared without an error: %s", error)
            return float("nan")
        return float(np.std(difference, ddof=1) / np.sqrt(len(difference)))

    def _measure(self, result: OptimizationResult) -> np.ndarray:
        """Return the metric of each part of the samples."""
        network, settings, ends = as_network(result.model), self._settings, self._whole.ends
        loss = ModelLoss(settings.loss_fn, settings.loss_weights, ends.outputs)
        metric = ModelMetric(settings.validation_metric, ends.outputs)
        _, validation = open_both(self._whole, self._data, settings, (loss, metric))
        samples = select_samples(validation, network)
        built = QuantizedNetwork(network, open_configuration(result.hls_config or {}, network))
        outputs = built.predict([np.asarray(each) for each in keras.tree.flatten(samples.X)])
        metric = metric.suited(samples.y, outputs)
        return measure_parts(metric, samples.y, outputs, loss)
