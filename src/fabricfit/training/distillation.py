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
from fabricfit.losses import ModelLoss, function_of, options_of
from fabricfit.losses.resolve import Crossentropy
from fabricfit.network.ends import Targets
from fabricfit.samples import Data, Dataset

__all__ = ["DistillationLoss", "add_teacher_outputs"]

__getattr__ = serve_old_names(
    __name__, {"Distilled": "DistillationLoss", "taught": "add_teacher_outputs"}
)

_CLASSES = (
    keras.losses.categorical_crossentropy,
    keras.losses.sparse_categorical_crossentropy,
)
_OUTCOMES = (keras.losses.binary_crossentropy,)
_SMALLEST_PROBABILITY = 1e-7


class DistillationLoss:
    """Loss of targets and of a teacher's outputs.

    Parameters
    ----------
    loss_fn
        The loss of the targets: a :class:`~fabricfit.losses.ModelLoss`, or a loss for every output.
    weight
        Weight of the teacher's outputs, between 0 and 1; the targets have the rest.
    temperature
        Divides the logits; larger values give more weight to unlikely classes.
    """

    def __init__(self, loss_fn: Any, weight: float, temperature: float) -> None:
        self.plain = loss_fn if isinstance(loss_fn, ModelLoss) else ModelLoss(loss_fn)
        self._weight = weight
        self._temperature = temperature

    def __call__(self, y: Targets, outputs: Any) -> Any:
        """Return the loss, a scalar; targets are those that :func:`add_teacher_outputs` returns."""
        hard = self.plain(y, outputs)
        taught = y._replace(labels=y.teacher)
        soft = sum(
            factor * self._divergence_for(loss)(teacher, student, samples)
            for loss, factor, teacher, student, samples in self.plain.matched(taught, outputs)
        )
        return (1 - self._weight) * hard + self._weight * soft

    def _divergence_for(self, loss: keras.losses.Loss) -> _Divergence:
        """Return the comparison of outputs that suits a loss: of classes, of two outcomes, or of values."""
        logits = bool(options_of(loss).get("from_logits", False))
        function = function_of(loss)
        if function in _CLASSES or isinstance(loss, Crossentropy):
            return _Divergence(
                lambda t, s: self._compute_divergence(
                    *(self._log_probabilities(each, logits) for each in (t, s))
                )
            )
        if function in _OUTCOMES:
            return _Divergence(
                lambda t, s: self._compute_divergence(
                    *(self._log_outcomes(each, logits) for each in (t, s))
                )
            )
        return _Divergence(lambda t, s: ops.mean(ops.square(t - s), axis=-1))

    def _compute_divergence(self, teacher: Any, student: Any) -> Any:
        """Return T² times the divergence of logarithms of probabilities on the last axis."""
        each = ops.sum(ops.exp(teacher) * (teacher - student), axis=-1)
        return self._temperature**2 * each

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


class _Divergence(keras.losses.Loss):
    """A comparison with a teacher as a loss, so that weights and masks of samples count as in Keras."""

    def __init__(self, compare: Callable[[Any, Any], Any]) -> None:
        super().__init__(name="divergence")
        self._compare = compare

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self._compare(y_true, y_pred)


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
        return Data(data.X, _teach(data.X, data.y, predict), data.name, data.resident_limit)
    return _StreamWithTeacher(data, predict)


def _teach(X: Any, y: Targets, predict: Callable[[Any], Any]) -> Targets:
    return y._replace(teacher=tuple(keras.tree.flatten(predict(X))))


class _StreamWithTeacher(Dataset):
    def __init__(self, data: Dataset, predict: Callable[[Any], Any]) -> None:
        self.name = data.name
        self._data = data
        self._predict = predict

    @property
    def size(self) -> int | None:
        return self._data.size

    @property
    def passes(self) -> list[int]:
        return self._data.passes

    def replay(self, passes: list[int]) -> None:
        self._data.replay(passes)

    def end_pass(self) -> None:
        self._data.end_pass()

    def order(self, rng: np.random.Generator) -> np.ndarray | None:
        return self._data.order(rng)

    def batches(
        self, batch_size: int, order: np.ndarray | None = None
    ) -> Iterator[tuple[Any, Targets]]:
        for X, y in self._data.batches(batch_size, order):
            yield X, _teach(X, y, self._predict)

    def head(self, samples: int) -> Data:
        few = self._data.head(samples)
        return Data(few.X, _teach(few.X, few.y, self._predict), self.name)
