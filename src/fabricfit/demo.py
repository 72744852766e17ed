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

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return the process's exit code."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    from rich.console import Console

    console = Console()
    started = time.perf_counter()
    import keras

    import fabricfit
    from fabricfit.datasets import load_jets

    budget = fabricfit.Budget.device(options.device, options.fraction)
    config = {
        "Model": {
            "Precision": "fixed<16,6>",
            "ReuseFactor": options.reuse_factor,
            "Strategy": options.strategy,
        },
        "IOType": "io_parallel",
    }
    jets = load_jets()
    console.print(
        f"[bold]Training a 16-64-32-32-5 jet tagger[/] on {len(jets.X_train):,} jets "
        f"({keras.backend.backend()} backend) …"
    )
    model = train_tagger(jets, options.seed)
    needs = fabricfit.estimate(model, config, budget=budget)
    amounts = ", ".join(
        f"{needs.resources[name].value:,.0f} of {limit:,.0f} {needs.label(name)}"
        for name, limit in needs.limits.items()
    )
    console.print(
        f"With 16-bit weights, {options.strategy} and a reuse factor of {options.reuse_factor} it takes "
        f"[bold]{amounts}[/] of {budget.name}.",
        soft_wrap=True,
    )
    if needs.fits:
        console.print("It fits as it is.")
        return 0
    console.print("[bold]Fitting it[/] …")
    settings = fabricfit.OptimizationSettings(
        batch_size=256,
        epochs=10,
        optimizer=keras.optimizers.Adam(1e-3),
        loss_fn="sparse_categorical_crossentropy",
        validation_metric="accuracy",
        increasing=True,
        rtol=None,
        directory=options.output,
        tuner=None,
        regularization_range=[1e-4],
        seed=options.seed,
        verbose=True,
    )
    result = fabricfit.fit(
        model, config, budget, (jets.X_train, jets.y_train), (jets.X_val, jets.y_val), settings
    )
    saved = result.directory / "jet_tagger.keras"
    result.model.save(saved)
    before, after = (accuracy(each, jets.X_test, jets.y_test) for each in (model, result.model))
    _show(console, result.report, budget.name, before, after, len(jets.y_test))
    if importlib.util.find_spec("hls4ml") and shutil.which("g++"):
        console.print("Compiling and running the C++ that hls4ml generates for it …")
        _prove(
            console,
            result.verify(jets.X_test, samples=500),
        )
    console.print(f"Saved as a plain Keras model: {_short(saved)}", soft_wrap=True)
    if all(map(importlib.util.find_spec, ("jinja2", "matplotlib"))):
        console.print(f"A page to look at: {_short(result.write_report())}", soft_wrap=True)
    console.print(f"Done in {time.perf_counter() - started:.0f} s.")
    return 0


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
        The trained model, uncompiled.
    """
    import keras
    import numpy as np

    from fabricfit.training import Data, make_engine

    widths = {"fc1": 64, "fc2": 32, "fc3": 32}
    layers: list[Any] = [keras.Input((16,))]
    for number, (name, width) in enumerate(widths.items()):
        start = keras.initializers.HeUniform(seed=seed * 10 + number)
        layers.append(
            keras.layers.Dense(width, activation="relu", kernel_initializer=start, name=name)
        )
    start = keras.initializers.GlorotUniform(seed=seed * 10 + len(widths))
    layers.append(
        keras.layers.Dense(5, activation="softmax", kernel_initializer=start, name="output")
    )
    model = keras.Sequential(layers, name="jet_tagger")
    data, rng = Data(jets.X_train, jets.y_train), np.random.default_rng(seed)
    for learning_rate, epochs in ((2e-3, 20), (3e-4, 10)):
        engine = make_engine(
            model, "sparse_categorical_crossentropy", keras.optimizers.Adam(learning_rate)
        )
        for _ in range(epochs):
            engine.train_epoch(data, rng.permutation(len(data)), 256)
    return model


def accuracy(model: Any, X: Any, y: Any) -> float:
    """Return the fraction of samples whose largest output is their class."""
    import keras

    outputs = keras.ops.convert_to_numpy(model(X, training=False))
    return float((outputs.argmax(axis=1) == y).mean())


def _show(console: Any, report: Any, device: str, before: float, after: float, jets: int) -> None:
    from rich.table import Table

    pairs = zip(report.resources_before, report.resources_after, strict=True)
    changed = [i for i, (old, new) in enumerate(pairs) if old != new]
    table = Table(title="What it takes, before → after", title_justify="left")
    table.add_column("layer")
    for name in ("non-zero weights", *(report.units[i] for i in changed)):
        table.add_column(name, justify="right")
    for layer in report.layers:
        table.add_row(
            layer.name,
            f"{layer.weights:,} → {layer.nonzeros_after:,}",
            *(_change(layer.resources_before[i], layer.resources_after[i]) for i in changed),
        )
    table.add_section()
    weights = sum(layer.weights for layer in report.layers)
    nonzeros = sum(layer.nonzeros_after for layer in report.layers)
    totals = (_change(report.resources_before[i], report.resources_after[i]) for i in changed)
    table.add_row("total", f"{weights:,} → {nonzeros:,}", *totals, style="bold")
    table.add_row(device, "", *(f"{report.budget[i]:,.0f}" for i in changed))
    console.print(table)
    console.print(
        f"Test accuracy on {jets:,} jets: {before:.2%} before, [bold]{after:.2%}[/] after "
        f"({(after - before) * 100:+.2f} points)."
    )


def _change(before: float, after: float) -> str:
    return f"{before:,.0f} → {after:,.0f}"


def _prove(console: Any, found: Any) -> None:
    """Say what the generated code has and computes."""
    constants = [layer.constants for layer in found.layers if layer.constants is not None]
    counted = (
        f"{sum(constants):,} constants that take a DSP"
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


def _short(path: Path) -> Path:
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fabricfit.demo",
        description="Train an LHC jet tagger, fit it to a board, and show the result.",
    )
    parser.add_argument("--device", default="PYNQ-Z2", help="the board or part (default: PYNQ-Z2)")
    parser.add_argument(
        "--fraction", type=float, default=1.0, help="how much of it may be used (default: 1)"
    )
    parser.add_argument(
        "--strategy", default="Latency", help="hls4ml's strategy (default: Latency)"
    )
    parser.add_argument("--reuse-factor", type=int, default=1, help="hls4ml's RF (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")
    parser.add_argument(
        "--output", default="demo-output", help="folder for the result (default: demo-output)"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
