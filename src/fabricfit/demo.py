"""``python -m fabricfit.demo``: fit a jet tagger to a board's DSPs, and show what that saved and cost."""

from __future__ import annotations

import argparse
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["main"]

PYNQ_Z2_DSPS = 220
"""DSP slices of the xc7z020 on a PYNQ-Z2 board."""


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
    from fabricfit.objectives.vivado_objectives import VivadoDSPEstimator
    from fabricfit.scheduler import PolynomialScheduler

    jets = load_jets()
    console.print(
        f"[bold]Training a 16-64-32-32-5 jet tagger[/] on {len(jets.X_train):,} jets "
        f"({keras.backend.backend()} backend) …"
    )
    model = train_tagger(jets, options.seed)
    config = {
        "Model": {
            "Precision": "fixed<16,6>",
            "ReuseFactor": options.reuse_factor,
            "Strategy": "Resource",
        },
        "IOType": "io_parallel",
    }
    attributes = fabricfit.get_attributes_from_keras_model_and_hls4ml_config(model, config)
    dense = VivadoDSPEstimator.model_utilization(attributes, {})[0]
    if options.dsps >= dense:
        console.print(f"The tagger needs {dense} DSPs; it fits {options.dsps} as it is.")
        return 0
    console.print(
        f"It needs [bold]{dense:,}[/] DSPs with 16-bit weights and a reuse factor of "
        f"{options.reuse_factor}. [bold]Fitting it to {options.dsps}[/] …",
        soft_wrap=True,
    )
    settings = fabricfit.OptimizationSettings(
        batch_size=256,
        epochs=10,
        optimizer=keras.optimizers.Adam(1e-3),
        loss_fn="sparse_categorical_crossentropy",
        validation_metric="accuracy",
        increasing=True,
        rtol=0.95,
        directory=options.output,
        tuner=None,
        regularization_range=[1e-4],
        seed=options.seed,
    )
    logging.basicConfig(format="%(asctime)s  %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("fabricfit").setLevel(logging.INFO)
    result = fabricfit.optimize(
        model,
        attributes,
        VivadoDSPEstimator,
        PolynomialScheduler(5, final_sparsity=1 - options.dsps / dense),
        (jets.X_train, jets.y_train),
        (jets.X_val, jets.y_val),
        settings,
    )
    saved = result.directory / "jet_tagger.keras"
    result.model.save(saved)
    before, after = (accuracy(each, jets.X_test, jets.y_test) for each in (model, result.model))
    _show(console, result.report, before, after, len(jets.y_test))
    console.print(f"Saved as a plain Keras model: {_short(saved)}", soft_wrap=True)
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

    from fabricfit.keras.training import Data, make_engine

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


def _show(console: Any, report: Any, before: float, after: float, jets: int) -> None:
    from rich.table import Table

    header, rows = report.rows()
    if not any(row[-1] for row in rows):  # no remarks
        header, rows = header[:-1], [row[:-1] for row in rows]
    table = Table(title="What the board has to hold, before and after", title_justify="left")
    for number, name in enumerate(header):
        table.add_column(name, justify="left" if number == 0 else "right", no_wrap=number == 0)
    for row in rows[:-1]:
        table.add_row(*row)
    table.add_section()
    table.add_row(*rows[-1], style="bold")
    console.print(table)
    console.print(
        f"Test accuracy on {jets:,} jets: {before:.2%} before, [bold]{after:.2%}[/] after "
        f"({(after - before) * 100:+.2f} points)."
    )


def _short(path: Path) -> Path:
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fabricfit.demo",
        description="Train an LHC jet tagger, fit it to a number of DSPs, and show the result.",
    )
    parser.add_argument(
        "--dsps", type=int, default=PYNQ_Z2_DSPS, help="the budget (default: a PYNQ-Z2's 220)"
    )
    parser.add_argument("--reuse-factor", type=int, default=4, help="hls4ml's RF (default: 4)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")
    parser.add_argument(
        "--output", default="demo-output", help="folder for the result (default: demo-output)"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
