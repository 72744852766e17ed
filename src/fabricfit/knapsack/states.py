"""Partial choices of a grouped knapsack, one class after another, the hopeless ones dropped.

A state is what the decided classes use beyond the center, and the loss so far (Nemhauser and
Ullmann, "Discrete dynamic programming and capital allocation", Management Science 15, 1969). Of
states that use the same only the best is kept, with one resource also none that both uses more and
is worth less.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fabricfit.knapsack.relaxation import Moves, Relaxation

__all__ = ["Limits", "States", "grow", "pack"]

_CHUNK = 1 << 19


@dataclass
class Limits:
    """What a search may spend, and what it had to leave out.

    Parameters
    ----------
    deadline
        Value of :func:`time.perf_counter` at which to stop.
    states
        Partial choices to hold at most.
    left_out
        Least loss that a choice left out so far can have; ``inf`` when none was.
    """

    deadline: float
    states: int
    left_out: float = np.inf

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return time.perf_counter() > self.deadline


@dataclass
class States:
    """All partial choices of some classes within a loss.

    Parameters
    ----------
    used
        Shape ``(n, M)``, relative to the center.
    loss
        Shape ``(n,)``.
    steps
        For each decided class: its index, and for every state the row it came from and the move.
    """

    used: np.ndarray
    loss: np.ndarray
    steps: list[tuple[int, np.ndarray, np.ndarray]] = field(default_factory=list)

    def trace(self, row: int) -> dict[int, int]:
        """Return class -> offset of one state."""
        found = {}
        for index, parents, offsets in reversed(self.steps):
            found[index] = int(offsets[row])
            row = int(parents[row])
        return found


def grow(
    order: Sequence[int],
    moves: Sequence[Moves],
    costs: np.ndarray,
    slack: np.ndarray,
    prices: np.ndarray,
    relaxation: Relaxation,
    most: float,
    limits: Limits,
) -> States:
    """Enumerate what the classes in ``order`` can do within a loss of ``most``.

    Parameters
    ----------
    order
        Indices of the classes to decide.
    moves
        The moves of every class to consider; a class with a single one is decided already.
    costs
        Shape ``(L, M)``.
    slack
        What the center leaves over, shape ``(M,)``.
    prices
        Shape ``(M,)``.
    relaxation
        Lower bounds for the rest.
    most
        The largest loss of interest.
    limits
        Time and states; what has to be left out is noted there.
    """
    resources = costs.shape[1]
    states = States(np.zeros((1, resources), costs.dtype), np.zeros(1))
    undecided = np.array([move.offsets.size > 1 for move in moves])
    for index in order:
        undecided[index] = False
        parts = []
        per_chunk = max(_CHUNK // moves[index].offsets.size, 1)
        for start in range(0, states.loss.size, per_chunk):
            if limits.over:
                limits.left_out = 0.0
                break
            rows = slice(start, start + per_chunk)
            total = states.loss[rows, None] + moves[index].losses
            parent, move = np.nonzero(total <= most)
            offset = moves[index].offsets[move]
            used = states.used[rows][parent] + offset[:, None] * costs[index]
            loss = total[parent, move]
            promise = loss + relaxation.bound(slack - used, undecided)
            kept = promise <= most
            part = (used[kept], loss[kept], promise[kept], parent[kept] + start, offset[kept])
            parts.append(_drop_states(part, prices, limits))
        if not parts:
            return States(states.used[:0], states.loss[:0])
        used, loss, _, parent, offset = (
            _drop_states(
                tuple(np.concatenate(column) for column in zip(*parts, strict=True)), prices, limits
            )
            if len(parts) > 1
            else parts[0]
        )
        step = (index, parent.astype(np.int32), offset.astype(np.int32))
        states = States(used, loss, [*states.steps, step])
    return states


def _drop_states(
    columns: tuple[np.ndarray, ...], prices: np.ndarray, limits: Limits
) -> tuple[np.ndarray, ...]:
    """Drop the states that another one beats, then the least promising beyond the limit."""
    used, loss, promise = columns[:3]
    kept = _find_undominated(used, loss, prices)
    if kept.size > limits.states:
        ranked = kept[np.argsort(promise[kept], kind="stable")]
        limits.left_out = min(limits.left_out, float(promise[ranked[limits.states]]))
        kept = ranked[: limits.states]
    return tuple(column[kept] for column in columns)


def _find_undominated(used: np.ndarray, loss: np.ndarray, prices: np.ndarray) -> np.ndarray:
    if used.shape[1] == 1:
        worth = loss - prices[0] * used[:, 0]
        order = np.lexsort((worth, used[:, 0]))
        worth = worth[order]
        best = np.concatenate([[np.inf], np.minimum.accumulate(worth)[:-1]])
        return order[worth < best]
    if used.dtype.kind == "i":
        key = pack(used)
        order = np.lexsort((loss, key))
        new = key[order[1:]] != key[order[:-1]]
    else:
        order = np.lexsort((loss, *used.T))
        new = (used[order[1:]] != used[order[:-1]]).any(axis=1)
    return order[np.concatenate([[True], new])] if order.size else order


def pack(rows: np.ndarray, like: np.ndarray | None = None) -> np.ndarray:
    """Give the rows of a matrix numbers, so that equal rows, and only they, get equal numbers.

    Parameters
    ----------
    rows
        Shape ``(n, M)``.
    like
        A second matrix to number in the same way; its numbers follow those of ``rows``.
    """
    both = rows if like is None else np.vstack([rows, like])
    if not len(both) or not both.shape[1]:
        return np.zeros(len(both), np.int64)
    if both.dtype.kind == "i":
        least = both.min(axis=0)
        widths = (both.max(axis=0) - least + 1).astype(object)
        if np.prod(widths) < 2**62:
            key = np.zeros(len(both), np.int64)
            for column, start, width in zip(both.T, least, widths, strict=True):
                key = key * int(width) + (column - start)
            return key
    return np.unique(both, axis=0, return_inverse=True)[1].reshape(-1)
