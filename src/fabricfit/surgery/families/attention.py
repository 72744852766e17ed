# ruff: noqa: D102 - the methods are documented where Rule declares them
"""Attention: inputs end in projections, heads are inside, the last projection makes new units."""

from __future__ import annotations

from typing import Any

import numpy as np

from fabricfit.layers.calls import Call
from fabricfit.surgery.families.dense_and_conv import rewritten_kernel
from fabricfit.surgery.rules import (
    Constants,
    Cut,
    Numbers,
    Replacement,
    Rule,
    Wiring,
    only_zero,
    public_layers,
    register,
    to_numpy,
)

__all__ = ["Attention", "GroupedAttention"]

_PORTS = (("query",), ("value", "key"), ("key",))
"""Projections of each input. Without a third one, keys are made of the values."""


@register
class Attention(Rule):
    """MultiHeadAttention.

    A head goes if the last projection does not listen to it, or if its values are constant: weights of
    attention add up to 1, so that the head then adds a constant, which goes into the last bias. Inputs that
    are constant go into the projections' biases.
    """

    handles = public_layers(("MultiHeadAttention",))
    has_own_units = True
    shareable = False

    def is_plain(self, call: Call) -> bool:
        arguments = call.node.arguments
        extras = {k: v for k, v in arguments.kwargs.items() if k not in ("value", "key")}
        given = len(arguments.args) + len(arguments.kwargs) - len(extras)
        return given == len(call.inputs) <= 3 and not any(
            extra is not None and extra is not False for extra in extras.values()
        )

    def obstacle(self, call: Call) -> str | None:
        reasons = (rewritten_kernel(dense, call.name) for dense in _denses(call.layer))
        return next(filter(None, reasons), None)

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        kernel, bias = _weights(call.layer._output_dense)
        heads = self._heads(call.layer)
        silent = (kernel[heads] == 0).all(axis=(0, 1))
        return np.where(silent, bias + self._from_heads(call.layer), np.nan)

    def dispensable(
        self, call: Call, port: int, constants: Constants, kept_output: np.ndarray
    ) -> np.ndarray:
        used = np.zeros(constants.shape, bool)
        for part in _parts(call, port):
            kernel, _ = _weights(getattr(call.layer, f"_{part}_dense"))
            used |= (kernel[:, self._of_part(call.layer, part)] != 0).any(axis=(1, 2))
        known = constants if call.layer.use_bias else only_zero(constants)
        return ~used | ~np.isnan(known)

    def why_constants_matter(self, call: Call) -> str:
        return f"{call.name!r} has no biases that could take up a constant"

    def zero_units(self, call: Call) -> np.ndarray:
        return (_weights(call.layer._output_dense)[0] == 0).all(axis=(0, 1))

    def inner_units(self, call: Call) -> int:
        return int(call.layer._key_dense.kernel.shape[1])

    def wiring(self, call: Call, numbers: Numbers) -> dict[str, Wiring]:
        layer = call.layer
        sharing = int(layer._query_dense.kernel.shape[1]) // numbers.inner.size
        heads = np.repeat(numbers.inner, sharing)
        values = numbers.inputs[1] if len(numbers.inputs) > 1 else numbers.inputs[0]
        keys = numbers.inputs[2] if len(numbers.inputs) > 2 else values
        return {
            "query": Wiring(numbers.inputs[0], heads),
            "key": Wiring(keys, numbers.inner),
            "value": Wiring(values, numbers.inner),
            "output": Wiring(heads, numbers.output),
        }

    def shrinks(self, call: Call) -> bool:
        return not self._heads(call.layer).all()

    def replacement(self, call: Call, cut: Cut) -> Replacement:
        layer, columns = call.layer, cut.kept_output
        biases = {part: np.zeros(1) for part in ("query", "key", "value")}
        rows = {}
        for port in range(len(call.inputs)):
            gone = np.nan_to_num(np.where(cut.kept_inputs[port], 0.0, cut.constants[port]))
            for part in _parts(call, port):
                kernel, _ = _weights(getattr(layer, f"_{part}_dense"))
                rows[part] = cut.kept_inputs[port]
                biases[part] = np.einsum("i,ihk->hk", gone, kernel)
        heads = self._heads(layer)
        weights: list[np.ndarray] = []
        for part in ("query", "key", "value"):
            dense, kept = getattr(layer, f"_{part}_dense"), self._of_part(layer, part)
            kernel, bias = _weights(dense)
            made = [kernel[rows[part]][:, kept], (bias + biases[part])[kept]]
            weights += [each.astype(dense.kernel.dtype) for each in made[: 1 + layer.use_bias]]
        kernel, bias = _weights(layer._output_dense)
        made = [kernel[heads][..., columns], (bias + self._from_heads(layer))[columns]]
        dtype = layer._output_dense.kernel.dtype
        weights += [each.astype(dtype) for each in made[: 1 + layer.use_bias]]
        return Replacement(self._config(layer, heads, columns), weights)

    def _config(self, layer: Any, heads: np.ndarray, columns: np.ndarray) -> dict[str, Any]:
        return {"num_heads": int(heads.sum()), "output_shape": [int(columns.sum())]}

    def _heads(self, layer: Any) -> np.ndarray:
        """Return which heads stay."""
        return _at_least_one(_speaks(layer, _silent_values(layer)))

    def _of_part(self, layer: Any, part: str) -> np.ndarray:
        """Return which heads of a projection stay."""
        return self._heads(layer)

    def _from_heads(self, layer: Any) -> np.ndarray:
        """Return what heads that go have added to the results."""
        kernel, _ = _weights(layer._output_dense)
        _, bias = _weights(layer._value_dense)
        gone = ~self._heads(layer)
        if not layer.use_bias or not gone.any():
            return np.zeros(kernel.shape[-1])
        values = self._values_of_heads(layer, bias)
        return np.einsum("hv,hvo->o", values[gone], kernel[gone])

    def _values_of_heads(self, layer: Any, bias: np.ndarray) -> np.ndarray:
        return bias


