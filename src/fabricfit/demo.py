"""``python -m fabricfit.demo``: fit a jet tagger to a board, show what that saved and cost, and prove it."""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from fabricfit import datasets
from fabricfit.firmware.verification_result import Verification
from fabricfit.hardware.budget import Budget
from fabricfit.hls4ml.estimation import ModelEstimate
from fabricfit.reporting.report import OptimizationReport
from fabricfit.tables import TextTable

__all__ = ["accuracy", "main", "train_tagger"]

_GIVEN = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}}
"""How hls4ml builds a model for which nothing is said."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return the process's exit code."""
    options = _build_parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    console = Console()
    started = time.perf_counter()
    import keras

    import fabricfit

    budget = Budget.device(options.device, options.fraction)
    jets = datasets.load_jets()
    console.print(
        f"[bold]Training a 16-64-32-32-5 jet tagger[/] on {len(jets.X_train):,} jets "
        f"({keras.backend.backend()} backend) …"
    )
    model = train_tagger(jets, options.seed)
    _show_estimate(console, fabricfit.estimate(model, _GIVEN, budget=budget), budget)
    console.print(
        f"[bold]Training the bits of its weights and tensors[/] for {options.epochs} epochs, for the "
        f"cheapest network with {options.keep:.1%} of the accuracy …"
    )
    result = _fit_tagger(model, budget, jets, options)
    saved = result.directory / "jet_tagger.keras"
    result.model.save(saved)
    old = accuracy(model, jets.X_test, jets.y_test)
    _show_outcome(console, result.report, budget.name)
    if importlib.util.find_spec("hls4ml"):
        found = result.evaluate(jets.X_test, jets.y_test)
        _show_accuracies(console, old, found["accuracy"], len(jets.y_test))
    if importlib.util.find_spec("hls4ml") and shutil.which("g++"):
        console.print("Compiling and running the C++ that hls4ml generates for it …")
        _show_verification(console, result.verify(jets.X_test, samples=500))
    console.print(f"Saved as a plain Keras model: {_shorten_path(saved)}", soft_wrap=True)
    if all(map(importlib.util.find_spec, ("jinja2", "matplotlib"))):
        page = result.write_report()
        console.print(f"The report as a web page: {_shorten_path(page)}", soft_wrap=True)
    console.print(f"Done in {time.perf_counter() - started:.0f} s.")
    return 0


def _fit_tagger(model: Any, budget: Budget, jets: Any, options: argparse.Namespace) -> Any:
    """Fit the tagger to a budget; return the result of :func:`fabricfit.fit`."""
    import keras

    import fabricfit

    settings = fabricfit.OptimizationSettings(
        batch_size=1024,
        epochs=options.epochs,
        optimizer=keras.optimizers.Adam(1e-3),
        loss_fn=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        validation_metric="accuracy",
        increasing=True,
        rtol=options.keep,
        directory=options.output,
        seed=options.seed,
        verbose=True,
    )
    train, validation = (jets.X_train, jets.y_train), (jets.X_val, jets.y_val)
    return fabricfit.fit(model, train, validation, budget, settings, precision="trained")


def train_tagger(jets: Any, seed: int = 0) -> Any:
    """Train the 16-64-32-32-5 tagger of Duarte et al. (2018), arXiv:1804.06913, from scratch.

    Parameters
    ----------
    jets
        What :func:`fabricfit.datasets.load_jets` returns.
    seed
        Seeds its weights and the order of the jets.

    Returns
    -------
    keras.Model
        The trained model, compiled.
    """
    import keras
    import numpy as np

    from fabricfit.samples import Data
    from fabricfit.training import make_engine

    widths = {"fc1": 64, "fc2": 32, "fc3": 32}
    layers: list[Any] = [keras.Input((16,))]
    for number, (name, width) in enumerate(widths.items()):
        start = keras.initializers.HeUniform(seed=seed * 10 + number)
        layers.append(
            keras.layers.Dense(width, activation="relu", kernel_initializer=start, name=name)
        )
    start = keras.initializers.GlorotUniform(seed=seed * 10 + len(widths))
    layers.append(
        keras.layers.Dense(5, kernel_initializer=start, name="output")  # logits: no table, no DSP
    )
    model = keras.Sequential(layers, name="jet_tagger")
    data, rng = Data(jets.X_train, jets.y_train), np.random.default_rng(seed)
    for learning_rate, epochs in ((2e-3, 20), (3e-4, 10)):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        engine = make_engine(model, loss, keras.optimizers.Adam(learning_rate))
        for _ in range(epochs):
            engine.train_epoch(data, rng.permutation(len(data)), 256)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    return model


