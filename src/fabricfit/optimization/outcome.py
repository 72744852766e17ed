"""Outcome of a run: the best level as a plain model, its report, and the result that is handed out."""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from pathlib import Path

import keras

from fabricfit.errors import RunDirectoryError
from fabricfit.loading import serialize_model
from fabricfit.losses import is_builtin
from fabricfit.network.copying import names_in, unregistered_names
from fabricfit.optimization.finishing import finish_training
from fabricfit.optimization.result import OptimizationResult
from fabricfit.optimization.reuse import Start
from fabricfit.optimization.savings import Account, deliver, weight_maps
from fabricfit.optimization.setup import RunSetup
from fabricfit.optimization.state import RunState
from fabricfit.reporting.report import OptimizationReport
from fabricfit.run import Recorder
from fabricfit.run.files import GROUPS, MODEL, REPORT
from fabricfit.training import fresh_optimizer

__all__ = ["make_result"]

logger = logging.getLogger(__name__)


def make_result(setup: RunSetup, recorder: Recorder, state: RunState) -> OptimizationResult:
    """Make the best level's weights a plain model, count what it saves, and write both.

    Parameters
    ----------
    setup
        What the run worked with.
    recorder
        Writes the model and the report into the run's folder.
    state
        Where the run ended.
    """
    _restore_best(setup, state)
    if setup.finish is not None:
        setup.finish(setup.engine.network, setup.decisions.attributes)
    recorder.write_state(GROUPS, weight_maps(setup.engine.network, setup.decisions))
    model, account = deliver(
        setup.network, setup.engine.network, setup.decisions, setup.objective, setup.given
    )
    _warn_of_remaining_units(setup, account, state.best_sparsity)
    account = finish_training(setup, recorder, model, account)
    account = replace(account, remarks=(*account.remarks, *recorder.remarks))
    _compile(model, setup)
    metric = setup.evaluate_model(model)
    report = _make_report(setup, state, account, metric)
    if setup.hardware is not None and setup.hardware.is_exact:
        report = replace(report, metric_errors=setup.hardware.errors(metric))
    recorder.write_json(REPORT, report.to_dict())
    save_model(recorder, model)
    used = list(report.resources_after)
    recorder.mark("finished", durable=True, metric=report.metric_after, resources=used)
    return OptimizationResult(
        model,
        report,
        recorder.folder.path,
        start=None
        if state.tuned is None
        else Start(setup.fingerprint, state.tuned, state.best, state.best_metric),
        increasing=setup.settings.increasing,
        metric=setup.settings.validation_metric,
    )


def _restore_best(setup: RunSetup, state: RunState) -> None:
    """Give the engine the best level's weights, or those of the model as it came in."""
    if state.best is not None:
        setup.engine.set_weights(state.best)
        return
    if not setup.target.is_met:
        logger.warning(
            "no sparsity level kept %s good enough (%s): the result is the model as it came in",
            setup.metric.name, setup.describe_threshold(),
        )  # fmt: skip
    variables = setup.network.model.variables
    setup.engine.set_weights([keras.ops.convert_to_numpy(variable) for variable in variables])


def _make_report(
    setup: RunSetup, state: RunState, account: Account, metric: float
) -> OptimizationReport:
    return OptimizationReport(
        units=account.units,
        layers=account.layers,
        resources_before=account.before,
        resources_after=account.after,
        metric_name=setup.metric.name,
        metric_before=setup.baseline,
        metric_after=metric,
        threshold=setup.threshold,
        sparsity=state.best_sparsity,
        levels=tuple(state.levels),
        budget=setup.target.budget_limits,
        trials=state.tuned.trials if state.tuned else (),
        derivatives=setup.levels.derivatives,
        evaluated="" if setup.hardware is None else setup.hardware.text,
        highest=account.highest,
        counted=account.counted,
        remarks=(*account.remarks, *_remark_on_formats(setup)),
    )


def _remark_on_formats(setup: RunSetup) -> list[str]:
    if setup.hardware is None:
        return []
    said = setup.hardware.tell_of_formats(setup.float_baseline, setup.settings.increasing)
    return [said] if said else []


def save_model(recorder: Recorder, model: keras.Model) -> None:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*includes a `lambda`")
            recorder.write(MODEL, serialize_model(model))
    except RunDirectoryError:
        raise
    except Exception as error:  # what the user's own layers do with it
        logger.warning("the model cannot be saved as a file, only its weights are: %s", error)
        return
    if names := set(unregistered_names(model)):
        _explain_file(recorder.folder.path / MODEL, model, names)


def _explain_file(path: Path, model: keras.Model, names: set[str]) -> None:
    """Say how a model's file is loaded that needs things of the user's own, or that it cannot be."""
    try:
        keras.saving.load_model(path, names_in(model), compile=False, safe_mode=False)
    except Exception as error:  # what the user's own classes and functions do with it
        said = str(error).strip().splitlines()
        logger.warning(
            "%s cannot be loaded, only the weights in it can: give what is your own in the model a name, and "
            "register it with keras.saving.register_keras_serializable. Keras says: %s",
            MODEL, said[-1] if said else type(error).__name__,
        )  # fmt: skip
    else:
        given = ", ".join(f"{name!r}: …" for name in sorted(names - {"<lambda>"}))
        options = [f"custom_objects={{{given}}}"] if given else []
        options += ["safe_mode=False"] if "<lambda>" in names else []
        logger.warning(
            "%s holds functions or classes of your own that Keras does not find by itself: load it with "
            "keras.saving.load_model(path, %s)",
            MODEL, ", ".join(options),
        )  # fmt: skip


def _warn_of_remaining_units(setup: RunSetup, account: Account, sparsity: float) -> None:
    """Say so if units stayed in the model that the objective counts as removed."""
    if not setup.objective.removes_units or setup.settings.local:
        return
    allowed = setup.target.allowed(sparsity)
    amounts = zip(account.units, account.before, account.after, allowed, strict=True)
    for unit, total, left, limit in amounts:
        if left > limit + 1e-6 * total:
            logger.warning(
                "%s: %g remain of %g, more than sparsity %.4g allows: some all-zero units cannot be "
                "removed from this model; fabricfit.keras.reduction.plan_reduction says why",
                unit, left, total, sparsity,
            )  # fmt: skip


def _compile(model: keras.Model, setup: RunSetup) -> None:
    """Compile with Keras' own objects only: others would have to be there to load the model."""
    optimizer, loss = fresh_optimizer(setup.settings.optimizer), setup.engine.hard_loss
    losses = [each for each in loss.losses if each is not None]
    functions = [getattr(each, "fn", each) for each in losses]
    metrics = [each for _, each in setup.metric.every()]
    if all(map(is_builtin, (optimizer, *losses, *functions, *metrics))):
        model.compile(optimizer, **loss.for_compile(), metrics=setup.metric.for_compile())
