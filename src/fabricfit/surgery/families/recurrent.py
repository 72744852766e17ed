# ruff: noqa: D102 - the methods are documented where Rule declares them
"""Recurrent layers: units that also feed themselves, and each other, from step to step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from fabricfit.layers.calls import Call
from fabricfit.surgery.activations import activate, why_mixing
from fabricfit.surgery.rules import (
    Constants,
    Cut,
    Numbers,
    Replacement,
    Rule,
    Wiring,
    register,
    to_numpy,
)

__all__ = ["BothDirections", "Recurrent"]

L = keras.layers
_KNOWN = (L.SimpleRNN, L.LSTM, L.GRU)
_CANDIDATE = {1: 0, 4: 2, 3: 2}
"""Number of gates -> which one proposes a new state: while it is 0, so is a state that begins at 0."""


@dataclass(frozen=True)
class _Weights:
    """The kernels of one recurrent layer, their gates taken apart.

    Parameters
    ----------
    kernel, recurrent
        Shapes ``(n_in, gates, units)`` and ``(units, gates, units)``.
    bias
        Shape ``(sets, gates, units)``: GRU may have two sets.
    candidate
        The gate that proposes the new state.
    """

    kernel: np.ndarray
    recurrent: np.ndarray
    bias: np.ndarray
    candidate: int

    @classmethod
    def of(cls, layer: Any) -> _Weights:
        cell, gates = layer.cell, _gates(layer)
        kernel, recurrent = (
            to_numpy(weights).reshape(weights.shape[0], gates, -1)
            for weights in (cell.kernel, cell.recurrent_kernel)
        )
        bias = np.zeros((1, *kernel.shape[1:]))
        if cell.bias is not None:
            bias = to_numpy(cell.bias).reshape(-1, *kernel.shape[1:])
        return cls(kernel, recurrent, bias, _CANDIDATE[gates])

    def silent(self, varies: np.ndarray) -> np.ndarray:
        """Return which units stay at 0, given which inputs may be other than 0."""
        own = (self.kernel[varies][:, self.candidate] == 0).all(axis=0)
        own &= (self.bias[:, self.candidate] == 0).all(axis=0)
        heard = self.recurrent[:, self.candidate] != 0
        while True:
            left = own & ~heard[~own].any(axis=0)
            if (left == own).all():
                return own
            own = left

    def idle(self) -> np.ndarray:
        """Return which units have kernels of zeros."""
        own: np.ndarray = (self.kernel == 0).all(axis=(0, 1))
        return own & (self.recurrent == 0).all(axis=(0, 1))

    def uses(self, kept: np.ndarray) -> np.ndarray:
        """Return which inputs the kept units listen to."""
        return (self.kernel[..., kept] != 0).any(axis=(1, 2))

    def feeds(self, kept: np.ndarray) -> np.ndarray:
        """Return which units the kept ones listen to."""
        return (self.recurrent[..., kept] != 0).any(axis=(1, 2))


@register
class Recurrent(Rule):
    """SimpleRNN, LSTM and GRU.

    A unit is removed if it stays at 0, or if neither what follows nor any unit that stays listens to it. An
    input that is constant is folded into the bias, which is added at every step.
    """

    handles = _KNOWN
    has_own_units = True
    shareable = False

    def obstacle(self, call: Call) -> str | None:
        return _why_not(call.layer, call.name)

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        silent = _Weights.of(call.layer).silent(inputs[0] != 0)
        return np.where(silent, _at_rest(call.layer), np.nan)

    def dispensable(
        self, call: Call, port: int, constants: Constants, kept_output: np.ndarray
    ) -> np.ndarray:
        return ~np.isnan(constants) | ~_Weights.of(call.layer).uses(kept_output)

    def needs_of_its_own(
        self, call: Call, constants: Constants, kept_output: np.ndarray
    ) -> np.ndarray:
        return np.isnan(constants) & _Weights.of(call.layer).feeds(kept_output)

    def zero_units(self, call: Call) -> np.ndarray:
        return _Weights.of(call.layer).idle()

    def wiring(self, call: Call, numbers: Numbers) -> dict[str, Wiring]:
        return {
            "kernel": Wiring(numbers.inputs[0], numbers.output),
            "recurrent_kernel": Wiring(numbers.output, numbers.output),
        }

    def replacement(self, call: Call, cut: Cut) -> Replacement:
        return _smaller(call.layer, cut.kept_inputs[0], cut.kept_output, cut.constants[0])


@register
class BothDirections(Rule):
    """Bidirectional around a recurrent layer, the results side by side: forward units, then backward.

    Keras takes it that there are as many of the one as of the other: unit i goes in both directions.
    """

    handles = (L.Bidirectional,)
    has_own_units = True
    shareable = False

    def obstacle(self, call: Call) -> str | None:
        layer = call.layer
        for inner in (layer.forward_layer, layer.backward_layer):
            if type(inner) not in _KNOWN:
                return f"{call.name!r} holds a {type(inner).__name__}, which is not known"
            if (why := _why_not(inner, call.name)) is not None:
                return why
        if layer.forward_layer.units != layer.backward_layer.units:
            return f"{call.name!r} has not as many units backward as forward"
        if layer.merge_mode != "concat":
            return f"{call.name!r} merges its directions by {layer.merge_mode!r}"
        return None

    def ties(self, call: Call) -> tuple[np.ndarray, np.ndarray]:
        forward, backward = _split(call, np.arange(call.output.units or 0))
        return forward, backward

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        return np.concatenate(
            [
                np.where(_Weights.of(inner).silent(inputs[0] != 0), _at_rest(inner), np.nan)
                for inner in _directions(call.layer)
            ]
        )

    def dispensable(
        self, call: Call, port: int, constants: Constants, kept_output: np.ndarray
    ) -> np.ndarray:
        used = np.zeros(constants.shape, bool)
        for inner, kept in zip(_directions(call.layer), _split(call, kept_output), strict=True):
            used |= _Weights.of(inner).uses(kept)
        return ~np.isnan(constants) | ~used

    def needs_of_its_own(
        self, call: Call, constants: Constants, kept_output: np.ndarray
    ) -> np.ndarray:
        parts = zip(_directions(call.layer), _split(call, kept_output), strict=True)
        feeds = np.concatenate([_Weights.of(inner).feeds(kept) for inner, kept in parts])
        return np.isnan(constants) & feeds

    def zero_units(self, call: Call) -> np.ndarray:
        return np.concatenate([_Weights.of(inner).idle() for inner in _directions(call.layer)])

    def wiring(self, call: Call, numbers: Numbers) -> dict[str, Wiring]:
        wired = {}
        for direction, units in zip(
            ("forward", "backward"), _split(call, numbers.output), strict=True
        ):
            wired[f"{direction}/kernel"] = Wiring(numbers.inputs[0], units)
            wired[f"{direction}/recurrent_kernel"] = Wiring(units, units)
        return wired

    def replacement(self, call: Call, cut: Cut) -> Replacement:
        layer, weights = call.layer, list[np.ndarray]()
        config: dict[str, Any] = {}
        parts = zip(
            ("layer", "backward_layer"),
            _directions(layer),
            _split(call, cut.kept_output),
            strict=True,
        )
        for name, inner, kept in parts:
            made = _smaller(inner, cut.kept_inputs[0], kept, cut.constants[0])
            weights += made.weights
            config[name] = keras.saving.serialize_keras_object(
                type(inner).from_config(inner.get_config() | made.config)
            )
        return Replacement(config, weights)


def _gates(layer: Any) -> int:
    return int(layer.cell.kernel.shape[1]) // int(layer.units)


def _why_not(layer: Any, name: str) -> str | None:
    if layer.stateful:
        return f"{name!r} is stateful"
    if layer.return_state:
        return f"{name!r} returns its state"
    names = ("activation", "recurrent_activation")
    for activation in (getattr(layer, each, None) for each in names):
        if (why := why_mixing(activation)) is not None:
            return f"{name!r}: {why}"
    return None


def _at_rest(layer: Any) -> float:
    """Return 0, if a state of 0 whose candidate is the activation of 0 stays there; else NaN."""
    rests = activate(layer.activation, np.zeros(1))[0] == 0
    return 0.0 if rests else np.nan


def _directions(layer: Any) -> tuple[Any, Any]:
    return layer.forward_layer, layer.backward_layer


def _split(call: Call, units: np.ndarray) -> list[np.ndarray]:
    first = call.layer.forward_layer.units
    return [units[:first], units[first:]]


def _smaller(
    layer: Any, rows: np.ndarray, columns: np.ndarray, constants: Constants
) -> Replacement:
    """Return a recurrent layer without inputs and units, what constant inputs gave in its bias."""
    weights, gates = _Weights.of(layer), _gates(layer)
    dtype = keras.backend.standardize_dtype(layer.cell.kernel.dtype)

    def flat(kernel: np.ndarray) -> np.ndarray:
        return kernel.reshape(len(kernel), -1).astype(dtype)

    gone = np.nan_to_num(np.where(rows, 0.0, constants))
    folded = np.einsum("i,igu->gu", gone, weights.kernel)[:, columns]
    config: dict[str, Any] = {"units": int(columns.sum())}
    made = [
        flat(weights.kernel[rows][..., columns]),
        flat(weights.recurrent[columns][..., columns]),
    ]
    bias = weights.bias[..., columns].copy()
    bias[0] += folded
    if layer.cell.bias is not None or folded.any():
        config["use_bias"] = True
        sets = len(bias)
        if layer.cell.bias is None and gates == 3 and layer.reset_after:
            bias, sets = np.concatenate([bias, np.zeros_like(bias)]), 2
        made.append(bias.reshape((sets, -1) if sets > 1 else -1).astype(dtype))
    return Replacement(config, made)
