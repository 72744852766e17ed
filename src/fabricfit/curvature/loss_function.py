"""A model's loss as a function of its kernels, and the compiled steps that differentiate it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from fabricfit.curvature.autodiff import Tensor, load_autodiff
from fabricfit.curvature.hooks import Hook, HookedRun, run, run_with_hooks
from fabricfit.curvature.linearity import Head, find_heads
from fabricfit.curvature.loss_curvature import LossCurvature
from fabricfit.curvature.losses import LossSum
from fabricfit.curvature.samples import Batch, Samples
from fabricfit.errors import InvalidInputError
from fabricfit.layers import family_of
from fabricfit.network.reader import Network

__all__ = ["MAX_BATCH", "MEMORY_BUDGET", "MatrixSize", "Problem"]

MAX_BATCH = 2048
"""Largest batch, in samples, where the caller gives no size."""

MEMORY_BUDGET = 2**25
"""Largest number of values in one batch's intermediate results, about (128 MB as float32)."""


class MatrixSize(NamedTuple):
    """How large a layer's matrix product is for one sample, see :mod:`fabricfit.layers.matrix_form`."""

    positions: int
    groups: int
    inputs: int
    outputs: int

    @property
    def work(self) -> int:
        """Multiplications of the forward pass."""
        return math.prod(self)


