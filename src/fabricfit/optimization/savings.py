"""Resource usage of a model before and after, counted in its weights rather than planned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.skip_reasons import SkipReason
from fabricfit.hls4ml.estimation import ModelEstimate, estimate_layers
from fabricfit.hls4ml.streams import find_fifos
from fabricfit.network.cloning import copy_model
from fabricfit.network.describe import describe_network
from fabricfit.network.reader import Network, read
from fabricfit.objectives.base import Amounts, Objective
from fabricfit.objectives.fpga import FPGAResources
from fabricfit.objectives.resource_counter import ResourceCounter
from fabricfit.optimization.eligible_layers import Decisions
from fabricfit.reporting.report import LayerReport
from fabricfit.surgery.reduction import reduce_model
from fabricfit.tuning.attach import strip_regularizers

__all__ = ["Account", "GivenDesign", "deliver", "describe_reduced", "weight_maps"]


@dataclass(frozen=True)
class GivenDesign:
    """What a model uses as it was given, built as its configuration asks for it.

    Parameters
    ----------
    kinds
        Layer -> its class.
    layers
        Layer -> its usage.
    built
        Layer -> how it is built.
    estimate
        What :func:`fabricfit.estimate` says of it.
    """

    kinds: Mapping[str, str]
    layers: Mapping[str, Amounts]
    built: Mapping[str, str]
    estimate: ModelEstimate

    @classmethod
    def of(
        cls,
        attributes: Mapping[str, LayerAttributes],
        kernels: Mapping[str, np.ndarray],
        objective: FPGAResources,
    ) -> GivenDesign:
        """Count it.

        Parameters
        ----------
        attributes, kernels
            Of the network as hls4ml would build it.
        objective
            Whose count is used.
        """
        none = np.zeros(0)
        return cls(
            {name: layer.layer_type.__name__ for name, layer in attributes.items()},
            {n: objective.usage_as_asked(a, kernels.get(n, none)) for n, a in attributes.items()},
            {n: objective.built_as_asked(a) for n, a in attributes.items()},
            estimate_layers(attributes, kernels, target=objective.target),
        )

    @property
    def total(self) -> np.ndarray:
        """Usage of the whole model."""
        total: np.ndarray = np.sum([*self.layers.values()], axis=0)
        return total


@dataclass(frozen=True)
class Account:
    """Resource usage of two models by an objective's count.

    Parameters
    ----------
    units
        Names of the objective's dimensions.
    layers
        Every layer that has a kernel, before and after.
    before, after
        Resources of the whole models.
    highest
        Upper ends of the error bars of those after; empty where they are not known.
    counted
        What is counted, as a part of a sentence.
    remarks
        What the counted figures rest on.
    """

    units: tuple[str, ...]
    layers: tuple[LayerReport, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]
    highest: tuple[float, ...] = ()
    counted: str = ""
    remarks: tuple[str, ...] = ()


def deliver(
    before: Network,
    after: Network,
    decisions: Decisions,
    objective: Objective,
    given: GivenDesign | None = None,
) -> tuple[keras.Model, Account]:
    """Make what was pruned real where the objective needs that, and count what is left.

    Parameters
    ----------
    before, after
        What was read of the model that came in, and of the one with the weights that came out: two
        models with the same layers.
    decisions
        Which of them were optimized.
    objective
        Whose count is used. If it ``removes_units``, the second model is reduced, and what is counted
        is the smaller model.
    given
        What is reported of the time before the run, if not the first model as the objective counts it.

    Returns
    -------
    model : keras.Model
        A copy of the second model, reduced if that is how its savings are realized.
    account : Account
        The resource usage of both.
    """
    attributes = decisions.attributes
    old = before.counted_kernels(attributes)
    if given is None:
        whole = {name: _to_floats(objective.usage(attributes[name], old[name])) for name in old}
        dense = _to_floats(objective.model_usage(attributes, old))
    else:
        whole = {name: _to_floats(used) for name, used in given.layers.items()}
        dense = _to_floats(given.total)
    new = after.counted_kernels(attributes)
    left: dict[str, Amounts]
    if objective.removes_units:
        result = strip_regularizers(reduce_model(after))
        final = describe_reduced(read(result), attributes)
        left = {name: objective.usage_without(final[name], 0) for name in new}
        total = objective.model_usage_without(final, {})
    else:
        result = strip_regularizers(copy_model(after.model))
        left = {name: objective.usage(attributes[name], kernel) for name, kernel in new.items()}
        total = objective.model_usage(attributes, new)
    layers = tuple(
        LayerReport(
            name=name,
            kind=attributes[name].layer_type.__name__,
            weights=kernel.size,
            nonzeros_before=int(np.count_nonzero(kernel)),
            nonzeros_after=int(np.count_nonzero(new[name])),
            resources_before=whole[name],
            resources_after=_to_floats(left[name]),
            calls=len(attributes[name].calls),
            built_before=given.built[name] if given is not None else "",
            built_after=objective.built_with(attributes[name], new[name]),
            **_describe_skip(decisions, name),
        )
        for name, kernel in old.items()
    )
    if objective.counts_all_layers:
        layers += _report_without_kernel(decisions, objective, old, whole)
        layers += _report_folded(decisions, given)
    units = tuple(objective.units) or tuple(f"resource {i}" for i in range(len(dense)))
    account = Account(units, layers, dense, _to_floats(total))
    if isinstance(objective, ResourceCounter):
        account = replace(account, counted=objective.counted)
        if not objective.removes_units:
            highest = objective.with_margin(1).model_usage(attributes, new)
            remarks = objective.remark_on(attributes, new)
            account = replace(account, highest=_to_floats(highest), remarks=remarks)
    return result, account


def zero_maps(
    attributes: Mapping[str, LayerAttributes], kernels: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return where the weights of each kernel are zero: 1 there, 0 elsewhere, as :func:`weight_maps` does."""
    return {
        name: (layer.axes.matrix(kernels[name]) == 0).astype(np.int8)
        for name, layer in attributes.items()
        if name in kernels and layer.multiplies
    }


