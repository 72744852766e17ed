# ruff: noqa: D102 - the methods are documented where LayerFamily and UnitFlow declare them
"""Attention: four projections, each an einsum, of which the last makes new units; heads are inside."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from fabricfit.layers.calls import Call
from fabricfit.layers.einsum import einsum_kernel
from fabricfit.layers.family import LayerFamily, register_layer
from fabricfit.layers.kernels import INSIDE, Kernel
from fabricfit.layers.product import why_kernel_is_rewritten
from fabricfit.layers.units import (
    Constants,
    Cut,
    Numbers,
    Replacement,
    Wiring,
    only_zero,
    public_layers,
    to_numpy,
)

__all__ = ["AttentionFamily", "GroupedAttentionFamily", "attention_kernels"]

_PORTS = (("query",), ("value", "key"), ("key",))
"""Projections of each input. Without a third one, keys are made of the values."""


@register_layer
class AttentionFamily(LayerFamily):
    """MultiHeadAttention.

    A head is removed if the last projection does not use it, or if its values are constant: weights of
    attention add up to 1, so that the head then adds a constant, which goes into the last bias. Inputs that
    are constant go into the projections' biases.
    """

    handles: tuple[type | str, ...] = public_layers(("MultiHeadAttention",))
    passes_units = True
    has_own_units = True
    shareable = False

    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
        return attention_kernels(layer)

    def is_plain(self, call: Call) -> bool:
        arguments = call.node.arguments
        extras = {k: v for k, v in arguments.kwargs.items() if k not in ("value", "key")}
        given = len(arguments.args) + len(arguments.kwargs) - len(extras)
        return given == len(call.inputs) <= 3 and not any(
            extra is not None and extra is not False for extra in extras.values()
        )

    def obstacle(self, call: Call) -> str | None:
        reasons = (why_kernel_is_rewritten(dense, call.name) for dense in _projections(call.layer))
        return next(filter(None, reasons), None)

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        kernel, bias = _kernel_and_bias(call.layer._output_dense)
        heads = self._heads(call.layer)
        constant = (kernel[heads] == 0).all(axis=(0, 1))
        return np.where(constant, bias + self._from_heads(call.layer), np.nan)

    def dispensable(
        self, call: Call, port: int, constants: Constants, kept_output: np.ndarray
    ) -> np.ndarray:
        used = np.zeros(constants.shape, bool)
        for part in _parts_of_port(call, port):
            kernel, _ = _kernel_and_bias(getattr(call.layer, f"_{part}_dense"))
            used |= (kernel[:, self._of_part(call.layer, part)] != 0).any(axis=(1, 2))
        known = constants if call.layer.use_bias else only_zero(constants)
        return ~used | ~np.isnan(known)

    def why_constants_matter(self, call: Call) -> str:
        return f"{call.name!r} has no biases that could take up a constant"

    def zero_units(self, call: Call) -> np.ndarray:
        return (_kernel_and_bias(call.layer._output_dense)[0] == 0).all(axis=(0, 1))

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
            removed = np.nan_to_num(np.where(cut.kept_inputs[port], 0.0, cut.constants[port]))
            for part in _parts_of_port(call, port):
                kernel, _ = _kernel_and_bias(getattr(layer, f"_{part}_dense"))
                rows[part] = cut.kept_inputs[port]
                biases[part] = np.einsum("i,ihk->hk", removed, kernel)
        heads = self._heads(layer)
        weights: list[np.ndarray] = []
        for part in ("query", "key", "value"):
            dense, kept = getattr(layer, f"_{part}_dense"), self._of_part(layer, part)
            kernel, bias = _kernel_and_bias(dense)
            made = [kernel[rows[part]][:, kept], (bias + biases[part])[kept]]
            weights += [each.astype(dense.kernel.dtype) for each in made[: 1 + layer.use_bias]]
        kernel, bias = _kernel_and_bias(layer._output_dense)
        made = [kernel[heads][..., columns], (bias + self._from_heads(layer))[columns]]
        dtype = layer._output_dense.kernel.dtype
        weights += [each.astype(dtype) for each in made[: 1 + layer.use_bias]]
        return Replacement(self._config(layer, heads, columns), weights)

    def _config(self, layer: Any, heads: np.ndarray, columns: np.ndarray) -> dict[str, Any]:
        return {"num_heads": int(heads.sum()), "output_shape": [int(columns.sum())]}

    def _heads(self, layer: Any) -> np.ndarray:
        """Return which heads stay."""
        return _at_least_one(_used_heads(layer, _constant_values(layer)))

    def _of_part(self, layer: Any, part: str) -> np.ndarray:
        """Return which heads of a projection stay."""
        return self._heads(layer)

    def _from_heads(self, layer: Any) -> np.ndarray:
        """Return what removed heads have added to the results."""
        kernel, _ = _kernel_and_bias(layer._output_dense)
        _, bias = _kernel_and_bias(layer._value_dense)
        removed = ~self._heads(layer)
        if not layer.use_bias or not removed.any():
            return np.zeros(kernel.shape[-1])
        values = self._values_of_heads(layer, bias)
        return np.einsum("hv,hvo->o", values[removed], kernel[removed])

    def _values_of_heads(self, layer: Any, bias: np.ndarray) -> np.ndarray:
        return bias


@register_layer
class GroupedAttentionFamily(AttentionFamily):
    """GroupQueryAttention: heads that share keys and values are coupled; results are as many as queries."""

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
        return np.repeat(self._of_part(layer, "key"), _heads_per_key(layer))

    def _of_part(self, layer: Any, part: str) -> np.ndarray:
        if part == "query":
            return self._heads(layer)
        constant = np.repeat(_constant_values(layer), _heads_per_key(layer))
        used = _used_heads(layer, constant).reshape(-1, _heads_per_key(layer))
        return _at_least_one(np.asarray(used.any(axis=1)))

    def _values_of_heads(self, layer: Any, bias: np.ndarray) -> np.ndarray:
        return np.repeat(bias, _heads_per_key(layer), axis=0)


def _parts_of_port(call: Call, port: int) -> tuple[str, ...]:
    return ("value",) if port == 1 and len(call.inputs) == 3 else _PORTS[port]


def _projections(layer: Any) -> list[Any]:
    return [getattr(layer, f"_{part}_dense") for part in ("query", "key", "value", "output")]


def _kernel_and_bias(dense: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the kernel and the bias, zeros if there is none, of a projection."""
    kernel = to_numpy(dense.kernel)
    made = kernel.shape[1:] if dense.name != "attention_output" else kernel.shape[-1:]
    return kernel, to_numpy(dense.bias) if dense.bias is not None else np.zeros(made)


