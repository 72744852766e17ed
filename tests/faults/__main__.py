"""``python -m tests.faults --trials 60``: kill a run at random moments and go on with it.

Prints one line of JSON: how many trials there were, and those whose result was not that of an unbroken run.
Each trial is a process of its own, forked from this one, which has loaded everything and computed nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import keras
import numpy as np

import fabricfit
from fabricfit.errors import RunDirectoryError
from fabricfit.network.describe import get_attributes_from_keras_model
from fabricfit.objectives import ParameterEstimator
from fabricfit.scheduler import PolynomialScheduler

from .injection import HOW, Faults

L = keras.layers


def run(folder: Path, resume: bool) -> str:
    """Do a small run of every kind of step; return what came out."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8,)),
            L.Dense(24, activation="relu"),
            L.BatchNormalization(),
            L.Dropout(0.1),
            L.Dense(16, activation="relu"),
            L.Dense(3, activation="softmax"),
        ]
    )
    rng = np.random.default_rng(0)
    X = rng.normal(size=(800, 8)).astype("float32")
    y = (X[:, :3] + 0.3 * rng.normal(size=(800, 3))).argmax(axis=1)
    settings = fabricfit.OptimizationSettings(
        batch_size=64, epochs=3, optimizer="adam", loss_fn="sparse_categorical_crossentropy",
        validation_metric="accuracy", increasing=True, rtol=0.9, directory=folder, search=4,
        ranking_metric="oracle", patience=None, resume=resume, checkpoint_seconds=0.0, cutoff_bad_trials=2,
    )  # fmt: skip
    result = fabricfit.optimize(
        model,
        get_attributes_from_keras_model(model),
        ParameterEstimator,
        PolynomialScheduler(4, final_sparsity=0.9),
        (X[:600], y[:600]),
        (X[600:], y[600:]),
        settings,
    )
    arrays = [np.asarray(keras.ops.convert_to_numpy(v)) for v in result.model.variables]
    told = result.report.to_dict()
    for level in told["levels"]:
        del level["seconds"]
    content = b"".join(a.tobytes() for a in arrays) + json.dumps(told, sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()


def child(work: Any) -> tuple[int, str]:
    """Do something in a forked process; return how it ended, and what it said."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.close(reading)
            os.write(writing, work().encode())
            os._exit(0)
        except RunDirectoryError as error:
            os.write(writing, str(error).encode())
            os._exit(2)
        except BaseException as error:  # told to the parent
            os.write(writing, f"{type(error).__name__}: {error}".encode())
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    return os.waitpid(process, 0)[1], said


def counted(folder: Path) -> str:
    """Do a run; return its result and the kinds of its operations on files."""
    faults = Faults(folder)
    faults.install()
    return f"{run(folder, False)} {','.join(faults.done)}"


def broken(folder: Path, at: int, how: str) -> str:
    Faults(folder, at, how).install()
    return run(folder, True)


def stopped(folder: Path, seconds: float) -> str:
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()
    return run(folder, True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    base = Path(tempfile.mkdtemp())
    try:
        status, said = child(lambda: counted(base / "whole"))
        assert status == 0, said
        expected, operations = said.split()
        places: dict[str, list[int]] = {}
        for number, kind in enumerate(operations.split(","), 1):
            places.setdefault(kind, []).append(number)
        failures, hits, kinds = [], 0, dict.fromkeys((*HOW, "time"), 0)
        for trial in range(options.trials):
            folder = base / f"trial-{trial}"
            breaks = []
            for _ in range(draw.choice((1, 1, 2))):  # some are interrupted twice
                how = draw.choice((*HOW, "time"))
                if how == "time":
                    seconds = draw.uniform(0.0, 1.5)
                    ended, said = child(lambda f=folder, s=seconds: stopped(f, s))
                    breaks.append([how, round(seconds, 2)])
                else:
                    at = draw.choice(places[draw.choice(sorted(places))])
                    ended, said = child(lambda f=folder, a=at, h=how: broken(f, a, h))
                    breaks.append([how, at])
                hits += ended != 0
                kinds[how] += ended != 0
                if os.WIFEXITED(ended) and os.WEXITSTATUS(ended) == 1:
                    failures.append({"breaks": breaks, "said": said})
            status, said = child(lambda f=folder: run(f, True))
            if status or said != expected:
                failures.append({"breaks": breaks, "said": said})
            shutil.rmtree(folder, ignore_errors=True)
        found = {"trials": options.trials, "interruptions": hits, "kinds": kinds}
        counts = {kind: len(numbers) for kind, numbers in places.items()}
        sys.stdout.write(json.dumps({**found, "operations": counts, "failures": failures}) + "\n")
        sys.exit(bool(failures))
    finally:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
