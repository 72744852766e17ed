"""Accuracy against cost of networks whose precision is trained: fabricfit, HGQ2 and PQuantML, the same jets.

Each trains in an environment of its own, and is measured with the same yardstick: bit for bit in NumPy, and
by the adder graph of the whole network. A budget's answer is the network of one training with the best
validation accuracy within the budget; the test jets decide nothing. The part fails where fabricfit is behind
HGQ2 by more than the error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Bench, Case, Contest
from benchmarks.rivals.yardstick import (
    Layer,
    Network,
    accuracy,
    count_luts,
    load_networks,
    save_networks,
)
from benchmarks.tables import NOTHING, Headline, Report, new_table
from benchmarks.task import Task

__all__ = ["fabricfit_task", "run"]

PART = "frontier"
BUDGETS = (300, 450, 700, 1000, 1500, 2200, 3300, 5000, 8000, 13000)
SETTLED = 450
"""The least budget at which anybody's networks train reliably."""

EPOCHS, RIVAL_EPOCHS, QUICK_EPOCHS = 880, 900, 120
OURS, OURS_UNLIMITED = "fabricfit", "fabricfit, no saturation"
HGQ2, HGQ2_CYCLES, PQUANT = "HGQ2, its example's rate", "HGQ2, rate cycles", "PQuantML"
_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Answer:
    """The network that a training has for a budget.

    Parameters
    ----------
    cost
        Of its adder graph.
    right
        For each validation jet and then each test jet, whether it is classified rightly.
    """

    cost: float
    right: np.ndarray
    validation: int

    @property
    def test(self) -> float:
        """Accuracy on the test jets, in percent."""
        return 100 * float(self.right[self.validation :].mean())

    @property
    def both(self) -> float:
        """Accuracy on validation and test jets, in percent."""
        return 100 * float(self.right.mean())


def run(bench: Bench) -> Report:
    """Train and measure everybody's fronts."""
    report = Report()
    seeds = bench.seeds(3)
    fronts: dict[str, list[dict[int, Answer]]] = {}
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
    report.tables += [_tabulate_accuracy(fronts), *_tabulate_differences(fronts)]
    report.failures += _list_losses(fronts)
    return report


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
            python=_python(".venv-hgq"),
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
                python=_python(".venv-hgq"),
            )
        )

    path = f"{folder}/pquant-{{seed}}.npz"
    if backend == "tensorflow":
        arguments = {"epochs": theirs, "path": path}
        function = "benchmarks.rivals.pquant_front:front_task"
        cases.append(Case(PQUANT, function, arguments, backend, python=_python(".venv-pquant")))
    return cases


def _python(environment: str) -> str:
    return str(_ROOT / environment / "bin" / "python")


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
    settings = fabricfit.OptimizationSettings(
        batch_size=1024,
        epochs=epochs,
        optimizer=keras.optimizers.Adam(1e-3),
        loss_fn=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        validation_metric="accuracy",
        increasing=True,
        rtol=None,
        seed=seed,
        directory=f"{folder}/{name}-{seed}",
        checkpoint_seconds=1e9,
    )

    def work() -> Any:
        train, validation = (jets.X_train, jets.y_train), (jets.X_val, jets.y_val)
        budgets = [fabricfit.Budget(lut=luts) for luts in BUDGETS]
        return fabricfit.sweep(
            model,
            None,
            budgets,
            train,
            validation,
            settings,
            granularity="channel",
            saturating=saturating,
        )

    def inspect(found: Any) -> dict[str, Any]:
        path = Path(folder) / f"{name}-{seed}.npz"
        loaded = {str(point.directory): point for point in found.points if point.directory}
        save_networks(path, [_read(point.load()) for point in loaded.values()])
        return {"networks": str(path)}

    return Task(work, inspect)


