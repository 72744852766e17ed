"""Keras' own ``fit``: for models with a ``train_step`` of their own."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fabricfit.errors import InvalidInputError
from fabricfit.network.ends import Targets
from fabricfit.samples import Data, Dataset, samples_in
from fabricfit.training.engine import Engine
from fabricfit.training.evaluation import add_up

__all__ = ["BackendEngine"]


class BackendEngine(Engine):
    """Training by ``fit``; after each step frozen and shared weights are projected.

    What the model's step does with gradients is its own. Frozen weights keep their values all the same;
    shared weights become the mean of what the optimizer made of each.
    """

    flattens = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._strengths: Any = None
        self._compiled = 0

    @property
    def compilations(self) -> int:
        """How often a training step has been compiled."""
        return self._compiled

    def _train_on_batch(self, X: Any, y: Targets) -> float:
        self._prepare()
        return self._fit(*self._parts(X, y), batch_size=samples_in(X))

    def train_epoch(self, data: Dataset, order: Any, batch_size: int) -> float:
        """Train on all samples once."""
        self._prepare()
        if isinstance(data, Data):
            part = data if order is None else data.take(order)
            return self._fit(*self._parts(part.X, part.y), batch_size=batch_size)
        return self._fit(self._parts(*batch) for batch in data.batches(batch_size))

    def _parts(self, X: Any, y: Targets) -> tuple[Any, ...]:
        """Return a batch as Keras takes it, in the structure of the model's outputs."""
        ends = self.ends
        assert ends is not None, "a model with a train_step of its own is never traced"
        every = range(len(ends.outputs))
        labels = ends.outputs.pack([y.labels_of(place) for place in every])
        if not y.weights:
            return X, labels
        return X, labels, ends.outputs.pack([_weights(y, place) for place in every])

    def forward_state(self) -> tuple[()]:
        """Return nothing: weights are read by Keras."""
        return ()

    def forward(self, state: tuple[()], X: Any) -> Any:
        """Return the model's outputs."""
        return self.model(X, training=False)

    def forward_with_penalties(self, state: tuple[()], X: Any) -> tuple[Any, Any]:
        """Return the model's outputs, and the sum of its own penalties."""
        return self.model(X, training=False), add_up(self.model.losses)

    def compiled(self, function: Any, batches: int = 0) -> Any:
        """Return a function without compiling it."""
        return function

    def _prepare(self) -> None:
        """Compile before the first step, and wherever JAX has traced the strengths as constants."""
        strengths = [
            [None if value is None else float(value) for value in pair]
            for pair in self.penalty.state
        ]
        if self._strengths is None:
            self.penalty.attach()
        if self._strengths is None or (
            strengths != self._strengths and keras.backend.backend() == "jax"
        ):
            self.model.compile(
                optimizer=self.optimizer,
                **self.hard_loss.for_compile(),
                jit_compile=keras.backend.backend() == "jax",
            )
            self._compiled += 1
        self._strengths = strengths

    def _fit(self, *data: Any, **options: Any) -> float:
        given = dict(zip(("x", "y", "sample_weight"), data, strict=False))
        history = self.model.fit(
            **given, shuffle=False, verbose=0, callbacks=[_ProjectionCallback(self)], **options
        ).history
        if "loss" not in history:
            raise InvalidInputError(
                f"the train_step of model {self.model.name!r} must return its 'loss'. "
                f"Received: {sorted(history)}"
            )
        return float(history["loss"][-1])


class _ProjectionCallback(keras.callbacks.Callback):
    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Project frozen and shared weights."""
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        self._engine.project_weights()


def _weights(y: Targets, place: int) -> Any:
    """Return the weights of samples at an output: Keras wants some for each, where there are any."""
    found = y.weights_of(place)
    return np.ones(len(y.labels_of(place)), "float32") if found is None else found
