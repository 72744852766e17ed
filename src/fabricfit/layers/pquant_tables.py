"""Tables of PQuantML as HGQ2's: activations, and the two of a softmax."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from fabricfit.errors import InvalidInputError
from fabricfit.layers.pquant_formats import (
    bits_of,
    constant_configuration,
    data_quantizers,
    fill_quantizer,
    has_one_format,
    import_hgq,
    translate_configuration,
)
from fabricfit.layers.translation import TranslatedLayer
from fabricfit.layers.units import to_array

__all__ = ["tabulate_activation", "translate_softmax"]

_TABLED_BITS = 20
"""The binary logarithm of how many results of a table are compared at most."""


def tabulate_activation(layer: Any, inputs: Any, results: Any) -> tuple[TranslatedLayer, ...]:
    """Return a table of HGQ2's of an activation, flattened around it: hls4ml builds those of flat tensors.

    Parameters
    ----------
    layer
        The activation.
    inputs, results
        The quantizers of both; of a hard_tanh without one of its results these keep the grid of its inputs.
    """
    if results is None:
        fractions = int(bits_of(inputs)[2].max())
        behind = constant_configuration(1, 1, max(fractions, 0))
    else:
        behind = translate_configuration(results, "datalane")
    made = import_hgq("layers").QUnaryFunctionLUT(
        layer.activation_name,
        iq_conf=translate_configuration(inputs, "datalane"),
        oq_conf=behind,
        allow_heterogeneous_table=False,
        enable_ebops=layer.use_hgq,
        beta0=layer.hgq_beta,
        name=layer.name,
    )

    def fill(new: Any) -> None:
        fill_quantizer(new.iq, inputs)
        if results is not None:
            fill_quantizer(new.oq, results)

    table = TranslatedLayer(made, fill)
    shape = tuple(layer.input_shape[1:])
    if len(shape) < 2 or None in shape or not has_one_format(inputs):
        return (table,)
    flat = keras.layers.Reshape((math.prod(shape),), name=f"{layer.name}_flat")
    whole = keras.layers.Reshape(shape, name=f"{layer.name}_whole")
    return (TranslatedLayer(flat), table, TranslatedLayer(whole))


def translate_softmax(layer: Any) -> TranslatedLayer:
    """Return HGQ2's softmax with the tables of one of PQuantML."""
    inputs, outputs = data_quantizers(layer)
    exp, inverse = layer.exp_table, layer.inv_table
    used = {"iq": inputs, "oq": outputs}
    tables = {
        "exp_iq": exp.input_quantizer if layer.stable else None,
        "exp_oq": exp.output_quantizer,
        "inv_iq": inverse.input_quantizer,
        "inv_oq": inverse.output_quantizer,
    }
    used |= tables
    uniform = all(has_one_format(each) for each in tables.values() if each is not None)
    made = import_hgq("layers").QSoftmax(
        axis=layer.axes,
        enable_iq=inputs is not None,
        enable_oq=outputs is not None,
        stable=layer.stable,
        allow_heterogeneous_table=not uniform,
        input_scaler=layer.input_scaler,
        parallelization_factor=layer.parallelization_factor,
        enable_ebops=layer.use_hgq,
        beta0=layer.hgq_beta,
        name=layer.name,
        **{
            f"{key}_conf": translate_configuration(quantizer, "datalane")
            for key, quantizer in used.items()
            if quantizer is not None
        },
    )

    def fill(new: Any) -> None:
        targets = {
            **{key: getattr(new, f"_{key}", None) for key in ("iq", "oq")},
            **{f"exp_{key}": getattr(new.exp_table, f"_{key}", None) for key in ("iq", "oq")},
            **{f"inv_{key}": getattr(new.inv_table, f"_{key}", None) for key in ("iq", "oq")},
        }
        for key, quantizer in used.items():
            if quantizer is not None:
                fill_quantizer(targets[key], quantizer)
        for old_table, new_table, received in (
            (exp, new.exp_table, tables["exp_iq"] or inputs),
            (inverse, new.inv_table, tables["inv_iq"]),
        ):
            _compare_tables(old_table, new_table, received)

    return TranslatedLayer(made, fill)


def _compare_tables(old: Any, new: Any, received: Any) -> None:
    """Refuse a table whose results HGQ2 rounds otherwise: it saturates and rounds half to even."""
    quantizer = old.output_quantizer
    if (quantizer.round_mode, quantizer.overflow) == ("RND_CONV", "SAT"):
        return
    rank = len(new.oq.quantizer.k.shape)
    inputs = None if received is None else _list_inputs(received, rank)
    if inputs is not None and np.array_equal(to_array(old(inputs)), to_array(new(inputs))):
        return
    raise InvalidInputError(
        f"its tables round by {quantizer.round_mode} and overflow by {quantizer.overflow}, with other "
        "results than those of HGQ2's softmax, by RND_CONV and SAT. Set these modes in PQuantML's "
        "configuration, or leave the softmax out of the model that is built"
    )


def _list_inputs(quantizer: Any, rank: int) -> np.ndarray | None:
    """Return samples with all numbers of a quantizer's formats at each place; None of too many."""
    bits = bits_of(quantizer)
    sign, integer, fractional = (int(each.max()) for each in bits)
    shape = np.broadcast_shapes((1,) * rank, *(each.shape for each in bits))[1:]
    if sign + integer + fractional + math.log2(max(math.prod(shape), 1)) > _TABLED_BITS:
        return None
    step = 2.0**-fractional
    values = np.arange(-sign * 2.0**integer, 2.0**integer, step, dtype="float32")
    return np.array(np.broadcast_to(values.reshape(-1, *(1 for _ in shape)), (len(values), *shape)))