def _read(model: Any) -> Network:
    """Return a delivered model as a network of the yardstick: dense layers, each behind its quantizer."""
    import keras

    found, formats, rounds = [], None, True
    for layer in model.layers:
        if hasattr(layer, "quantizer"):
            formats = [
                np.asarray(keras.ops.convert_to_numpy(each), np.float64).ravel()
                for each in layer.quantizer.kif
            ]
            rounds = layer.quantizer.round_mode == "RND"
        elif hasattr(layer, "kernel"):
            assert formats is not None
            kernel, bias = (
                np.asarray(keras.ops.convert_to_numpy(each), np.float64)
                for each in (layer.kernel, layer.bias)
            )
            found.append(Layer(kernel, bias, *formats, saturates=True, rounds=rounds))
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
    answers = {}
    for budget in BUDGETS:
        within = [each for each in every if each.cost <= budget]
        if within:
            answers[budget] = max(within, key=lambda each: each.right[: each.validation].mean())
    return answers


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and its standard error."""
    error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
    return float(np.mean(values)), error


def _tabulate_accuracy(fronts: Mapping[str, list[dict[int, Answer]]]) -> Any:
    columns = ["", *(f"{budget:,} LUT" for budget in BUDGETS)]
    table = new_table("Test accuracy in percent (mean cost), ± error over seeds", columns)
    for name, seeds in fronts.items():
        row = [name]
        for budget in BUDGETS:
            found = [seed[budget] for seed in seeds if budget in seed]
            if len(found) < len(seeds):
                row.append(NOTHING)
                continue
            value, error = _mean([each.test for each in found])
            cost = np.mean([each.cost for each in found])
            row.append(f"{value:.2f} ± {error:.2f} ({cost:,.0f})")
        table.add_row(*row)
    return table


@dataclass(frozen=True)
class Difference:
    """Difference of two contestants at a budget in points, on validation and test jets together.

    Parameters
    ----------
    points
        Its mean over the seeds.
    over_jets, over_seeds
        Its standard errors.
    """

    points: float
    over_jets: float
    over_seeds: float

    @property
    def error(self) -> float:
        """Both errors together."""
        seeds = 0.0 if math.isnan(self.over_seeds) else self.over_seeds
        return math.hypot(self.over_jets, seeds)

    @classmethod
    def of(cls, ours: Sequence[Answer], theirs: Sequence[Answer]) -> Difference:
        """Compare answers, a seed each."""
        pairs = list(zip(ours, theirs, strict=False))
        by_jet = np.mean([a.right.astype(float) - b.right for a, b in pairs], axis=0)
        return cls(
            100 * float(by_jet.mean()),
            100 * float(by_jet.std() / math.sqrt(len(by_jet))),
            math.hypot(*(_mean([each.both for each in side])[1] for side in (ours, theirs))),
        )


def _compare(
    fronts: Mapping[str, list[dict[int, Answer]]],
) -> dict[tuple[str, str], dict[int, Difference]]:
    """Return the differences of each of ours and each rival, on the same backend, at each budget."""
    found: dict[tuple[str, str], dict[int, Difference]] = {}
    for mine, ours in fronts.items():
        for rival, theirs in fronts.items():
            if not mine.startswith(OURS) or rival.startswith(OURS):
                continue
            differences = {}
            for budget in BUDGETS:
                answers = [
                    [seed[budget] for seed in side if budget in seed] for side in (ours, theirs)
                ]
                if all(answers):
                    differences[budget] = Difference.of(*answers)
            found[mine, rival] = differences
    return found


def _tabulate_differences(fronts: Mapping[str, list[dict[int, Answer]]]) -> list[Any]:
    columns = ["", *(f"{budget:,} LUT" for budget in BUDGETS)]
    title = "Difference in points on validation and test jets, ± over jets ± over seeds"
    table = new_table(title, columns)
    ratios = new_table("Cost at the rival's own accuracy: the rival's ÷ ours", columns)
    for (mine, rival), differences in _compare(fronts).items():
        row = [f"{mine} − {rival}"]
        for budget in BUDGETS:
            each = differences.get(budget)
            row.append(
                NOTHING
                if each is None
                else f"{each.points:+.2f} ± {each.over_jets:.2f} ± {each.over_seeds:.2f}"
            )
        table.add_row(*row)
        ratios.add_row(f"{rival} ÷ {mine}", *_list_ratios(fronts[mine], fronts[rival]))
    return [table, ratios]


def _list_ratios(ours: list[dict[int, Answer]], theirs: list[dict[int, Answer]]) -> list[str]:
    """Return by how much our networks of the rival's accuracy are cheaper, at the rival's cost."""
    mine, rival = (_average_front(side) for side in (ours, theirs))
    found = []
    for budget in BUDGETS:
        if budget not in rival:
            found.append(NOTHING)
            continue
        cost, value = rival[budget]
        own = _cost_at(list(mine.values()), value)
        found.append(NOTHING if own is None else f"{cost / own:.2f} (at {cost:,.0f})")
    return found


def _average_front(seeds: list[dict[int, Answer]]) -> dict[int, tuple[float, float]]:
    """Return the mean cost and accuracy at each budget that all seeds have an answer to."""
    return {
        budget: (
            float(np.mean([seed[budget].cost for seed in seeds])),
            float(np.mean([seed[budget].both for seed in seeds])),
        )
        for budget in BUDGETS
        if all(budget in seed for seed in seeds)
    }


def _cost_at(front: list[tuple[float, float]], value: float) -> float | None:
    """Return the cost at which a front reaches an accuracy, interpolated in the logarithm of the cost."""
    before: tuple[float, float] | None = None
    for cost, reached in sorted(front):
        if reached >= value:
            if before is None or reached == before[1]:
                return cost
            part = (value - before[1]) / (reached - before[1])
            return float(before[0] * (cost / before[0]) ** max(part, 0.0))
        before = (cost, reached)
    return None


def _list_headlines(contest: Contest, backend: str) -> list[Headline]:
    found = []
    for rival in (HGQ2, HGQ2_CYCLES, PQUANT):
        if rival in contest.names and OURS in contest.names:
            value = contest.ratio(rival, OURS, "total_cpu")
            found.append(Headline(PART, f"jets, {backend}", f"CPU time: {rival} ÷ {OURS}", value))
    return found


def _list_losses(fronts: Mapping[str, list[dict[int, Answer]]]) -> list[str]:
    """Return where fabricfit is behind HGQ2 by more than the error, in sentences."""
    return [
        f"{mine} is behind {rival} at {budget:,} LUT by {-each.points:.2f} ± {each.error:.2f} points"
        for (mine, rival), differences in _compare(fronts).items()
        for budget, each in differences.items()
        if mine.startswith(f"{OURS},")
        and not mine.startswith(OURS_UNLIMITED)
        and rival.startswith("HGQ2")
        and budget >= SETTLED
        and each.points < -each.error
    ]
