r"""Knowledge distillation: targets from the data, and from the model as it was before it was pruned.

For classes, the second part of the loss is

.. math::

    T^2 \, \mathrm{KL}\big(\mathrm{softmax}(t / T) \,\Vert\, \mathrm{softmax}(s / T)\big)

of the logits *t* of the teacher and *s* of the student at temperature *T*, or the same for each of two
outcomes; for any other loss it is the mean square of the difference of their results.

References
----------
G. Hinton, O. Vinyals, J. Dean, "Distilling the knowledge in a neural network", 2015, arXiv:1503.02531.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from fabricfit.network.losses import resolve_loss
from fabricfit.training.data import Data, Dataset
from fabricfit.training.resolve import mean_loss

__all__ = ["Distilled", "taught"]

_CLASSES = ("categorical_crossentropy", "sparse_categorical_crossentropy")
_OUTCOMES = ("binary_crossentropy",)
_SMALLEST = 1e-7


class Distilled:
    """A loss of targets and of what a teacher says.

    Parameters
    ----------
    loss_fn
        The loss of the targets: a loss, its name, or a function of (y_true, y_pred).
    weight
        Weight of what the teacher says, between 0 and 1; that of the targets is the rest.
    temperature
        Divides the logits; larger ones tell more of classes that are not likely.
    """

    def __init__(self, loss_fn: Any, weight: float, temperature: float) -> None:
        self.plain = resolve_loss(loss_fn)
        self._hard = mean_loss(self.plain)
        self._weight = weight
        self._temperature = temperature
        self._soft = self._law()

    def __call__(self, y: Any, outputs: Any) -> Any:
        """Return the loss, a scalar; ``y`` is what :func:`taught` makes of targets."""
        pairs = zip(keras.tree.flatten(y["teacher"]), keras.tree.flatten(outputs), strict=True)
        soft = sum(self._soft(told, given) for told, given in pairs)
        hard = self._hard(y["targets"], outputs)
        return (1 - self._weight) * hard + self._weight * soft

    def _law(self) -> Callable[[Any, Any], Any]:
        """Return how results are compared: by what the loss takes them for."""
        name = _snake(getattr(self.plain, "__name__", type(self.plain).__name__))
        logits = bool(getattr(self.plain, "_fn_kwargs", {}).get("from_logits", False))
        if name in _CLASSES:
            return lambda t, s: self._divergence(*(self._shares(each, logits) for each in (t, s)))
        if name in _OUTCOMES:
            return lambda t, s: self._divergence(*(self._either(each, logits) for each in (t, s)))
        return lambda t, s: ops.mean(ops.square(ops.cast(t, s.dtype) - s))

    def _divergence(self, told: Any, given: Any) -> Any:
        """Return T² times the mean divergence of logarithms of probabilities on the last axis."""
        told = ops.cast(told, given.dtype)
        each = ops.sum(ops.exp(told) * (told - given), axis=-1)
        return self._temperature**2 * ops.mean(each)

    def _shares(self, results: Any, logits: bool) -> Any:
        if not logits:
            results = ops.log(ops.clip(results, _SMALLEST, 1.0))
        return ops.log_softmax(results / self._temperature, axis=-1)

    def _either(self, results: Any, logits: bool) -> Any:
        if not logits:
            results = ops.clip(results, _SMALLEST, 1 - _SMALLEST)
            results = ops.log(results) - ops.log(1 - results)
        scaled = results / self._temperature
        return ops.stack([ops.log_sigmoid(scaled), ops.log_sigmoid(-scaled)], axis=-1)


def taught(data: Dataset, teach: Callable[[Any], Any]) -> Dataset:
    """Return data whose targets come with what a teacher says of each sample.

    Parameters
    ----------
    data
        Inputs and targets.
    teach
        Returns the teacher's results for inputs. What is held in arrays is shown to it once, a stream batch
        by batch as it comes.
    """
    if isinstance(data, Data):
        told = {"targets": data.y, "teacher": teach(data.X)}
        return Data(data.X, told, data.name, data.resident_limit)
    return _TaughtStream(data, teach)


class _TaughtStream(Dataset):
    def __init__(self, data: Dataset, teach: Callable[[Any], Any]) -> None:
        self.name = data.name
        self._data = data
        self._teach = teach

    def order(self, rng: np.random.Generator) -> np.ndarray | None:
        return self._data.order(rng)

    def batches(
        self, batch_size: int, order: np.ndarray | None = None
    ) -> Iterator[tuple[Any, Any]]:
        for X, y in self._data.batches(batch_size, order):
            yield X, {"targets": y, "teacher": self._teach(X)}

    def head(self, samples: int) -> Data:
        few = self._data.head(samples)
        return Data(few.X, {"targets": few.y, "teacher": self._teach(few.X)}, self.name)


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
