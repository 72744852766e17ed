"""Accuracy against cost of convolutional networks whose precision is trained: fabricfit and HGQ2.

Small images, two networks, adders that are shared by all pixels. Each trains in the same environment, and is
measured with the same yardstick. A budget's answer is the network of one training with the best validation
accuracy within the budget; the test images decide nothing. The part fails where fabricfit is behind by more
than the error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.answers import Answer, Front, compare, find_losses, pick, tabulate
from benchmarks.frontier import classifier_settings, environment_of
from benchmarks.harness import Bench, Case
from benchmarks.images import KINDS, PlainLayers, build_network, load_images
from benchmarks.tables import Headline, Report
from benchmarks.task import Task

__all__ = ["fabricfit_task", "run"]

PART = "image_frontier"
BUDGETS = (2000, 4000, 8000)
LADDER = (2000, 2800, 4000, 5600, 8000)
"""Budgets of one sweep: all that it answers may serve a larger one."""

BESIDE = 400
"""LUTs beside the adders, of pooling, which the yardstick does not count."""

EPOCHS, QUICK_EPOCHS, BATCH = 240, 24, 256
OURS, HGQ2 = "fabricfit", "HGQ2"


def run(bench: Bench) -> Report:
    """Train and measure both fronts of both networks, on the first backend that is not PyTorch."""
    report = Report()
    backend = next((each for each in bench.backends if each != "torch"), bench.backends[0])
    rounds = [{"seed": seed} for seed in range(bench.seeds(3))]
    for kind in KINDS:
        workload = f"{kind}, {backend}"
        contest = bench.compete(PART, workload, _list_cases(bench, kind, backend), rounds)
        fronts: dict[str, Front] = {}
        for name in contest.names:
            if error := contest.error(name):
                report.tables.append(f"{name}, {workload}: {error}")
                continue
            fronts[name] = [read_answers(Path(path)) for path in contest.values(name, "answers")]
        report.tables += tabulate(fronts, BUDGETS, _is_ours, kind)
        report.failures += find_losses(compare(fronts, BUDGETS, _is_ours), lambda *_: True)
        if set(contest.names) >= {OURS, HGQ2}:
            value = contest.ratio(HGQ2, OURS, "total_cpu")
            report.headlines.append(Headline(PART, workload, f"CPU time: {HGQ2} ÷ {OURS}", value))
    return report


def read_answers(path: Path) -> dict[int, Answer]:
    """Return a training's answer to each budget, by its validation images."""
    with np.load(path) as file:
        columns = zip(file["costs"], file["right"], strict=True)
        every = [Answer(float(cost), right, int(file["validation"])) for cost, right in columns]
    return pick(every, BUDGETS)


def fabricfit_task(seed: int, kind: str, epochs: int, folder: str) -> Task:
    """Return the task of one sweep, formats by channel.

    Parameters
    ----------
    seed
        Of weights and the order of the images.
    kind
        Of the network.
    epochs
        Of the one training.
    folder
        Where the runs and the answers go.
    """
    import keras

    import fabricfit
    from benchmarks.rivals.image_yardstick import save_answers

    images = load_images()
    keras.utils.set_random_seed(seed)
    model = build_network(kind, PlainLayers())
    settings = classifier_settings(seed, epochs, BATCH, f"{folder}/{kind}-{seed}")

    def work() -> Any:
        budgets = [fabricfit.Budget(lut=luts + BESIDE) for luts in LADDER]
        config = {"IOType": "io_stream", "Model": {}}
        return fabricfit.sweep(
            model,
            config,
            budgets,
            images.train,
            images.validation,
            settings,
            granularity="channel",
            overflow="wrap",
        )

    def inspect(found: Any) -> dict[str, Any]:
        path = Path(folder) / f"{OURS}-{kind}-{seed}.npz"
        loaded = {str(point.directory): point for point in found.points if point.directory}
        save_answers(path, (point.load() for point in loaded.values()), images)
        return {"answers": str(path)}

    return Task(work, inspect)


def _list_cases(bench: Bench, kind: str, backend: str) -> list[Case]:
    epochs, folder = QUICK_EPOCHS if bench.quick else EPOCHS, str(bench.directory)
    shared: dict[str, Any] = {"kind": kind, "epochs": epochs}
    theirs = {
        **shared,
        "batch_size": BATCH,
        "path": f"{folder}/{HGQ2}-{kind}-{{seed}}.npz",
        "budgets": list(BUDGETS),
    }
    python = environment_of("hgq")
    return [
        Case(
            OURS,
            "benchmarks.image_frontier:fabricfit_task",
            {**shared, "folder": folder},
            backend,
            python=python,
        ),
        Case(HGQ2, "benchmarks.rivals.hgq2_images:front_task", theirs, backend, python=python),
    ]


def _is_ours(name: str) -> bool:
    return name == OURS
