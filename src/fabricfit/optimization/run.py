"""Loop of a run: tune, then level by level choose, mask, fine-tune, compare and rewind."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fabricfit.errors import InfeasibleError
from fabricfit.loading import serialize_weights
from fabricfit.optimization.setup import RunSetup
from fabricfit.optimization.state import RunState
from fabricfit.reporting.report import Level
from fabricfit.run import Recorder, defaults
from fabricfit.run.files import BEST_WEIGHTS, LEVELS
from fabricfit.scheduler import PolynomialScheduler, next_level
from fabricfit.training import StretchOutcome, TrainingDivergedError, better, train
from fabricfit.training.strengths import TunedStrengths
from fabricfit.tuning.search import count_epochs, tune

__all__ = ["Run", "Stretch"]

logger = logging.getLogger(__name__)

_CORRECTIONS = 4
"""How often a level is chosen anew where trained weights use more than was foreseen."""

_MARGIN = 1.25
"""What is spared in addition each time, in parts of what is used too much."""


@dataclass(frozen=True)
class Stretch:
    """Training that a run asks for.

    Parameters
    ----------
    sparsity
        The level that it belongs to.
    epochs
        At most how many.
    free
        Whether all weights train, without masks.
    enough
        A metric that ends it early, where one does.
    """

    sparsity: float
    epochs: int
    free: bool = False
    enough: float | None = None


Stretches = Generator[Stretch, StretchOutcome, Any]
"""What a run asks for, one after the other; what came of it is sent back, or thrown as an error."""


@dataclass(frozen=True)
class _Attempt:
    """A level as it was trained: weights as they would be handed out, their resource usage, and excess."""

    weights: list[np.ndarray]
    used: tuple[float, ...]
    excess: str = ""


class Run:
    """Levels of a run, one after the other.

    Parameters
    ----------
    setup
        What the run works with. Its engine's weights are changed.
    recorder
        Writes what happens, and holds the state that a resumed run starts from.
    """

    def __init__(self, setup: RunSetup, recorder: Recorder) -> None:
        self.setup = setup
        self.recorder = recorder
        self.fine_tunes = setup.target.is_met and setup.always_trains
        self.scheduler = (
            PolynomialScheduler(1) if self.fine_tunes else copy.deepcopy(setup.scheduler)
        )
        self.rng = np.random.default_rng(setup.settings.seed)
        self.state = RunState(reuses=setup.start is not None)

    def go(self) -> RunState:
        """Try all levels, from where the run was left if it is resumed; return the state at the end."""
        stretches = self.stretches()
        try:
            stretch = next(stretches)
            while True:
                try:
                    outcome = self._train(stretch)
                except TrainingDivergedError as error:
                    stretch = stretches.throw(error)
                else:
                    stretch = stretches.send(outcome)
        except StopIteration:
            return self.state

    def stretches(self) -> Stretches:
        """Yield all training that the levels need, and go on with what came of it."""
        self._record_baseline()
        if not self.setup.target.is_met or self.fine_tunes:
            if self.recorder.state is None:
                self._tune_strengths()
            else:
                self._restore(RunState.unpack(self.recorder.state))
            yield from self._try_levels()

    def _record_baseline(self) -> None:
        setup, recorder = self.setup, self.recorder
        used = [float(each) for each in setup.count_resources(setup.count_kernels(setup.network))]
        units = list(setup.target.objective.units) or [f"resource {i}" for i in range(len(used))]
        logger.info(
            "baseline %s %.5g; %s; files in %s",
            setup.metric.name, setup.baseline, setup.describe_threshold(), recorder.folder.path,
        )  # fmt: skip
        recorder.mark(
            "baseline",
            name=setup.metric.name,
            metric=setup.baseline,
            threshold=setup.threshold,
            increasing=setup.settings.increasing,
            units=units,
            resources=used,
            limits=setup.target.budget_limits,
            target=self.scheduler.upper_bound,
        )

    def _tune_strengths(self) -> None:
        """Choose the regularization strengths, and begin with the weights that were trained with them."""
        setup, started = self.setup, time.perf_counter()
        if self.fine_tunes:
            tuned = TunedStrengths({}, setup.engine.get_weights())
        elif setup.start is None:
            tuned = self._search_strengths()
            seconds = time.perf_counter() - started
            logger.info("prepared in %.1f s (tuner: %s)", seconds, setup.settings.tuner)
        else:
            tuned = setup.start.tuned
            logger.info("regularization strengths and weights of an earlier run are reused")
        setup.engine.set_weights(tuned.weights)
        self.state.tuned, self.state.last_good = tuned, tuned.weights
        self._save()
        self.recorder.drop("tuning")

    def _search_strengths(self) -> TunedStrengths:
        setup, settings = self.setup, self.setup.settings
        epochs = max(settings.epochs // 2, 1)
        price = count_epochs(settings.tuner, epochs, settings.trials)
        self.recorder.mark("searching", tuner=settings.tuner, epochs=price)
        if price:
            logger.info(
                "searching regularization strengths: %d epochs of training before the levels, of %d each",
                price, settings.epochs,
            )  # fmt: skip
        return tune(
            setup.engine,
            setup.decisions.attributes,
            setup.metric,
            setup.levels.make_evaluator(self.scheduler.upper_bound, setup.validation, setup.metric),
            setup.training,
            tuner=settings.tuner,
            regularization_range=settings.regularization_range,
            increasing=settings.increasing,
            batch_size=settings.batch_size,
            epochs=epochs,
            directory=str(self.recorder.folder.path),
            seed=settings.seed,
            trials=settings.trials,
            checkpointer=self.recorder.checkpointer("tuning"),
            callbacks=settings.callbacks or (),
        )

    def _save(self) -> None:
        """Write a checkpoint of the state between two levels."""
        self.state.weights = self.setup.engine.get_weights()
        self.state.random = self.rng.bit_generator.state
        self.state.statistics = self.setup.levels.statistics.pack()
        self.recorder.save("run", self.state.pack())
        self.recorder.drop("stretch*")

    def _restore(self, saved: RunState) -> None:
        """Start from a saved state."""
        self.state = replace(saved, reuses=saved.reuses and self.setup.start is not None)
        self.setup.engine.set_weights(saved.weights)
        self.rng.bit_generator.state = dict(saved.random)
        self.setup.levels.statistics.restore(saved.statistics)

    def _try_levels(self) -> Stretches:
        """Try level after level, as the scheduler says; those of a resumed run are not trained again."""
        state, scheduler = self.state, self.scheduler
        tried_before, state.levels = state.levels, []
        rejected_in_a_row = 0
        sparsity = scheduler.get_sparsity()
        goes_on, sparsity = (True, sparsity) if sparsity > 0 else next_level(scheduler, good=True)
        while goes_on:
            is_new = len(state.levels) >= len(tried_before)
            if is_new:
                level = yield from self._reach_level(sparsity)
            else:
                level = tried_before[len(state.levels)]
            state.levels.append(level)
            self._record_level(level)
            if level.accepted:
                rejected_in_a_row = 0
                goes_on, sparsity = next_level(scheduler, good=True, current=sparsity)
            else:
                rejected_in_a_row += 1
                goes_on = rejected_in_a_row <= self.setup.settings.cutoff_bad_trials
                if goes_on:
                    goes_on, sparsity = next_level(scheduler, good=False)
            if is_new:
                yield from self._conclude_level(level, goes_on)

    def _record_level(self, level: Level) -> None:
        self.recorder.mark("settled", **level.to_dict())
        logger.info(
            "sparsity %.4g: %s %.5g, %s%s", level.sparsity, self.setup.metric.name, level.metric,
            "accepted" if level.accepted else "rejected",
            f" ({level.note})" if level.note else "",
        )  # fmt: skip

    def _reach_level(self, sparsity: float) -> Generator[Stretch, StretchOutcome, Level]:
        """Return a new level: as an earlier run met it, or as it is trained now."""
        self.recorder.mark("level", sparsity=sparsity, epochs=self._epochs)
        if self.state.reuses:
            level = self._reuse_level(sparsity)
            if level is not None:
                return level
        return (yield from self._try_level(sparsity))

    def _reuse_level(self, sparsity: float) -> Level | None:
        """Return a level as already met, where the run that is reused went that far.

        Its weights serve as long as they are on the way to this run's end; beyond it they are pruned
        further than they need to be.
        """
        setup, start = self.setup, self.setup.start
        self.state.reuses = False
        if start is None or start.weights is None:
            return None
        present = setup.engine.get_weights()
        setup.engine.set_weights(start.weights)
        with setup.finished_weights() as network:
            kernels = setup.count_kernels(network)
        met = setup.target.is_within(kernels, sparsity)
        if met and not setup.target.is_within(kernels, self.scheduler.upper_bound):
            self.state.reuses = True
            used = tuple(setup.count_resources(kernels))
            accepted = self._is_accepted(start.metric)
            return Level(sparsity, accepted, start.metric, used, 0, 0.0, "met by the earlier run")
        setup.engine.set_weights(self.state.best or present)
        return None

    def _conclude_level(self, level: Level, goes_on: bool) -> Stretches:
        """Keep what a level brought, or go back to the last good weights; save the state."""
        engine, state = self.setup.engine, self.state
        if level.accepted:
            self._keep_best(level)
            if goes_on and not state.reuses:
                yield from self._rewind(level.sparsity)
                state.last_good = engine.get_weights()
        else:
            engine.set_weights(state.last_good)
        self._save()
        self.recorder.write_json(LEVELS, [each.to_dict() for each in state.levels])

    def _keep_best(self, level: Level) -> None:
        engine, state = self.setup.engine, self.state
        if state.best is None or level.sparsity >= state.best_sparsity:
            state.best, state.best_sparsity = engine.get_weights(), level.sparsity
            state.best_metric = level.metric
            self.recorder.write(BEST_WEIGHTS, serialize_weights(engine.model))

    def _try_level(self, sparsity: float) -> Generator[Stretch, StretchOutcome, Level]:
        """Choose and freeze weights for a sparsity, and fine-tune the others."""
        setup, epochs, started = self.setup, self._epochs, time.perf_counter()

        def level(accepted: bool, metric: float, used: Any, epochs: int, note: str = "") -> Level:
            seconds = time.perf_counter() - started
            return Level(sparsity, accepted, metric, tuple(used), epochs, seconds, note)

        try:
            used = setup.levels.freeze(setup.engine, sparsity)
        except InfeasibleError as error:
            logger.warning("%s", error)
            return level(False, np.nan, (), 0, str(error))
        self.recorder.mark("frozen", sparsity=sparsity, resources=list(used))
        # On the way to the target, what is as good as before the run is good enough.
        enough = setup.float_baseline if sparsity < self.scheduler.upper_bound else None
        try:
            trained = yield Stretch(sparsity, epochs, enough=enough)
        except TrainingDivergedError as error:
            logger.warning(
                "sparsity %.4g: %s; going back to the last good weights", sparsity, error
            )
            return level(False, np.nan, used, epochs, str(error))
        attempt = self._correct_excess(sparsity, used)
        metric = trained.metric
        if setup.finish is not None or attempt.used is not used:
            metric = setup.evaluate_weights(attempt.weights)
        accepted = self._is_accepted(metric) and not attempt.excess
        return level(accepted, metric, attempt.used, len(trained.losses), attempt.excess)

    @property
    def _epochs(self) -> int:
        """Epochs of a level; where there is but one, those of all the usual levels."""
        settings = self.setup.settings
        if self.fine_tunes:
            return settings.epochs * defaults.LEVELS
        return settings.epochs - settings.rewinding_epochs

    def _is_accepted(self, metric: float) -> bool:
        setup = self.setup
        threshold = setup.baseline if self.fine_tunes else setup.threshold
        return threshold is None or not better(threshold, metric, setup.settings.increasing)

    def _correct_excess(self, level: float, used: tuple[float, ...]) -> _Attempt:
        """Choose again, sparing more, where trained weights came to use more than was foreseen.

        The resource usage is ``used`` itself where nothing is chosen again.
        """
        setup = self.setup
        spare = np.zeros(len(used))
        for attempt in range(_CORRECTIONS + 1):
            with setup.finished_weights() as network:
                finished = setup.engine.get_weights()
                over = setup.target.excess(setup.count_kernels(network), level)
            if not over.any():
                return _Attempt(finished, used)
            spare = spare + _MARGIN * over
            if attempt < _CORRECTIONS:
                try:
                    used = setup.levels.freeze(setup.engine, level, spare)
                except InfeasibleError as error:
                    return _Attempt(finished, used, str(error))
        amounts = zip(over, setup.objective.units, strict=True)
        named = ", ".join(f"{amount:,.0f} {unit}" for amount, unit in amounts if amount > 0)
        return _Attempt(finished, used, f"trained weights use {named} more than the level allows")

    def _train(self, stretch: Stretch) -> StretchOutcome:
        """Fine-tune; group penalties act only while all weights are free to follow them.

        Where masks have decided, they would do nothing but hold back the weights that are kept.
        """
        setup, settings, state = self.setup, self.setup.settings, self.state
        assert state.tuned is not None
        state.stretches += 1
        setup.engine.reset_optimizer()
        setup.engine.penalty.assign(state.tuned.strengths if stretch.free else {})
        return train(
            setup.engine,
            setup.training,
            setup.validation,
            setup.metric,
            increasing=settings.increasing,
            epochs=stretch.epochs,
            batch_size=settings.batch_size,
            rng=self.rng,
            callbacks=settings.callbacks or (),
            keep_best=not stretch.free,
            patience=settings.patience,
            needed=setup.threshold,
            enough=stretch.enough,
            after_epoch=setup.ranges,
            checkpointer=self.recorder.checkpointer(f"stretch{state.stretches}"),
        )

    def _rewind(self, sparsity: float) -> Stretches:
        """Train a little without masks, so that weights pruned too early can grow back."""
        engine, epochs = self.setup.engine, self.setup.settings.rewinding_epochs
        if not epochs:
            return
        good = engine.get_weights()
        self.recorder.mark("rewinding", epochs=epochs)
        engine.projection.release()
        try:
            yield Stretch(sparsity, epochs, free=True)
        except TrainingDivergedError as error:
            logger.warning("while rewinding, %s; going on with the last good weights", error)
            engine.set_weights(good)
