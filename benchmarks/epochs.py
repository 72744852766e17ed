"""One warm training epoch, against Keras' ``fit`` and the best plain loop of every backend."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from benchmarks.harness import Bench, Case, Contest
from benchmarks.tables import NOTHING, Headline, Report, new_table, ratio, seconds
from benchmarks.task import Task
from benchmarks.workloads import LEARNING_RATE, LOSS, WORKLOADS, build, describe_model, load_samples

__all__ = ["engine_task", "fit_task", "run", "timed_epochs"]

PART = "epochs"
MASKED, PLAIN = "engine, masked", "engine, no masks"
SINGLE = "engine, masked, 1 thread"
FIT, HAND = "fit", "hand-written loop"
SPARSITY = 0.5
RATIOS = ("÷ fit", "÷ hand", "least ÷ hand's", "CPU ÷ hand's")


def run(bench: Bench) -> Report:
    """Measure both workloads on every backend."""
    report = Report()
    counts = {"warm": 2, "measured": 5} if bench.quick else {"warm": 3, "measured": 15}
    for name, workload in WORKLOADS.items():
        shared = {"name": name, "directory": str(bench.directory), **counts}
        table = new_table(
            f"{workload.title}: one warm epoch with batches of {workload.batch_size}",
            ["backend", "", "wall", "least", "CPU", "loss", *RATIOS],
            "least: of all epochs measured, more reliable than the median on a machine with other "
            "work; loss: mean over the last epoch, of a model that started anew",
            texts=2,
        )
        for backend in bench.backends:
            own = "benchmarks.epochs:engine_task"
            hand = f"benchmarks.rivals.{backend}_loop:loop_task"
            cases = [
                Case(MASKED, own, {**shared, "masked": True}, backend),
                Case(PLAIN, own, {**shared, "masked": False}, backend),
                Case(FIT, "benchmarks.epochs:fit_task", shared, backend),
                Case(HAND, hand, shared, backend),
            ]
            if backend == "torch":
                single = {"OMP_NUM_THREADS": "1"}
                cases.append(Case(SINGLE, own, {**shared, "masked": True}, backend, single))
            place = f"{workload.title}, {backend}"
            contest = bench.compete(PART, place, cases, bench.repeats(3))
            _add_rows(contest, backend, table)
            for rival in (HAND, FIT):
                value = contest.ratio(MASKED, rival, "epoch_wall")
                what = f"epoch, {backend}: fabricfit's {MASKED} ÷ {rival}"
                report.headlines.append(Headline(PART, workload.title, what, value))
        report.tables.append(table)
    return report


def _add_rows(contest: Contest, backend: str, table: Any) -> None:
    table.add_section()
    for name in contest.names:
        if error := contest.error(name):
            table.add_row(backend, f"{name}: {error}")
            continue
        loss = contest.spread(name, "loss")
        how = contest.values(name, "how")[0]
        table.add_row(
            backend,
            f"{name} ({how})" if how else name,
            seconds(contest.spread(name, "epoch_wall")),
            seconds(contest.spread(name, "epoch_least")),
            seconds(contest.spread(name, "epoch_cpu")),
            f"{loss.median:.4f}" if loss else NOTHING,
            ratio(contest.ratio(name, FIT, "epoch_wall")) if name != FIT else "",
            *(
                ratio(contest.ratio(name, HAND, f"epoch_{key}"))
                for key in ("wall", "least", "cpu")
                if name != HAND
            ),
        )


def timed_epochs(
    epoch: Callable[[], float], warm: int, measured: int, how: str = ""
) -> dict[str, Any]:
    """Run epochs and time those after the first ones.

    Parameters
    ----------
    epoch
        Trains one and returns its mean loss.
    warm, measured
        How many are run before any is timed, and how many are.
    how
        What the way of running them is called.

    Returns
    -------
    dict
        Medians ``epoch_wall`` and ``epoch_cpu``, the shortest epoch ``epoch_least``, the last one's
        ``loss``, and ``how``.
    """
    walls, cpus, loss = [], [], float("nan")
    for number in range(warm + measured):
        cpu, wall = time.process_time(), time.perf_counter()
        loss = epoch()
        if number >= warm:
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
    return {
        "epoch_wall": median(walls),
        "epoch_least": min(walls),
        "epoch_cpu": median(cpus),
        "loss": loss,
        "how": how,
    }


def engine_task(name: str, directory: str, warm: int, measured: int, masked: bool) -> Task:
    """Prepare epochs of fabricfit's engine, with half of the weights frozen or none."""
    import keras

    from fabricfit.keras.masking import get_model_masks
    from fabricfit.objectives import ParameterEstimator
    from fabricfit.samples import Data
    from fabricfit.training import make_engine

    keras.utils.set_random_seed(0)
    samples, model = load_samples(name, directory), build(name)
    attributes = describe_model(model) if masked else None
    engine = make_engine(model, LOSS, keras.optimizers.Adam(LEARNING_RATE), attributes)
    if attributes is not None:
        masks = get_model_masks(model, attributes, SPARSITY, ParameterEstimator)
        engine.projection.update(*masks)
        engine.project_weights()
    data, rng, size = Data(*samples.train), np.random.default_rng(0), WORKLOADS[name].batch_size

    def epoch() -> float:
        return engine.train_epoch(data, rng.permutation(len(data)), size)

    return Task(lambda: timed_epochs(epoch, warm, measured), dict)


def fit_task(name: str, directory: str, warm: int, measured: int) -> Task:
    """Prepare epochs of Keras' ``fit``, all in one call."""
    import keras

    class Clock(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.stamps: list[tuple[float, float]] = []
            self.loss = float("nan")

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.stamps.append((time.perf_counter(), time.process_time()))
            self.loss = logs["loss"]

    keras.utils.set_random_seed(0)
    samples, model = load_samples(name, directory), build(name)
    model.compile(keras.optimizers.Adam(LEARNING_RATE), LOSS)

    def work() -> dict[str, Any]:
        clock = Clock()
        model.fit(
            *samples.train,
            batch_size=WORKLOADS[name].batch_size,
            epochs=warm + measured,
            callbacks=[clock],
            verbose=0,
        )
        times = np.diff(clock.stamps, axis=0)[max(warm - 1, 0) :]
        wall, cpu = np.median(times, axis=0).tolist()
        return {
            "epoch_wall": wall,
            "epoch_least": float(times[:, 0].min()),
            "epoch_cpu": cpu,
            "loss": float(clock.loss),
            "how": "",
        }

    return Task(work, dict)
