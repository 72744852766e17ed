r"""Knowledge distillation: the loss of the data's targets and of a teacher's outputs.

The teacher is the model as it was before it was pruned.

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

from fabricfit.deprecation import serve_old_names
from fabricfit.network.losses import resolve_loss
from fabricfit.training.data import Data, Dataset
from fabricfit.training.resolve import mean_loss

__all__ = ["DistillationLoss", "add_teacher_outputs"]

__getattr__ = serve_old_names(
    __name__, {"Distilled": "DistillationLoss", "taught": "add_teacher_outputs"}
)

_CLASSES = ("categorical_crossentropy", "sparse_categorical_crossentropy")
_OUTCOMES = ("binary_crossentropy",)
_SMALLEST_PROBABILITY = 1e-7


class DistillationLoss:
    """Loss of targets and of a teacher's outputs.

    Parameters
    ----------
    loss_fn
        The loss of the targets: a loss, its name, or a function of (y_true, y_pred).
    weight
        Weight of the teacher's outputs, between 0 and 1; the targets have the rest.
    temperature
        Divides the logits; larger values give more weight to unlikely classes.
    """

    def __init__(self, loss_fn: Any, weight: float, temperature: float) -> None:
        self.plain = resolve_loss(loss_fn)
        self._hard = mean_loss(self.plain)
        self._weight = weight
        self._temperature = temperature
        self._soft = self._choose_divergence()

    def __call__(self, y: Any, outputs: Any) -> Any:
        """Return the loss, a scalar; ``y`` holds targets as :func:`add_teacher_outputs` returns them."""
        pairs = zip(keras.tree.flatten(y["teacher"]), keras.tree.flatten(outputs), strict=True)
        soft = sum(self._soft(teacher, student) for teacher, student in pairs)
        hard = self._hard(y["targets"], outputs)
        return (1 - self._weight) * hard + self._weight * soft

    def _choose_divergence(self) -> Callable[[Any, Any], Any]:
        """Return the comparison of outputs that suits the loss: of classes, of two outcomes, or of values."""
        name = _to_snake_case(getattr(self.plain, "__name__", type(self.plain).__name__))
        logits = bool(getattr(self.plain, "_fn_kwargs", {}).get("from_logits", False))
        if name in _CLASSES:
            return lambda t, s: self._compute_divergence(
                *(self._log_probabilities(each, logits) for each in (t, s))
            )
        if name in _OUTCOMES:
            return lambda t, s: self._compute_divergence(
                *(self._log_outcomes(each, logits) for each in (t, s))
            )
        return lambda t, s: ops.mean(ops.square(ops.cast(t, s.dtype) - s))

    def _compute_divergence(self, teacher: Any, student: Any) -> Any:
        """Return T² times the mean divergence of logarithms of probabilities on the last axis."""
        teacher = ops.cast(teacher, student.dtype)
        each = ops.sum(ops.exp(teacher) * (teacher - student), axis=-1)
        return self._temperature**2 * ops.mean(each)

    def _log_probabilities(self, results: Any, logits: bool) -> Any:
        if not logits:
            results = ops.log(ops.clip(results, _SMALLEST_PROBABILITY, 1.0))
        return ops.log_softmax(results / self._temperature, axis=-1)

    def _log_outcomes(self, results: Any, logits: bool) -> Any:
        if not logits:
            results = ops.clip(results, _SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY)
            results = ops.log(results) - ops.log(1 - results)
        scaled = results / self._temperature
        return ops.stack([ops.log_sigmoid(scaled), ops.log_sigmoid(-scaled)], axis=-1)


def add_teacher_outputs(data: Dataset, predict: Callable[[Any], Any]) -> Dataset:
    """Return data whose targets come with a teacher's outputs for each sample.

    Parameters
    ----------
    data
        Inputs and targets.
    predict
        Returns the teacher's outputs for inputs; called once for arrays, for a stream batch by batch.
    """
    if isinstance(data, Data):
        targets = {"targets": data.y, "teacher": predict(data.X)}
        return Data(data.X, targets, data.name, data.resident_limit)
    return _StreamWithTeacher(data, predict)


class _StreamWithTeacher(Dataset):
    def __init__(self, data: Dataset, predict: Callable[[Any], Any]) -> None:
        self.name = data.name
        self._data = data
        self._predict = predict

    def order(self, rng: np.random.Generator) -> np.ndarray | None:
        return self._data.order(rng)

    def batches(
        self, batch_size: int, order: np.ndarray | None = None
    ) -> Iterator[tuple[Any, Any]]:
        for X, y in self._data.batches(batch_size, order):
            yield X, {"targets": y, "teacher": self._predict(X)}

    def head(self, samples: int) -> Data:
        few = self._data.head(samples)
        return Data(few.X, {"targets": few.y, "teacher": self._predict(few.X)}, self.name)


def _to_snake_case(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
