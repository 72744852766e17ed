"""The metric of a design beside that of the Keras model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from fabricfit.errors import InvalidInputError
from fabricfit.firmware.verification_result import QuantizedMetric
from fabricfit.losses import ModelLoss, ModelMetric, fresh_metric
from fabricfit.network.ends import Targets
from fabricfit.network.reader import Network
from fabricfit.network.replay import replay
from fabricfit.samples import Dataset, tensors, to_numpy

__all__ = [
    "compare_metric",
    "compute_outputs",
    "default_metric",
    "evaluate_loss",
    "evaluate_outputs",
    "measure",
]

_BATCH = 4096


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
    given = Targets(tuple(targets))
    float_values, hardware_values = (measure(chosen, given, each) for each in (wanted, seen))
    # A single metric goes by the name that Keras gives it, as in a table of Keras' own.
    (name, *others) = float_values
    in_keras, built = (float(np.mean([*each.values()])) for each in (float_values, hardware_values))
    return QuantizedMetric(chosen.name if others else name, in_keras, built, count)


def measure(
    metric: ModelMetric,
    y: Targets,
    outputs: Sequence[np.ndarray],
    loss: ModelLoss | None = None,
) -> dict[str, float]:
    """Return what a model's metric consists of, by name; names of outputs come first where there are several.

    Parameters
    ----------
    metric
        The metric.
    y
        Targets, and weights of samples, if any.
    outputs
        An array for each output.
    loss
        The loss, for a metric that is the loss.

    Raises
    ------
    InvalidInputError
        The metric is the loss, and there is none.
    """
    if metric.is_loss:
        if loss is None:
            raise InvalidInputError(
                "metric must be a metric of outputs, for example 'accuracy'. Received: metric='loss'"
            )
        return {"loss": evaluate_loss(loss, y, outputs)}
    values: dict[str, float] = {}
    for place, each in metric.every():
        output, labels = outputs[place].astype("float32"), y.labels_of(place)
        evaluated = fresh_metric(each, outputs=output, labels=labels)
        evaluated.update_state(labels, output, y.weights_of(place))
        name = evaluated.name if len(outputs) == 1 else f"{metric.outputs[place]}_{evaluated.name}"
        values[name] = float(np.mean(keras.ops.convert_to_numpy(evaluated.result())))
    return values


def evaluate_outputs(
    predict: Callable[[list[np.ndarray]], list[np.ndarray]],
    data: Dataset,
    metric: ModelMetric,
    loss: ModelLoss | None = None,
) -> dict[str, float]:
    """Return what a metric consists of over all samples, by name.

    Parameters
    ----------
    predict
        From an array for each input to one for each output.
    data
        Inputs and targets.
    metric, loss
        As for :func:`measure`.
    """
    targets, outputs = compute_outputs(predict, data)
    return measure(metric, targets, outputs, loss)


def compute_outputs(
    predict: Callable[[list[np.ndarray]], list[np.ndarray]], data: Dataset
) -> tuple[Targets, list[np.ndarray]]:
    """Return the targets of all samples, and an array for each output.

    Parameters
    ----------
    predict
        From an array for each input to one for each output.
    data
        Inputs and targets.
    """
    parts, targets = [], []
    for X, y in data.batches(_BATCH):
        parts.append(predict([to_numpy(each) for each in keras.tree.flatten(X)]))
        targets.append(y)
    outputs = [np.concatenate(each) for each in zip(*parts, strict=True)]
    return keras.tree.map_structure(_join, *targets), outputs


def _join(*arrays: Any) -> np.ndarray:
    return np.concatenate([to_numpy(each) for each in arrays])


def evaluate_loss(loss: ModelLoss, y: Targets, outputs: Sequence[np.ndarray]) -> float:
    """Return a loss of outputs, an array for each.

    Parameters
    ----------
    loss
        The loss.
    y
        What the outputs are compared with.
    outputs
        The outputs, in the order of the model's.
    """
    single = [np.asarray(output, np.float32) for output in outputs]
    found = loss(*tensors((y, single[0] if len(single) == 1 else tuple(single))))
    return float(keras.ops.convert_to_numpy(found))
