"""What a network loses when a group of weights is pruned or shared.

A **criterion** is a pure function of a *change* of weights: pruning changes a weight ``w`` by ``-w``,
sharing changes it by ``mean - w``. The loss of a group is the sum of its members' losses. Because both
treatments go through the same function, their losses are on one scale: for the norms, the size of the
change made to the network; for ``oracle`` and ``saliency``, the first- and second-order estimate of how
much the training loss moves. "Whichever loses less" is then a comparison of like with like, and sums over
groups mean something: a knapsack over them minimizes the total.

====================  =====================================  ==========================================
criterion             loss of a change ``d`` of one weight   reference
====================  =====================================  ==========================================
``l1``                ``|d|``                                Han et al. (2015), arXiv:1506.02626
``l2``                ``d²`` (so that a sum over groups is   Li et al. (2017), arXiv:1608.08710
                      the squared norm of the whole change)
``oracle``            ``|∂L/∂w · d|``                        Molchanov et al. (2017), arXiv:1611.06440
``saliency``          ``½ max(∂²L/∂w², 0) · d²``             LeCun et al., Optimal Brain Damage (1990)
====================  =====================================  ==========================================

A shared group keeps one number, its mean, where a pruned one keeps none; and the mean of any numbers is
nearer to them than zero is, so that sharing would win by itself. Its loss is therefore counted as an unbiased
variance is: times ``n / (n - 1)`` for a group of n. For weights scattered about zero the two treatments
are then equal on average, and sharing wins where the mean stands out from zero by more than its own
standard error. A group of one weight cannot be shared.

A negative curvature (a saddle, or noise) counts as none: Optimal Brain Damage expands about a minimum.

Register a criterion of your own with one call::

    from fabricfit import register_criterion

    register_criterion("cubic", lambda change, **statistics: abs(change) ** 3)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from fabricfit.checks import one_of, text
from fabricfit.description.attributes import OptimizationAttributes, grouping_of
from fabricfit.description.layout import Layout
from fabricfit.errors import (
    InvalidInputError,
    InvalidTypeError,
    code_of_others,
    spell,
    unknown_name,
)

__all__ = [
    "Criterion",
    "GroupLosses",
    "criteria",
    "get_criterion",
    "group_losses",
    "register_criterion",
    "weight_loss",
]

STATISTICS = ("gradients", "hessians", "removals")
"""What a criterion may ask for: first derivatives, the diagonal of the second ones, and what the removal of
the unit that a weight belongs to loses, divided among its weights."""


_NEXT_TO_NOTHING = 1e-6
"""Loss of a change without a derivative, as a part of the mean loss of changes of its size."""

_LEAST_SCALE = 1e-24


class LossFunction(Protocol):
    """Loss of changing each weight."""

    def __call__(self, change: np.ndarray, **statistics: np.ndarray) -> np.ndarray:
        """Return an array like ``change``, each entry at least 0.

        Parameters
        ----------
        change
            By how much each weight moves, any shape.
        **statistics
            ``weights``, and those of ``gradients``, ``hessians`` and ``removals`` that the criterion needs,
            in the shape of ``change``.
        """
        ...  # pragma: no cover


@dataclass(frozen=True)
class Criterion:
    """A registered way of ranking groups.

    Parameters
    ----------
    name
        Its name in ``ranking_metric`` and ``metric``.
    loss
        The loss of changing each weight.
    needs
        Which of ``'gradients'``, ``'hessians'`` and ``'removals'`` it must be given.
    """

    name: str
    loss: LossFunction | Callable[..., np.ndarray]
    needs: tuple[str, ...] = ()


_CRITERIA: dict[str, Criterion] = {}


def register_criterion(
    name: str,
    loss: LossFunction | Callable[..., np.ndarray] | None = None,
    *,
    needs: Iterable[str] = (),
) -> Any:
    """Make a criterion known by name, for every function that has a ranking metric.

    Parameters
    ----------
    name
        Its name, in lower case. A known one of that name is replaced.
    loss
        A :class:`LossFunction`; without it, this is a decorator.
    needs
        Statistics it must be given, of ``'gradients'``, ``'hessians'`` and ``'removals'``. The last is
        known where whole units are removed.

    Raises
    ------
    InvalidInputError, InvalidTypeError
        It needs a statistic that does not exist, or is no function.
    """
    name = text("name", name)
    if isinstance(needs, str) or not isinstance(needs, Iterable):
        raise InvalidTypeError(
            f"needs must be a list of statistics, of {', '.join(STATISTICS)}. Received: needs={spell(needs)}"
        )
    wanted = tuple(one_of("needs", statistic, STATISTICS) for statistic in needs)
    if loss is not None and not callable(loss):
        raise InvalidTypeError(
            f"loss must be a function of a change of weights. Received: loss={spell(loss)}"
        )
    if loss is None:
        return lambda function: register_criterion(name, function, needs=wanted)
    _CRITERIA[name] = Criterion(name, loss, wanted)
    return loss


def criteria() -> tuple[str, ...]:
    """Return the names of all registered criteria."""
    return tuple(_CRITERIA)


def get_criterion(name: str | Criterion, argument: str = "metric") -> Criterion:
    """Return a criterion by its name, in any case.

    Raises
    ------
    InvalidInputError
        No such criterion is registered.
    """
    if isinstance(name, Criterion):
        return name
    for known in (name, name.lower()) if isinstance(name, str) else ():
        if known in _CRITERIA:
            return _CRITERIA[known]
    raise unknown_name(argument, name, criteria())


@register_criterion("l1")
def l1(change: np.ndarray, **statistics: np.ndarray) -> np.ndarray:
    """Size of the change."""
    return np.abs(change)


@register_criterion("l2")
def l2(change: np.ndarray, **statistics: np.ndarray) -> np.ndarray:
    """Squared size of the change."""
    return np.square(change)


@register_criterion("oracle", needs=["gradients"])
def oracle(change: np.ndarray, *, gradients: np.ndarray, **statistics: np.ndarray) -> np.ndarray:
    """First-order change of the loss, whatever its sign."""
    return np.abs(gradients * change)


@register_criterion("saliency", needs=["hessians"])
def saliency(change: np.ndarray, *, hessians: np.ndarray, **statistics: np.ndarray) -> np.ndarray:
    """Second-order change of the loss at a minimum, by the diagonal of the Hessian."""
    return 0.5 * np.maximum(hessians, 0) * np.square(change)


@register_criterion("removal", needs=["removals"])
def removal(change: np.ndarray, *, removals: np.ndarray, **statistics: np.ndarray) -> np.ndarray:
    """Change of the loss to second order without the unit that a weight belongs to: the weight's part."""
    return removals


