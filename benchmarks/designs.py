"""Designs that fit chooses for a board and a deadline, against random ones and those of hand."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.design_tasks import TASKS, load_task, train_task
from benchmarks.harness import Bench, Case, Contest
from benchmarks.tables import Report, new_table
from benchmarks.task import NoNumberError, Task

__all__ = ["hand_task", "our_task", "random_task", "run"]

PART = "designs"
OURS, RANDOM = "fabricfit.fit", "random design"
BY_HAND = ("Latency, 16 bits", "Resource, one reuse factor")
_RANDOM_DESIGNS = 20
_DRAWS = 2_000
_WIDTHS = (16, 12, 10, 8, 6, 4)
_REUSE_FACTORS = tuple(
    n * 2**k for k in range(12) for n in ((1, 1.5) if k > 1 else (1,)) if n * 2**k == int(n * 2**k)
)


def run(bench: Bench, names: Sequence[str] = tuple(TASKS)) -> Report:
    """Measure the tasks: one design of ours and each by hand, and several that are drawn."""
    report = Report()
    backend = bench.backends[0]
    for name in names:
        arguments = {"name": name, "directory": str(bench.directory)}

        def case(title: str, function: str, own: Any, **further: Any) -> Case:
            return Case(title, f"benchmarks.designs:{function}", {**own, **further}, backend)

        bench.measure(case("training", "training_task", arguments))
        given = [case(each, "hand_task", arguments, design=each) for each in BY_HAND]
        found = bench.compete(
            PART, TASKS[name].title, [case(OURS, "our_task", arguments), *given], 1
        )
        count = bench.repeats(_RANDOM_DESIGNS)
        drawn = bench.compete(
            PART,
            TASKS[name].title,
            [case(RANDOM, "random_task", arguments)],
            [{"seed": seed} for seed in range(count)],
        )
        _add_table(name, found, drawn, report)
    return report


def _add_table(name: str, found: Contest, drawn: Contest, report: Report) -> None:
    task = TASKS[name]
    sign = -1 if task.metric == "mse" else 1
    limits = f"{task.device}, {task.clock}, latency {task.latency}"
    limits += f", interval {task.interval}" if task.interval else ""
    columns = ["design", f"{task.metric}, validation", "test", "float"]
    columns += ["DSP", "BRAM18", "LUT", "FF", "latency, ns", "II, ns", "verified", "CPU, s"]
    table = new_table(f"{task.title} on {limits}", columns, texts=1)
    for contender in found.names:
        if error := found.error(contender):
            table.add_row(contender, error)
            continue
        table.add_row(contender, *_spell(found.rounds[0][contender]))
    good = [each[RANDOM] for each in drawn.rounds if not each[RANDOM].error]
    good = [each for each in good if each.figures["fits"]]
    good.sort(key=lambda each: sign * float(each.figures["metric"]), reverse=True)
    for title, place in (("best", 0), ("median", len(good) // 2)):
        if good:
            table.add_row(f"{title} of {len(good)} random designs", *_spell(good[place]))
    report.tables.append(table)


def _spell(measurement: Any) -> list[str]:
    figures = measurement.figures
    resources = [f"{figures[each]:,.0f}" for each in ("DSP", "BRAM18", "LUT", "FF")]
    return [
        *(f"{figures[each]:.4f}" for each in ("metric", "test", "float")),
        *resources,
        *(f"{figures[each]:,.0f}" for each in ("latency", "interval")),
        str(figures.get("verified", "")) if figures["fits"] else "does not fit",
        f"{measurement.cpu:.0f}",
    ]


def training_task(name: str, directory: str) -> Task:
    """Prepare the training of a task's model."""
    return Task(lambda: train_task(name, directory))


def our_task(name: str, directory: str) -> Task:
    """Prepare a fit from model, data, board and deadline; the generated code is verified."""
    task, samples, model = load_task(name, directory)
    import fabricfit

    def work() -> Any:
        return fabricfit.fit(
            model,
            samples.train,
            samples.validation,
            task.make_budget(),
            directory=Path(directory) / f"ours-{name}",
            tuner=None,
            epochs=task.epochs,
        )

    def inspect(result: Any) -> dict[str, Any]:
        found = _inspect(result, task, samples)
        verified = result.verify(samples.X_test[: task.tested[1]])
        return {**found, "verified": verified.outcome.value, "report": str(result.report)}

    return Task(work, inspect)


def hand_task(name: str, directory: str, design: str) -> Task:
    """Prepare a fit of a design as a user writes it: 16 bits, one strategy and reuse factor."""
    import fabricfit
    from fabricfit.errors import FabricFitError

    task, samples, model = load_task(name, directory)
    budget = task.make_budget()
    config: dict[str, Any] = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1}}
    config["Model"]["Strategy"] = design.split(",")[0]
    config["IOType"] = _choose_io_type(model)
    if design == BY_HAND[1]:
        for reuse in _REUSE_FACTORS:
            config["Model"]["ReuseFactor"] = int(reuse)
            if fabricfit.estimate(model, config, budget=budget).fits:
                break
        else:
            raise NoNumberError("no reuse factor fits")

    def work() -> Any:
        try:
            return _fit(model, task, samples, config, Path(directory) / f"hand-{name}")
        except FabricFitError as error:
            raise NoNumberError(str(error)) from error

    return Task(work, lambda result: {**_inspect(result, task, samples), "config": config["Model"]})


