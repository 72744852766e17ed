# ruff: noqa: D102 - the methods are documented where LayerFamily and UnitFlow declare them
"""Recurrent layers: kernel ``(n_in, gates · units)``, recurrent kernel ``(units, gates · units)``.

Units also feed themselves, and each other, from step to step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from fabricfit.description.layout import Layout
from fabricfit.description.strategies import CONSTANTS_ONLY, NO_GRAPH
from fabricfit.layers.activations import activate, why_units_mix
from fabricfit.layers.calls import Call
from fabricfit.layers.family import LayerFamily, register_layer, shape_at
from fabricfit.layers.generated_code import GeneratedProduct
from fabricfit.layers.kernels import INSIDE, Kernel
from fabricfit.layers.units import Changed, Constants, Cut, Numbers, Replacement, Wiring, to_numpy
from fabricfit.layers.wrappers import inner_kernels, inner_refusal

__all__ = ["BidirectionalFamily", "RecurrentFamily", "recurrent_kernels", "steps_of"]

L = keras.layers
_KNOWN = (L.SimpleRNN, L.LSTM, L.GRU)
_CANDIDATE = {1: 0, 4: 2, 3: 2}
"""Number of gates -> which one proposes a new state: while it is 0, so is a state that begins at 0."""


@dataclass(frozen=True)
class _Weights:
    """The kernels of one recurrent layer, by gate.

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

    def resting_units(self, varies: np.ndarray) -> np.ndarray:
        """Return which units stay at 0, given which inputs may be other than 0."""
        own = (self.kernel[varies][:, self.candidate] == 0).all(axis=0)
        own &= (self.bias[:, self.candidate] == 0).all(axis=0)
        used = self.recurrent[:, self.candidate] != 0
        while True:
            left = own & ~used[~own].any(axis=0)
            if (left == own).all():
                return own
            own = left

    def zero_units(self) -> np.ndarray:
        """Return which units have kernels of zeros."""
        own: np.ndarray = (self.kernel == 0).all(axis=(0, 1))
        return own & (self.recurrent == 0).all(axis=(0, 1))

    def used_inputs(self, kept: np.ndarray) -> np.ndarray:
        """Return which inputs the kept units use."""
        return (self.kernel[..., kept] != 0).any(axis=(1, 2))

    def used_units(self, kept: np.ndarray) -> np.ndarray:
        """Return which units the kept ones use."""
        return (self.recurrent[..., kept] != 0).any(axis=(1, 2))


@register_layer
class RecurrentFamily(LayerFamily):
    """SimpleRNN, LSTM and GRU.

    hls4ml multiplies by both kernels as dense layers do, all gates side by side; a unit is what all of its
    gates compute. It is removed if it stays at 0, or if neither what follows nor any unit that stays uses it.
    An input that is constant is folded into the bias, which is added at every step.
    """

    handles: tuple[type | str, ...] = _KNOWN
    hls4ml_nodes = ("SimpleRNN", "LSTM", "GRU")
    passes_units = True
    has_own_units = True
    shareable = False

    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
        return recurrent_kernels(layer)

    def generated_products(
        self, node: Any, structs: Mapping[str, str]
    ) -> tuple[GeneratedProduct, ...]:
        return _products_of_direction(node)

    def obstacle(self, call: Call) -> str | None:
        return _why_units_stay(call.layer, call.name)

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        resting = _Weights.of(call.layer).resting_units(inputs[0] != 0)
        return np.where(resting, _resting_value(call.layer), np.nan)

    def dispensable(
        self, call: Call, port: int, constants: Constants, kept_output: np.ndarray
    ) -> np.ndarray:
        return ~np.isnan(constants) | ~_Weights.of(call.layer).used_inputs(kept_output)

    def needs_of_its_own(
        self, call: Call, constants: Constants, kept_output: np.ndarray
    ) -> np.ndarray:
        return np.isnan(constants) & _Weights.of(call.layer).used_units(kept_output)

    def zero_units(self, call: Call) -> np.ndarray:
        return _Weights.of(call.layer).zero_units()

    def wiring(self, call: Call, numbers: Numbers) -> dict[str, Wiring]:
        return {
            "kernel": Wiring(numbers.inputs[0], numbers.output),
            "recurrent_kernel": Wiring(numbers.output, numbers.output),
        }

    def replacement(self, call: Call, cut: Cut) -> Replacement:
        return _without_units(call.layer, cut.kept_inputs[0], cut.kept_output, cut.constants[0])


