"""Derivatives of a model's loss, from steps that are compiled once."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from fabricfit.checks import optional_whole_number
from fabricfit.curvature.effort import Effort, choose_effort
from fabricfit.curvature.exact import exact_diagonal, product_count
from fabricfit.curvature.gauss_newton import gauss_newton_diagonal, gauss_newton_estimate
from fabricfit.curvature.gradients import kernel_gradients
from fabricfit.curvature.hooks import run
from fabricfit.curvature.linearity import why_not_piecewise_linear
from fabricfit.curvature.loss_function import MAX_BATCH, Problem
from fabricfit.curvature.losses import LossSum
from fabricfit.curvature.probes import Estimate, default_probes, estimated_diagonal, relative_error
from fabricfit.curvature.removals import find_receivers, removal_losses
from fabricfit.curvature.result import HessianDiagonal
from fabricfit.curvature.samples import Samples
from fabricfit.errors import InvalidInputError, unknown_name
from fabricfit.losses import ModelLoss
from fabricfit.network.reader import Network, kernel_variables, read_if_possible
from fabricfit.samples import Data, Door, open_data

__all__ = ["EXACT_WORK", "METHODS", "Curvature"]

logger = logging.getLogger(__name__)

METHODS = ("auto", "gauss-newton", "exact", "estimate")

EXACT_WORK = 2**34
"""Largest work for which ``'auto'`` uses the exact method: Hessian-vector products times samples times
multiplications of a forward pass. Some seconds of one processor."""


class Curvature:
    """Gradients and Hessian diagonals of a model's mean loss, for repeated evaluation.

    Later calls reuse the compiled steps of earlier ones, with the weights of the moment. The model's
    layers must not change; data of other shapes is compiled for again.

    Parameters
    ----------
    model
        A built model or its network, which is not changed. It is run at inference (no dropout, moving
        statistics).
    kernels
        Key -> kernel variable; ``None`` for the kernels of all layers, by layer name.
    loss_fn
        As for :func:`~fabricfit.curvature.get_model_gradients`; or a :class:`~fabricfit.losses.ModelLoss`.
    batch_size
        Samples in a batch; by default as many as fit a memory budget of about 128 MB. Kernels that
        are probed in their weights have theirs in smaller ones.
    loss_weights
        As for :func:`~fabricfit.curvature.get_model_gradients`.

    Raises
    ------
    InvalidInputError
        A kernel is not the model's, ``batch_size`` is no positive number, or the loss is unknown.
    InvalidTypeError
        The loss is of a kind that cannot be used.
    """

    def __init__(
        self,
        model: keras.Model | Network,
        kernels: Mapping[str, keras.Variable] | None,
        loss_fn: Any,
        batch_size: int | None = None,
        *,
        loss_weights: Any = None,
    ) -> None:
        self._network = read_if_possible(model)
        self.model: keras.Model = model if self._network is None else self._network.model
        self.kernels = dict(self._own_kernels() if kernels is None else kernels)
        ends = None if self._network is None else self._network.ends
        self.loss = loss_fn
        if not isinstance(loss_fn, ModelLoss):
            self.loss = ModelLoss(loss_fn, loss_weights, None if ends is None else ends.outputs)
        self._loss = LossSum(self.loss)
        self._door = Door(ends, self.loss.needed if ends is not None else None)
        self._batch_size = optional_whole_number("batch_size", batch_size)
        self._obstacle = why_not_piecewise_linear(self._network)
        self._kind: Hashable = None
        self._problem: Problem | None = None

    def _own_kernels(self) -> dict[str, keras.Variable]:
        if self._network is None:
            return kernel_variables(self.model)
        return {name: kernel.variable for name, kernel in self._network.kernels.items()}

    def gradients(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        samples: int | None = None,
        seed: int = 0,
    ) -> dict[str, np.ndarray]:
        """Return the gradient of the mean loss in every kernel.

        Parameters
        ----------
        X, y, sample_weight, samples, seed
            As for :func:`~fabricfit.curvature.get_model_gradients`.
        """
        data = self._read(X, y, sample_weight, samples, seed)
        problem = self._prepare(data)
        found = kernel_gradients(problem, data)
        return {key: self._mean(key, found[key], data) for key in problem.kernels}

    def hessians(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        method: str = "auto",
        samples: int | None = None,
        passes: int | None = None,
        probes: int | None = None,
        seed: int = 0,
    ) -> HessianDiagonal:
        """Return the diagonal of the Hessian of the mean loss in every kernel.

        Parameters
        ----------
        X, y, sample_weight, method, samples, passes, probes, seed
            As for :func:`~fabricfit.curvature.model_hessian`.
        """
        passes = optional_whole_number("passes", passes)
        data = self._read(X, y, sample_weight, samples, seed, shuffled=passes is not None)
        problem = self._prepare(data)
        if passes is not None and passes >= problem.curvature.size:
            passes = None
        wanted = self._count_probes(problem, data, probes)
        ways = self._choose_methods(problem, data, method, wanted)
        estimated = [key for key, way in ways.items() if way == "estimate"]
        closed = [key for key, way in ways.items() if way == "gauss-newton"]
        hooked = [*closed, *(key for key in estimated if key in problem.hooks)]
        errors = dict.fromkeys(ways, 0.0)
        variances: dict[str, np.ndarray] = {}
        if passes is None:
            found = gauss_newton_diagonal(problem, data, hooked)
        else:
            combined = gauss_newton_estimate(problem, data, hooked, passes, seed)
            found = {key: each.total for key, each in combined.items()}
            variances = {key: each.variance for key, each in combined.items()}
            errors.update({key: relative_error(each) for key, each in combined.items()})
        if self._obstacle is not None:
            errors.update(dict.fromkeys(closed, float("nan")))
        for key in estimated:
            part = estimated_diagonal(problem, data, key, wanted[key], seed)
            variance = part.variance + variances.get(key, 0.0)
            whole = Estimate(found.get(key, 0.0) + part.total, variance)
            found[key], errors[key] = whole.total, relative_error(whole)
        exact = [key for key, way in ways.items() if way == "exact"]
        found.update(exact_diagonal(problem, data, exact))
        values = {key: self._mean(key, found[key], data) for key in ways}
        result = HessianDiagonal(values, ways, errors)
        self._log(result, data)
        return result

    def choose_effort(
        self, X: Any, y: Any, *, samples: int | None = None, part: float = 1.0
    ) -> Effort:
        """Return arguments of :meth:`hessians` that bound its price by that of training.

        Parameters
        ----------
        X, y
            As for :meth:`hessians`. Of the data only the shapes matter.
        samples
            How many samples to use; None to follow the price.
        part
            Part of the usual samples, below 1 for a rough result.
        """
        samples = optional_whole_number("samples", samples)
        data = self._read(X, y, None, None)
        problem = self._prepare(data)
        probes = self._count_probes(problem, data, None)
        ways = self._choose_methods(problem, data, "auto", probes)
        return choose_effort(problem, list(ways.values()), data.size, samples, part)

    def removals(
        self,
        X: Any,
        y: Any,
        channels: Mapping[str, tuple[Any, np.ndarray]],
        count: int,
        *,
        samples: int | None = None,
        seed: int = 0,
    ) -> np.ndarray:
        """Return by how much the mean loss grows without each of some channels.

        See :mod:`fabricfit.curvature.removals`.

        Parameters
        ----------
        X, y, samples, seed
            As for :meth:`hessians`.
        channels
            Kernel -> the layer that it is of, and a number for each channel that this receives: the same in
            all layers that receive a channel, -1 for one that does not count.
        count
            How many channels there are.

        Returns
        -------
        numpy.ndarray
            Shape ``(count,)``, at least 0; NaN where it cannot be told.
        """
        data = self._read(X, y, None, samples, seed)
        problem = self._prepare(data)
        receivers = find_receivers(problem, channels)
        return removal_losses(problem, data, receivers, count, seed)

    def plan(
        self,
        X: Any,
        y: Any,
        *,
        method: str = "auto",
        samples: int | None = None,
        probes: int | None = None,
    ) -> dict[str, str]:
        """Return the method that :meth:`hessians` would use for every kernel, without computing anything.

        Parameters
        ----------
        X, y, method, samples, probes
            As for :meth:`hessians`. Of the data only the shapes matter.
        """
        data = self._read(X, y, None, samples)
        problem = self._prepare(data)
        return self._choose_methods(
            problem, data, method, self._count_probes(problem, data, probes)
        )

    def _count_probes(self, problem: Problem, data: Samples, wanted: int | None) -> dict[str, int]:
        wanted = optional_whole_number("probes", wanted, 2)
        return {key: wanted or default_probes(problem, data, key) for key in problem.kernels}

    def _choose_methods(
        self, problem: Problem, data: Samples, method: str, probes: Mapping[str, int]
    ) -> dict[str, str]:
        if method not in METHODS:
            raise unknown_name("method", method, METHODS)
        return {
            key: self._choose_method(problem, data, key, method, count)
            for key, count in probes.items()
        }

    def _choose_method(
        self, problem: Problem, data: Samples, key: str, method: str, probes: int
    ) -> str:
        """Choose the method of a kernel by shapes alone."""
        if key in problem.hooks and (
            method == "gauss-newton" or (method != "exact" and self._obstacle is None)
        ):
            return "gauss-newton"
        products = product_count(problem, key)
        affordable = method != "estimate" and products * data.size * problem.work <= EXACT_WORK
        if method == "exact" or products <= probes or affordable:
            return "exact"
        return "estimate"

    def _read(
        self,
        X: Any,
        y: Any,
        weights: Any,
        samples: int | None,
        seed: int = 0,
        *,
        shuffled: bool = False,
    ) -> Samples:
        parts = (X, y) if weights is None else (X, y, weights)
        data = open_data(parts, "", self._door)
        assert isinstance(data, Data), "a tuple is read as a whole"
        found = Samples(data, self.loss, samples, seed, shuffled=shuffled)
        if self._network is not None and self._network.has_masked_outputs:
            found.mask(self._compute_masks(found))
        return found

    def _compute_masks(self, data: Samples) -> list[np.ndarray | None]:
        """Return which values of each output count, from one run of the model."""
        variables = list(self.model.variables)
        values = [variable.value for variable in variables]
        found = []
        for batch in data.batches(self._batch_size or MAX_BATCH, pad=False):
            outputs = keras.tree.flatten(run(self.model, variables, values, batch.x))
            masks = [getattr(each, "_keras_mask", None) for each in outputs]
            found.append([None if m is None else ops.convert_to_numpy(m) for m in masks])
        return [
            None if each[0] is None else np.concatenate(each) for each in zip(*found, strict=True)
        ]

    def _prepare(self, data: Samples) -> Problem:
        if self._problem is None or self._kind != data.kind:
            example = data.batch(0, 2)
            self._problem = Problem(
                self.model, self._network, self.kernels, self._loss, example, self._batch_size
            )
            self._kind = data.kind
        return self._problem

    def _mean(self, key: str, total: np.ndarray, data: Samples) -> np.ndarray:
        """Turn a sum over samples into the mean, of the kernel's shape."""
        variable = self.kernels[key]
        mean = (total / data.size).reshape(variable.shape)
        # A rectifier can swallow the NaN of a weight, on some processors and not on others.
        kernel = np.asarray(ops.convert_to_numpy(variable))
        if not (np.isfinite(mean).all() and np.isfinite(kernel).all()):
            raise InvalidInputError(
                f"the loss must have finite derivatives; that for the kernel {key!r} has NaN "
                "or infinity. Check the model's weights, the labels and the loss's from_logits"
            )
        return mean.astype(np.float32)

    def _log(self, result: HessianDiagonal, data: Samples) -> None:
        logger.info(
            "Hessian diagonal of %r on %d samples: %s",
            self.model.name,
            data.size,
            result.summary(),
        )
        if any(np.isnan(error) for error in result.errors.values()):
            logger.warning("the Gauss-Newton diagonal is an approximation here: %s", self._obstacle)
