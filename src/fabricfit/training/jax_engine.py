"""JAX: a jitted step, with all that changes passed in and handed back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax
import keras
import numpy as np

from fabricfit.samples import samples_in
from fabricfit.training.engine import assign_all
from fabricfit.training.evaluation import add_up
from fabricfit.training.pure_engine import PureEngine, State

__all__ = ["BackendEngine"]

_WELL = {"xla_backend_optimization_level": 1}  # more compiles longer, and gains nothing here
_QUICKLY = {"xla_backend_optimization_level": 0}


class BackendEngine(PureEngine):
    """The step is a pure function of weights, optimizer state, masks and a batch.

    The memory of what it changes is used again for what it returns. All whole batches of an epoch are one
    loop, which XLA compiles, but not where the model has convolutions: inside loops their gradients are
    many times slower.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        compiled = partial(jax.jit, donate_argnums=0)
        self._compiled_step = compiled(self._step)
        self._compiled_picking_step = compiled(self._pick_and_step)
        self._compiled_steps = compiled(self._step_repeatedly, compiler_options=_WELL)
        # What is left at the end of an epoch is one step: optimizing it would last longer than running it.
        self._compiled_last_step = compiled(self._pick_and_step, compiler_options=_QUICKLY)
        self._compiled_copies = self.compiled(self._copy_state)
        self._compiled_unpack = self.compiled(self.parameters.unpack)
        self._loops: bool | None = None

    @property
    def compilations(self) -> int:
        """How often a training step has been compiled."""
        steps = (
            self._compiled_step,
            self._compiled_picking_step,
            self._compiled_steps,
            self._compiled_last_step,
        )
        return sum(step._cache_size() for step in steps)

    def _train_on_held(
        self, state: State, inputs: Any, held: tuple[Any, Any], order: np.ndarray, batch_size: int
    ) -> tuple[State, float]:
        index = order.astype(np.int32)
        whole = len(order) - len(order) % batch_size
        batches = index[:whole].reshape(-1, batch_size)
        runs: list[tuple[Any, tuple[Any, ...], int]] = []
        if len(batches) and self._can_loop(held[0]):
            runs = [(self._compiled_steps, (held, batches), whole)]
        else:
            runs = [(self._compiled_picking_step, (held, part), batch_size) for part in batches]
        if whole < len(order):
            last = index[whole:]
            runs.append((self._compiled_last_step, (held, last), len(last)))
        return _run_programs(runs, state, inputs)

    def _train_on_batches(
        self, state: State, inputs: Any, pairs: Iterable[tuple[Any, Any]]
    ) -> tuple[State, float]:
        runs = ((self._compiled_step, pair, samples_in(pair[0])) for pair in pairs)
        return _run_programs(runs, state, inputs)

    def _count_lanes(self, *_: Any) -> int:
        """Return one: XLA runs one program after the other on CPUs, and with all cores."""
        return 1

    def _can_loop(self, X: Any) -> bool:
        """Whether a loop of steps is worth compiling: whether the model has no convolutions."""
        if self._loops is None:
            few = keras.tree.map_structure(lambda array: array[:1], X)
            program = jax.make_jaxpr(self.forward)(self.forward_state(), few)
            self._loops = "conv_general_dilated" not in str(program)
        return self._loops

    def forward_state(self) -> tuple[list[Any], list[Any]]:
        """Return the values of all weights and states."""
        owners = (self.model.trainable_variables, self.model.non_trainable_variables)
        weights, other = ([v.value for v in owner] for owner in owners)
        return weights, other

    def forward(self, state: tuple[list[Any], list[Any]], X: Any) -> Any:
        """Return the model's outputs."""
        return self.model.stateless_call(*state, X, training=False)[0]

    def forward_with_penalties(self, state: Any, X: Any) -> tuple[Any, Any]:
        """Return the model's outputs, and the sum of its own penalties."""
        outputs, _, penalties = self.model.stateless_call(
            *state, X, training=False, return_losses=True
        )
        return outputs, add_up(penalties)

    def compiled(self, function: Callable[..., Any], batches: int = 0) -> Callable[..., Any]:
        """Return a jitted function: of those besides the step, none runs often."""
        return jax.jit(function, compiler_options=_QUICKLY)

    def compiled_for_once(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a jitted function: as it is, each of its operations would be compiled by itself."""
        return self.compiled(function)

    def _read_state(self) -> tuple[State, Any]:
        moments = [v.value for v in self.optimizer.variables]
        raw = (self.projection.state, self.penalty.state)
        begun: tuple[State, Any] = self._compiled_copies(self.forward_state(), moments, *raw)
        return begun

    def _copy_state(
        self, state: tuple[list[Any], list[Any]], moments: list[Any], masks: Any, strengths: Any
    ) -> tuple[State, tuple[Any, Any]]:
        """Return copies of all that a step changes, since their memory is given away, and its inputs."""
        weights, other = state
        packed = self.parameters.pack(weights)
        copies = jax.tree.map(jax.numpy.copy, (packed, other, moments))
        return copies, self.packed_inputs(masks, strengths)

    def _write_state(self, state: State) -> None:
        packed, other, moments = state
        owners = (
            (self.model.trainable_variables, self._compiled_unpack(packed)),
            (self.model.non_trainable_variables, other),
            (self.optimizer.variables, moments),
        )
        for variables, values in owners:
            assign_all(variables, values)

    def _step_repeatedly(
        self, state: State, inputs: Any, held: Any, batches: Any
    ) -> tuple[State, Any]:
        def step(state: State, index: Any) -> tuple[State, Any]:
            return self._pick_and_step(state, inputs, held, index)

        state, losses = jax.lax.scan(step, state, batches)
        return state, jax.numpy.mean(losses)

    def _pick_and_step(self, state: State, inputs: Any, held: Any, index: Any) -> tuple[State, Any]:
        X, y = keras.tree.map_structure(lambda array: array[index], held)
        return self._step(state, inputs, X, y)

    def _step(self, state: State, inputs: Any, X: Any, y: Any) -> tuple[State, Any]:
        packed, other, moments = state
        X, y = _distributed(X), _distributed(y)
        weights = self.parameters.unpack(packed)

        def objective(weights: list[Any]) -> tuple[Any, tuple[Any, list[Any]]]:
            loss, updated = self.objective(weights, other, inputs, X, y)
            return self.scaling.scale(loss, moments), (loss, updated)

        gradients, (loss, updated) = jax.grad(objective, has_aux=True)(weights)
        loss, projected = self.optimizer_gradients(loss, gradients, state, inputs)
        packed, moments = self.scaling.apply(moments, projected, packed)
        packed = self.projected(packed, inputs[0], constants=True)
        return (packed, updated, moments), loss


def _distributed(batch: Any) -> Any:
    """Spread a batch over the devices of Keras' data parallelism, if it is in use and the batch divides."""
    distribution = keras.distribution.distribution()
    if not isinstance(distribution, keras.distribution.DataParallel):
        return batch

    def spread(array: Any) -> Any:
        layout = distribution.get_data_layout(array.shape)
        if array.shape[0] % distribution.device_mesh.shape[0]:
            return array
        return keras.distribution.distribute_tensor(array, layout)

    return keras.tree.map_structure(spread, batch)


def _run_programs(
    runs: Iterable[tuple[Any, tuple[Any, ...], int]], state: State, inputs: Any
) -> tuple[State, float]:
    """Take compiled steps, each on its samples, of which it has so many; return the mean loss."""
    losses = []
    for run, samples, count in runs:
        state, loss = run(state, inputs, *samples)
        losses.append((loss, count))
    total = sum(count for _, count in losses)
    return state, float(sum(float(loss) * count for loss, count in losses) / total)