@register
class GroupedAttention(Attention):
    """GroupQueryAttention: heads that share keys and values go together; results are as many as queries."""

    handles = public_layers(("GroupQueryAttention",))

    def pins_output(self, call: Call) -> str | None:
        return f"{call.name!r} returns as many units as it is asked with"

    def dispensable(
        self, call: Call, port: int, constants: Constants, kept_output: np.ndarray
    ) -> np.ndarray:
        if port == 0:
            return np.zeros(constants.shape, bool)
        return super().dispensable(call, port, constants, kept_output)

    def _config(self, layer: Any, heads: np.ndarray, columns: np.ndarray) -> dict[str, Any]:
        shared = int(self._of_part(layer, "key").sum())
        return {"num_query_heads": int(heads.sum()), "num_key_value_heads": shared}

    def _heads(self, layer: Any) -> np.ndarray:
        return np.repeat(self._of_part(layer, "key"), _sharing(layer))

    def _of_part(self, layer: Any, part: str) -> np.ndarray:
        if part == "query":
            return self._heads(layer)
        silent = np.repeat(_silent_values(layer), _sharing(layer))
        speaks = _speaks(layer, silent).reshape(-1, _sharing(layer))
        return _at_least_one(np.asarray(speaks.any(axis=1)))

    def _values_of_heads(self, layer: Any, bias: np.ndarray) -> np.ndarray:
        return np.repeat(bias, _sharing(layer), axis=0)


def _parts(call: Call, port: int) -> tuple[str, ...]:
    return ("value",) if port == 1 and len(call.inputs) == 3 else _PORTS[port]


def _denses(layer: Any) -> list[Any]:
    return [getattr(layer, f"_{part}_dense") for part in ("query", "key", "value", "output")]


def _weights(dense: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the kernel and the bias, zeros if there is none, of a projection."""
    kernel = to_numpy(dense.kernel)
    made = kernel.shape[1:] if dense.name != "attention_output" else kernel.shape[-1:]
    return kernel, to_numpy(dense.bias) if dense.bias is not None else np.zeros(made)


def _silent_values(layer: Any) -> np.ndarray:
    """Return which heads have values that no input changes."""
    return (_weights(layer._value_dense)[0] == 0).all(axis=(0, 2))


def _speaks(layer: Any, silent: np.ndarray) -> np.ndarray:
    """Return which heads change the results."""
    kernel, _ = _weights(layer._output_dense)
    heard: np.ndarray = (kernel != 0).any(axis=(1, 2))
    return heard & ~silent


def _at_least_one(heads: np.ndarray) -> np.ndarray:
    if heads.any():
        return heads
    first = heads.copy()
    first[0] = True
    return first


def _sharing(layer: Any) -> int:
    """Return how many heads ask the same keys."""
    return int(layer.num_query_heads // layer.num_key_value_heads)
