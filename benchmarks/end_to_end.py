"""Whole runs, the search for regularization strengths and five levels, against the older algorithm."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.harness import Bench, Case, Contest
from benchmarks.tables import Headline, Report, contest_table, new_table, percent, seconds
from benchmarks.task import Task
from benchmarks.workloads import (
    LEARNING_RATE,
    LOSS,
    WORKLOADS,
    accuracy,
    load_model,
    load_samples,
    train_models,
    zero_fraction,
)

__all__ = ["LEVELS", "fabricfit_task", "import_search", "older_task", "run"]

PART = "end_to_end"
LEVELS = (0.18, 0.36, 0.54, 0.72, 0.9)
EPOCHS = 10
OLDER = "older algorithm"
_TOLERANCE = 1e-3
_LIMIT = 3600.0


def run(bench: Bench) -> Report:
    """Measure both workloads."""
    report = Report()
    for name, workload in WORKLOADS.items():
        seeds = bench.seeds(workload.seeds)
        train_models(bench, name, seeds)
        arguments = {"name": name, "directory": str(bench.directory)}
        cases = [Case(OLDER, "benchmarks.end_to_end:older_task", arguments, limit=_LIMIT)]
        for backend in bench.backends:
            own = {**arguments, "tuner": bench.tuner, "all_epochs": bench.all_epochs}
            function = "benchmarks.end_to_end:fabricfit_task"
            cases.append(Case(_name_contestant(backend), function, own, backend, limit=_LIMIT))
        contest = bench.compete(
            PART, workload.title, cases, [{"seed": seed} for seed in range(seeds)]
        )
        _add_report(contest, bench, report)
    return report


def _name_contestant(backend: str) -> str:
    return f"fabricfit, {backend}"


def _add_report(contest: Contest, bench: Bench, report: Report) -> None:
    ours = [_name_contestant(backend) for backend in bench.backends]
    levels = ", ".join(f"{level:g}" for level in LEVELS)
    title = f"{contest.workload}: 10 trials, then sparsity {levels} with {EPOCHS} epochs each"
    report.tables.append(contest_table(contest, title, ours, [OLDER]))
    quality = new_table(
        f"{contest.workload}: test accuracy in percent, a number for each seed",
        ["", "before", "after", "mean change", "zeros", "search", "epochs", "levels", "epochs"],
        "search, levels: wall time; epochs: number of epochs in them, at most or as reported; "
        "all are medians",
        texts=3,
    )
    for name in contest.names:
        if contest.error(name):
            continue
        before, after = contest.values(name, "before"), contest.values(name, "after")
        search, levels = (
            (
                seconds(contest.spread(name, f"{part}_seconds")),
                f"{median(contest.values(name, f'{part}_epochs')):,.0f}",
            )
            for part in ("search", "level")
        )
        quality.add_row(
            name,
            percent(before),
            percent(after),
            f"{(np.mean(after) - np.mean(before)) * 100:+.2f}",
            percent([min(contest.values(name, "zeros"))]),
            *search,
            *levels,
        )
    report.tables.append(quality)
    for name in ours:
        for key, what in (("wall", "wall time"), ("cpu", "CPU time")):
            text = f"{what}: {OLDER} (tensorflow) ÷ {name}"
            value = contest.ratio(OLDER, name, key)
            report.headlines.append(Headline(PART, contest.workload, text, value))


def fabricfit_task(name: str, seed: int, directory: str, tuner: str, all_epochs: bool) -> Task:
    """Prepare ``fabricfit.optimize``.

    Parameters
    ----------
    name, seed, directory
        The workload, its seed and the run's directory.
    tuner
        The search for regularization strengths.
    all_epochs
        Whether levels are trained to their last epoch, as the older algorithm does it.
    """
    import keras

    import fabricfit
    from fabricfit.objectives import ParameterEstimator
    from fabricfit.scheduler import ConstantScheduler

    samples, model = load_samples(name, directory, seed), load_model(name, seed, directory)
    own: dict[str, Any] = {"tuner": tuner}
    if all_epochs:
        own["patience"] = None
    import_search(tuner)

    def work() -> Any:
        settings = fabricfit.OptimizationSettings(
            batch_size=WORKLOADS[name].batch_size,
            epochs=EPOCHS,
            optimizer=keras.optimizers.Adam(LEARNING_RATE),
            loss_fn=LOSS,
            validation_metric="accuracy",
            increasing=True,
            rtol=None,
            ranking_metric="l1",
            directory=str(Path(directory) / "fabricfit"),
            seed=seed,
            **own,
        )
        scheduler = ConstantScheduler(LEVELS[0], LEVELS[-1], LEVELS[1] - LEVELS[0])
        return fabricfit.optimize(
            model,
            fabricfit.get_attributes_from_keras_model(model),
            ParameterEstimator,
            scheduler,
            samples.train,
            samples.validation,
            settings,
        )

    def inspect(result: Any) -> dict[str, Any]:
        found = _check_result(model, result.model, samples.X_test, samples.y_test)
        found["levels"] = [level.seconds for level in result.history]
        found["level_seconds"] = sum(found["levels"])
        rewinding = len(LEVELS) - 1
        found["level_epochs"] = sum(level.epochs for level in result.history) + rewinding
        found["search_epochs"] = sum(trial.epochs for trial in result.report.trials)
        return found

    return Task(_time_search(work), lambda outcome: {**inspect(outcome[0]), **outcome[1]})


def import_search(tuner: str) -> None:
    """Import the modules that a run would import at its beginning, so that they are not measured.

    Keras imports TensorFlow on every backend, where it is installed, at the first ``get_config`` of a
    layer, for several seconds.
    """
    import keras

    keras.layers.Dense(1).get_config()
    if tuner in ("Bayesian", "Hyperband"):
        import fabricfit.tuning.keras_tuner  # noqa: F401 - loads KerasTuner


def _time_search(work: Any) -> Any:
    """Return the work with the time of its search, read from the library's log."""
    import logging

    class SearchTimer(logging.Handler):
        found: dict[str, float]

        def emit(self, record: logging.LogRecord) -> None:
            if str(record.msg).startswith("prepared in") and record.args:
                self.found["search_seconds"] = float(record.args[0])  # type: ignore[arg-type]

    def timed() -> tuple[Any, dict[str, float]]:
        logger, timer = logging.getLogger("fabricfit"), SearchTimer()
        timer.found = {"search_seconds": float("nan")}
        logger.setLevel(logging.INFO)
        logger.addHandler(timer)
        return work(), timer.found

    return timed


