"""The metric of a design beside that of the Keras model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from fabricfit.errors import InvalidInputError
from fabricfit.firmware.verification_result import QuantizedMetric
from fabricfit.losses import ModelMetric, fresh_metric
from fabricfit.network.reader import Network
from fabricfit.network.replay import replay
from fabricfit.samples import to_numpy

__all__ = ["compare_metric", "default_metric"]

_BATCH = 512


def default_metric(y: Any) -> str:
    """Return the accuracy for labels, which are whole numbers, and the mean squared error for others."""
    (first, *_) = keras.tree.flatten(y)
    labels: np.ndarray = np.asarray(first)
    return "accuracy" if np.array_equal(labels, np.rint(labels)) else "mse"


def compare_metric(
    network: Network,
    arrays: Sequence[np.ndarray],
    hardware: Sequence[np.ndarray],
    y: Any,
    metric: Any,
) -> QuantizedMetric:
    """Evaluate a metric of Keras' outputs and of the hardware's.

    Parameters
    ----------
    network
        The model.
    arrays
        The samples, an array for each input.
    hardware
        What the generated code computed of them, an array for each output.
    y
        Their targets, in any structure that Keras accepts.
    metric
        As for :class:`fabricfit.OptimizationSettings`; :func:`default_metric` without.
    """
    outputs = network.ends.outputs
    targets = [to_numpy(each) for each in outputs.arrange(y, "y")]
    chosen = ModelMetric(default_metric(targets) if metric is None else metric, outputs)
    if chosen.is_loss:
        raise InvalidInputError(
            "metric must be a metric of outputs, for example 'accuracy'. Received: metric='loss'"
        )
    count = len(arrays[0])
    if len(targets) != len(hardware) or any(len(each) != count for each in targets):
        raise InvalidInputError(
            f"y must hold {count} targets, as many as X has samples, for each of {len(hardware)} outputs. "
            f"Received: {[len(each) for each in targets]}"
        )
    batches = [slice(i, i + _BATCH) for i in range(0, count, _BATCH)]
    exact = [replay(network.graph, [x[batch] for x in arrays]) for batch in batches]
    wanted = [np.concatenate(parts) for parts in zip(*exact, strict=True)]
    seen = [h.reshape(w.shape) for h, w in zip(hardware, wanted, strict=True)]
    values: list[float] = []
    names: list[str] = []
    for results in (wanted, seen):
        means = []
        for place, each in chosen.every():
            output, target = results[place].astype("float32"), targets[place]
            evaluated = fresh_metric(each, outputs=output, labels=target)
            evaluated.update_state(target, output)
            names.append(evaluated.name)
            means.append(float(np.mean(keras.ops.convert_to_numpy(evaluated.result()))))
        values.append(float(np.mean(means)))
    # A single metric goes by the name that Keras gives it, as in a table of Keras' own.
    name = names[0] if len(targets) == 1 and len(set(names)) == 1 else chosen.name
    return QuantizedMetric(name, values[0], values[1], count)