@register_layer
class BidirectionalFamily(LayerFamily):
    """Bidirectional: the kernels of both directions, whose results stand side by side.

    Keras wants as many units forward as backward: unit i is removed from both directions. With
    ResourceUnrolled hls4ml builds the kernels as with Resource, whose multipliers stay. It keeps any reuse
    factor for the kernels of the inputs, and takes those of the states as if there were three gates.
    """

    handles = (L.Bidirectional,)
    hls4ml_nodes = ("Bidirectional",)
    passes_units = True
    has_own_units = True
    shareable = False

    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
        steps = steps_of(layer)
        return tuple(
            replace(
                kernel,
                part=f"{direction}/{kernel.part}",
                weight_name=f"{direction}_{kernel.weight_name}",
                bias_names=tuple(f"{direction}_{name}" for name in kernel.bias_names),
                positions=steps,
                strategies=CONSTANTS_ONLY,
                built_instead={**NO_GRAPH, "resource_unrolled": "resource"},
                reuse_shape=_reuse_shape(kernel),
                wants_inner_format=False,
            )
            for direction, inner in zip(("forward", "backward"), _directions(layer), strict=True)
            for kernel in inner_kernels(inner)
        )

    def generated_products(
        self, node: Any, structs: Mapping[str, str]
    ) -> tuple[GeneratedProduct, ...]:
        return (
            *_products_of_direction(node, "forward", "_f"),
            *_products_of_direction(node, "backward", "_b"),
        )

    def refusal(self, layer: Any) -> str:
        return inner_refusal(layer.forward_layer) or inner_refusal(layer.backward_layer)

    def obstacle(self, call: Call) -> str | None:
        layer = call.layer
        for inner in (layer.forward_layer, layer.backward_layer):
            if type(inner) not in _KNOWN:
                return f"{call.name!r} holds a {type(inner).__name__}, which is not known"
            if (why := _why_units_stay(inner, call.name)) is not None:
                return why
        if layer.forward_layer.units != layer.backward_layer.units:
            return f"{call.name!r} has not as many units backward as forward"
        if layer.merge_mode != "concat":
            return f"{call.name!r} merges its directions by {layer.merge_mode!r}"
        return None

    def coupled_outputs(self, call: Call) -> tuple[np.ndarray, np.ndarray]:
        forward, backward = _split(call, np.arange(call.output.units or 0))
        return forward, backward

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        return np.concatenate(
            [
                np.where(
                    _Weights.of(inner).resting_units(inputs[0] != 0), _resting_value(inner), np.nan
                )
                for inner in _directions(call.layer)
            ]
        )

    def dispensable(
        self, call: Call, port: int, constants: Constants, kept_output: np.ndarray
    ) -> np.ndarray:
        used = np.zeros(constants.shape, bool)
        for inner, kept in zip(_directions(call.layer), _split(call, kept_output), strict=True):
            used |= _Weights.of(inner).used_inputs(kept)
        return ~np.isnan(constants) | ~used

    def needs_of_its_own(
        self, call: Call, constants: Constants, kept_output: np.ndarray
    ) -> np.ndarray:
        parts = zip(_directions(call.layer), _split(call, kept_output), strict=True)
        used = np.concatenate([_Weights.of(inner).used_units(kept) for inner, kept in parts])
        return np.isnan(constants) & used

    def zero_units(self, call: Call) -> np.ndarray:
        return np.concatenate(
            [_Weights.of(inner).zero_units() for inner in _directions(call.layer)]
        )

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
            made = _without_units(inner, cut.kept_inputs[0], kept, cut.constants[0])
            weights += made.weights
            config[name] = Changed(inner, made.config)
        return Replacement(config, weights)


