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

from fabricfit.description.attributes import LayerAttributes
from fabricfit.errors import InfeasibleError, InvalidInputError, InvalidTypeError, RunDirectoryError
from fabricfit.network.cloning import copy_model
from fabricfit.network.kernels import Arrays, counted_kernels
from fabricfit.network.walk import check_model
from fabricfit.optimization.eligible_layers import Decisions, check_objective, decide
from fabricfit.optimization.levels import Levels
from fabricfit.optimization.result import OptimizationResult
from fabricfit.optimization.reuse import Start, fingerprint
from fabricfit.optimization.savings import Account, deliver, weight_maps
from fabricfit.optimization.settings import OptimizationSettings
from fabricfit.optimization.state import RunState, describe_run
from fabricfit.reporting.report import Level, OptimizationReport
from fabricfit.run import Record, Recorder, RunDirectory, digest, find_run, resolve_directory
from fabricfit.run.files import DEFAULT_DIRECTORY, TMP_DIRECTORY
from fabricfit.scheduler import OptimizationScheduler
from fabricfit.selection.groups import Objective
from fabricfit.selection.targets import Target
from fabricfit.training import (
    Dataset,
    Distilled,
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
    open_data,
    resolve_loss,
    taught,
    train,
)
from fabricfit.training.recalibration import Recalibration
from fabricfit.training.strengths import Tuned
from fabricfit.training.weight_update import Compensation
from fabricfit.tuning.attach import remove_custom_regularizers
from fabricfit.tuning.search import tune

__all__ = ["Run"]

logger = logging.getLogger(__name__)

