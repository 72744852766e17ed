"""The search for regularization strengths alone, against KerasTuner as it is usually used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.end_to_end import import_search
from benchmarks.harness import Bench, Case
from benchmarks.tables import Headline, Report, contest_table, new_table, percent
from benchmarks.task import Task
from benchmarks.workloads import (
    LEARNING_RATE,
    LOSS,
    WORKLOADS,
    accuracy,
    describe_model,
    load_model,
    load_samples,
    train_models,
)

__all__ = ["fabricfit_task", "run"]

PART = "tuning"
NAME = "jets"
EPOCHS = 5
TRIALS = 10
STRENGTHS = np.logspace(-6, -2, num=16).tolist()


def run(bench: Bench) -> Report:
    """Measure the search on every backend."""
    report = Report()
    train_models(bench, NAME, 1)
    rounds = bench.repeats(3)
    for backend in bench.backends:
        arguments = {"name": NAME, "seed": 0, "directory": str(bench.directory), "epochs": EPOCHS}
        rival, own = f"KerasTuner, {backend}", f"fabricfit, {backend}"
        same = f"fabricfit, {backend}, all epochs"
        cases = [
            Case(
                rival,
                "benchmarks.rivals.keras_tuner_search:search_task",
                {**arguments, "trials": TRIALS, "strengths": STRENGTHS},
                backend,
            ),
            Case(
                own,
                "benchmarks.tuning:fabricfit_task",
                {**arguments, "tuner": bench.tuner},
                backend,
            ),
            Case(
                same,
                "benchmarks.tuning:fabricfit_task",
                {**arguments, "tuner": "Bayesian"},
                backend,
            ),
        ]
        workload = f"{WORKLOADS[NAME].title}, {backend}"
        contest = bench.compete(PART, workload, cases, rounds)
        title = f"{workload}: {TRIALS} trials of {EPOCHS} epochs"
        report.tables.append(contest_table(contest, title, [own, same], [rival]))
        quality = new_table("Test accuracy of the best trial, in percent", ["", "accuracy"], "", 2)
        for name in contest.names:
            quality.add_row(name, percent(contest.values(name, "after")))
        report.tables.append(quality)
        for mine, key, what in (
            (own, "cpu", "CPU time"),
            (own, "wall", "wall time"),
            (same, "cpu", "CPU time"),
        ):
            text = f"{what}: {rival} ÷ {mine}"
            value = contest.ratio(rival, mine, key)
            report.headlines.append(Headline(PART, WORKLOADS[NAME].title, text, value))
    return report


def fabricfit_task(name: str, seed: int, directory: str, epochs: int, tuner: str) -> Task:
    """Prepare a search of fabricfit.

    ``'Bayesian'`` is KerasTuner's choice of strengths, trained by fabricfit's engine: as many trials of
    as many epochs as KerasTuner by itself.
    """
    import keras

    from fabricfit.keras.builder import build_optimizable_model

    import_search(tuner)
    samples, model = load_samples(name, directory, seed), load_model(name, seed, directory)
    attributes = describe_model(model)

    def work() -> Any:
        return build_optimizable_model(
            model,
            attributes,
            keras.optimizers.Adam(LEARNING_RATE),
            LOSS,
            "accuracy",
            True,
            samples.train,
            samples.validation,
            WORKLOADS[name].batch_size,
            epochs,
            directory=str(Path(directory) / "fabricfit-tuning"),
            regularization_range=STRENGTHS,
            tuner=tuner,
            seed=seed,
        )

    return Task(work, lambda best: {"after": accuracy(best, samples.X_test, samples.y_test)})
