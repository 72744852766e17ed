"""PyTorch: a plain loop over tensors on the device.

A step through Keras' layers spends most of its time in Python. It is therefore traced once for each shape of
a batch, into the list of operations that it comes down to, backward pass and optimizer included, and only
these are run.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import keras
import numpy as np
import torch

from fabricfit.samples import tensors
from fabricfit.training.engine import assign_all
from fabricfit.training.evaluation import add_up
from fabricfit.training.loss_scaling import inner_optimizer
from fabricfit.training.pure_engine import PureEngine, State, cores
from fabricfit.training.torch_tracing import Flat, Traced, nested, tensors_in, threads

__all__ = ["BackendEngine"]

logger = logging.getLogger(__name__)

_PICKED_BYTES = 2**24
_OF_BACKEND = "torch_parallel_optimizer"


class BackendEngine(PureEngine):
    """The step is a pure function of weights, optimizer state, masks and a batch.

    A step that cannot be traced, since what it does depends on the values of tensors, runs through Keras.

    Keras' Dropout draws from PyTorch's global generator: the engine keeps a state of its own for it
    and leaves the caller's as it was.
    """

    def __init__(self, *args: Any) -> None:
        self._programs: dict[tuple[Any, ...], Flat | Traced] = {}
        super().__init__(*args)
        changes = inner_optimizer(self.optimizer)
        if self.parameters.flat and not _overrides_update(changes):
            # One vector needs no update of many variables at once, which works in place.
            changes._backend_update_step = partial(_update_each, changes)
        self._random = self._seed_random()

    def reset_optimizer(self) -> None:
        """Forget the optimizer's state, and begin the random numbers anew."""
        super().reset_optimizer()
        self._random = self._seed_random()

    def get_random(self) -> np.ndarray:
        """Return the state of the engine's random numbers."""
        return self._random.numpy().copy()

    def set_random(self, state: np.ndarray | None) -> None:
        """Restore what :meth:`get_random` returned."""
        assert state is not None
        self._random = torch.from_numpy(state.copy())

    def _seed_random(self) -> torch.Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return torch.get_rng_state()

    @contextmanager
    def _use_own_random(self) -> Iterator[None]:
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._random)
            yield
            self._random = torch.get_rng_state()

    @property
    def compilations(self) -> int:
        """How often a training step has been compiled."""
        return sum(function == self._step for function, *_ in self._programs)

    def _train_on_held(
        self, state: State, inputs: Any, held: tuple[Any, Any], order: np.ndarray, batch_size: int
    ) -> tuple[State, float]:
        return self._run_programs(
            state, inputs, held, _shuffle_batches(tensors_in(held), order, batch_size)
        )

    def _train_on_batches(
        self, state: State, inputs: Any, pairs: Iterable[tuple[Any, Any]]
    ) -> tuple[State, float]:
        pairs = map(tensors, pairs)
        first = next(pairs)
        batches = map(tensors_in, itertools.chain([first], pairs))
        return self._run_programs(state, inputs, first, batches)

    def _count_lanes(
        self, state: State, inputs: Any, held: tuple[Any, Any], batch_size: int
    ) -> int:
        """Return one for a step that uses all cores, spends its time in Python, or draws random numbers."""
        batch = [tensor[:batch_size] for tensor in tensors_in(held)]
        step = self._program(self._step, (state, inputs), held, batch)
        return 1 if step.parallel or step.draws else cores()

    def _run_programs(
        self, state: State, inputs: Any, samples: Any, batches: Iterable[list[torch.Tensor]]
    ) -> tuple[State, float]:
        """Train on batches, given as the leaves of nested samples; return the mean loss."""
        changing, fixed = tensors_in(state), tensors_in(inputs)
        total: Any = 0.0
        count = 0
        with ExitStack() as stack:
            for batch in batches:
                step = self._program(self._step, (state, inputs), samples, batch)
                if not count:
                    stack.enter_context(threads(step.parallel))
                    if step.draws:
                        stack.enter_context(self._use_own_random())
                *changing, loss = step(*changing, *fixed, *batch)
                total = total + loss * len(batch[0])
                count += len(batch[0])
        return keras.tree.pack_sequence_as(state, changing), float(total) / count

    def forward_state(self) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Return the values of all weights and states."""
        owners = (self.model.trainable_variables, self.model.non_trainable_variables)
        weights, other = ([v.value.detach() for v in owner] for owner in owners)
        return weights, other

    def forward(self, state: Any, X: Any) -> Any:
        """Return the model's outputs."""
        return self.model.stateless_call(*state, X, training=False)[0]

    def forward_with_penalties(self, state: Any, X: Any) -> tuple[Any, Any]:
        """Return the model's outputs, and the sum of its own penalties."""
        outputs, _, penalties = self.model.stateless_call(
            *state, X, training=False, return_losses=True
        )
        return outputs, add_up(penalties)

    def compiled(self, function: Callable[..., Any], batches: int = 0) -> Callable[..., Any]:
        """Return a function that is traced, where that is possible."""

        def run(*arguments: Any) -> Any:
            given = tensors_in(arguments)
            program = self._program(function, arguments, (), given)
            with torch.no_grad(), threads(program.parallel):
                return nested(program(*given), program)

        return run

    def _program(
        self,
        function: Callable[..., Any],
        state: tuple[Any, ...],
        samples: tuple[Any, ...],
        batch: list[torch.Tensor],
    ) -> Flat | Traced:
        """Return a function of a state and a batch, traced where that is possible.

        Parameters
        ----------
        function
            Takes the parts of the state, and samples.
        state, samples
            Nested as the function's arguments.
        batch
            The leaves of the samples that are meant, or of all: they are for their shapes.
        """
        key = (function, *((tensor.shape, tensor.dtype) for tensor in batch))
        if key not in self._programs:
            parts = keras.tree.pack_sequence_as(samples, batch) if samples else ()
            arguments = (*state, *parts)
            self._programs[key] = flat = Flat(function, arguments)
            try:
                with _silence_logger("torch._subclasses.fake_tensor"):
                    self._programs[key] = flat.traced()
            except Exception as error:  # whatever a layer or a loss may raise without real numbers
                logger.info("model %r runs through Keras' layers: %s", self.model.name, error)
        return self._programs[key]

    def _read_state(self) -> tuple[State, Any]:
        weights, other = ([value.clone() for value in part] for part in self.forward_state())
        moments = [v.value.detach().clone() for v in self.optimizer.variables]
        return (self.parameters.pack(weights), other, moments), self.inputs()

    def _write_state(self, state: State) -> None:
        packed, other, moments = state
        others = self.model.non_trainable_variables
        variables = [*self.model.trainable_variables, *others, *self.optimizer.variables]
        assign_all(variables, [*self.parameters.unpack(packed), *other, *moments])

    def _step(self, state: State, inputs: Any, X: Any, y: Any) -> tuple[State, torch.Tensor]:
        packed, other, moments = state
        weights = [w.detach().requires_grad_() for w in self.parameters.unpack(packed)]
        with torch.enable_grad():
            total, updated = self.objective(weights, other, inputs, X, y)
            scaled = self.scaling.scale(total, moments)
            gradients = torch.autograd.grad(scaled, weights, allow_unused=True)
        with torch.no_grad():
            gradients = [
                torch.zeros_like(weight) if gradient is None and self.parameters.flat else gradient
                for gradient, weight in zip(gradients, weights, strict=True)
            ]
            total, projected = self.optimizer_gradients(total, gradients, state, inputs)
            packed, moments = self.scaling.apply(moments, projected, packed)
            packed = self.projected(packed, inputs[0], constants=True)
        return (packed, [value.detach() for value in updated], moments), total.detach()