@dataclass(frozen=True)
class GroupLosses:
    """What each group of a kernel loses by the treatment that costs it least.

    Parameters
    ----------
    loss
        Shape ``(n_groups,)``, float64; float32 where every group is a single weight of that type.
    shared
        Shape ``(n_groups,)``, bool: the treatment is sharing, not pruning.
    """

    loss: np.ndarray
    shared: np.ndarray


def group_losses(
    kernel: np.ndarray,
    attributes: OptimizationAttributes,
    metric: str | Criterion = "l1",
    statistics: Mapping[str, np.ndarray] | None = None,
    layer: str = "kernel",
    layout: Layout | None = None,
) -> GroupLosses:
    """Rank the groups of a kernel.

    Parameters
    ----------
    kernel
        The weights.
    attributes
        Which groups, and whether they may be pruned, shared or both.
    metric
        Name of a criterion.
    statistics
        ``'gradients'``, ``'hessians'`` and ``'removals'`` in the kernel's shape, as far as the criterion
        needs them.
    layer
        What to call the kernel in an error.
    layout
        Which axes are rows, columns and units, if not the standard ones.

    Raises
    ------
    InvalidInputError
        A statistic is missing, has another shape or is not finite; neither treatment is allowed.
    """
    if not (attributes.pruning or attributes.weight_sharing):
        raise InvalidInputError(f"layer {layer!r}: neither pruning nor weight_sharing is allowed.")
    kernel = np.asarray(kernel)
    grouping = grouping_of(kernel.shape, attributes, layout)
    loss = weight_loss(kernel, metric, statistics, layer)

    def total(change: np.ndarray) -> np.ndarray:
        losses = loss(change)
        if grouping.group_size == 1 and losses.dtype == np.float32:
            return losses.reshape(-1)
        return grouping.to_groups(losses).sum(axis=1, dtype=np.float64)

    prune = total(-kernel)
    if not attributes.weight_sharing:
        return GroupLosses(prune, np.zeros(grouping.n_groups, bool))
    share = total(grouping.spread(grouping.means(kernel)).astype(kernel.dtype) - kernel)
    members = grouping.member_counts
    share = np.where(members > 1, share * members / np.maximum(members - 1, 1), prune)
    if not attributes.pruning:
        return GroupLosses(share, np.ones(grouping.n_groups, bool))
    return GroupLosses(np.minimum(prune, share), share < prune)