WEIGHTS_FILE = "best.weights.h5"
GROUPS = "groups.npz"
MODEL_FILE = "model.keras"

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
        reuse: OptimizationResult | None = None,
        documents: Mapping[str, str] | None = None,
    ) -> None:
        model = self.original = check_model(model)
        self.objective = check_objective(objective)
        if not isinstance(scheduler, OptimizationScheduler):
            raise InvalidTypeError(
                "scheduler must be an OptimizationScheduler, for example "
                f"fabricfit.scheduler.ConstantScheduler(). Received: {scheduler!r}"
            )
        self.scheduler = copy.deepcopy(scheduler)
        self.settings = settings
        self.finish = finish
        self.documents = dict(documents or {})
        self.data = open_data(data[0], "train")
        self.validation = open_data(data[1], "val")
        self.decisions: Decisions = decide(model, attributes, self.objective)
        self.engine = self._make_engine()
        check_against_model(self.engine, self.data)
        self.lessons = self._lessons()
        outputs = check_against_model(self.engine, self.validation)
        few = self.validation.head(8)
        self.metric = fresh_metric(settings.validation_metric, outputs, few.y)
        kernels = self._kernels(model)
        self.target = make_target(self.decisions, kernels)
        self._before = list(map(float, self._used(kernels)))
        self._units = tuple(self.target.objective.units) or tuple(
            f"resource {number}" for number in range(len(self._before))
        )
        self.freezing = Levels(
            self.target,
            self.decisions.attributes,
            settings.loss_fn,
            settings.ranking_metric or "l1",
            self.data,
            Compensation(self.engine.model, self.data, settings.compensation, settings.batch_size),
            Recalibration(self.engine, self.data, settings.recalibration, settings.batch_size),
        )
        self.fingerprint = fingerprint(
            model, self.decisions.attributes, self.data, self.validation, settings
        )
        self.start = _start_of(reuse, self.fingerprint)
        self.baseline = self.engine.evaluate(self.validation, self.metric)
        if not np.isfinite(self.baseline):
            raise InvalidInputError(
                f"the model's {self.metric.name} on the validation data is {self.baseline}: check its "
                "weights, the data and the metric before it is optimized."
            )
        self.threshold = None if settings.rtol is None else settings.rtol * self.baseline
        self.rng = np.random.default_rng(settings.seed)
        self.manifest = describe_run(
            model.name,
            self.fingerprint,
            settings,
            self.scheduler,
            self.target,
            None if self.start is None else digest(self.start.fingerprint),
        )
        self.levels: list[Level] = []
        self.tuned: Tuned | None = None
        self.good: list[np.ndarray] = []
        self.best: list[np.ndarray] | None = None
        self.best_sparsity, self.best_metric = 0.0, np.nan
        self.phases = 0

    def go(self, observer: Callable[[Record], None] | None = None) -> OptimizationResult:
        """Do the run, from where it was left if it is resumed.

        Parameters
        ----------
        observer
            Called with everything that is written into the run's journal.
        """
        self.recorder = self._recorder(observer)
        try:
            logger.info(
                "baseline %s %.5g; %s; files in %s",
                self.metric.name, self.baseline, self._demand(), self.recorder.folder.path,
            )  # fmt: skip
            self.recorder.mark(
                "baseline",
                name=self.metric.name,
                metric=self.baseline,
                threshold=self.threshold,
                increasing=self.settings.increasing,
                units=list(self._units),
                resources=list(self._before),
                limits=self.target.budget_limits,
                target=self.scheduler.upper_bound,
            )
            if not self.target.is_met:
                self._prepare()
                self._climb()
            return self._finish()
        except KeyboardInterrupt:
            logger.warning(
                "interrupted; resume=True goes on with the run in %s", self.recorder.folder.path
            )
            raise
        finally:
            self.recorder.close()

    def _recorder(self, observer: Callable[[Record], None] | None) -> Recorder:
        settings = self.settings
        place = resolve_directory(settings.directory, DEFAULT_DIRECTORY, TMP_DIRECTORY)
        found = find_run(place, self.manifest["fingerprint"]) if settings.resume else None
        folder = RunDirectory(place) if found is None else RunDirectory.existing(found)
        recorder = Recorder(folder, self.manifest, settings.checkpoint_seconds, observer)
        for name, text in self.documents.items():
            if not (folder.path / name).exists():
                recorder.write_text(name, text)
        self.saved = None if recorder.state is None else RunState.of(recorder.state)
        return recorder

    def _make_engine(self) -> Engine:
        """Return what trains and judges a copy of the model, throughout the run."""
        settings, attributes = self.settings, self.decisions.attributes
        model = copy_model(self.original, settings.seed)
        penalty = Penalty(model, attributes)
        loss = settings.loss_fn
        if settings.distillation:
            loss = Distilled(loss, settings.distillation, settings.temperature)
        return make_engine(model, loss, settings.optimizer, attributes, settings.seed, penalty)

    def _lessons(self) -> Dataset:
        """Return what is trained on: the data, with what the model says of them if it is to teach."""
        if not self.settings.distillation:
            return self.data
        teacher = make_engine(copy_model(self.original), self.settings.loss_fn, "sgd")
        return taught(self.data, teacher.predict)

    def _demand(self) -> str:
        if self.threshold is None:
            return "levels are judged by their resources alone"
        return f"levels must reach {self.threshold:.5g}"

    def _prepare(self) -> None:
        """Choose the regularizers' strengths, and begin with the weights that were trained with them."""
        settings, started = self.settings, time.perf_counter()
        if self.saved is not None:
            self.tuned = self.saved.tuned
        elif self.start is not None:
            self.tuned = self.start.tuned
            logger.info("strengths and weights of an earlier run are used again")
        else:
            self.recorder.mark("searching", tuner=settings.tuner)
            self.tuned = tune(
                self.engine,
                self.decisions.attributes,
                self.metric,
                self.freezing.judge(self.scheduler.upper_bound, self.validation, self.metric),
                self.lessons,
                tuner=settings.tuner,
                regularization_range=settings.regularization_range,
                increasing=settings.increasing,
                batch_size=settings.batch_size,
                epochs=max(settings.epochs // 2, 1),
                directory=str(self.recorder.folder.path),
                seed=settings.seed,
                trials=settings.trials,
                keeper=self.recorder.keeper("tuning"),
            )
            seconds = time.perf_counter() - started
            logger.info("prepared in %.1f s (tuner: %s)", seconds, settings.tuner)
        self.engine.set_weights(self.tuned.weights)
        if self.saved is None:
            self.good = self.tuned.weights
            self._save()
            self.recorder.drop("tuning")

    def _met_before(self, sparsity: float) -> Level | None:
        """Return a level as already done, where the run that is used again went that far.

        Its weights serve as long as they are on the way to this run's end; if they are beyond it,
        they have given up more than they need.
        """
        if self.start is None or self.start.weights is None:
            self.start = None
            return None
        present = self.engine.get_weights()
        self.engine.set_weights(self.start.weights)
        kernels = self._kernels(self._finished())
        met = self.target.is_within(kernels, sparsity)
        if met and not self.target.is_within(kernels, self.scheduler.upper_bound):
            metric = self.start.metric
            used = self._used(kernels)
            good = self._is_good(metric)
            return Level(sparsity, good, metric, tuple(used), 0, 0.0, "met by the earlier run")
        self.start = None  # from here on this run goes its own way
        self.engine.set_weights(self.best or present)
        return None

    def _climb(self) -> None:
        """Try level after level, as the scheduler says."""
        recorded = [] if self.saved is None else self.saved.levels
        bad = 0
        sparsity = self.scheduler.get_sparsity()
        changed, sparsity = (True, sparsity) if sparsity > 0 else self.scheduler.update_step()
        self._restore()
        while changed:
            is_new = len(self.levels) >= len(recorded)
            if is_new:
                epochs = self.settings.epochs - self.settings.rewinding_epochs
                self.recorder.mark("level", sparsity=sparsity, epochs=epochs)
                level = self._met_before(sparsity) or self._try_level(sparsity)
            else:
                level = recorded[len(self.levels)]
            self.levels.append(level)
            self.recorder.mark("settled", **level.to_dict())
            logger.info(
                "sparsity %.4g: %s %.5g, %s%s", sparsity, self.metric.name, level.metric,
                "good" if level.accepted else "not good enough",
                f" ({level.note})" if level.note else "",
            )  # fmt: skip
            if level.accepted:
                bad = 0
                changed, sparsity = self.scheduler.update_step()
            else:
                bad += 1
                stops = bad > self.settings.cutoff_bad_trials
                changed, sparsity = (False, sparsity) if stops else self.scheduler.repair_step()
            if is_new:
                self._settle(level, changed)

    def _settle(self, level: Level, goes_on: bool) -> None:
        """Do what follows from a level, and save where the run is."""
        if level.accepted:
            self._remember(level)
            if goes_on and self.start is None:
                self._rewind()
                self.good = self.engine.get_weights()
        else:
            self.engine.set_weights(self.good)
        self._save()
        self.recorder.write_json("levels.json", [each.to_dict() for each in self.levels])

    def _save(self) -> None:
        assert self.tuned is not None
        state = RunState(
            self.tuned,
            self.levels,
            self.engine.get_weights(),
            self.good,
            self.rng.bit_generator.state,
            self.best,
            self.best_sparsity,
            self.best_metric,
            self.phases,
            self.start is not None,
        )
        self.recorder.save("run", state.packed())
        self.recorder.drop("phase*")

    def _restore(self) -> None:
        """Go on where a saved run was left; where one begins without it."""
        saved = self.saved
        if saved is None:
            self.good = self.engine.get_weights()
            return
        assert saved.weights is not None and saved.good is not None
        self.engine.set_weights(saved.weights)
        self.good, self.best = saved.good, saved.best
        self.best_sparsity, self.best_metric = saved.best_sparsity, saved.best_metric
        assert saved.random is not None
        self.rng.bit_generator.state = dict(saved.random)
        self.phases = saved.phases
        if not saved.reuses:
            self.start = None

    def _try_level(self, sparsity: float) -> Level:
        """Mask for a sparsity and fine-tune."""
        engine = self.engine
        started = time.perf_counter()

        def level(accepted: bool, metric: float, used: Any, epochs: int, note: str = "") -> Level:
            seconds = time.perf_counter() - started
            return Level(sparsity, accepted, metric, tuple(used), epochs, seconds, note)

        try:
            used = self.freezing.freeze(engine, sparsity)
        except InfeasibleError as error:
            logger.warning("%s", error)
            return level(False, np.nan, (), 0, str(error))
        self.recorder.mark("frozen", sparsity=sparsity, resources=list(used))
        epochs = self.settings.epochs - self.settings.rewinding_epochs
        try:
            # On the way to the target, what is as good as before the run is good enough.
            enough = self.baseline if sparsity < self.scheduler.upper_bound else None
            phase = self._train(epochs, enough=enough)
        except TrainingDivergedError as error:
            logger.warning(
                "sparsity %.4g: %s; going back to the last good weights", sparsity, error
            )
            return level(False, np.nan, used, epochs, str(error))
        finished, kept, excess = self._within(sparsity, used)
        metric = phase.metric
        if finished is not engine.model or kept is not used:
            metric = self._measure(finished)
        return level(self._is_good(metric) and not excess, metric, kept, len(phase.losses), excess)

    def _is_good(self, metric: float) -> bool:
        return self.threshold is None or not better(
            self.threshold, metric, self.settings.increasing
        )

    def _measure(self, model: keras.Model) -> float:
        """Return the validation metric of a model; one like the run's own is not compiled again."""
        engine = self.engine
        shapes = [[tuple(v.shape) for v in each.variables] for each in (model, engine.model)]
        if shapes[0] != shapes[1]:
            settings = self.settings
            other = make_engine(model, settings.loss_fn, "sgd")
            return other.evaluate(self.validation, self.metric)
        present = engine.get_weights()
        engine.set_weights([keras.ops.convert_to_numpy(v) for v in model.variables])
        value = engine.evaluate(self.validation, self.metric)
        engine.set_weights(present)
        return value

    def _used(self, kernels: Arrays) -> list[float]:
        return self.target.objective.model_use(self.decisions.attributes, kernels)

    def _kernels(self, model: keras.Model) -> Arrays:
        return counted_kernels(model, self.decisions.attributes)

    def _finished(self) -> keras.Model:
        """Return the model as it would be handed out now."""
        if self.finish is None:
            return self.engine.model
        return self.finish(self.engine.model, self.decisions.attributes)

    def _within(
        self, level: float, used: tuple[float, ...]
    ) -> tuple[keras.Model, tuple[float, ...], str]:
        """Choose again, sparing more, where trained weights came to take more than was foreseen.

        Returns the model as it would be handed out, what it takes (``used`` itself where it stays), and
        why it takes too much all the same, if so.
        """
        spare = np.zeros(len(used))
        for attempt in range(_CORRECTIONS + 1):
            finished = self._finished()
            over = self.target.excess(self._kernels(finished), level)
            if not over.any():
                return finished, used, ""
            spare = spare + _MARGIN * over
            if attempt < _CORRECTIONS:
                try:
                    used = self.freezing.freeze(self.engine, level, spare)
                except InfeasibleError as error:
                    return finished, used, str(error)
        amounts = zip(over, self.objective.units, strict=True)
        named = ", ".join(f"{amount:,.0f} {unit}" for amount, unit in amounts if amount > 0)
        return finished, used, f"trained weights take {named} more than the level allows"

    def _train(self, epochs: int, free: bool = False, enough: float | None = None) -> Phase:
        """Train; group penalties act only while all weights are free to follow them.

        Where masks have decided, they would do nothing but hold back the weights that stay.
        """
        assert self.tuned is not None
        self.phases += 1
        self.engine.reset_optimizer()
        self.engine.penalty.assign(self.tuned.strengths if free else {})
        return train(
            self.engine,
            self.lessons,
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
            enough=enough,
            keeper=self.recorder.keeper(f"phase{self.phases}"),
        )

    def _rewind(self) -> None:
        """Train a little without masks, so that weights pruned too early can come back."""
        if not self.settings.rewinding_epochs:
            return
        good = self.engine.get_weights()
        self.recorder.mark("rewinding", epochs=self.settings.rewinding_epochs)
        self.engine.projection.release()
        try:
            self._train(self.settings.rewinding_epochs, free=True)
        except TrainingDivergedError as error:
            logger.warning("while rewinding, %s; going on with the last good weights", error)
            self.engine.set_weights(good)

    def _remember(self, level: Level) -> None:
        if self.best is None or level.sparsity >= self.best_sparsity:
            self.best, self.best_sparsity = self.engine.get_weights(), level.sparsity
            self.best_metric = level.metric
            self.recorder.write(WEIGHTS_FILE, self.engine.model.save_weights)

    def _finish(self) -> OptimizationResult:
        """Make the best level's weights a plain model, and count what it saves."""
        if self.best is None:
            if not self.target.is_met:
                logger.warning(
                    "no sparsity level kept %s good enough (%s): the result is the model as it came in",
                    self.metric.name, self._demand(),
                )  # fmt: skip
            result = remove_custom_regularizers(self.original)
        else:
            self.engine.set_weights(self.best)
            result = remove_custom_regularizers(self.engine.model)
        if self.finish is not None:
            result = self.finish(result, self.decisions.attributes)
        self.recorder.write_state(GROUPS, weight_maps(result, self.decisions))
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
            metric_after=self._measure(result),
            threshold=self.threshold,
            sparsity=self.best_sparsity,
            levels=tuple(self.levels),
            budget=self.target.budget_limits,
            trials=self.tuned.trials if self.tuned else (),
            derivatives=self.freezing.derivatives,
        )
        self.recorder.write_json("report.json", report.to_dict())
        self._keep_model(result)
        self.recorder.mark(
            "finished",
            durable=True,
            metric=report.metric_after,
            resources=list(report.resources_after),
        )
        start = None
        if self.tuned is not None:
            start = Start(self.fingerprint, self.tuned, self.best, self.best_metric)
        return OptimizationResult(
            result,
            report,
            self.recorder.folder.path,
            start=start,
            increasing=self.settings.increasing,
        )

    def _keep_model(self, model: keras.Model) -> None:
        try:
            self.recorder.write(MODEL_FILE, model.save)
        except RunDirectoryError:
            raise
        except Exception as error:  # what the user's own layers do with it
            logger.warning("the model cannot be saved as a file, only its weights are: %s", error)

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


def _start_of(reuse: OptimizationResult | None, fingerprint: dict[str, Any]) -> Start | None:
    """Return what an earlier result offers to begin with, if it was of the same model and data."""
    if reuse is None:
        return None
    if not isinstance(reuse, OptimizationResult):
        raise InvalidTypeError(
            f"reuse must be an OptimizationResult, or None. Received: {type(reuse)!r}"
        )
    if reuse.start is not None:
        reuse.start.check(fingerprint)
    return reuse.start
