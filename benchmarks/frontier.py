"""Accuracy against cost of networks whose precision is trained: fabricfit, HGQ2 and PQuantML, the same jets.

Each trains in an environment of its own, and is measured with the same yardstick: bit for bit in NumPy, and
by the adder graph of the whole network. A budget's answer is the network of one training with the best
validation accuracy within the budget; the test jets decide nothing. The part fails where fabricfit is behind
HGQ2 by more than the error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.answers import Answer, Front, compare, find_losses, pick, tabulate
from benchmarks.harness import Bench, Case, Contest
from benchmarks.rivals.yardstick import (
    Layer,
    Network,
    accuracy,
    count_luts,
    load_networks,
    save_networks,
    to_exact,
)
from benchmarks.tables import Headline, Report
from benchmarks.task import Task

__all__ = ["classifier_settings", "environment_of", "fabricfit_task", "run"]

PART = "frontier"
BUDGETS = (300, 450, 700, 1000, 1500, 2200, 3300, 5000, 8000, 13000)
SETTLED = 450
"""The least budget at which anybody's networks train reliably."""

EPOCHS, RIVAL_EPOCHS, QUICK_EPOCHS = 880, 900, 120
OURS, OURS_UNLIMITED = "fabricfit", "fabricfit, no saturation"
HGQ2, HGQ2_CYCLES, PQUANT = "HGQ2, its example's rate", "HGQ2, rate cycles", "PQuantML"
_NEARLY = 0.97
"""fabricfit counts adders layer by layer, as hls4ml builds them; the yardstick, which shares fewer sums where
they come later, up to 3 % more."""

_ROOT = Path(__file__).resolve().parents[1]


def run(bench: Bench) -> Report:
    """Train and measure everybody's fronts."""
    report = Report()
    seeds = bench.seeds(3)
    fronts: dict[str, Front] = {}
    for backend in bench.backends:
        contest = bench.compete(
            PART, f"jets, {backend}", _list_cases(bench, backend), _rounds(seeds)
        )
        for name in contest.names:
            if error := contest.error(name):
                report.tables.append(f"{name}, {backend}: {error}")
                continue
            key = f"{name}, {backend}"
            fronts[key] = [_read_front(Path(path)) for path in contest.values(name, "networks")]
        report.headlines += _list_headlines(contest, backend)
    report.tables += tabulate(fronts, BUDGETS, _is_ours, "Jets")
    settled = [budget for budget in BUDGETS if budget >= SETTLED]
    report.failures += find_losses(
        compare(fronts, settled, _is_ours),
        lambda mine, rival: (
            mine.startswith(f"{OURS}, ")
            and rival.startswith("HGQ2")
            and not mine.startswith(OURS_UNLIMITED)
        ),
    )
    return report


def _is_ours(name: str) -> bool:
    return name.startswith(OURS)


def _rounds(seeds: int) -> list[dict[str, Any]]:
    return [{"seed": seed} for seed in range(seeds)]


def _list_cases(bench: Bench, backend: str) -> list[Case]:
    ours = QUICK_EPOCHS if bench.quick else EPOCHS
    theirs = QUICK_EPOCHS if bench.quick else RIVAL_EPOCHS
    folder = str(bench.directory)
    cases = [
        Case(
            name,
            "benchmarks.frontier:fabricfit_task",
            {"epochs": ours, "folder": folder, "name": f"{place}-{backend}", "saturating": part},
            backend,
            python=environment_of("hgq"),
        )
        for place, (name, part) in enumerate({OURS: 0.02, OURS_UNLIMITED: 0.0}.items())
    ]
    for place, (name, cycle) in enumerate({HGQ2: 0, HGQ2_CYCLES: 40}.items()):
        path = f"{folder}/hgq2-{place}-{backend}-{{seed}}.npz"
        cases.append(
            Case(
                name,
                "benchmarks.rivals.hgq2_front:front_task",
                {"epochs": theirs, "path": path, "cycle": cycle},
                backend,
                python=environment_of("hgq"),
            )
        )

    path = f"{folder}/pquant-{{seed}}.npz"
    if backend == "tensorflow":
        arguments = {"epochs": theirs, "path": path}
        function = "benchmarks.rivals.pquant_front:front_task"
        cases.append(Case(PQUANT, function, arguments, backend, python=environment_of("pquant")))
    return cases


