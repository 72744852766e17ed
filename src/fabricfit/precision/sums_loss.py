"""The loss of a network's last sums as a plain function, computed many thousand times in a search."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from fabricfit.losses import ModelLoss
from fabricfit.samples import Data
from fabricfit.training import Engine, make_engine

__all__ = ["find_sums_loss"]


def find_sums_loss(
    loss: ModelLoss, activation: object, data: Data
) -> Callable[[np.ndarray], float]:
    """Return the function that computes the mean loss of a layer's sums, shape (units, samples).

    It takes all samples or the first ones.

    A cross-entropy of classes, the most frequent loss, is computed with NumPy, all others by Keras.

    Parameters
    ----------
    loss
        The loss.
    activation
        What follows the sums.
    data
        The samples.
    """
    return _find_cross_entropy(loss, activation, data) or _find_other(loss, activation, data)


def _find_cross_entropy(
    loss: ModelLoss, activation: object, data: Data
) -> Callable[[np.ndarray], float] | None:
    (each, *others), weighted = loss.losses, keras.tree.flatten(data.y.weights)
    if type(each) is not keras.losses.SparseCategoricalCrossentropy or others or weighted:
        return None
    assert each is not None
    known, softmax = each.get_config(), activation is keras.activations.softmax
    plain = known["ignore_class"] is None and known["reduction"] == "sum_over_batch_size"
    linear = activation in (None, keras.activations.linear)
    if loss.weights != (1,) or not plain or not (linear if known["from_logits"] else softmax):
        return None
    (labels,) = keras.tree.flatten(data.y.labels)
    classes = np.asarray(labels).reshape(-1).astype(int)

    def find_loss(sums: np.ndarray) -> float:
        largest = sums.max(0)
        below = sums - largest
        samples = np.arange(below.shape[1])
        right = below[classes[samples], samples]
        np.exp(below, out=below)
        return float(np.mean(np.log(below.sum(0)) - right))

    return find_loss


def _find_other(loss: ModelLoss, activation: object, data: Data) -> Callable[[np.ndarray], float]:
    engines: list[Engine] = []

    def find_loss(sums: np.ndarray) -> float:
        if not engines:
            received = keras.Input((len(sums),))
            model = keras.Model(received, keras.layers.Activation(activation)(received))
            engines.append(make_engine(model, loss, "sgd"))
        return float(engines[0].evaluate_loss(Data(sums.T, data.head(sums.shape[1]).y)))

    return find_loss
