"""Networks that do half of their operations: whole channels removed by fabricfit, and in the usual ways.

Everybody starts from the same trained networks, is left with half of the floating-point operations, and
trains for as many epochs, with the same optimizer. The choice of the channels is part of what is measured.
The part fails where fabricfit is behind a rival that removes channels by more than the error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.answers import Difference
from benchmarks.frontier import environment_of
from benchmarks.harness import Bench, Case, Contest
from benchmarks.structured_networks import (
    BATCH,
    RATE,
    TABLES,
    count_operations,
    describe_answers,
    load_images,
    load_network,
    name_file,
    read_widths,
    reseed,
)
from benchmarks.tables import Headline, Report, new_table, ratio
from benchmarks.task import NoNumberError, Task

__all__ = ["fabricfit_task", "run", "trained_task"]

PART = "structured"
LEFT, EPOCHS = 0.5, 5
FINISHING = 4
BEFORE, OURS, OURS_DISTILLED = "before", "fabricfit", "fabricfit, distilled"
UNIFORM, SINGLE = "uniform width, L1", "single weights, TF-MOT"
GLOBAL = {f"Torch-Pruning, {name}": name for name in ("L1", "L2", "Taylor")}
"""Contestant -> importance."""

_TESTED = 10_000
_ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def run(bench: Bench) -> Report:
    """Measure both networks, a training of each for every seed."""
    report = Report()
    folder, seeds = str(bench.directory), range(bench.seeds(3))
    for kind in TABLES:
        trained = {"kind": kind, "directory": folder}
        for seed in seeds:
            if name_file(kind, seed, folder).exists():
                continue
            prepare = "benchmarks.structured_networks:prepare_network"
            case = Case("training", prepare, {**trained, "seed": seed}, environment=_ONE_THREAD)
            if error := bench.measure(case).error:
                raise RuntimeError(f"{kind} could not be trained: {error}")
        rounds = [{"seed": seed} for seed in seeds]
        contest = bench.compete(PART, kind, _list_cases(trained), rounds)
        _add_table(contest, report)
        _add_headlines(contest, report)
    return report


def _list_cases(trained: dict[str, Any]) -> list[Case]:
    shared = {**trained, "part": LEFT, "epochs": EPOCHS}
    python = environment_of("pruning")

    def case(name: str, function: str, own: dict[str, Any], **further: Any) -> Case:
        return Case(name, f"benchmarks.{function}", own, environment=_ONE_THREAD, **further)

    ours = "structured:fabricfit_task"
    legacy = {**_ONE_THREAD, "TF_USE_LEGACY_KERAS": "1"}
    return [
        case(BEFORE, "structured:trained_task", trained),
        case(OURS, ours, {**shared, "distillation": 0.0}),
        case(OURS_DISTILLED, ours, {**shared, "distillation": 0.5}),
        case(UNIFORM, "rivals.uniform_width:uniform_task", shared),
        *(
            case(
                name,
                "rivals.channel_pruning:pruning_task",
                {**shared, "importance": importance},
                backend="torch",
                python=python,
            )
            for name, importance in GLOBAL.items()
        ),
        Case(
            SINGLE,
            "benchmarks.rivals.magnitude_schedule:magnitude_task",
            shared,
            environment=legacy,
            python=python,
        ),
    ]


def trained_task(kind: str, seed: int, directory: str) -> Task:
    """Return the task of measuring a network as it was trained."""
    samples, model = load_images(), load_network(kind, seed, directory)

    def work() -> np.ndarray:
        return np.asarray(model.predict(samples.X_test, batch_size=500, verbose=0))

    return Task(work, lambda outputs: describe_answers(outputs, samples, 1.0))


def fabricfit_task(
    kind: str, seed: int, directory: str, part: float, epochs: int, distillation: float
) -> Task:
    """Return the task of removing channels until a part of the operations is left.

    Parameters
    ----------
    kind, seed, directory
        Of the trained network.
    part
        Of the operations that is to be left.
    epochs
        Of the training, at the level and afterwards.
    distillation
        Weight of the trained network's outputs in the loss.
    """
    import keras

    from fabricfit.keras import OptimizationSettings, optimize
    from fabricfit.network.describe import get_attributes_from_keras_model
    from fabricfit.objectives.gpu_objectives import GPUFLOPEstimator
    from fabricfit.scheduler import ConstantScheduler

    samples, model = load_images(), load_network(kind, seed, directory)
    keras.utils.set_random_seed(reseed(seed))
    settings = OptimizationSettings(
        batch_size=BATCH,
        epochs=epochs - FINISHING,
        finishing_epochs=FINISHING,
        rewinding_epochs=0,
        optimizer=keras.optimizers.Adam(RATE),
        loss_fn="sparse_categorical_crossentropy",
        validation_metric="accuracy",
        increasing=True,
        rtol=None,
        tuner=None,
        distillation=distillation,
        seed=reseed(seed),
        directory=Path(directory) / f"structured-{kind}-{seed}-{distillation}",
    )

    def work() -> Any:
        attributes = get_attributes_from_keras_model(model)
        level = ConstantScheduler(1 - part, 1 - part, 1 - part)
        return optimize(
            model,
            attributes,
            GPUFLOPEstimator,
            level,
            samples.train,
            samples.validation,
            settings,
        )

    def inspect(result: Any) -> dict[str, Any]:
        small = result.model
        sizes = {
            each.name: small.get_layer(each.name).output.shape[-1]
            for each in TABLES[kind].convolutions
        }
        widths = read_widths(kind, sizes)
        left = count_operations(kind, widths)
        if result.report.resources_after[0] != left:
            raise NoNumberError(f"{left} operations are left, not as many as reported")
        outputs = small.predict(samples.X_test, batch_size=500, verbose=0)
        found = describe_answers(np.asarray(outputs), samples, left / count_operations(kind))
        return {**found, "widths": widths}

    return Task(work, inspect)


def _add_table(contest: Contest, report: Report) -> None:
    columns = ["", "test accuracy, %", "fabricfit − this, points", "FLOPs", "CPU, s", "÷ uniform"]
    caption = (
        "Accuracy ± error over seeds; differences ± over seeds ± over images. Zeros of single weights save "
        "no operation of dense kernels on CPUs and GPUs."
    )
    errors = [f"{name}: {contest.error(name)}" for name in contest.names if contest.error(name)]
    title = f"{contest.workload} at {LEFT:.0%} of its operations, {EPOCHS} epochs"
    table = new_table(title, columns, "\n".join([caption, *errors]))
    for name in contest.names:
        if contest.error(name):
            table.add_row(name, "failed")
            continue
        found = _compare(contest, name)
        table.add_row(
            name,
            _spell_accuracy(contest.values(name, "error_rate")),
            "" if name == OURS else _spell(found),
            f"{np.mean(contest.values(name, 'flops')):.3f}",
            "" if name == BEFORE else f"{np.mean(contest.values(name, 'cpu')):.1f}",
            "" if name == BEFORE else ratio(contest.ratio(name, UNIFORM, "cpu")),
        )
        if name in (UNIFORM, *GLOBAL) and found is not None and found.points < -found.error:
            behind = f"{-found.points:.2f} ± {found.error:.2f} points"
            report.failures.append(f"{contest.workload}: {OURS} is behind {name} by {behind}")
    report.tables.append(table)


def _spell_accuracy(error_rates: list[float]) -> str:
    values = 100 * (1 - np.array(error_rates))
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{values.mean():.2f} ± {error:.2f}"


def _compare(contest: Contest, name: str) -> Difference | None:
    """Return by how much fabricfit is ahead, seed by seed."""
    both = [each for each in contest.rounds if not (each[OURS].error or each[name].error)]
    if not both:
        return None
    ours, theirs = (
        [_mark_right(each[side].figures["wrong"]) for each in both] for side in (OURS, name)
    )
    return Difference.paired(ours, theirs)


def _mark_right(wrong: list[int]) -> np.ndarray:
    right = np.ones(_TESTED)
    right[wrong] = 0
    return right


def _spell(found: Difference | None) -> str:
    if found is None:
        return ""
    return f"{found.points:+.2f} ± {found.over_seeds:.2f} ± {found.over_samples:.2f}"


def _add_headlines(contest: Contest, report: Report) -> None:
    for what, key in (("test errors", "error_rate"), ("CPU time", "cpu")):
        for rival in (UNIFORM, *GLOBAL):
            value = contest.ratio(rival, OURS, key)
            report.headlines.append(
                Headline(PART, contest.workload, f"{what}: {rival} ÷ {OURS}", value)
            )
