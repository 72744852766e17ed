"""Group penalties whose regularization strengths are arguments of a training step.

The same penalty as :mod:`fabricfit.keras.regularizers`, for searching strengths: one compiled step serves
every trial.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.grouping import Grouping
from fabricfit.layers.regularizers import group_norms, group_variances
from fabricfit.network.reader import Network, as_network, model_of
from fabricfit.training.flattening import Parameters

__all__ = ["Penalty"]


@dataclass(frozen=True)
class _Slot:
    position: int
    grouping: Grouping
    alpha: keras.Variable | None
    beta: keras.Variable | None

    @property
    def strengths(self) -> tuple[Any, Any]:
        return _read_value(self.alpha), _read_value(self.beta)

    def penalty(self, kernel: Any, alpha: Any, beta: Any) -> Any:
        total: Any = 0.0
        if alpha is not None:
            total = total + alpha * group_norms(kernel, self.grouping)
        if beta is not None:
            total = total + beta * group_variances(kernel, self.grouping)
        return total


class Penalty:
    """Norms and variances of the groups of all optimizable layers, each with a strength.

    Parameters
    ----------
    model
        The model that is trained.
    attributes
        Layer -> attributes. Layers that may be pruned are penalized by their groups' norms, layers
        that may be shared by their variances.
    """

    def __init__(
        self, model: keras.Model | Network, attributes: Mapping[str, LayerAttributes]
    ) -> None:
        self._variables = list(model_of(model).trainable_variables)
        positions = {id(v): i for i, v in enumerate(self._variables)}
        self._slots: dict[str, _Slot] = {}
        if not attributes:
            return
        for name, found, described, settings in as_network(model).iterate_optimizable(attributes):
            kernel = found.variable
            self._slots[name] = _Slot(
                positions[id(kernel)],
                described.grouping,
                _make_strength(kernel.dtype) if settings.pruning else None,
                _make_strength(kernel.dtype) if settings.weight_sharing else None,
            )

    @property
    def state(self) -> list[tuple[Any, Any]]:
        """The current strengths, as tensors of the backend: an argument of a step."""
        return [slot.strengths for slot in self._slots.values()]

    def assign(self, strengths: Mapping[str, tuple[float, float]]) -> None:
        """Set the strengths, layer -> ``(alpha, beta)``, of the steps that follow; others are 0."""
        for name, slot in self._slots.items():
            values = strengths.get(name, (0.0, 0.0))
            for variable, value in zip((slot.alpha, slot.beta), values, strict=True):
                if variable is not None:
                    variable.assign(value)

    def packed(
        self, state: list[tuple[Any, Any]], parameters: Parameters
    ) -> tuple[list[tuple[Any, Any]], Any]:
        """Return what :attr:`state` holds, for weights that an optimizer uses packed.

        Norms of groups add up to one of single weights. With all weights in one vector these are a few
        operations, instead of as many for each layer.

        Returns
        -------
        tuple
            The state without the norms' strengths, and those for each number of the vector. None where
            the weights are not packed: the state is then what it was.
        """
        if not (parameters.flat and state):
            return state, None
        alphas = {
            slot.position: alpha
            for slot, (alpha, _) in zip(self._slots.values(), state, strict=True)
            if alpha is not None
        }
        dtype = parameters.built_on[0].dtype
        spread = [
            ops.broadcast_to(ops.cast(alphas.get(position, 0.0), dtype), shape)
            for position, shape in enumerate(parameters.shapes)
        ]
        return [(None, beta) for _, beta in state], parameters.pack(spread)[0]

    def __call__(self, weights: list[Any], state: list[tuple[Any, Any]] | None = None) -> Any:
        """Return the penalty of the model's trainable weights, a scalar.

        Parameters
        ----------
        weights
            In the order of the model's trainable variables.
        state
            :attr:`state`, where a step is a pure function of its arguments.
        """
        total: Any = 0.0
        for slot, strengths in zip(self._slots.values(), state or self.state, strict=True):
            total = total + slot.penalty(weights[slot.position], *strengths)
        return total

    def attach(self) -> None:
        """Make the penalties regularizers of the model's own variables, on top of those they have."""
        for slot in self._slots.values():
            variable = self._variables[slot.position]
            variable.regularizer = _AttachedRegularizer(slot, variable.regularizer)


class _AttachedRegularizer:
    def __init__(self, slot: _Slot, base: Any) -> None:
        self._slot = slot
        self._base = base

    def __call__(self, kernel: Any) -> Any:
        total = self._slot.penalty(kernel, *self._slot.strengths)
        return total if self._base is None else total + self._base(kernel)


def _make_strength(dtype: Any) -> keras.Variable:
    return keras.Variable(0.0, trainable=False, dtype=dtype)


def _read_value(variable: keras.Variable | None) -> Any:
    return None if variable is None else variable.value