def random_task(name: str, directory: str, seed: int) -> Task:
    """Prepare a fit of a design that is drawn: any that the laws say can be pruned into the limits."""
    import fabricfit
    from fabricfit.errors import FabricFitError

    task, samples, model = load_task(name, directory)
    budget, rng = task.make_budget(), np.random.default_rng(seed)
    formats = _find_formats(model, samples, Path(directory) / f"formats-{name}.json")
    for _ in range(_DRAWS):
        stated = _draw(model, formats, rng)
        try:
            found = fabricfit.explore(
                model, budget, hls_config=stated, formats={**formats, "IOType": stated["IOType"]}
            )
        except FabricFitError:
            continue
        break
    else:
        raise NoNumberError(f"none of {_DRAWS} designs is within the limits")
    config = found.best.config

    def work() -> Any:
        try:
            return _fit(model, task, samples, config, Path(directory) / f"random-{name}")
        except FabricFitError:
            return None

    def inspect(result: Any) -> dict[str, Any]:
        if result is None:  # its levels were not all possible; others go on
            return {"fits": False}
        return {**_inspect(result, task, samples), "config": config}

    return Task(work, inspect)


def _find_formats(model: Any, samples: Any, file: Path) -> Any:
    """Return number formats that lose nothing, found once for all draws."""
    import fabricfit

    if not file.exists():
        file.write_text(json.dumps(fabricfit.calibrate(model, samples.train).config))
    return json.loads(file.read_text())


def _draw(model: Any, formats: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Return a configuration with a random strategy, reuse factor and width of each layer."""
    from fabricfit.description.precision import fixed_point, parse_precision
    from fabricfit.description.strategies import STRATEGIES
    from fabricfit.design import DesignSpace
    from fabricfit.hls4ml.reuse_factor import valid_reuse_factors
    from fabricfit.network.describe import describe_for_hls4ml
    from fabricfit.network.reader import as_network

    network, most_constants = as_network(model), DesignSpace().constants_up_to
    named: dict[str, Any] = {}
    for layer in describe_for_hls4ml(network, formats).values():
        if not layer.multiplies:
            continue
        allowed = sorted(layer.strategies or STRATEGIES)
        if math.prod(layer.matrix_shape) > most_constants:
            allowed = [each for each in allowed if each.startswith("resource")]
        strategy = str(rng.choice(allowed))
        legal = valid_reuse_factors(*layer.matrix_shape)
        if strategy == "resource_unrolled":  # hls4ml builds Resource at a reuse factor of 1
            legal = [each for each in legal if each > 1] or legal
        reuse = int(legal[int(len(legal) ** rng.random()) - 1])
        known = formats["LayerName"][layer.hls4ml_name]["Precision"].get(layer.weight_name)
        calibrated = fixed_point(parse_precision(known or "fixed<16,6>"))
        width = min(int(rng.choice(_WIDTHS)), calibrated.width)
        named[layer.hls4ml_name] = {
            "Strategy": strategy,
            "ReuseFactor": reuse if strategy.startswith("resource") else 1,
            "Precision": {layer.weight_name: f"fixed<{width},{calibrated.integer}>"},
        }
    kind = _choose_io_type(model) if rng.random() < 0.5 else "io_parallel"
    return {"LayerName": named, "IOType": kind}


def _choose_io_type(model: Any) -> str:
    convolves = any("Conv" in type(layer).__name__ for layer in model.layers)
    return "io_stream" if convolves else "io_parallel"


def _fit(model: Any, task: Any, samples: Any, config: dict[str, Any], directory: Path) -> Any:
    import fabricfit

    return fabricfit.fit(
        model,
        samples.train,
        samples.validation,
        task.make_budget(),
        hls_config=config,
        precision="given",
        epochs=task.epochs,
        directory=directory,
        tuner=None,
    )


def _inspect(result: Any, task: Any, samples: Any) -> dict[str, Any]:
    report, count = result.report, task.tested[0]
    tested = result.evaluate(samples.X_test[:count], samples.y_test[:count])
    (quantized, exact) = tested.values()
    times = {each.name: each.ns for each in report.timing}
    return {
        "metric": report.metric_after,
        "before": report.metric_before,
        "test": quantized,
        "float": exact,
        "fits": report.fits,
        **dict(zip(report.units, report.resources_after, strict=True)),
        **times,
        "alternatives": [each.to_dict() for each in report.alternatives],
    }