def accuracy(model: Any, X: Any, y: Any) -> float:
    """Return the fraction of samples whose largest output is their class."""
    import keras

    outputs = keras.ops.convert_to_numpy(model(X, training=False))
    return float((outputs.argmax(axis=1) == y).mean())


def _show_estimate(console: Console, found: ModelEstimate, budget: Budget) -> None:
    amounts = ", ".join(
        f"{found.compared[name].value:,.0f} of {limit:,.0f} {found.label(name)}"
        for name, limit in found.limits.items()
    )
    console.print(
        f"As hls4ml builds it by default, with 16-bit numbers, it uses [bold]{amounts}[/] of {budget.name}.",
        soft_wrap=True,
    )


def _show_outcome(console: Console, report: OptimizationReport, device: str) -> None:
    """Print what each layer uses before and after, the total, and what the device has."""
    pairs = zip(report.resources_before, report.resources_after, strict=True)
    changed = [i for i, (before, after) in enumerate(pairs) if before != after]
    weights = [(layer.weights, layer.nonzeros_after) for layer in report.layers]
    used = [(layer.resources_before, layer.resources_after) for layer in report.layers]
    weights.append((sum(n for n, _ in weights), sum(n for _, n in weights)))
    used.append((report.resources_before, report.resources_after))
    rows = [
        [name, f"{all_:,} → {left:,}", *(f"{old[i]:,.0f} → {new[i]:,.0f}" for i in changed)]
        for name, (all_, left), (old, new) in zip(
            [*(layer.name for layer in report.layers), "total"], weights, used, strict=True
        )
    ]
    limits = report.budget or ()
    rows.append([device, "", *(f"{limits[i]:,.0f}" for i in changed)])
    header = ["layer", "non-zero weights", *(report.units[i] for i in changed)]
    console.print(TextTable(header, rows, closing=2, title="Resource usage, before → after"))


def _show_accuracies(console: Console, before: float, after: float, jets: int) -> None:
    console.print(
        f"Test accuracy on {jets:,} jets: {before:.2%} with floats, [bold]{after:.2%}[/] as hls4ml builds it "
        f"({(after - before) * 100:+.2f} points)."
    )


def _show_verification(console: Console, found: Verification) -> None:
    """Print what the generated code holds and computes."""
    constants = [layer.constants for layer in found.layers if layer.constants is not None]
    counted = (
        f"{sum(constants):,} constants that need a DSP"
        if constants
        else f"{sum(layer.multipliers for layer in found.layers):,} multipliers"
    )
    agrees = "as predicted" if found.counts_agree else "[bold red]not as predicted[/]"
    bits = (
        "every layer agrees with the quantized model bit for bit"
        if found.outputs_agree and not found.mismatches
        else "[bold red]results differ[/]"
    )
    console.print(f"It has {counted}, {agrees}; on {found.samples} jets {bits}.")


def _shorten_path(path: Path) -> Path:
    """Return a path relative to the current folder where it lies in it."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fabricfit.demo",
        description="Train an LHC jet tagger, fit it to a board, and show the result.",
    )
    parser.add_argument("--device", default="PYNQ-Z2", help="the board or part (default: PYNQ-Z2)")
    parser.add_argument(
        "--fraction", type=float, default=1.0, help="how much of it may be used (default: 1)"
    )
    parser.add_argument(
        "--keep",
        type=float,
        default=0.995,
        help="how much of the validation accuracy is enough (default: 0.995)",
    )
    parser.add_argument(
        "--epochs", type=int, default=240, help="epochs of training precision (default: 240)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")
    parser.add_argument(
        "--output", default="demo-output", help="folder for the result (default: demo-output)"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