def weight_loss(
    kernel: np.ndarray,
    metric: str | Criterion = "l1",
    statistics: Mapping[str, np.ndarray] | None = None,
    layer: str = "kernel",
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that tells what changes of a kernel's weights lose.

    Parameters
    ----------
    kernel, metric, statistics, layer
        As for :func:`group_losses`.

    Returns
    -------
    callable
        From a change of every weight, in the kernel's shape, to what each loses, in the same shape.

    Raises
    ------
    InvalidInputError
        A statistic is missing, has another shape or is not finite.
    """
    criterion = get_criterion(metric)
    kernel = np.asarray(kernel)
    given = {"weights": kernel, **_check_statistics(criterion, kernel, statistics or {}, layer)}

    def losses(change: np.ndarray) -> np.ndarray:
        with code_of_others(f"criterion {criterion.name!r}"):
            found = np.asarray(criterion.loss(change, **given))
        if found.shape != kernel.shape:
            raise InvalidInputError(
                f"criterion {criterion.name!r} must return one loss for each weight, shape "
                f"{kernel.shape}. Received: {found.shape}"
            )
        least, most = (float(found.min()), float(found.max())) if found.size else (0.0, 0.0)
        if not np.isfinite(least + most) or (least < 0 and not criterion.needs):
            raise InvalidInputError(
                f"criterion {criterion.name!r} must return finite losses of at least 0. "
                f"Received: numbers from {least:g} to {most:g}"
            )
        return _rank_free_changes(found, change) if criterion.needs else found

    return losses


def _rank_free_changes(losses: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Return losses in which changes that seem to lose nothing lose next to nothing, by their size.

    A derivative that is zero at the samples (of a dead unit, or behind a quantizer) does not tell that a
    weight does nothing: it must not be removed before there is a need.
    """
    free = (losses <= 0) & (change != 0)
    if not free.any():
        return losses
    sizes = np.square(change, dtype=np.float64)
    mean = max(float(sizes.mean()), float(np.finfo(np.float64).tiny))
    scale = _NEXT_TO_NOTHING * float(losses.mean(dtype=np.float64)) / mean
    return np.where(free, max(scale, _LEAST_SCALE) * sizes, losses).astype(losses.dtype)


def _check_statistics(
    criterion: Criterion, kernel: np.ndarray, statistics: Mapping[str, np.ndarray], layer: str
) -> dict[str, np.ndarray]:
    checked = {}
    for name in criterion.needs:
        if name not in statistics:
            raise InvalidInputError(
                f"ranking by {criterion.name!r} needs {name} of layer {layer!r}; compute them with "
                f"fabricfit.keras.utils.get_model_{name}."
            )
        array = np.asarray(statistics[name])
        if array.shape != kernel.shape:
            raise InvalidInputError(
                f"{name} of layer {layer!r} must have its kernel's shape {kernel.shape}. "
                f"Received: {array.shape}"
            )
        if not np.isfinite(array).all():
            raise InvalidInputError(f"{name} of layer {layer!r} hold NaN or infinite values.")
        checked[name] = array
    return checked
