"""Removal of units that do no work, without changing what the model computes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras

from fabricfit.layers import unit_family
from fabricfit.network.cloning import check_copies
from fabricfit.network.finite import open_network
from fabricfit.network.graph import Graph
from fabricfit.network.reader import Network
from fabricfit.surgery.planning import Decision, decide
from fabricfit.surgery.rebuild import rebuild
from fabricfit.tables import Document, Printable

__all__ = ["ReductionPlan", "plan_reduction", "reduce_model"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReductionPlan(Printable):
    """The units of a model that can be removed, and the reasons why others stay.

    Parameters
    ----------
    removed
        Layer name -> indices of the units (neurons, filters) that it loses. A layer inside a nested
        model is named by its path, ``'block/dense'``.
    kept
        Layer name -> why units of it whose kernel is all zero stay.
    units
        Layer name -> number of units before, for each layer that makes units of its own.
    """

    removed: Mapping[str, list[int]] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, int] = field(default_factory=dict)

    @property
    def n_removed(self) -> int:
        """Number of units that are removed, over all layers."""
        return sum(len(indices) for indices in self.removed.values())

    def _make_document(self) -> Document:
        lines = [f"{self.n_removed} of {sum(self.units.values())} units can be removed"]
        for name, before in self.units.items():
            after = before - len(self.removed.get(name, ()))
            remark = f"  ({self.kept[name]})" if name in self.kept else ""
            if after != before or remark:
                lines.append(f"  {name}: {before} -> {after}{remark}")
        return Document(lines)


def plan_reduction(model: keras.Model | Network) -> ReductionPlan:
    """Find the units that :func:`reduce_model` would remove.

    Parameters
    ----------
    model
        A built model; it is only read. A subclassed one is run on symbols, see
        :func:`fabricfit.network.tracing.traced`.

    Raises
    ------
    InvalidTypeError
        The argument is no Keras model.
    InvalidInputError
        The model is not built, or is a subclassed model that cannot be run on symbols.
    """
    return _plan(_decide_all(open_network(model).graph))


def reduce_model(model: keras.Model | Network) -> keras.Model:
    """Remove units that do no work, without changing what the model computes.

    A unit is a neuron of a Dense layer or a filter of a convolution. It is removed

    - if it is constant: its kernel is all zero, or meets only inputs that are themselves constant
      zero. The constant that its bias becomes behind activations, batch normalization and pooling is
      folded into the biases of the layers that receive it;
    - or if nothing uses it: its rows are zero in the kernels of all layers that receive it.

    A unit stays where its removal would not be exact: at an output of the model, before a softmax
    or a layer that is not known, before a convolution with padding (unless it is 0), before a
    quantized layer (unless it is 0), where a residual sum couples it to a unit that works. At least
    one unit of each layer stays. :func:`plan_reduction` gives the reasons.

    Parameters
    ----------
    model
        A built model, with any number of inputs and outputs; nested models are reduced inside. It is not
        touched. A subclassed one is run on symbols, see :func:`fabricfit.network.tracing.traced`.

    Returns
    -------
    keras.Model
        A new Sequential or Functional model, with the same layer names, precisions and regularizers. It
        agrees with ``model`` at inference up to float rounding, on any input. It is not compiled.

    Raises
    ------
    InvalidTypeError
        The argument is no Keras model.
    InvalidInputError
        The model is not built, is a subclassed model that cannot be run on symbols, or holds a layer
        that cannot be made anew from its configuration.

    Examples
    --------
    >>> import keras, numpy as np
    >>> from fabricfit.surgery.reduction import reduce_model
    >>> model = keras.Sequential(
    ...     [keras.Input((4,)), keras.layers.Dense(3, "relu"), keras.layers.Dense(2)]
    ... )
    >>> kernel, bias = model.layers[0].get_weights()
    >>> kernel[:, 1] = 0
    >>> model.layers[0].set_weights([kernel, bias])
    >>> reduce_model(model).layers[0].units
    2
    """
    network = open_network(model)
    check_copies(network.model)
    model, decisions = network.model, _decide_all(network.graph)
    plan = _plan(decisions)
    _logger.info("reducing model %r: %s", model.name, plan)
    return _rebuild_all(model, decisions)


@dataclass(frozen=True)
class _Decisions:
    """The decisions about a model and, by layer name, about the models inside it."""

    own: Decision
    inner: dict[str, _Decisions]


def _decide_all(graph: Graph) -> _Decisions:
    inner = {name: _decide_all(nested) for name, nested in graph.nested.items()}
    return _Decisions(decide(graph), inner)


def _rebuild_all(model: keras.Model, decisions: _Decisions) -> keras.Model:
    def nested(layer: Any) -> keras.Model | None:
        inner = decisions.inner.get(layer.name)
        return _rebuild_all(layer, inner) if inner is not None else None

    return rebuild(model, decisions.own, nested)


def _plan(decisions: _Decisions, path: str = "") -> ReductionPlan:
    removed: dict[str, list[int]] = {}
    units: dict[str, int] = {}
    kept = {path + name: why for name, why in decisions.own.reasons.items()}
    for call in decisions.own.graph.calls:
        family = unit_family(call.layer)
        if family is not None and family.has_own_units and call.output.units:
            units[path + call.name] = call.output.units
            removed_units = decisions.own.removed(call)
            if removed_units.size:
                removed[path + call.name] = removed_units.tolist()
        elif call.name in decisions.inner:
            inner = _plan(decisions.inner[call.name], f"{path}{call.name}/")
            removed |= inner.removed
            units |= inner.units
            kept |= inner.kept
    return ReductionPlan(removed, kept, units)