def _constant_values(layer: Any) -> np.ndarray:
    """Return which heads have values that no input changes."""
    return (_kernel_and_bias(layer._value_dense)[0] == 0).all(axis=(0, 2))


def _used_heads(layer: Any, constant: np.ndarray) -> np.ndarray:
    """Return which heads change the results."""
    kernel, _ = _kernel_and_bias(layer._output_dense)
    used: np.ndarray = (kernel != 0).any(axis=(1, 2))
    return used & ~constant


def _at_least_one(heads: np.ndarray) -> np.ndarray:
    if heads.any():
        return heads
    first = heads.copy()
    first[0] = True
    return first


def _heads_per_key(layer: Any) -> int:
    """Return how many query heads share the same keys."""
    return int(layer.num_query_heads // layer.num_key_value_heads)


def attention_kernels(layer: Any) -> tuple[Kernel, ...]:
    """Return the projections' kernels; those of heads have ``(…, heads, size)`` as their results."""
    tensors = _inputs_of(layer)
    last = len(tensors) - 1
    queries, keys = (
        math.prod(n or 1 for n in tensors[place].shape[1:-1]) if tensors else 1
        for place in (0, min(1, last))
    )
    output = replace(einsum_kernel(layer._output_dense, "output"), positions=queries)
    return (
        _kernel_of_heads(layer._query_dense, "query", queries, 0),
        _kernel_of_heads(layer._key_dense, "key", keys, min(max(last, 0), 2)),
        _kernel_of_heads(layer._value_dense, "value", keys, min(max(last, 0), 1)),
        replace(output, receives=INSIDE),
    )


def _kernel_of_heads(dense: Any, part: str, positions: int, receives: int) -> Kernel:
    kernel = einsum_kernel(dense, part, 1)
    return replace(kernel, positions=positions, inner=True, receives=receives)


def _inputs_of(layer: Any) -> list[Any]:
    """Return the tensors of the first call: queries, values, and keys if they are others."""
    try:
        return keras.tree.flatten(layer.input)
    except AttributeError:  # Keras' answer for a layer that was not called
        return []
