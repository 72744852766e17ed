"""Masks of a large network, against PyTorch, and of small ones, against the older algorithm."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.harness import Bench, Case, Contest
from benchmarks.tables import NOTHING, Headline, Report, new_table, ratio, seconds
from benchmarks.task import Task
from benchmarks.workloads import WORKLOADS, describe_model, load_model, train_models

__all__ = ["fabricfit_task", "kernels", "older_task", "run", "small_task"]

PART = "masks"
SPARSITY = 0.5
REUSE_FACTOR = 4
LARGE = (1000, 2500, 2000, 1000, 500)
"""Units of the large network's layers; 10 million weights."""

QUICK = (500, 1000, 800, 500)
OURS = "fabricfit"
OLDER = "older algorithm"
TORCH = {
    "PyTorch kthvalue": "kthvalue",
    "PyTorch topk": "topk",
    "PyTorch global_unstructured": "global_unstructured",
}


def run(bench: Bench) -> Report:
    """Measure single weights and groups, in the large network and in the small ones."""
    report = Report()
    sizes = list(QUICK if bench.quick else LARGE)
    for structure, reuse_factor in (("single weights", None), ("patterns", REUSE_FACTOR)):
        arguments = {"sizes": sizes, "sparsity": SPARSITY, "reuse_factor": reuse_factor}
        backend = bench.backends[0]
        cases = [Case(OURS, "benchmarks.masks:fabricfit_task", arguments, backend)]
        for name, way in TORCH.items():
            if reuse_factor is None or way != "global_unstructured":
                own = {**arguments, "way": way}
                cases.append(Case(name, "benchmarks.rivals.torch_masks:magnitude_task", own))
        contest = bench.compete(
            PART, f"{_count_weights(sizes):.1e} weights, {structure}", cases, _count_repeats(bench)
        )
        report.tables.append(_build_table(contest, _count_weights(sizes)))
        for name in contest.names[1:]:
            what = f"wall time: {name} ÷ {OURS}"
            value = contest.ratio(name, OURS, "wall")
            report.headlines.append(Headline(PART, contest.workload, what, value))
    for name, workload in WORKLOADS.items():
        train_models(bench, name, 1)
        for structure, reuse_factor in (("single weights", None), ("patterns", 2)):
            small = {
                "name": name,
                "directory": str(bench.directory),
                "sparsity": SPARSITY,
                "reuse_factor": reuse_factor,
            }
            cases = [
                Case(OURS, "benchmarks.masks:small_task", small),
                Case(OLDER, "benchmarks.masks:older_task", small),
            ]
            contest = bench.compete(
                PART, f"{workload.title}, {structure}", cases, _count_repeats(bench)
            )
            report.tables.append(_build_table(contest, None))
            value = contest.ratio(OLDER, OURS, "wall")
            what = f"wall time: {OLDER} ÷ {OURS}"
            report.headlines.append(Headline(PART, contest.workload, what, value))
    return report


def _count_repeats(bench: Bench) -> int:
    return bench.repeats(3)


def _count_weights(sizes: list[int]) -> int:
    return sum(a * b for a, b in pairwise(sizes))


def _build_table(contest: Contest, weights: int | None) -> Any:
    columns = [
        "",
        "wall",
        "CPU",
        "memory growth",
        "× bytes of the weights",
        "kept",
        "wall ÷ fabricfit's",
        "CPU ÷ fabricfit's",
    ]
    table = new_table(f"{contest.workload}, sparsity {SPARSITY}", columns)
    for name in contest.names:
        if error := contest.error(name):
            table.add_row(name, error)
            continue
        growth = contest.spread(name, "growth_mb")
        multiple = growth.median / (weights * 4e-6) if growth and weights else None
        table.add_row(
            name,
            seconds(contest.spread(name, "wall")),
            seconds(contest.spread(name, "cpu")),
            f"{growth.median:,.1f} MB" if growth else NOTHING,
            f"{multiple:.1f}" if multiple is not None else "",
            f"{contest.values(name, 'kept')[0]:.4f}",
            *(ratio(contest.ratio(name, OURS, key)) for key in ("wall", "cpu") if name != OURS),
        )
    return table


def kernels(sizes: list[int]) -> list[np.ndarray]:
    """Return the kernels of a network of dense layers, the same in every process."""
    rng = np.random.default_rng(0)
    return [
        rng.standard_normal((a, b), np.float32) / np.float32(math.sqrt(a))
        for a, b in pairwise(sizes)
    ]


def fabricfit_task(sizes: list[int], sparsity: float, reuse_factor: int | None) -> Task:
    """Prepare masks of a network of dense layers."""
    import keras

    model = keras.Sequential(
        [keras.Input((sizes[0],)), *(keras.layers.Dense(n, use_bias=False) for n in sizes[1:])]
    )
    for layer, kernel in zip(model.layers, kernels(sizes), strict=True):
        layer.set_weights([kernel])
    return _make_task(model, sparsity, reuse_factor)


def small_task(name: str, directory: str, sparsity: float, reuse_factor: int | None) -> Task:
    """Prepare masks of a workload's trained model."""
    return _make_task(load_model(name, 0, directory), sparsity, reuse_factor)


def _make_task(model: Any, sparsity: float, reuse_factor: int | None) -> Task:
    from fabricfit.description.attributes import OptimizationAttributes
    from fabricfit.description.structures import SUPPORTED_STRUCTURES
    from fabricfit.keras.masking import get_model_masks
    from fabricfit.objectives import ParameterEstimator

    attributes = describe_model(model)
    if reuse_factor is not None:
        for layer in attributes.values():
            if layer.optimizable:
                layer.optimization_attributes = OptimizationAttributes(
                    SUPPORTED_STRUCTURES.PATTERN,
                    pruning=True,
                    pattern_offset=math.prod(layer.weight_shape) // reuse_factor,
                )

    def work() -> Any:
        return get_model_masks(model, attributes, sparsity, ParameterEstimator)

    return Task(work, lambda found: _check_masks(found[0]))


def older_task(name: str, directory: str, sparsity: float, reuse_factor: int | None) -> Task:
    """Prepare the loops of the older algorithm."""
    from benchmarks.rivals.older_masks import model_masks

    model = load_model(name, 0, directory)
    return Task(lambda: model_masks(model, sparsity, reuse_factor), _check_masks)


def _check_masks(masks: dict[str, np.ndarray]) -> dict[str, Any]:
    total = sum(mask.size for mask in masks.values())
    return {"kept": sum(int(np.count_nonzero(mask)) for mask in masks.values()) / total}
