"""A model in floats and the network that hls4ml builds, measured on the same test data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fabricfit.errors import FabricFitError, InvalidInputError, MissingExtraError
from fabricfit.firmware.metric_errors import difference_error, standard_error
from fabricfit.firmware.metrics import compute_outputs, default_metric, measure
from fabricfit.firmware.quantized_network import QuantizedNetwork
from fabricfit.losses import ModelMetric
from fabricfit.network.configuration import open_configuration
from fabricfit.network.ends import Targets
from fabricfit.network.finite import open_network
from fabricfit.network.reader import Network
from fabricfit.network.replay import replay
from fabricfit.reporting.performance import OutputPerformance, Performance
from fabricfit.reporting.predictions import describe_output
from fabricfit.reporting.statistics import Measured
from fabricfit.samples import Dataset, Door, open_data

__all__ = ["measure_performance"]

_BATCH = 4096


def measure_performance(
    model: Any,
    hls_config: Any,
    X: Any,
    y: Any,
    metric: Any = None,
    *,
    weights: Any = None,
    classes: Sequence[str] | Mapping[str, Sequence[str]] = (),
) -> Performance:
    """Measure a model in floats, and bit for bit the network that hls4ml builds of it.

    Parameters
    ----------
    model
        A Keras model.
    hls_config
        hls4ml's configuration, or a file of it; None to measure floats only.
    X, y, weights
        Samples, targets, and weights of samples, in any structure that Keras accepts.
    metric
        As for :func:`fabricfit.firmware.evaluate`; in the place of the loss, the default.
    classes
        Names of the classes, or of the numbers that are predicted; of several outputs, those of each by the
        output's name. Their numbers by default.

    Raises
    ------
    InvalidInputError
        X and y do not fit the model.
    """
    network = open_network(model)
    if y is None:
        raise InvalidInputError("y must hold the targets of X. Received: y=None")
    data = open_data((X, y) if weights is None else (X, y, weights), "", Door(network.ends))
    is_loss = isinstance(metric, str) and metric == "loss"
    needs_default = metric is None or is_loss
    given = default_metric([data.head(_BATCH).y.labels]) if needs_default else metric
    targets, exact = compute_outputs(lambda arrays: replay(network.graph, arrays), data)
    chosen = ModelMetric(given, network.ends.outputs).suited(targets, exact)
    quantized, reason = _compute_quantized(network, hls_config, data)
    in_floats = _measure(chosen, targets, exact)
    built = difference = Measured(np.nan, np.nan)
    if quantized is not None:
        built = _measure(chosen, targets, quantized)
        error = difference_error(chosen, targets, quantized, exact)
        difference = Measured(built.value - in_floats.value, error)
    outputs = _describe_outputs(network, targets, exact, quantized, classes)
    return Performance(
        len(exact[0]), chosen.name, in_floats, built, difference, tuple(outputs), reason
    )


def _compute_quantized(
    network: Network, hls_config: Any, data: Dataset
) -> tuple[list[np.ndarray] | None, str]:
    """Return the outputs of the network that hls4ml builds, or why there are none."""
    if hls_config is None:
        return None, "there is no configuration of hls4ml"
    try:
        built = QuantizedNetwork(network, open_configuration(hls_config, network))
        return compute_outputs(built.predict, data)[1], ""
    except MissingExtraError:
        return None, "hls4ml is not installed"
    except FabricFitError as error:
        return None, f"the network cannot be emulated: {error}"


def _measure(metric: ModelMetric, y: Targets, outputs: Sequence[np.ndarray]) -> Measured:
    value = float(np.mean([*measure(metric, y, outputs).values()]))
    return Measured(value, standard_error(metric, y, outputs))


def _describe_outputs(
    network: Network,
    targets: Targets,
    exact: Sequence[np.ndarray],
    quantized: Sequence[np.ndarray] | None,
    classes: Any,
) -> list[OutputPerformance]:
    found = []
    for place, name in enumerate(network.ends.outputs.names):
        labels = targets.labels_of(place)
        if labels is None:
            continue
        named = classes.get(name, ()) if isinstance(classes, Mapping) else classes
        pair = [exact[place], None if quantized is None else quantized[place]]
        described = describe_output(name, labels, pair, targets.weights_of(place), named)
        found += [] if described is None else [described]
    return found
