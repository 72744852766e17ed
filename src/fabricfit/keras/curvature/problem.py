"""What is differentiated: a model, a loss and a data set, held together."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import ops

from fabricfit.errors import InvalidInputError
from fabricfit.keras.curvature.autodiff import Tensor, load_autodiff
from fabricfit.keras.curvature.graph import Head, graph_calls, model_heads
from fabricfit.keras.curvature.losses import LossSum
from fabricfit.keras.curvature.matrix import matrix_form
from fabricfit.keras.curvature.samples import Batch, Samples
from fabricfit.keras.curvature.taps import Tap, TappedRun, run, run_tapped

__all__ = ["MAX_BATCH", "MEMORY_BUDGET", "Probe", "Problem"]

MAX_BATCH = 2048
"""Most samples in a batch whose size was left to us."""

MEMORY_BUDGET = 2**25
"""Most numbers that one batch's intermediate results should take, about (128 MB as float32)."""


@dataclass(frozen=True)
class Probe:
    """What one run of a model tells of its shapes.

    Parameters
    ----------
    outputs
        Shape of each output for one sample.
    sizes
        For each tapped kernel the positions, groups, inputs and outputs ``(p, g, i, f)`` of its
        matrix form.
    per_sample
        Whether the loss weighs single samples.
    """

    outputs: list[tuple[int, ...]]
    sizes: dict[str, tuple[int, int, int, int]]
    per_sample: bool


