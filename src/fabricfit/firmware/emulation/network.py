"""Emulation of a whole network, layer by layer, in the order of hls4ml's graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fabricfit.errors import InvalidInputError
from fabricfit.firmware.emulation.fixed import FixedTensor, NotModelledError
from fabricfit.firmware.emulation.registry import find, result_format
from fabricfit.firmware.emulation.softmax import coarse_table
from fabricfit.firmware.emulation.weights import KerasWeights
from fabricfit.network.reader import as_network

__all__ = ["Emulation", "emulate", "emulate_network"]


@dataclass(frozen=True)
class Emulation:
    """Results of every layer.

    Parameters
    ----------
    layers
        Layer of hls4ml's graph -> its results, samples first, in the order of computation.
    not_modelled
        Layer -> why it is not computed here; its results are those that were observed.
    remarks
        Further remarks on the results.
    """

    layers: dict[str, FixedTensor] = field(default_factory=dict)
    not_modelled: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def emulate(model: Any, hls_model: Any, X: Any) -> dict[str, np.ndarray]:
    """Compute the results that every layer of a quantized network must have.

    Parameters
    ----------
    model
        The Keras model, whose weights are quantized here.
    hls_model
        The model that ``hls4ml.converters.convert_from_keras_model`` returned for it.
    X
        Inputs of shape ``(samples, *input_shape)``; a list of them for several inputs.

    Returns
    -------
    dict
        Layer of hls4ml's graph -> float64 results of shape ``(samples, *output_shape)``; exact for
        formats of up to 53 bits.

    Raises
    ------
    InvalidInputError
        A layer is not modelled, or its numbers are wider than 62 bits; the message names the layer.
    """
    found = emulate_network(model, hls_model, X)
    return {name: tensor.to_float() for name, tensor in found.layers.items()}


def emulate_network(
    model: Any, hls_model: Any, X: Any, observed: Mapping[str, np.ndarray] | None = None
) -> Emulation:
    """Compute every layer, with observed results for those that are not modelled.

    Parameters
    ----------
    model, hls_model, X
        As for :func:`emulate`.
    observed
        Layer -> results of the generated C++, shape ``(samples, …)``. A layer that is not modelled
        has these results, and the layers behind it are computed from them.

    Raises
    ------
    InvalidInputError
        A layer is not modelled and not observed, or its numbers are wider than 62 bits.
    """
    nodes = list(hls_model.get_layers())
    weights = KerasWeights(as_network(model), frozenset(node.name for node in nodes))
    inputs = dict(zip(hls_model.inputs, _arrange_inputs(hls_model, X), strict=True))
    done, tensors = Emulation(), dict[str, FixedTensor]()
    for node in nodes:
        received = [tensors[name] for name in node.inputs if name in tensors]
        try:
            if node.class_name in ("Input", "InputLayer"):
                tensor = FixedTensor.from_float(inputs[node.name], result_format(node))
            else:
                tensor = find(node)(node, received, weights)
        except NotModelledError as reason:
            tensor = _use_observed(node, reason, observed)
            done.not_modelled[node.name] = str(reason)
        except InvalidInputError as error:
            raise InvalidInputError(f"layer {node.name!r} cannot be emulated: {error}") from error
        done.layers[node.name] = tensor
        if node.class_name == "Softmax":
            done.remarks.extend(coarse_table(node, received[0].format))
        tensors.update(dict.fromkeys(node.outputs, tensor))
    for name in weights.unaccounted():
        done.remarks.append(f"layer {name!r} of the model has weights but is not in hls4ml's graph")
    return done


def _use_observed(
    node: Any, reason: NotModelledError, observed: Mapping[str, np.ndarray] | None
) -> FixedTensor:
    if observed is None or node.name not in observed:
        raise InvalidInputError(
            f"layer {node.name!r} cannot be emulated: {reason} is not modelled, and no results of "
            "the generated code were given for it."
        )
    try:
        return FixedTensor.from_float(observed[node.name], result_format(node))
    except NotModelledError as error:
        raise InvalidInputError(f"layer {node.name!r} cannot be emulated: {error}") from error


def _arrange_inputs(hls_model: Any, X: Any) -> Sequence[np.ndarray]:
    arrays = list(X) if isinstance(X, (list, tuple)) else [X]
    variables = hls_model.get_input_variables()
    if len(arrays) != len(variables):
        raise InvalidInputError(
            f"X must hold one array for each of {len(variables)} inputs. Received: {len(arrays)}"
        )
    return [
        np.asarray(x, np.float64).reshape(-1, *(int(n) for n in variable.shape))
        for x, variable in zip(arrays, variables, strict=True)
    ]
