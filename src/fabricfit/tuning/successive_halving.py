"""Successive halving over regularization strengths, with one compiled engine.

All candidates are trained for some epochs each. The better half is trained further, and so forth, until one
or two have had all their epochs. In a run, candidates are compared by the validation metric *after pruning to
the target*: the strengths that leave a dense model best are seldom those that leave a pruned one best.

References
----------
K. Jamieson, A. Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", AISTATS
2016.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import qmc

from fabricfit.description.attributes import LayerAttributes
from fabricfit.errors import InvalidInputError
from fabricfit.run import Checkpointer
from fabricfit.samples import Dataset
from fabricfit.training import Engine, EngineState, TrainingDivergedError, better
from fabricfit.training.strengths import Strengths, Trial, TunedStrengths, regularized_layers

__all__ = ["WatchTrial", "candidates", "halve", "halving_epochs", "rungs"]

logger = logging.getLogger(__name__)

WatchTrial = Callable[..., None]
"""Is called with ``number``, ``epochs``, ``loss`` and ``metric`` of a trial."""

_REDUCTION = 2
"""One of so many candidates is trained on to the next rung."""


def candidates(
    attributes: Mapping[str, LayerAttributes], values: Sequence[float], count: int, seed: int
) -> list[Strengths]:
    """Return different choices of strengths.

    Parameters
    ----------
    attributes
        Layer -> attributes; layers that may be pruned get a strength for their norms, layers that may
        be shared one for their variances.
    values
        Strengths to choose from.
    count
        At most how many choices. One half, rounded up, has the same strength everywhere, from the
        smallest to the largest; the others are drawn layer by layer, by Latin hypercube sampling, so that
        each strength is tried in each layer.
    seed
        Seeds the drawing.
    """
    values = sorted(set(values))
    layers = regularized_layers(attributes)
    wanted = [(name, kind) for name, both in layers.items() for kind in (0, 1) if both[kind]]

    def name_strengths(indices: Sequence[int]) -> Strengths:
        chosen = {name: [0.0, 0.0] for name in layers}
        for (name, kind), index in zip(wanted, indices, strict=True):
            chosen[name][kind] = values[index]
        return {name: (alpha, beta) for name, (alpha, beta) in chosen.items()}

    alike = np.unique(np.linspace(0, len(values) - 1, math.ceil(count / 2)).round().astype(int))
    rows = [[int(index)] * len(wanted) for index in alike]
    if len(rows) < count and wanted:
        drawn = qmc.LatinHypercube(len(wanted), rng=np.random.default_rng(seed))
        rows += (drawn.random(count - len(rows)) * len(values)).astype(int).tolist()
    return [name_strengths(row) for row in {tuple(row): row for row in rows}.values()]


def rungs(epochs: int, count: int) -> list[int]:
    """Return how many epochs a candidate has had at the end of each rung, the last being ``epochs``."""
    steps = math.ceil(math.log(max(count, 1), _REDUCTION) - 1e-9)
    return sorted({math.ceil(epochs / _REDUCTION**step) for step in range(steps + 1)})


def halving_epochs(epochs: int, count: int) -> int:
    """Return how many epochs all candidates are trained together, if none diverges.

    Parameters
    ----------
    epochs
        Of the candidates that go all the way.
    count
        Candidates.
    """
    total, done = 0, 0
    for rung in rungs(epochs, count):
        total += (rung - done) * count
        done, count = rung, math.ceil(count / _REDUCTION)
    return total


def halve(
    engine: Engine,
    choices: Sequence[Strengths],
    data: Dataset,
    evaluate: Callable[[Engine], float],
    *,
    increasing: bool,
    epochs: int,
    batch_size: int,
    seed: int,
    checkpointer: Checkpointer | None = None,
    watch: WatchTrial | None = None,
) -> TunedStrengths:
    """Train candidates with one engine, rung by rung; return the best one.

    Parameters
    ----------
    engine
        Has a penalty whose strengths are tried; all candidates begin with its weights. It is left with
        weights and strengths of some candidate.
    choices
        Strengths to try.
    data
        Samples to train on.
    evaluate
        Returns the metric of the engine's present weights; does not change them.
    increasing
        Whether more is better.
    epochs
        Epochs of the candidates that go all the way.
    batch_size, seed
        Samples in a step; seeds the samples' order, which is the same for all.
    checkpointer
        Saves the search between two rungs, and holds the state to resume from.
    watch
        Called with each candidate that has been trained further.

    Raises
    ------
    InvalidInputError
        Every candidate diverged.
    """
    start = engine.get_weights()
    engine.reset_optimizer()
    states = dict.fromkeys(range(len(choices)), engine.get_state())
    scores: dict[int, float] = {}
    epochs_of = dict.fromkeys(states, 0)
    ahead, done, first = list(states), 0, 0
    if checkpointer is not None and checkpointer.state is not None:
        states, scores, epochs_of, ahead, done, first = _restore_state(checkpointer.state)
        engine.set_random(checkpointer.state["random"])
        checkpointer.restore_attached()
    for number, rung in enumerate(rungs(epochs, len(choices))):
        if number < first:
            continue
        rng = np.random.default_rng([seed, number])
        orders = [data.order(rng) for _ in range(rung - done)]
        candidates = ((states[index], choices[index]) for index in ahead)
        trained = engine.train_candidates(candidates, data, orders, batch_size)
        for index, (state, loss) in zip(ahead, trained, strict=True):
            scores[index] = _evaluate_candidate(engine, evaluate) if np.isfinite(loss) else math.nan
            states[index], epochs_of[index] = state, rung
            if watch is not None:
                watch(number=index, epochs=rung, loss=loss, metric=scores[index])
            if checkpointer is not None:
                checkpointer.mark("trial", epochs=sum(epochs_of.values()))
            logger.debug(
                "regularization strengths %d after %d epochs: %.5g", index, rung, scores[index]
            )
        done = rung
        alive = [index for index in ahead if np.isfinite(scores[index])]
        if not alive:
            engine.set_weights(start)
            raise InvalidInputError(
                "every trial of the tuner diverged: lower the learning rate or regularization_range."
            )
        ahead = _sort_best_first(alive, scores, increasing)[: math.ceil(len(ahead) / _REDUCTION)]
        states = {index: states[index] for index in ahead}
        if checkpointer is not None:
            checkpointer.mark("rung", epochs=rung, scores=[scores[index] for index in ahead])
            checkpointer.save(
                {
                    "states": {i: [s.weights, s.optimizer] for i, s in states.items()},
                    "scores": scores,
                    "epochs_of": epochs_of,
                    "ahead": ahead,
                    "done": [done, number + 1],
                    "random": engine.get_random(),
                }
            )
    best = ahead[0]
    return TunedStrengths(
        choices[best],
        states[best].weights,
        tuple(Trial(each, epochs_of[i], scores[i], i == best) for i, each in enumerate(choices)),
    )


def _restore_state(
    state: Mapping[str, Any],
) -> tuple[dict[int, EngineState], dict[int, float], dict[int, int], list[int], int, int]:
    """Return what was saved after a rung, and the number of the next one."""
    states = {index: EngineState(*parts) for index, parts in state["states"].items()}
    return states, state["scores"], state["epochs_of"], state["ahead"], *state["done"]


def _evaluate_candidate(engine: Engine, evaluate: Callable[[Engine], float]) -> float:
    try:
        return evaluate(engine)
    except TrainingDivergedError:
        return math.nan


def _sort_best_first(
    indices: list[int], scores: Mapping[int, float], increasing: bool
) -> list[int]:
    ordered: list[int] = []
    for index in indices:  # the earlier of two that are equally good is kept before the other
        place = next(
            (
                i
                for i, other in enumerate(ordered)
                if better(scores[index], scores[other], increasing)
            ),
            len(ordered),
        )
        ordered.insert(place, index)
    return ordered