class Problem:
    """The mean loss of a model over a data set, as a function of its kernels.

    Parameters
    ----------
    model
        A built model; its state is never written.
    variables
        Key -> kernel variable.
    loss_fn
        As :func:`~fabricfit.keras.curvature.losses.resolve_loss` takes it.
    X, y
        As :class:`~fabricfit.keras.curvature.samples.Samples` takes them.
    batch_size
        Samples in a batch; ``None`` to choose by memory.

    Raises
    ------
    InvalidInputError
        The data, the batch size or the loss cannot be used.
    """

    def __init__(
        self,
        model: keras.Model,
        variables: Mapping[str, keras.Variable],
        loss_fn: Any,
        X: Any,
        y: Any,
        batch_size: int | None,
    ) -> None:
        if batch_size is not None and (int(batch_size) != batch_size or batch_size < 1):
            raise InvalidInputError(
                f"batch_size must be a whole number of at least 1. Received: {batch_size!r}"
            )
        self.loss = LossSum(loss_fn)
        self.samples = Samples(model, X, y)
        self.model = model
        self.kernels = dict(variables)
        self.autodiff = load_autodiff()
        self.variables: list[keras.Variable] = list(model.variables)
        self.places = {id(variable): i for i, variable in enumerate(self.variables)}
        self._batch_size = None if batch_size is None else int(batch_size)
        self._check_kernels()

    def _check_kernels(self) -> None:
        for key, variable in self.kernels.items():
            if id(variable) not in self.places:
                raise InvalidInputError(f"kernel {key!r} is not one of the model's variables")
            if not keras.backend.is_float_dtype(variable.dtype):
                raise InvalidInputError(
                    f"kernel {key!r} must hold floating-point numbers to be differentiated. "
                    f"Received: dtype={variable.dtype}"
                )

    @cached_property
    def values(self) -> list[Tensor]:
        """The present values of all variables, in the order of :attr:`variables`."""
        return [ops.stop_gradient(ops.convert_to_tensor(variable)) for variable in self.variables]

    @cached_property
    def heads(self) -> list[Head]:
        """Where the network ends and the loss begins, for each output."""
        return model_heads(self.model) or [Head()] * len(self.probe.outputs)

    @cached_property
    def taps(self) -> dict[str, Tap]:
        """The kernels whose layer is a matrix product that the model calls once."""
        calls = graph_calls(self.model) or []
        owners = Counter(id(getattr(call, "kernel", None)) for call in calls)
        found = {}
        for key, variable in self.kernels.items():
            layer = next((c for c in calls if getattr(c, "kernel", None) is variable), None)
            if layer is None or owners[id(variable)] != 1:
                continue
            rewritten = getattr(layer, "quantization_mode", None) or getattr(
                layer, "_remat_mode", None
            )
            form = matrix_form(layer)
            if form is not None and not rewritten:
                found[key] = Tap(layer, form)
        return found

    @cached_property
    def probe(self) -> Probe:
        """What a run on two samples tells; look at it before tracing, not while."""
        batch = self.samples.batch(0, 2)
        found = self.run(self.values, batch.x, self.taps, {}, ())
        sizes = {}
        for key, tap in self.taps.items():
            _, p, g, i = tap.form.rows(tap.layer, found.inputs[key]).shape
            sizes[key] = (p, g, i, math.prod(self.kernels[key].shape) // (g * i))
        shapes = [tuple(output.shape[1:]) for output in found.outputs]
        return Probe(shapes, sizes, self.loss.is_per_sample(batch.y, found.outputs))

    def batches(self, numbers_per_sample: int) -> Iterator[Batch]:
        """Go over the data, in batches of the caller's size or one that keeps to the memory budget.

        All are of one size where the loss weighs single samples, so that padding does no harm.
        """
        size = self._batch_size
        if size is None:
            size = int(np.clip(MEMORY_BUDGET // max(numbers_per_sample, 1), 1, MAX_BATCH))
        return self.samples.batches(size, pad=self.probe.per_sample)

    def numbers_per_sample(self, copies: int = 1) -> int:
        """Estimate the numbers held for one sample when each pre-activation is held so many times.

        Layers that are not tapped are taken to be as large as those that are.
        """
        sizes = self.probe.sizes.values()
        return sum(p * g * (i + 4 * (copies + 2) * f) for p, g, i, f in sizes)

    def run(
        self,
        values: Sequence[Tensor],
        x: Any,
        taps: Mapping[str, Tap],
        shifts: Mapping[str, Tensor],
        heads: Sequence[Head],
    ) -> TappedRun:
        """Run the model with taps, see :func:`~fabricfit.keras.curvature.taps.run_tapped`."""
        return run_tapped(self.model, self.variables, values, x, taps, shifts, heads)

    def total(self, values: Sequence[Tensor], batch: Batch) -> Tensor:
        """Loss of a batch, summed over its samples, with these values of the variables."""
        outputs = run(self.model, self.variables, values, batch.x)
        return self.loss(batch.y, outputs, batch.weights)

    def replaced(self, values: Sequence[Tensor], new: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the variables' values with some kernels' replaced."""
        changed = list(values)
        for key, value in new.items():
            changed[self.places[id(self.kernels[key])]] = value
        return changed

    def zero_shift(self, key: str, batch: Batch) -> Tensor:
        """Return the zero that is added to a tapped layer's pre-activation, ``(n, p, g, f)``."""
        p, g, _, f = self.probe.sizes[key]
        return ops.zeros((batch.weights.shape[0], p, g, f), keras.config.floatx())

    def finished(self, found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Turn sums over samples into means, shaped and ordered as the kernels.

        Raises
        ------
        InvalidInputError
            The loss has no finite derivative at this data and these weights.
        """
        result = {}
        for key, variable in self.kernels.items():
            mean = (found[key] / self.samples.size).reshape(variable.shape)
            # A rectifier can swallow the NaN of a weight, on some processors and not on others.
            kernel = np.asarray(ops.convert_to_numpy(variable))
            if not (np.isfinite(mean).all() and np.isfinite(kernel).all()):
                raise InvalidInputError(
                    f"the loss must have finite derivatives; that for the kernel {key!r} has NaN "
                    "or infinity. Check the model's weights, the labels and the loss's from_logits"
                )
            result[key] = mean.astype(np.float32)
        return result
