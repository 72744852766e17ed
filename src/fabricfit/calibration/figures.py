"""What a network is worth on samples: its loss and its metric, with their standard errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from fabricfit.errors import InvalidInputError
from fabricfit.firmware.metrics import default_metric, evaluate_loss, measure
from fabricfit.losses import ModelLoss, ModelMetric, label_check
from fabricfit.network.ends import Targets
from fabricfit.network.reader import Network
from fabricfit.samples import Dataset, Door, inputs_of, open_data, to_numpy

__all__ = ["Batch", "Figures", "Samples", "Sources", "open_samples"]

_PARTS = 20
"""Parts of the samples from whose spread standard errors are estimated."""

_OWN_DEVIATION = 0.03
"""Deviation of outputs, in units of their own spread, that counts as a standard error without targets."""


@dataclass(frozen=True)
class Batch:
    """Some of the samples: an array for each input, and targets, if there are any."""

    inputs: list[np.ndarray]
    targets: Targets | None = None

    def __len__(self) -> int:
        return len(self.inputs[0])

    def take(self, part: slice) -> Batch:
        """Return some of them."""
        inputs = [array[part] for array in self.inputs]
        if self.targets is None:
            return Batch(inputs)
        return Batch(inputs, keras.tree.map_structure(lambda array: array[part], self.targets))


@dataclass(frozen=True)
class Figures:
    """A loss and a metric, with the standard errors of both.

    Parameters
    ----------
    loss, loss_error
        The loss, and its standard error.
    metrics, metric_errors
        Metrics by name, and their standard errors; empty without targets.
    """

    loss: float
    loss_error: float
    metrics: dict[str, float]
    metric_errors: dict[str, float]


class Samples:
    """Samples, and what a network's outputs for them are worth.

    Without targets, the loss is the mean square of the outputs' deviation from those of the model in floats,
    in units of their own variance.

    Parameters
    ----------
    whole
        All of them.
    loss
        The loss; None without targets.
    metric
        The metric; None without targets.
    variances
        Variance of each output of the model in floats, where there is no loss.
    """

    def __init__(
        self,
        whole: Batch,
        loss: ModelLoss | None,
        metric: ModelMetric | None,
        variances: Sequence[float] = (),
    ) -> None:
        self.whole, self._loss, self.metric = whole, loss, metric
        self.variances = tuple(variances)

    def __len__(self) -> int:
        return len(self.whole)

    @property
    def has_loss(self) -> bool:
        """Whether there are targets, and a loss."""
        return self._loss is not None

    @property
    def inputs(self) -> list[np.ndarray]:
        """An array for each input."""
        return self.whole.inputs

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield the samples in batches."""
        for start in range(0, len(self), size):
            yield self.whole.take(slice(start, start + size))

    def loss(
        self, batch: Batch, outputs: Sequence[np.ndarray], exact: Sequence[np.ndarray]
    ) -> float:
        """Return the loss of the outputs for a batch.

        Parameters
        ----------
        batch
            The samples.
        outputs
            The outputs that count.
        exact
            Those of the model in floats.
        """
        if self._loss is None:
            squares = [np.mean((a - b) ** 2) for a, b in zip(outputs, exact, strict=True)]
            scales = self.variances or [1.0] * len(squares)
            return float(np.mean([s / v for s, v in zip(squares, scales, strict=True)]))
        assert batch.targets is not None  # with a loss there are targets
        return evaluate_loss(self._loss, batch.targets, outputs)

    def figures(self, outputs: Sequence[np.ndarray], exact: Sequence[np.ndarray]) -> Figures:
        """Return the loss and the metrics of outputs for all samples."""
        count = len(self)
        size = max(count // _PARTS, 1)
        parts = [slice(start, start + size) for start in range(0, size * (count // size), size)]
        losses, values = [], []
        for part in (slice(0, count), *parts):
            batch = self.whole.take(part)
            cut, wanted = ([each[part] for each in given] for given in (outputs, exact))
            losses.append(self.loss(batch, cut, wanted))
            values.append(self._measure(batch, cut))
        error = _error_of(losses[1:]) if self.has_loss else _OWN_DEVIATION**2
        errors = {name: _error_of([each[name] for each in values[1:]]) for name in values[0]}
        return Figures(losses[0], error, values[0], errors)

    def _measure(self, batch: Batch, outputs: Sequence[np.ndarray]) -> dict[str, float]:
        if self.metric is None or self.metric.is_loss or batch.targets is None:
            return {}
        return measure(self.metric, batch.targets, outputs)


def _error_of(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


@dataclass(frozen=True)
class Sources:
    """Data as they were given: inputs alone, or a data set with targets, and a loss and a metric for it."""

    inputs: list[np.ndarray] | None
    dataset: Dataset | None
    loss: ModelLoss | None
    metric: Any
    network: Network

    def head(self, samples: int) -> Samples:
        """Return a few samples, at most so many."""
        if self.inputs is not None:
            return Samples(Batch([array[:samples] for array in self.inputs]), None, None)
        assert self.dataset is not None
        held = self.dataset.head(samples)
        inputs = [to_numpy(each) for each in keras.tree.flatten(held.X)]
        if not self.dataset.has_targets:
            return Samples(Batch(inputs), None, None)
        batch = Batch(inputs, held.y)
        outputs = self.network.ends.outputs
        given = self.metric
        if given is None:
            needed = () if self.loss is None else self.loss.needed
            kinds = [
                default_metric([held.y.labels_of(place)]) if place in needed else None
                for place in range(len(outputs))
            ]
            given = kinds[0] if len(kinds) == 1 else kinds
        metric = ModelMetric(given, outputs)
        return Samples(batch, self.loss, metric)

    def every(self) -> Iterator[Samples]:
        """Yield all samples, a part at a time, without targets."""
        if self.inputs is not None:
            yield Samples(Batch(self.inputs), None, None)
            return
        assert self.dataset is not None
        for X, _ in self.dataset.batches(4096):
            yield Samples(Batch([to_numpy(each) for each in keras.tree.flatten(X)]), None, None)


def open_samples(model: Any, network: Network, data: Any, loss: Any, metric: Any) -> Sources:
    """Open data, with the loss and the metric that the model was compiled with, unless others are given.

    Parameters
    ----------
    model, network
        The model, and what was read of it.
    data
        As for :func:`fabricfit.calibrate`.
    loss, metric
        In the place of those of the model.

    Raises
    ------
    InvalidInputError, InvalidTypeError
        The data do not fit the model, or there are targets and no loss.
    """
    inputs_alone = isinstance(data, Dataset) and not data.has_targets
    if inputs_alone or _are_inputs(data, network):
        if loss is not None or metric is not None:
            raise InvalidInputError(
                "loss and metric are for data with targets, (X, y). Received: data of inputs alone"
            )
        if inputs_alone:
            return Sources(None, open_data(data, "", Door(network.ends)), None, None, network)
        arrays = inputs_of(network.ends, data, "data")
        return Sources(arrays, None, None, None, network)
    weights = None
    compiled = getattr(model, "_compile_loss", None)
    if loss is None:
        loss = getattr(model, "loss", None)
        weights = getattr(compiled, "_user_loss_weights", None)
    if loss is None:
        raise InvalidInputError(
            "loss must say what the model is trained to minimize where data have targets, for example "
            "loss='categorical_crossentropy'; or compile the model with it, or give inputs alone. Received: "
            "loss=None, and a model that is not compiled"
        )
    if metric is None:
        metric = getattr(getattr(model, "_compile_metrics", None), "_user_metrics", None)
    outputs = network.ends.outputs
    chosen = ModelLoss(loss, weights, outputs)
    needed = {*chosen.needed, *(() if metric is None else ModelMetric(metric, outputs).needed)}
    door = Door(network.ends, tuple(sorted(needed)), check=label_check(chosen, outputs))
    dataset = open_data(data, "", door)
    return Sources(None, dataset, chosen, metric, network)


def _are_inputs(data: Any, network: Network) -> bool:
    """Return whether data are inputs alone: an array, or arrays by the names of inputs."""
    if isinstance(data, np.ndarray) or keras.ops.is_tensor(data):
        return True
    if not isinstance(data, dict):
        return False
    return set(network.ends.inputs.names) <= set(data)
