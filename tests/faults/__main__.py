"""``python -m tests.faults --runs search aids --trials 60``: kill runs at random moments and go on with them.

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
import time
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fabricfit.errors import RunDirectoryError

from .injection import HOW, Faults
from .runs import RUNS


def run(kind: str, folder: Path, resume: bool) -> str:
    """Do a small run; return what came out."""
    result = RUNS[kind](folder, resume)
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


def counted(kind: str, folder: Path) -> str:
    """Do a run; return its result and the kinds of its operations on files."""
    faults = Faults(folder)
    faults.install()
    return f"{run(kind, folder, False)} {','.join(faults.done)}"


def broken(kind: str, folder: Path, at: int, how: str) -> str:
    Faults(folder, at, how).install()
    return run(kind, folder, True)


def stopped(kind: str, folder: Path, seconds: float) -> str:
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()
    return run(kind, folder, True)


def try_run(
    kind: str, trials: int, breaks_most: int, draw: random.Random, base: Path
) -> dict[str, Any]:
    """Kill runs of a kind at random moments; return how often, and what went wrong."""
    began = time.monotonic()
    status, said = child(lambda: counted(kind, base / "whole"))
    seconds = time.monotonic() - began
    assert status == 0, f"{kind}: {said}"
    expected, operations = said.split()
    places: dict[str, list[int]] = {}
    for number, each in enumerate(operations.split(","), 1):
        places.setdefault(each, []).append(number)
    failures, hits, kinds = [], 0, dict.fromkeys((*HOW, "time"), 0)
    for trial in range(trials):
        folder = base / f"trial-{trial}"
        breaks: list[list[Any]] = []
        for _ in range(draw.randint(1, breaks_most)):
            how = draw.choice((*HOW, "time"))
            if how == "time":
                after = seconds * draw.random() ** 2
                ended, said = child(partial(stopped, kind, folder, after))
                breaks.append([how, round(after, 2)])
            else:
                among = places[draw.choice(sorted(places))]
                at = among[int(len(among) * draw.random() ** 3)]  # what is left is ever less
                ended, said = child(partial(broken, kind, folder, at, how))
                breaks.append([how, at])
            hits += ended != 0
            kinds[how] += ended != 0
            if os.WIFEXITED(ended) and os.WEXITSTATUS(ended) == 1:
                failures.append({"run": kind, "breaks": breaks, "said": said})
        status, said = child(partial(run, kind, folder, True))
        if status or said != expected:
            failures.append({"run": kind, "breaks": breaks, "said": said})
        shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(base / "whole", ignore_errors=True)
    counts = {each: len(numbers) for each, numbers in places.items()}
    told = {"trials": trials, "interruptions": hits, "kinds": kinds, "operations": counts}
    return {**told, "failures": failures}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=["search"])
    parser.add_argument("--trials", type=int, default=60, help="of each run")
    parser.add_argument("--breaks", type=int, default=3, help="at most, of a trial")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    base = Path(tempfile.mkdtemp())
    try:
        found = {}
        for kind in options.runs:
            found[kind] = try_run(
                kind, options.trials, options.breaks, random.Random(options.seed), base
            )
            sys.stderr.write(json.dumps({kind: found[kind]}) + "\n")
        told = {
            name: sum(each[name] for each in found.values()) for name in ("trials", "interruptions")
        }
        failures = [failure for each in found.values() for failure in each["failures"]]
        sys.stdout.write(json.dumps({**told, "runs": found, "failures": failures}) + "\n")
        sys.exit(bool(failures))
    finally:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