class Problem:
    """The mean loss of a model as a function of its kernels, for data of one kind.

    It holds no data and no weights: those are arguments of the steps that are compiled for it, so
    that it serves for as long as the model's layers and the shapes of the data stay what they are.

    Parameters
    ----------
    model
        A built model; its state is never written.
    network
        Its network; ``None`` where its graph cannot be read.
    kernels
        Key -> kernel variable.
    loss
        The loss of all outputs.
    example
        A few samples; of them only the kind matters.
    batch_size
        Samples in a batch; ``None`` to choose by memory.

    Raises
    ------
    InvalidInputError
        A kernel is not the model's, or not of floating-point numbers; or the loss does not fit.
    """

    def __init__(
        self,
        model: keras.Model,
        network: Network | None,
        kernels: Mapping[str, keras.Variable],
        loss: LossSum,
        example: Batch,
        batch_size: int | None = None,
    ) -> None:
        self.model = model
        self.kernels = dict(kernels)
        self.loss = loss
        self.autodiff = load_autodiff()
        self.variables: list[keras.Variable] = list(model.variables)
        self.places = {id(variable): i for i, variable in enumerate(self.variables)}
        self._check_kernels()
        self._batch_size = batch_size
        self._layers = [] if network is None else [c.layer for c in network.graph.every_call()]
        self._steps: dict[Hashable, Callable[..., Any]] = {}
        # Read from one run what shapes there are: not while a step is traced.
        found = self.run(self.values(), example.x, self.hooks, {}, ())
        # The matrix products of the kernels with hooks.
        self.sizes = {key: self._size(key, found.inputs[key]) for key in self.hooks}
        # Shape of each output for one sample.
        self.outputs = [tuple(output.shape[1:]) for output in found.outputs]
        # Whether the loss weighs single samples.
        self.per_sample = self.loss.is_per_sample(example.y, found.outputs)
        # Where the network ends and the loss begins, for each output.
        self.heads = [Head()] * len(self.outputs) if network is None else find_heads(network.graph)

    def _check_kernels(self) -> None:
        for key, variable in self.kernels.items():
            if id(variable) not in self.places:
                raise InvalidInputError(f"kernel {key!r} is not one of the model's variables")
            if not keras.backend.is_float_dtype(variable.dtype):
                raise InvalidInputError(
                    f"kernel {key!r} must hold floating-point numbers to be differentiated. "
                    f"Received: dtype={variable.dtype}"
                )

    def _size(self, key: str, inputs: Tensor) -> MatrixSize:
        hook = self.hooks[key]
        _, p, g, i = hook.form.rows(hook.layer, inputs).shape
        return MatrixSize(p, g, i, math.prod(self.kernels[key].shape) // (g * i))

    @cached_property
    def hooks(self) -> dict[str, Hook]:
        """The kernels whose layer is a matrix product that the model calls once."""
        owners = Counter(id(getattr(call, "kernel", None)) for call in self._layers)
        found = {}
        for key, variable in self.kernels.items():
            layer = self._owner(variable)
            if layer is None or owners[id(variable)] != 1:
                continue
            rewritten = getattr(layer, "quantization_mode", None) or getattr(
                layer, "_remat_mode", None
            )
            family = family_of(layer)
            form = family.matrix_form(layer) if family is not None else None
            if form is not None and not rewritten:
                found[key] = Hook(layer, form)
        return found

    def calls_once(self, layer: Any) -> bool:
        """Return whether the model calls a layer exactly once."""
        return sum(each is layer for each in self._layers) == 1

    def _owner(self, variable: keras.Variable) -> Any:
        return next((c for c in self._layers if getattr(c, "kernel", None) is variable), None)

    @cached_property
    def curvature(self) -> LossCurvature:
        """The loss as a function of the network's ends."""
        return LossCurvature(self.loss, self.heads, self.outputs, self.autodiff)

    @cached_property
    def _all_sizes(self) -> list[MatrixSize]:
        """The matrix products of all kernels; of those without a hook, guessed from shapes."""
        guessed = [
            self._guess(variable) for key, variable in self.kernels.items() if key not in self.hooks
        ]
        return [*self.sizes.values(), *guessed]

    def _guess(self, variable: keras.Variable) -> MatrixSize:
        count, filters = math.prod(variable.shape), variable.shape[-1] if variable.shape else 1
        try:
            shape = self._owner(variable).output.shape
            positions = max(math.prod(shape[1:]) // filters, 1)
        except (AttributeError, TypeError, ValueError):  # no owner, no one output, or of any length
            positions = 1
        return MatrixSize(positions, 1, count // filters, filters)

    @property
    def work(self) -> int:
        """Approximate multiplications of one sample's forward pass in the layers of the kernels."""
        return sum(size.work for size in self._all_sizes)

    def numbers_per_sample(self, copies: int = 1) -> int:
        """Estimate the numbers held for one sample when each pre-activation is held so often."""
        return sum(p * g * (i + 4 * (copies + 2) * f) for p, g, i, f in self._all_sizes)

    def values(self) -> list[Tensor]:
        """Return the present values of all variables, in the order of :attr:`variables`."""
        return [ops.stop_gradient(ops.convert_to_tensor(variable)) for variable in self.variables]

    def step(self, name: Hashable, make: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
        """Return the compiled step of this name; make it if there is none yet."""
        if name not in self._steps:
            self._steps[name] = self.autodiff.compiled(make())
        return self._steps[name]

    def batches(
        self, samples: Samples, numbers_per_sample: int, at_most: int | None = None
    ) -> Iterator[Batch]:
        """Iterate over the data, in batches of the caller's size or one within the memory budget.

        All are of one size where the loss weighs single samples, so that padding does no harm.

        Parameters
        ----------
        samples
            The data.
        numbers_per_sample
            Numbers that the step holds for each sample.
        at_most
            Most samples in a batch, if that is limited.
        """
        size = self._batch_size
        if size is None:
            size = int(np.clip(MEMORY_BUDGET // max(numbers_per_sample, 1), 1, MAX_BATCH))
        return samples.batches(min(size, at_most or size), pad=self.per_sample)

    def run(
        self,
        values: Sequence[Tensor],
        x: Any,
        hooks: Mapping[str, Hook],
        shifts: Mapping[str, Tensor],
        heads: Sequence[Head],
    ) -> HookedRun:
        """Run the model with hooks, see :func:`~fabricfit.curvature.hooks.run_with_hooks`."""
        return run_with_hooks(self.model, self.variables, values, x, hooks, shifts, heads)

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
        """Return the zero that is added to the pre-activation of a layer with a hook, ``(n, p, g, f)``."""
        p, g, _, f = self.sizes[key]
        return ops.zeros((batch.weights.shape[0], p, g, f), keras.config.floatx())
