"""Time and memory of each stage on networks of more than a million weights, and of fifty layers."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Bench, Case
from benchmarks.tables import FAILED, Report, megabytes, new_table, seconds
from benchmarks.task import Task

__all__ = ["NETWORKS", "large_task", "run"]

PART = "large"
CLASSES = 10
_SAMPLES, _BATCH = 512, 64
_LIMIT = 3600.0


@dataclass(frozen=True)
class Large:
    """A network, and how hls4ml is to build it.

    Parameters
    ----------
    title
        What tables call it.
    build
        Returns the model, untrained.
    reuse_factor
        Of all layers, the nearest that is allowed.
    io_type
        The interface.
    """

    title: str
    build: Callable[[], Any]
    reuse_factor: int
    io_type: str


def _build_dense() -> Any:
    import keras

    layers = keras.layers
    hidden = [layers.Dense(1024, "relu", name=f"fc{i}") for i in range(1, 4)]
    last = layers.Dense(CLASSES, "softmax", name="output")
    return keras.Sequential([keras.Input((1024,)), *hidden, last], name="dense")


def _build_residual(widths: tuple[int, ...], blocks: tuple[int, ...], side: int) -> Any:
    """Return a network of residual blocks with two convolutions each (He et al., 2016)."""
    import keras

    layers = keras.layers

    def convolve(x: Any, filters: int, size: int, strides: int) -> Any:
        x = layers.Conv2D(filters, size, strides, padding="same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    x = inputs = keras.Input((side, side, 3))
    x = layers.ReLU()(convolve(x, widths[0], 3, 1))
    for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        for block in range(count):
            strides = 2 if stage and not block else 1
            y = layers.ReLU()(convolve(x, width, 3, strides))
            y = convolve(y, width, 3, 1)
            if x.shape[-1] != width:
                x = convolve(x, width, 1, strides)
            x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(CLASSES, "softmax", name="output")(x))


NETWORKS = {
    "dense": Large("dense 1024 × 1024 × 3", _build_dense, 1024, "io_parallel"),
    "resnet18": Large(
        "ResNet-18 for 32 × 32 pixels",
        lambda: _build_residual((64, 128, 256, 512), (2, 2, 2, 2), 32),
        576,
        "io_stream",
    ),
    "deep": Large(
        "50 convolutions",
        lambda: _build_residual((16, 32, 64), (8, 8, 8), 16),
        144,
        "io_stream",
    ),
}
"""Name -> network."""

STAGES = ("estimate", "set-up", "choice", "level", "report", "page")


def run(bench: Bench) -> Report:
    """Measure every network, stage by stage."""
    report = Report()
    columns = ["network", "weights", "layers", "", *STAGES]
    table = new_table(f"half of the DSPs, {_SAMPLES} samples, an epoch a level", columns, texts=1)
    for name in tuple(NETWORKS)[:1] if bench.quick else NETWORKS:
        network = NETWORKS[name]
        arguments = {"name": name, "directory": str(bench.directory)}
        case = Case(
            "fabricfit", "benchmarks.large:large_task", arguments, bench.backends[0], limit=_LIMIT
        )
        found = bench.compete(PART, network.title, [case], 1).rounds[0]["fabricfit"]
        if found.error:
            table.add_row(network.title, FAILED, found.error)
            continue
        figures = found.figures
        sizes = (network.title, f"{figures['weights']:,}", str(figures["layers"]))
        table.add_row(*sizes, "CPU", *(seconds(figures[f"cpu {stage}"]) for stage in STAGES))
        peaks = [megabytes(figures[f"peak {stage}"]) for stage in STAGES]
        table.add_row("", "", "", "peak", *peaks)
        table.add_row("", "", "", "page", f"{figures['page bytes'] / 1e6:.2f} MB")
    report.tables.append(table)
    return report


def large_task(name: str, directory: str) -> Task:
    """Prepare the stages of a fit to half of the DSPs, with one level."""
    import keras

    import fabricfit

    network, rng = NETWORKS[name], np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    model = network.build()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    X = rng.normal(size=(_SAMPLES, *model.input_shape[1:])).astype("float32")
    y = rng.integers(0, CLASSES, _SAMPLES)
    settings = {"Precision": "fixed<16,6>", "ReuseFactor": network.reuse_factor}
    config = {"Model": {**settings, "Strategy": "Resource"}, "IOType": network.io_type}
    budget = fabricfit.Budget.relative(dsp=0.5)

    def work() -> dict[str, float]:
        clock = _Clock()
        fabricfit.estimate(model, config)
        clock.stop("estimate")
        training = fabricfit.masked(
            model,
            (X, y),
            (X, y),
            budget,
            hls_config=config,
            scheduler=fabricfit.scheduler.PolynomialScheduler(1, final_sparsity=1.0),
            batch_size=_BATCH,
            directory=Path(directory) / f"large-{name}",
        )
        clock.stop("set-up")
        levels = training.levels()
        next(levels)
        clock.stop("choice")
        keep = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs=None: training.apply()
        )
        training.model.fit(X, y, batch_size=_BATCH, epochs=1, verbose=0, callbacks=[keep])
        clock.stop("level")
        next(levels, None)
        result = training.result
        clock.stop("report")
        page = Path(directory) / f"large-{name}.html"
        result.write_report(page)
        clock.stop("page")
        weights = sum(kernel.size for kernel in map(np.asarray, model.get_weights()))
        layers = sum(bool(layer.weights) for layer in model.layers)
        sizes = {"weights": weights, "layers": layers, "page bytes": page.stat().st_size}
        return {**clock.found, **sizes, "fits": result.report.fits}

    return Task(work, dict)


class _Clock:
    """CPU seconds of stages, and the largest resident set at their ends in MB."""

    def __init__(self) -> None:
        self.found: dict[str, float] = {}
        self._last = time.process_time()

    def stop(self, stage: str) -> None:
        """Note what a stage took."""
        now = time.process_time()
        self.found[f"cpu {stage}"] = now - self._last
        self.found[f"peak {stage}"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        self._last = now