def older_task(name: str, seed: int, directory: str) -> Task:
    """Prepare the older algorithm."""
    import keras

    from benchmarks.rivals.older import OlderSettings, optimize

    samples, model = load_samples(name, directory, seed), load_model(name, seed, directory)
    settings = OlderSettings(
        LEVELS,
        WORKLOADS[name].batch_size,
        EPOCHS,
        Path(directory) / f"older-{name}-{seed}",
        learning_rate=LEARNING_RATE,
        seed=seed,
    )
    keras.utils.set_random_seed(seed)
    times: dict[str, float] = {}

    def inspect(pruned: Any) -> dict[str, Any]:
        epochs = {
            "search_epochs": settings.trials * (EPOCHS // 2),
            "level_epochs": len(LEVELS) * EPOCHS,
        }
        return {**_check_result(model, pruned, samples.X_test, samples.y_test), **times, **epochs}

    return Task(
        lambda: optimize(model, samples.train, samples.validation, settings, times), inspect
    )


def _check_result(model: Any, pruned: Any, X: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Return accuracies; refuse a model that is less sparse than requested."""
    zeros = zero_fraction(pruned)
    if zeros < LEVELS[-1] - _TOLERANCE:
        raise ValueError(f"only {zeros:.4f} of the weights are zero, not {LEVELS[-1]}")
    return {"before": accuracy(model, X, y), "after": accuracy(pruned, X, y), "zeros": zeros}
