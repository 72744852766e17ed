"""The options of layers that are worthwhile, those of all layers one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from fabricfit.errors import InvalidInputError

__all__ = ["LayeredOptions", "worthwhile"]


@dataclass(frozen=True, eq=False)
class LayeredOptions:
    """Options of which one is chosen for each layer.

    Parameters
    ----------
    kept
        Of each layer the places of its options that are worthwhile; the others are left out.
    losses, costs
        Of the options, shape ``(N,)``, and ``(N, M)``, at least 0.
    kinds
        Whole numbers, shape ``(N,)``.
    blocks
        Layers whose options are of one kind: each layer is in one of them, most by themselves.
    """

    kept: tuple[np.ndarray, ...]
    losses: np.ndarray
    costs: np.ndarray
    kinds: np.ndarray
    blocks: tuple[tuple[int, ...], ...]

    @classmethod
    def of(
        cls,
        losses: Sequence[np.ndarray],
        costs: Sequence[np.ndarray],
        kinds: Sequence[np.ndarray] | None = None,
        together: Sequence[Sequence[int]] = (),
    ) -> LayeredOptions:
        """Leave out options that another one equals or beats; the arguments are those of a choice.

        Raises
        ------
        InvalidInputError
            A layer has no option, or numbers do not match.
        """
        _check(losses, costs)
        own = kinds or [np.zeros(len(loss), int) for loss in losses]
        bound = {place for places in together for place in places}
        kept = tuple(
            _worthwhile_of_kinds(loss, cost, kind if place in bound else np.zeros_like(kind))
            for place, (loss, cost, kind) in enumerate(zip(losses, costs, own, strict=True))
        )
        alone = ((place,) for place in range(len(losses)) if place not in bound)

        def join(parts: Sequence[np.ndarray]) -> np.ndarray:
            return np.concatenate([part[places] for part, places in zip(parts, kept, strict=True)])

        blocks = (*alone, *(tuple(places) for places in together if len(places)))
        return cls(kept, join(losses), join(costs), join(own), blocks)

    @property
    def starts(self) -> np.ndarray:
        """Place of the first option of each layer, shape ``(L,)``."""
        sizes = [len(each) for each in self.kept]
        return np.cumsum(sizes) - sizes

    @property
    def layer(self) -> np.ndarray:
        """Of each option its layer, shape ``(N,)``."""
        return np.repeat(np.arange(len(self.kept)), [len(each) for each in self.kept])

    def read(self, chosen: np.ndarray) -> tuple[int, ...]:
        """Return which of a layer's options each option of a choice is, one for each layer."""
        places = zip(self.kept, chosen - self.starts, strict=True)
        return tuple(int(own[place]) for own, place in places)

    def list_equations(self, open_: np.ndarray) -> tuple[csr_array, np.ndarray]:
        """Return equations of options: one option for each layer, and one kind where they go together."""
        layers, kinds = self.layer[open_], self.kinds[open_]
        rows = [layers == layer for layer in range(len(self.kept))]
        for first, *others in self.blocks:
            own = np.isin(layers, (first, *others))
            rows += [
                np.where(kinds == kind, 1.0 * (layers == first) - (layers == other), 0.0)
                for kind in np.unique(kinds[own])
                for other in others
            ]
        values = np.repeat([1.0, 0.0], [len(self.kept), len(rows) - len(self.kept)])
        return csr_array(np.array(rows, float)), values


def worthwhile(loss: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Return the options of a layer that no other one equals or beats in loss and every cost.

    Parameters
    ----------
    loss, cost
        Losses of the options, shape ``(n_options,)``, and costs, shape ``(n_options, M)``.
    """
    order = np.lexsort((*cost.T, loss))
    kept: list[int] = []
    seen = np.zeros((0, cost.shape[1]))
    for place in order:
        if not len(seen) or not (seen <= cost[place]).all(axis=1).any():
            kept.append(int(place))
            seen = np.vstack([seen, cost[place]])
    return np.array(kept)


def _worthwhile_of_kinds(loss: np.ndarray, cost: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """Return the options that are worthwhile among those of their kind."""
    own = [np.flatnonzero(kind == each) for each in np.unique(kind)]
    return np.concatenate([places[worthwhile(loss[places], cost[places])] for places in own])


def _check(losses: Sequence[np.ndarray], costs: Sequence[np.ndarray]) -> None:
    if len(losses) != len(costs) or not losses:
        raise InvalidInputError(
            "there must be losses and costs of at least one layer, and of as many layers. "
            f"Received: {len(losses)} and {len(costs)}"
        )
    resources = costs[0].shape[-1]
    for layer, (loss, cost) in enumerate(zip(losses, costs, strict=True)):
        if loss.ndim != 1 or not len(loss) or cost.shape != (len(loss), resources):
            raise InvalidInputError(
                f"layer {layer} must have losses of shape (n,) and costs of shape (n, {resources}), n at "
                f"least 1. Received: shapes {loss.shape} and {cost.shape}"
            )
