"""One run: tune, then level by level mask, fine-tune, compare and rewind.

This is the loop behind :func:`fabricfit.keras.optimize_model` and :func:`fabricfit.fit`.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from fabricfit.attributes import LayerAttributes
from fabricfit.errors import InfeasibleError, InvalidInputError, InvalidTypeError
from fabricfit.keras.accounting import Account, deliver
from fabricfit.keras.builder import tune
from fabricfit.keras.cloning import copy_model
from fabricfit.keras.config import DEFAULT_DIRECTORY, TMP_DIRECTORY
from fabricfit.keras.decisions import Decisions, check_objective, decide
from fabricfit.keras.levels import Levels
from fabricfit.keras.masking import Arrays
from fabricfit.keras.reading import check_model, kernel_arrays
from fabricfit.keras.regularization import remove_custom_regularizers
from fabricfit.keras.result import OptimizationResult
from fabricfit.keras.settings import OptimizationSettings
from fabricfit.keras.strengths import Strengths
from fabricfit.keras.training import (
    Engine,
    Penalty,
    Phase,
    TrainingDivergedError,
    better,
    check_against_model,
    fresh_metric,
    fresh_optimizer,
    is_builtin,
    make_engine,
    mean_loss,
    open_data,
    resolve_loss,
    train,
)
from fabricfit.report import Level, OptimizationReport, Trial
from fabricfit.run import RunDirectory, resolve_directory
from fabricfit.scheduler import OptimizationScheduler
from fabricfit.selection import Objective
from fabricfit.targets import Target

__all__ = ["Run"]

logger = logging.getLogger(__name__)

WEIGHTS_FILE = "best.weights.h5"

_CORRECTIONS = 4
_MARGIN = 1.25


class Run:
    """One run, from checked input to report."""

    def __init__(
        self,
        model: keras.Model,
        attributes: Mapping[str, LayerAttributes],
        objective: Objective,
        make_target: Callable[[Decisions, Arrays], Target],
        scheduler: OptimizationScheduler,
        data: tuple[Any, Any],
        settings: OptimizationSettings,
        finish: Callable[..., keras.Model] | None = None,
    ) -> None:
        self.original = check_model(model)
        self.objective = check_objective(objective)
        if not isinstance(scheduler, OptimizationScheduler):
            raise InvalidTypeError(
                "scheduler must be an OptimizationScheduler, for example "
                f"fabricfit.scheduler.ConstantScheduler(). Received: {scheduler!r}"
            )
        self.scheduler = copy.deepcopy(scheduler)
        self.settings = settings
        self.finish = finish
        self.data = open_data(data[0], "train")
        self.validation = open_data(data[1], "val")
        loss = mean_loss(settings.loss_fn)
        check_against_model(model, self.data, loss)
        outputs = check_against_model(model, self.validation, loss)
        few = self.validation.head(8)
        self.metric = fresh_metric(settings.validation_metric, outputs, few.y)
        self.decisions: Decisions = decide(model, attributes, self.objective)
        self.target = make_target(self.decisions, kernel_arrays(model))
        self.freezing = Levels(
            self.target,
            self.decisions.attributes,
            settings.loss_fn,
            settings.ranking_metric or "l1",
            self.data,
        )
        self.baseline = _engine(model, settings).evaluate(self.validation, self.metric)
        if not np.isfinite(self.baseline):
            raise InvalidInputError(
                f"the model's {self.metric.name} on the validation data is {self.baseline}: check its "
                "weights, the data and the metric before it is optimized."
            )
        self.threshold = None if settings.rtol is None else settings.rtol * self.baseline
        self.rng = np.random.default_rng(settings.seed)
        self.levels: list[Level] = []
        self.trials: tuple[Trial, ...] = ()
        self.strengths: Strengths = {}
        self.best: list[np.ndarray] | None = None
        self.best_sparsity = 0.0

    def go(self) -> OptimizationResult:
        """Do the run."""
        place = resolve_directory(self.settings.directory, DEFAULT_DIRECTORY, TMP_DIRECTORY)
        self.folder = RunDirectory(place)
        logger.info(
            "baseline %s %.5g; %s; files in %s",
            self.metric.name, self.baseline, self._demand(), self.folder.path,
        )  # fmt: skip
        if self.target.is_met:
            return self._finish(None)
        engine = self._prepare()
        self._climb(engine)
        return self._finish(engine)

    def _demand(self) -> str:
        if self.threshold is None:
            return "levels are judged by their resources alone"
        return f"levels must reach {self.threshold:.5g}"

    def _prepare(self) -> Engine:
        """Choose the regularizers' strengths; return the engine that goes on with them."""
        settings, attributes = self.settings, self.decisions.attributes
        started = time.perf_counter()
        model = copy_model(self.original, settings.seed)
        engine = make_engine(
            model,
            settings.loss_fn,
            settings.optimizer,
            attributes,
            settings.seed,
            Penalty(model, attributes),
        )
        tuned = tune(
            engine,
            attributes,
            self.metric,
            self.freezing.judge(self.scheduler.upper_bound, self.validation, self.metric),
            self.data,
            tuner=settings.tuner,
            regularization_range=settings.regularization_range,
            increasing=settings.increasing,
            batch_size=settings.batch_size,
            epochs=max(settings.epochs // 2, 1),
            directory=str(self.folder.path),
            seed=settings.seed,
            trials=settings.trials,
        )
        self.trials = tuned.trials
        engine.set_weights(tuned.weights)
        self.strengths = tuned.strengths
        logger.info("prepared in %.1f s (tuner: %s)", time.perf_counter() - started, settings.tuner)
        return engine

    def _climb(self, engine: Engine) -> None:
        """Try level after level, as the scheduler says."""
        good = engine.get_weights()
        bad = 0
        sparsity = self.scheduler.get_sparsity()
        changed, sparsity = (True, sparsity) if sparsity > 0 else self.scheduler.update_step()
        while changed:
            level = self._try_level(engine, sparsity)
            self.levels.append(level)
            logger.info(
                "sparsity %.4g: %s %.5g, %s%s", sparsity, self.metric.name, level.metric,
                "good" if level.accepted else "not good enough",
                f" ({level.note})" if level.note else "",
            )  # fmt: skip
            if level.accepted:
                bad = 0
                self._remember(engine, sparsity)
                changed, sparsity = self.scheduler.update_step()
                if changed:
                    self._rewind(engine)
                    good = engine.get_weights()
            else:
                bad += 1
                engine.set_weights(good)
                if bad > self.settings.cutoff_bad_trials:
                    break
                changed, sparsity = self.scheduler.repair_step()
            self.folder.write_json("levels.json", [each.to_dict() for each in self.levels])

    def _try_level(self, engine: Engine, sparsity: float) -> Level:
        """Mask for a sparsity and fine-tune."""
        started = time.perf_counter()

        def level(accepted: bool, metric: float, used: Any, epochs: int, note: str = "") -> Level:
            seconds = time.perf_counter() - started
            return Level(sparsity, accepted, metric, tuple(used), epochs, seconds, note)

        try:
            used = self.freezing.freeze(engine, sparsity)
        except InfeasibleError as error:
            logger.warning("%s", error)
            return level(False, np.nan, (), 0, str(error))
        epochs = self.settings.epochs - self.settings.rewinding_epochs
        try:
            phase = self._train(engine, epochs)
        except TrainingDivergedError as error:
            logger.warning(
                "sparsity %.4g: %s; going back to the last good weights", sparsity, error
            )
            return level(False, np.nan, used, epochs, str(error))
        finished, kept, excess = self._within(engine, sparsity, used)
        metric = phase.metric
        if finished is not engine.model or kept is not used:
            metric = _engine(finished, self.settings).evaluate(self.validation, self.metric)
        good_enough = self.threshold is None or not better(
            self.threshold, metric, self.settings.increasing
        )
        return level(good_enough and not excess, metric, kept, len(phase.losses), excess)

    def _finished(self, engine: Engine) -> keras.Model:
        """Return the model as it would be handed out now."""
        if self.finish is None:
            return engine.model
        return self.finish(engine.model, self.decisions.attributes)

    def _within(
        self, engine: Engine, level: float, used: tuple[float, ...]
    ) -> tuple[keras.Model, tuple[float, ...], str]:
        """Choose again, sparing more, where trained weights came to take more than was foreseen.

        Returns the model as it would be handed out, what it takes (``used`` itself where it stays), and
        why it takes too much all the same, if so.
        """
        spare = np.zeros(len(used))
        for attempt in range(_CORRECTIONS + 1):
            finished = self._finished(engine)
            over = self.target.excess(kernel_arrays(finished), level)
            if not over.any():
                return finished, used, ""
            spare = spare + _MARGIN * over
            if attempt < _CORRECTIONS:
                try:
                    used = self.freezing.freeze(engine, level, spare)
                except InfeasibleError as error:
                    return finished, used, str(error)
        amounts = zip(over, self.objective.units, strict=True)
        named = ", ".join(f"{amount:,.0f} {unit}" for amount, unit in amounts if amount > 0)
        return finished, used, f"trained weights take {named} more than the level allows"

    def _train(self, engine: Engine, epochs: int, free: bool = False) -> Phase:
        """Train; group penalties act only while all weights are free to follow them.

        Where masks have decided, they would do nothing but hold back the weights that stay.
        """
        engine.reset_optimizer()
        engine.penalty.assign(self.strengths if free else {})
        return train(
            engine,
            self.data,
            self.validation,
            self.metric,
            increasing=self.settings.increasing,
            epochs=epochs,
            batch_size=self.settings.batch_size,
            rng=self.rng,
            callbacks=self.settings.callbacks or (),
            keep_best=not free,
            patience=self.settings.patience,
            needed=self.threshold,
        )

    def _rewind(self, engine: Engine) -> None:
        """Train a little without masks, so that weights pruned too early can come back."""
        if not self.settings.rewinding_epochs:
            return
        good = engine.get_weights()
        engine.projection.release()
        try:
            self._train(engine, self.settings.rewinding_epochs, free=True)
        except TrainingDivergedError as error:
            logger.warning("while rewinding, %s; going on with the last good weights", error)
            engine.set_weights(good)

    def _remember(self, engine: Engine, sparsity: float) -> None:
        if self.best is None or sparsity >= self.best_sparsity:
            self.best, self.best_sparsity = engine.get_weights(), sparsity
            self.folder.write(WEIGHTS_FILE, engine.model.save_weights)

    def _finish(self, engine: Engine | None) -> OptimizationResult:
        """Make the best level's weights a plain model, and count what it saves."""
        if engine is None or self.best is None:
            if engine is not None:
                logger.warning(
                    "no sparsity level kept %s good enough (%s): the result is the model as it came in",
                    self.metric.name, self._demand(),
                )  # fmt: skip
            result = remove_custom_regularizers(self.original)
        else:
            engine.set_weights(self.best)
            result = remove_custom_regularizers(engine.model)
        if self.finish is not None:
            result = self.finish(result, self.decisions.attributes)
        result, account = deliver(self.original, result, self.decisions, self.objective)
        self._warn_of_excess(account)
        self._compile(result)
        report = OptimizationReport(
            units=account.units,
            layers=account.layers,
            resources_before=account.before,
            resources_after=account.after,
            metric_name=self.metric.name,
            metric_before=self.baseline,
            metric_after=_engine(result, self.settings).evaluate(self.validation, self.metric),
            threshold=self.threshold,
            sparsity=self.best_sparsity,
            levels=tuple(self.levels),
            budget=self.target.budget_limits,
            trials=self.trials,
        )
        self.folder.write_json("report.json", report.to_dict())
        return OptimizationResult(result, report, self.folder.path)

    def _warn_of_excess(self, account: Account) -> None:
        """Say so if units stayed in the model that the objective counts as removed."""
        if not self.objective.removes_units:
            return
        dense = self.objective.model_utilization(self.decisions.attributes, {})
        for unit, total, left in zip(account.units, dense, account.after, strict=True):
            if not self.settings.local and left > (1 - self.best_sparsity) * total + 1e-6 * total:
                logger.warning(
                    "%s: %g remain of %g, more than sparsity %.4g allows: some zero units cannot be "
                    "taken out of this model; fabricfit.keras.reduction.plan_reduction says why",
                    unit, left, total, self.best_sparsity,
                )  # fmt: skip

    def _compile(self, model: keras.Model) -> None:
        """Compile with Keras' own objects only: others would have to be there to load the model."""
        settings = self.settings
        if all(map(is_builtin, (settings.optimizer, settings.loss_fn, settings.validation_metric))):
            model.compile(
                fresh_optimizer(settings.optimizer),
                resolve_loss(settings.loss_fn),
                metrics=[fresh_metric(self.metric)],
            )


def _engine(model: keras.Model, settings: OptimizationSettings) -> Engine:
    """Return an engine that only evaluates."""
    return make_engine(model, settings.loss_fn, "sgd")
