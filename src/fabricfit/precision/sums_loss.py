"""The loss of a network's last sums as a plain function, computed many thousand times in a search."""

from __future__ import annotations

from typing import Protocol

import keras
import numpy as np

from fabricfit.losses import ModelLoss
from fabricfit.samples import Data
from fabricfit.training import Engine, make_engine

__all__ = ["find_sums_loss"]


class SumsLoss(Protocol):
    """Finds the losses of samples from the sums of a network's last layer."""

    by_sample: bool
    """Whether each sample has a loss of its own; else all that are computed together have their mean."""

    def __call__(self, sums: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """Return the losses.

        Parameters
        ----------
        sums
            Shape (units, samples).
        samples
            The indices of the samples, rising.
        """


def find_sums_loss(loss: ModelLoss, activation: object, data: Data) -> SumsLoss:
    """Return what finds the losses of samples from a layer's sums.

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
    if _is_cross_entropy(loss, activation, data):
        (labels,) = keras.tree.flatten(data.y.labels)
        return _CrossEntropy(np.asarray(labels).reshape(-1).astype(int))
    return _AnyLoss(loss, activation, data)


def _is_cross_entropy(loss: ModelLoss, activation: object, data: Data) -> bool:
    (each, *others), weighted = loss.losses, keras.tree.flatten(data.y.weights)
    if type(each) is not keras.losses.SparseCategoricalCrossentropy or others or weighted:
        return False
    assert each is not None
    known, softmax = each.get_config(), activation is keras.activations.softmax
    plain = known["ignore_class"] is None and known["reduction"] == "sum_over_batch_size"
    linear = activation in (None, keras.activations.linear)
    return loss.weights == (1,) and plain and (linear if known["from_logits"] else softmax)


class _CrossEntropy:
    by_sample = True

    def __init__(self, classes: np.ndarray) -> None:
        self._classes = classes

    def __call__(self, sums: np.ndarray, samples: np.ndarray) -> np.ndarray:
        below = sums - sums.max(0)
        right = below[self._classes[samples], np.arange(len(samples))]
        np.exp(below, out=below)
        found: np.ndarray = np.log(below.sum(0)) - right
        return found


class _AnyLoss:
    by_sample = False

    def __init__(self, loss: ModelLoss, activation: object, data: Data) -> None:
        self._loss, self._activation, self._data = loss, activation, data
        self._engine: Engine | None = None

    def __call__(self, sums: np.ndarray, samples: np.ndarray) -> np.ndarray:
        if self._engine is None:
            received = keras.Input((len(sums),))
            model = keras.Model(received, keras.layers.Activation(self._activation)(received))
            self._engine = make_engine(model, self._loss, "sgd")
        targets = self._data.take(slice(samples[0], samples[-1] + 1)).y
        found = self._engine.evaluate_loss(Data(sums.T, targets))
        return np.full(len(samples), found)
