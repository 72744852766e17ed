"""Growth of time and memory with weights, samples and layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Bench, Case, Measurement, Spread
from benchmarks.tables import FAILED, Headline, Report, megabytes, new_table, seconds
from benchmarks.task import Task
from benchmarks.workloads import LEARNING_RATE, LOSS, describe_model

__all__ = [
    "adders_task",
    "choices_task",
    "explore_task",
    "level_task",
    "masks_task",
    "optimize_task",
    "run",
]

PART = "growth"
CLASSES = 5
LEVELS = (0.5, 0.9)
SPARSITY = 0.5
CHOICE_LEVEL = 0.6


@dataclass(frozen=True)
class Scale:
    """A network of equal dense layers, and how much data it is trained with."""

    width: int
    layers: int
    samples: int
    batch_size: int = 512
    streamed: bool = False

    @property
    def weights(self) -> int:
        """Weights of all kernels."""
        return self.width * (self.width * (self.layers - 1) + CLASSES)

    @property
    def weights_mb(self) -> float:
        """Megabytes of the weights."""
        return self.weights * 4e-6

    @property
    def data_mb(self) -> float:
        """Megabytes of the inputs and classes."""
        return self.samples * (self.width + 1) * 4e-6


@dataclass(frozen=True)
class Axis:
    """What grows, and what is done at each size.

    Parameters
    ----------
    title
        What tables call it.
    scales
        The sizes, smallest first.
    what
        Keys of :data:`TITLES`.
    size
        The number of a scale that grows.
    megabytes
        What there is more to hold as it grows, and how that is called.
    """

    title: str
    scales: tuple[Scale, ...]
    what: tuple[str, ...]
    size: Callable[[Scale], int]
    megabytes: Callable[[Scale], float]
    unit: str


TITLES = {
    "masks": f"masks at sparsity {SPARSITY}",
    "level": "a level: masks, 2 epochs, compilation",
    "optimize": f"optimize: levels {LEVELS[0]} and {LEVELS[1]}, 2 epochs each, no search",
    "choices": f"choices in Latency layers at level {CHOICE_LEVEL}: DSPs and LUTs, 16 bits",
    "explore": "explore: designs for a ZCU102 within 20 µs, data included",
    "adders": f"choices in graphs of adders at level {CHOICE_LEVEL}: LUTs, 16 bits",
}


def axes(quick: bool) -> list[Axis]:
    """Return what is measured."""
    widths = (48, 156, 498, 1580, 2235)
    constants = (64, 128, 256, 512, 1024)
    samples = (10_000, 100_000, 1_000_000)
    layers = (4, 20, 50, 100, 200)
    explored = (5, 10, 20, 30, 50)
    if quick:
        widths, samples, layers, constants = widths[:3], samples[:2], layers[:3], constants[:3]
        explored = explored[:3]

    def by_samples(title: str, streamed: bool) -> Axis:
        scales = tuple(Scale(48, 3, count, streamed=streamed) for count in samples)
        what = ("optimize",) if streamed else ("level", "optimize")
        return Axis(title, scales, what, lambda s: s.samples, lambda s: s.data_mb, "data")

    everything = ("masks", "level", "optimize")
    return [
        Axis(
            "weights",
            tuple(Scale(width, 3, 2_000) for width in widths),
            everything,
            lambda s: s.weights,
            lambda s: s.weights_mb,
            "weights",
        ),
        Axis(
            "weights that are constants",
            tuple(Scale(width, 2, 1) for width in constants),
            ("choices", "adders"),
            lambda s: s.weights,
            lambda s: s.weights_mb,
            "weights",
        ),
        Axis(
            "layers to be chosen for",
            tuple(Scale(64, count, 1_000) for count in explored),
            ("explore",),
            lambda s: s.layers,
            lambda s: s.weights_mb,
            "weights",
        ),
        by_samples("samples in memory", False),
        by_samples("samples in batches", True),
        Axis(
            "layers",
            tuple(Scale(32, count, 5_000) for count in layers),
            everything,
            lambda s: s.layers,
            lambda s: s.weights_mb,
            "weights",
        ),
    ]


def run(bench: Bench) -> Report:
    """Measure every axis."""
    report = Report()
    for axis in axes(bench.quick):
        for what in axis.what:
            found = [(scale, _measure(bench, axis, what, scale)) for scale in axis.scales]
            report.tables.append(_build_table(axis, what, found))
            good = [pair for pair in found if not pair[1].error]
            if len(good) > 1:
                report.headlines += _list_headlines(axis, what, good[0], good[-1])
    return report


def _measure(bench: Bench, axis: Axis, what: str, scale: Scale) -> Measurement:
    arguments = {**vars(scale), "directory": str(bench.directory)}
    workload = f"{what}, {axis.title}: {axis.size(scale):,}"
    case = Case("fabricfit", f"benchmarks.growth:{what}_task", arguments, bench.backends[0])
    contest = bench.compete(PART, workload, [case], bench.repeats(1))
    found = [each["fabricfit"] for each in contest.rounds]
    good = sorted((each for each in found if not each.error), key=lambda each: each.cpu)
    return good[len(good) // 2] if good else found[0]


def _build_table(axis: Axis, what: str, found: list[tuple[Scale, Measurement]]) -> Any:
    columns = ["weights", "layers", "samples", "size ÷ first", "wall", "CPU", "CPU ÷ first"]
    columns += ["peak", "growth", f"MB more ÷ MB more of {axis.unit}"]
    table = new_table(f"{TITLES[what]}, as {axis.title} grow", columns, texts=0)
    first, least = found[0]
    for scale, own in found:
        sizes = [f"{number:,}" for number in (scale.weights, scale.layers, scale.samples)]
        if own.error:
            table.add_row(*sizes, FAILED, own.error)
            continue
        later = scale is not first and not least.error
        table.add_row(
            *sizes,
            f"{axis.size(scale) / axis.size(first):,.0f}",
            seconds(own.wall),
            seconds(own.cpu),
            f"{own.cpu / least.cpu:,.1f}" if later else "",
            megabytes(own.peak_mb),
            f"{own.growth_mb:,.1f} MB",
            f"{_compute_growth(axis, (first, least), (scale, own)):.1f}" if later else "",
        )
    return table


def _compute_growth(
    axis: Axis, low: tuple[Scale, Measurement], high: tuple[Scale, Measurement]
) -> float:
    """Return the additional memory of the work for each additional byte of weights or samples."""
    more = axis.megabytes(high[0]) - axis.megabytes(low[0])
    return (high[1].growth_mb - low[1].growth_mb) / more


def _list_headlines(
    axis: Axis, what: str, low: tuple[Scale, Measurement], high: tuple[Scale, Measurement]
) -> Iterator[Headline]:
    """Yield the ratios of the largest to the smallest size."""
    times = axis.size(high[0]) / axis.size(low[0])
    cpu, growth = high[1].cpu / low[1].cpu, _compute_growth(axis, low, high)
    text = f"CPU time of {times:,.0f} times as many {axis.title} ÷ the fewest"
    yield Headline(PART, what, text, Spread(cpu, cpu, cpu))
    if axis.title != "layers":
        text = f"additional memory for more {axis.title} ÷ their own"
        yield Headline(PART, what, text, Spread(growth, growth, growth))


def _build_network(scale: Scale) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    layers = [
        *(keras.layers.Dense(scale.width, "relu") for _ in range(scale.layers - 1)),
        keras.layers.Dense(CLASSES, "softmax"),
    ]
    return keras.Sequential([keras.Input((scale.width,)), *layers])


def _draw_data(scale: Scale) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((scale.samples, scale.width), np.float32)
    return X, X[:, :CLASSES].argmax(axis=1).astype(np.int32)


def _iterate_batches(
    X: np.ndarray, y: np.ndarray, size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield batches made one by one, as a reader of files would."""
    for start in range(0, len(X), size):
        yield X[start : start + size].copy(), y[start : start + size].copy()


