"""What an objective must keep to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from fabricfit.description.attributes import LayerAttributes, OptimizationAttributes
from fabricfit.objectives import Objective, ObjectiveLike, as_objective

__all__ = ["check_objective"]

_REMOVALS = 8
"""Numbers of removed groups that are tried in each layer, from none to all."""


def check_objective(
    objective: ObjectiveLike,
    layers: Mapping[str, LayerAttributes] | Sequence[LayerAttributes],
    *,
    seed: int = 0,
) -> None:
    """Check that an objective answers for some layers as the choice of groups needs it.

    Amounts are finite, at least 0, of one length, and whole numbers where no weights are given; removing
    more groups never costs more; a layer that cannot be optimized has a reason or none, never groups of
    nothing; layers are not changed by being asked about.

    Parameters
    ----------
    objective
        An :class:`~fabricfit.objectives.Objective` or an
        :class:`~fabricfit.objectives.ObjectiveEstimator`, as an instance or a class.
    layers
        Attributes of layers, as they are read from a model: some that it can optimize, some without a kernel.
    seed
        Of the random weights.

    Raises
    ------
    AssertionError
        It does not; the message says what, and for which layer.
    """
    core = as_objective(objective)
    given = dict(layers) if isinstance(layers, Mapping) else {each.name: each for each in layers}
    rng = np.random.default_rng(seed)
    optimized: dict[str, LayerAttributes] = {}
    for name, layer in given.items():
        before = repr(layer)
        settings = core.groups(layer)
        assert repr(layer) == before, f"{core.name}.groups changed layer {name!r}."
        assert settings is None or isinstance(settings, OptimizationAttributes), (
            f"{core.name}.groups must return OptimizationAttributes or None. "
            f"Received for layer {name!r}: {settings!r}"
        )
        assert isinstance(core.reason(layer), str), f"{core.name}.reason must return a text."
        if settings is not None:
            assert layer.weight_shape, f"layer {name!r} has no kernel to divide into groups."
            optimized[name] = replace(
                layer, optimizable=True, optimization_attributes=replace(settings)
            )
    assert optimized, (
        f"{core.name} optimizes none of {', '.join(map(repr, given))}: nothing was checked."
    )
    for name, layer in optimized.items():
        _check_layer(core, name, layer, rng)
    _check_model(core, {**given, **optimized})


def _check_layer(
    core: Objective, name: str, layer: LayerAttributes, rng: np.random.Generator
) -> None:
    dense = _check_amounts(core, core.usage(layer), f"usage of layer {name!r}", whole=True)
    _check_amounts(core, core.saving(layer), f"saving of layer {name!r}", whole=True)
    count = layer.grouping.n_groups
    removals = sorted({round(each) for each in np.linspace(0, count, _REMOVALS)})
    used = [core.usage_without(layer, removed) for removed in removals]
    for removed, amounts in zip(removals, used, strict=True):
        what = f"usage of layer {name!r} without {removed} groups"
        _check_amounts(core, amounts, what, whole=False)
    assert (used[0] == dense).all(), (
        f"without removed groups layer {name!r} must use what it uses: {dense}. Received: {used[0]}"
    )
    for (fewer, more), (first, second) in zip(pairwise(removals), pairwise(used), strict=True):
        assert (second <= first).all(), (
            f"layer {name!r} must not use more without {more} groups than without {fewer}: {first}. "
            f"Received: {second}"
        )
    kernel = rng.normal(size=layer.weight_shape)
    full = _check_amounts(core, core.usage(layer, kernel), f"usage of weights of layer {name!r}")
    empty = _check_amounts(
        core, core.usage(layer, 0 * kernel), f"usage of an all-zero layer {name!r}"
    )
    assert (empty <= full).all(), (
        f"layer {name!r} must not use more with all weights zero than with none: {full}. "
        f"Received: {empty}"
    )


def _check_model(core: Objective, attributes: Mapping[str, LayerAttributes]) -> None:
    whole = core.model_usage_without(attributes, {})
    _check_amounts(core, whole, "usage of all layers")
    for name, layer in attributes.items():
        if layer.optimizable:
            less = core.model_usage_without(attributes, {name: layer.grouping.n_groups})
            _check_amounts(core, less, f"usage of all layers without {name!r}")
            assert (less <= whole).all(), (
                f"the model must not use more without the groups of layer {name!r}: {whole}. "
                f"Received: {less}"
            )


def _check_amounts(
    core: Objective, amounts: np.ndarray, what: str, whole: bool = False
) -> np.ndarray:
    """Return amounts if they are such."""
    array = np.asarray(amounts, np.float64)
    assert array.ndim == 1 and array.size, (
        f"the {what} must be a list of numbers. Received: {amounts!r}"
    )
    assert np.isfinite(array).all() and (array >= 0).all(), (
        f"the {what} must be finite and at least 0. Received: {array}"
    )
    assert not core.units or array.size == len(core.units), (
        f"the {what} must have a number for each of {core.units}. Received: {array}"
    )
    assert not whole or (array % 1 == 0).all(), (
        f"the {what} must be whole numbers. Received: {array}"
    )
    return array