def environment_of(extra: str) -> str:
    """Return the interpreter of the environment that holds a rival."""
    return str(_ROOT / f".venv-{extra}" / "bin" / "python")


def fabricfit_task(seed: int, epochs: int, folder: str, name: str, saturating: float) -> Task:
    """Return the task of one sweep over all budgets, formats by channel.

    Parameters
    ----------
    seed
        Of weights and the order of the jets.
    epochs
        Of the one training.
    folder, name
        Where the runs and the networks go.
    saturating
        Part of the inputs that may saturate.
    """
    import keras

    import fabricfit
    from fabricfit.datasets import load_jets

    jets = load_jets()
    keras.utils.set_random_seed(seed)
    layers: list[Any] = [keras.Input((16,))]
    layers += [keras.layers.Dense(width, "relu") for width in (64, 32, 32)]
    model = keras.Sequential([*layers, keras.layers.Dense(5)])
    settings = classifier_settings(seed, epochs, 1024, f"{folder}/{name}-{seed}")

    def work() -> Any:
        train, validation = (jets.X_train, jets.y_train), (jets.X_val, jets.y_val)
        budgets = [fabricfit.Budget(lut=_NEARLY * luts) for luts in BUDGETS]
        return fabricfit.sweep(
            model,
            None,
            budgets,
            train,
            validation,
            settings,
            granularity="channel",
            saturating=saturating,
            overflow="wrap",
        )

    def inspect(found: Any) -> dict[str, Any]:
        path = Path(folder) / f"{name}-{seed}.npz"
        loaded = {str(point.directory): point for point in found.points if point.directory}
        save_networks(path, [_read(point.load()) for point in loaded.values()])
        return {"networks": str(path)}

    return Task(work, inspect)


def classifier_settings(seed: int, epochs: int, batch_size: int, directory: str) -> Any:
    """Return fabricfit's settings for a classifier with logits, whose accuracy counts."""
    import keras

    import fabricfit

    return fabricfit.OptimizationSettings(
        batch_size=batch_size,
        epochs=epochs,
        optimizer=keras.optimizers.Adam(1e-3),
        loss_fn=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        validation_metric="accuracy",
        increasing=True,
        rtol=None,
        seed=seed,
        directory=directory,
        checkpoint_seconds=1e9,
    )


def _read(model: Any) -> Network:
    """Return a delivered model as a network of the yardstick: dense layers, each behind its quantizer."""
    found, formats, rounds, saturates = [], None, True, True
    for layer in model.layers:
        if hasattr(layer, "quantizer"):
            formats = [to_exact(each).ravel() for each in layer.quantizer.kif]
            rounds = layer.quantizer.round_mode == "RND"
            saturates = layer.quantizer.overflow_mode == "SAT"
        elif hasattr(layer, "kernel"):
            assert formats is not None
            weights = to_exact(layer.kernel), to_exact(layer.bias)
            found.append(Layer(*weights, *formats, saturates, rounds))
    return found


def _read_front(path: Path) -> dict[int, Answer]:
    """Return a training's answer to each budget, by its validation jets."""
    from fabricfit.datasets import load_jets

    jets = load_jets()
    X, y = np.concatenate([jets.X_val, jets.X_test]), np.concatenate([jets.y_val, jets.y_test])
    every = [
        Answer(count_luts(network), accuracy(network, X, y), len(jets.y_val))
        for network in load_networks(path)
    ]
    return pick(every, BUDGETS)


def _list_headlines(contest: Contest, backend: str) -> list[Headline]:
    found = []
    for rival in (HGQ2, HGQ2_CYCLES, PQUANT):
        if rival in contest.names and OURS in contest.names:
            value = contest.ratio(rival, OURS, "total_cpu")
            found.append(Headline(PART, f"jets, {backend}", f"CPU time: {rival} ÷ {OURS}", value))
    return found