def weight_maps(after: Network, decisions: Decisions) -> dict[str, np.ndarray]:
    """Return the treatment of the weights of every kernel, in the order of the hardware.

    Parameters
    ----------
    after, decisions
        As for :func:`deliver`.

    Returns
    -------
    dict
        Kernel -> int8 array of shape ``(n_in, n_out)``: 0 where a weight is what it was trained to, 1 where
        it is zero, 2 where it shares its value with others on the same input, -1 throughout a kernel that
        was not optimized.
    """
    new = after.counted_kernels(decisions.attributes)
    maps = zero_maps(decisions.attributes, new)
    for name, found in maps.items():
        layer, matrix = (
            decisions.attributes[name],
            decisions.attributes[name].axes.matrix(new[name]),
        )
        settings = layer.optimization_attributes
        if not layer.optimizable or settings is None:
            found[:] = -1
        elif settings.weight_sharing or settings.constants:
            order = np.sort(matrix, axis=1)
            repeated = [set(row[1:][row[1:] == row[:-1]].tolist()) for row in order]
            shared = np.array(
                [np.isin(row, list(v)) for row, v in zip(matrix, repeated, strict=True)]
            )
            found[shared & (matrix != 0)] = 2
    return maps


def _report_without_kernel(
    decisions: Decisions,
    objective: Objective,
    kernels: Mapping[str, np.ndarray],
    whole: Mapping[str, tuple[float, ...]],
) -> tuple[LayerReport, ...]:
    """Report the layers that have no kernel and use resources all the same."""
    found = []
    for name, layer in decisions.attributes.items():
        if name in kernels:
            continue
        used = _to_floats(objective.usage(layer, np.zeros(0)))
        weights = sum(matrix.size for _, matrix in layer.matrices)
        before = whole.get(name, used)
        if any(used) or any(before):
            kind, skip = layer.layer_type.__name__, _describe_skip(decisions, name)
            calls = len(layer.calls)
            found.append(
                LayerReport(
                    name, kind, weights, weights, weights, before, used, calls=calls, **skip
                )
            )
    return tuple(found)


def _report_folded(decisions: Decisions, given: GivenDesign | None) -> tuple[LayerReport, ...]:
    """Report the layers that were given and are part of others now."""
    gone = [] if given is None else [n for n in given.layers if n not in decisions.attributes]
    return tuple(
        LayerReport(
            name,
            given.kinds[name],
            0,
            0,
            0,
            used := _to_floats(given.layers[name]),
            (0.0,) * len(used),
            skipped="it is folded into the layers around it",
            skip_reason=SkipReason.FOLDED,
        )
        for name in gone
        if given is not None and given.layers[name].any()
    )


def _describe_skip(decisions: Decisions, name: str) -> dict[str, Any]:
    """Return why a layer is not optimized, as the fields of a report; nothing if it is."""
    skip = decisions.skipped.get(name)
    return {} if skip is None else {"skipped": skip.sentence, "skip_reason": skip.reason}


def describe_reduced(
    network: Network, attributes: Mapping[str, LayerAttributes]
) -> dict[str, LayerAttributes]:
    """Describe a reduced model as its larger self was described."""
    described = describe_network(network)
    for name, layer in described.items():
        known = attributes[name]
        for call, before in zip(layer.calls, known.calls, strict=True):
            call.args = {**before.args, **call.args}
            call.matrices, call.note, call.io_type = before.matrices, before.note, before.io_type
            call.received_precision = before.received_precision
            call.result_precision = before.result_precision
            if call.multiplies and call.hls4ml is not None:
                rows, columns = call.matrix_shape
                call.hls4ml = replace(call.hls4ml, n_in=rows, n_out=columns)
        layer.optimizable = known.optimizable
        layer.optimization_attributes = known.optimization_attributes
    if any(layer.fifos for layer in attributes.values()):
        find_fifos(described)
    return described


def _to_floats(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
