"""``fabricfit.calibrate``: number formats from data, in which a network loses nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from fabricfit.calibration.figures import open_samples
from fabricfit.calibration.folding import as_built, forget_folded
from fabricfit.calibration.result import Calibration
from fabricfit.calibration.search import find_formats
from fabricfit.calibration.statements import Statements
from fabricfit.calibration.task import Task
from fabricfit.calibration.tensors import make_plan
from fabricfit.checks import number, one_of, whole_number
from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.precision import WIDEST
from fabricfit.description.strategies import canonical_strategy
from fabricfit.errors import require
from fabricfit.hls4ml.backends import read_backend, require_emulated
from fabricfit.hls4ml.config import default_configuration
from fabricfit.hls4ml.plain import ConfigurationLike
from fabricfit.network.buildable import list_limits, refuse_limits, warn_of_limits
from fabricfit.network.configuration import open_configuration, state_every_call
from fabricfit.network.describe import describe_for_hls4ml
from fabricfit.network.finite import open_network

__all__ = ["calibrate"]

_OVERFLOWS = {"saturate": "SAT", "wrap": "WRAP"}


def calibrate(
    model: keras.Model,
    data: Any,
    hls_config: ConfigurationLike | None = None,
    *,
    loss: Any = None,
    metric: Any = None,
    samples: int = 2048,
    tolerance: float = 0.1,
    margin: int = 0,
    overflow: str = "saturate",
    batch_size: int = 256,
) -> Calibration:
    """Return hls4ml's configuration with number formats in which a model loses nothing.

    Integer bits follow from the numbers that occur in the data: nothing overflows. Fractional bits follow
    from the second-order sensitivity of the loss: it is measured what an error of the size of a step adds,
    for each tensor and for the weights of each layer, and bits are taken away where that costs the least for
    what it saves, as long as the expected rise of the loss is small beside its statistical error.
    Accumulators and biases are as wide as sums can ever get. Then the network that hls4ml builds is computed
    bit for bit on the samples, and bits are added until its loss and metric are those of the model.

    Parameters
    ----------
    model
        A built model. It is not changed.
    data
        ``(X, y)`` or ``(X, y, weights)``, each part in any structure that Keras accepts, or anything that
        yields such batch by batch. Or inputs alone, an array or a dict of arrays by the names of inputs: then
        the loss is the mean square of the outputs' deviation, in units of their variance, and 3 % of
        deviation takes the place of the statistical error.
    hls_config
        A configuration, or a file of it. What it states of layers and types is kept: precisions, strategies,
        reuse factors, the ``'IOType'``; ``'auto'`` states nothing, and neither does the default precision of
        the model. hls4ml's defaults without it.
    loss, metric
        What counts, as for :class:`fabricfit.OptimizationSettings`; by default what the model was compiled
        with. Without a metric it is the accuracy where targets are whole numbers, else the mean squared
        error.
    samples
        Number of samples, the first ones, on which sensitivities and losses are measured. Ranges are those of
        all data.
    tolerance
        The part of the loss's standard error by which the loss may rise.
    margin
        Integer bits of tensors more than the data need.
    overflow
        What becomes of numbers that are larger than any in the data: ``'saturate'``, or ``'wrap'``, which
        costs no logic and lets such a number change its sign.
    batch_size
        Samples that are computed at once.

    Returns
    -------
    Calibration
        ``config`` is the configuration; printed, it is a table of the formats with what one bit less would
        lose.

    Raises
    ------
    InvalidInputError, InvalidTypeError
        The model, the data or an option cannot be worked with, or hls4ml would build something else of the
        model. Nothing has been computed then.
    MissingExtraError
        hls4ml is not installed.

    Examples
    --------
    >>> import keras
    >>> import numpy as np
    >>> layers = [keras.Input((4,), name="start"), keras.layers.Dense(3, name="fc")]
    >>> model = keras.Sequential(layers)
    >>> found = calibrate(model, np.random.default_rng(0).normal(size=(64, 4)))
    >>> found.lossless, sorted(found.config["LayerName"])
    (True, ['fc', 'start'])
    """
    samples, batch_size = (
        whole_number("samples", samples, 2),
        whole_number("batch_size", batch_size),
    )
    margin = whole_number("margin", margin, 0, most=WIDEST)
    one_of("overflow", overflow, _OVERFLOWS)
    tolerance = number("tolerance", tolerance, above=0)
    require("hls4ml", "hls4ml", "fabricfit.calibrate")
    network = open_network(model)
    given = default_configuration() if hls_config is None else hls_config
    config = open_configuration(given, network)
    config.get("HLSConfig", config).setdefault("Model", default_configuration()["Model"])
    state_every_call(config, network)
    backend = require_emulated(read_backend(config).name).name
    sources = open_samples(model, network, data, loss, metric)
    attributes = describe_for_hls4ml(network, config)
    limits = list_limits(network, attributes, config)
    refuse_limits(limits, "fabricfit.calibrate")
    warn_of_limits(limits)
    statements = Statements(network, config)
    built, folding = as_built(network, statements)
    forget_folded(config, network, built)
    task = Task(
        network,
        make_plan(built, folding),
        statements,
        backend,
        sources,
        tolerance=tolerance,
        margin=margin,
        overflow=_OVERFLOWS[overflow],
        batch_size=batch_size,
        on_grid=_builds_weights_as_they_are(attributes),
    )
    return find_formats(task, samples)


def _builds_weights_as_they_are(attributes: Mapping[str, LayerAttributes]) -> bool:
    return any(
        layer.hls4ml is not None
        and canonical_strategy(layer.hls4ml.strategy) == "distributed_arithmetic"
        for layer in attributes.values()
    )