def _shuffle_batches(
    held: list[torch.Tensor], order: np.ndarray, batch_size: int
) -> Iterator[list[torch.Tensor]]:
    """Yield batches in an order; many are picked at once, as far as memory is not a matter."""
    index = keras.ops.convert_to_tensor(order, "int64")
    size = sum(tensor[:1].nbytes for tensor in held) * batch_size
    for many in torch.split(index, batch_size * max(_PICKED_BYTES // max(size, 1), 1)):
        parts = (torch.split(tensor[many], batch_size) for tensor in held)
        yield from map(list, zip(*parts, strict=True))


@contextmanager
def _silence_logger(name: str) -> Iterator[None]:
    """Keep a logger from reporting an error that is handled."""
    others = logging.getLogger(name)
    before, others.disabled = others.disabled, True
    try:
        yield
    finally:
        others.disabled = before


def _overrides_update(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether an optimizer's step is more than an update of each variable, as that of Nadam is."""
    return any(
        "_backend_update_step" in vars(kind) and kind.__module__.split(".")[-1] != _OF_BACKEND
        for kind in type(optimizer).__mro__[: -len(keras.optimizers.Optimizer.__mro__)]
    )


def _update_each(
    optimizer: keras.optimizers.Optimizer, gradients: Any, variables: Any, learning_rate: Any
) -> None:
    for gradient, variable in zip(gradients, variables, strict=True):
        optimizer.update_step(gradient, variable, learning_rate)