def _products_of_direction(
    node: Any, direction: str = "", ending: str = ""
) -> tuple[GeneratedProduct, ...]:
    """Return the products of the kernel and of the recurrent kernel of one direction."""
    part, prefix = (f"{direction}/", f"{direction}_") if direction else ("", "")
    return tuple(
        GeneratedProduct(
            node,
            f"{node.name}/{part}{name}",
            f"config{node.index}_{number}{ending}",
            f"{prefix}{weight}",
        )
        for number, name, weight in (
            (1, "kernel", "weight"),
            (2, "recurrent_kernel", "recurrent_weight"),
        )
    )


def _gates(layer: Any) -> int:
    return int(layer.cell.kernel.shape[1]) // int(layer.units)


def _why_units_stay(layer: Any, name: str) -> str | None:
    if layer.stateful:
        return f"{name!r} is stateful"
    if layer.return_state:
        return f"{name!r} returns its state"
    names = ("activation", "recurrent_activation")
    for activation in (getattr(layer, each, None) for each in names):
        if (why := why_units_mix(activation)) is not None:
            return f"{name!r}: {why}"
    return None


def _resting_value(layer: Any) -> float:
    """Return 0, if a state of 0 whose candidate is the activation of 0 stays there; else NaN."""
    rests = activate(layer.activation, np.zeros(1))[0] == 0
    return 0.0 if rests else np.nan


def _directions(layer: Any) -> tuple[Any, Any]:
    return layer.forward_layer, layer.backward_layer


def _split(call: Call, units: np.ndarray) -> list[np.ndarray]:
    first = call.layer.forward_layer.units
    return [units[:first], units[first:]]


def _without_units(
    layer: Any, rows: np.ndarray, columns: np.ndarray, constants: Constants
) -> Replacement:
    """Return a recurrent layer without inputs and units, what constant inputs gave in its bias."""
    weights, gates = _Weights.of(layer), _gates(layer)
    dtype = keras.backend.standardize_dtype(layer.cell.kernel.dtype)

    def flat(kernel: np.ndarray) -> np.ndarray:
        return kernel.reshape(len(kernel), -1).astype(dtype)

    removed = np.nan_to_num(np.where(rows, 0.0, constants))
    folded = np.einsum("i,igu->gu", removed, weights.kernel)[:, columns]
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


def recurrent_kernels(layer: Any) -> tuple[Kernel, ...]:
    """Return the kernel and the recurrent kernel of a recurrent layer.

    hls4ml's code of an LSTM compiles only where its input, its states and its sums have one number format;
    that of a GRU and of Bidirectional takes any. Of two rows of a bias, the second belongs to the recurrent
    kernel.
    """
    cell, gates = layer.cell, _gates(layer)
    units = int(cell.units)
    bias, bias_layout, sets = cell.bias, None, 1
    if bias is not None:
        sets = int(bias.shape[0]) if len(bias.shape) > 1 else 1
        bias_layout = Layout((sets, gates, units), (), (0, 1, 2), (2,))

    def kernel(variable: Any, part: str, **options: Any) -> Kernel:
        layout = Layout((int(variable.shape[0]), gates, units), (0,), (1, 2), (2,))
        return Kernel(
            variable,
            cell,
            part,
            layout=layout,
            dense=True,
            one_by_one=True,
            built_instead=NO_GRAPH,
            positions=steps_of(layer),
            **options,
        )

    return (
        kernel(
            cell.kernel,
            "kernel",
            bias=bias,
            bias_layout=bias_layout,
            bias_names=("bias", "recurrent_bias")[:sets],
            receives=0,
            wants_inner_format=isinstance(layer, L.LSTM),
        ),
        kernel(
            cell.recurrent_kernel,
            "recurrent_kernel",
            regularizer="recurrent_regularizer",
            weight_name="recurrent_weight",
            receives=INSIDE,
        ),
    )


def _reuse_shape(kernel: Kernel) -> tuple[int, ...]:
    """Return the shape by which hls4ml chooses the reuse factor of a kernel of Bidirectional."""
    units = int(kernel.variable.shape[0])
    return (units, 3 * units) if kernel.receives == INSIDE else ()


def steps_of(layer: Any) -> int:
    """Return how many steps a layer has for one sample; 1 where that is not known."""
    return next(iter(shape_at(layer, "input")), None) or 1