def masks_task(directory: str, **sizes: Any) -> Task:
    """Prepare masks alone."""
    from fabricfit.keras.masking import get_model_masks
    from fabricfit.objectives import ParameterEstimator

    model = _build_network(Scale(**sizes))
    attributes = describe_model(model)
    return Task(lambda: get_model_masks(model, attributes, SPARSITY, ParameterEstimator))


def level_task(directory: str, **sizes: Any) -> Task:
    """Prepare masks and two epochs of training."""
    import keras

    from fabricfit.keras.masking import get_model_masks
    from fabricfit.objectives import ParameterEstimator
    from fabricfit.samples import Data
    from fabricfit.training import make_engine

    scale = Scale(**sizes)
    model, data = _build_network(scale), Data(*_draw_data(scale))
    attributes = describe_model(model)

    def work() -> None:
        engine = make_engine(model, LOSS, keras.optimizers.Adam(LEARNING_RATE), attributes)
        masks = get_model_masks(model, attributes, SPARSITY, ParameterEstimator)
        engine.projection.update(*masks)
        engine.project_weights()
        rng = np.random.default_rng(0)
        for _ in range(2):
            engine.train_epoch(data, rng.permutation(len(data)), scale.batch_size)

    return Task(work)


def optimize_task(directory: str, **sizes: Any) -> Task:
    """Prepare a run of two levels without a search for strengths."""
    import keras

    import fabricfit
    from fabricfit.objectives import ParameterEstimator
    from fabricfit.scheduler import ConstantScheduler

    scale = Scale(**sizes)
    model, (X, y) = _build_network(scale), _draw_data(scale)
    held_out = X[: scale.samples // 10], y[: scale.samples // 10]
    settings = fabricfit.OptimizationSettings(
        batch_size=scale.batch_size,
        epochs=2,
        optimizer=keras.optimizers.Adam(LEARNING_RATE),
        loss_fn=LOSS,
        validation_metric="accuracy",
        increasing=True,
        rtol=None,
        tuner=None,
        directory=str(Path(directory) / "growth"),
    )

    def work() -> Any:
        train: Any = (X, y)
        if scale.streamed:
            train = partial(_iterate_batches, X, y, scale.batch_size)
        return fabricfit.optimize(
            model,
            fabricfit.get_attributes_from_keras_model(model),
            ParameterEstimator,
            ConstantScheduler(LEVELS[0], LEVELS[1], LEVELS[1] - LEVELS[0]),
            train,
            held_out,
            settings,
        )

    return Task(work, lambda result: {"levels": [each.seconds for each in result.history]})


def explore_task(directory: str, **sizes: Any) -> Task:
    """Prepare the choice of strategy, reuse factor, bits and pruning of each layer."""
    import fabricfit

    scale = Scale(**sizes)
    model, data = _build_network(scale), _draw_data(scale)
    budget = fabricfit.Budget.device("zcu102", latency="20us", clock="200MHz")

    def inspect(found: Any) -> dict[str, Any]:
        return {"designs": len(found.designs), "gap": max(each.gap for each in found.designs)}

    return Task(lambda: fabricfit.explore(model, budget, data, loss=LOSS), inspect)


def choices_task(directory: str, **sizes: Any) -> Task:
    """Prepare choices of what becomes of each weight, where weights are constants."""
    from fabricfit.objectives.fpga import FPGAResources

    return _prepare_choices(FPGAResources(["dsp", "lut"]), Scale(**sizes))


def adders_task(directory: str, **sizes: Any) -> Task:
    """Prepare choices of what becomes of each weight, where products are graphs of adders."""
    from fabricfit.objectives.fpga_luts import AdderGraphResources

    return _prepare_choices(AdderGraphResources(["lut"]), Scale(**sizes))


def _prepare_choices(objective: Any, scale: Scale) -> Task:
    from fabricfit.network.configuration import open_configuration
    from fabricfit.network.describe import describe_for_hls4ml
    from fabricfit.network.reader import read
    from fabricfit.selection.choice_targets import ChoiceTarget

    network = read(_build_network(scale))
    stated = {"Precision": "fixed<16,6>", "Strategy": "Latency", "ReuseFactor": 1}
    attributes = describe_for_hls4ml(network, open_configuration({"Model": stated}, network))
    for layer in attributes.values():
        settings = objective.groups(layer)
        layer.optimizable = settings is not None
        if settings is not None:
            layer.optimization_attributes = settings
    rng = np.random.default_rng(0)  # freshly drawn weights would be narrower, the wider a layer is
    kernels = {
        name: rng.normal(0, 0.4, kernel.shape).astype(np.float32)
        for name, kernel in network.kernel_arrays().items()
    }
    target = ChoiceTarget(attributes, objective, kernels)
    optimized = {name: each for name, each in kernels.items() if attributes[name].optimizable}
    return Task(lambda: target.choose(optimized, CHOICE_LEVEL))
