"""Trainings of whole fronts: how classifiers are compiled, and the epochs that no other one beats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

__all__ = ["KeptEpochs", "compile_classifier"]

_FIRST = 8
_UNSURE, _CANDIDATES = 1.33, 10


def compile_classifier(model: keras.Model, rate: float) -> None:
    """Compile a model that returns logits, as the examples of HGQ2 do."""
    model.compile(
        keras.optimizers.Adam(rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=True,
        steps_per_execution=4,
    )


class KeptEpochs(keras.callbacks.Callback):
    """Keeps those of the best accuracy for their bit operations, from the first useful ones on."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[tuple[float, float, list[np.ndarray]]] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keep the epoch, and drop those that it beats."""
        assert logs is not None
        value, cost = logs["val_accuracy"], float(logs["ebops"])
        if epoch < _FIRST or any(v >= value and c <= cost for v, c, _ in self._kept):
            return
        self._kept = [each for each in self._kept if not (value >= each[0] and cost <= each[1])]
        self._kept.append((value, cost, self.model.get_weights()))

    def __iter__(self) -> Iterator[list[np.ndarray]]:
        """Yield the weights of each."""
        return (weights for *_, weights in self._kept)

    def near(self, budgets: Sequence[float]) -> Iterator[list[np.ndarray]]:
        """Yield the weights of the epochs that may be the best one within a budget.

        Counted adders are within a third of the bit operations.
        """
        wanted: set[int] = set()
        for budget in budgets:
            within = [n for n, (_, cost, _) in enumerate(self._kept) if cost <= _UNSURE * budget]
            within.sort(key=lambda number: self._kept[number][0], reverse=True)
            wanted |= set(within[:_CANDIDATES])
        return (self._kept[number][2] for number in sorted(wanted))

    @property
    def points(self) -> list[tuple[float, float]]:
        """Validation accuracy and effective bit operations of each."""
        return [(value, cost) for value, cost, _ in self._kept]
