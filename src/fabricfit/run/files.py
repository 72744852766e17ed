"""Folder of a run: the names of its files, which are written whole or not at all."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs

from fabricfit.errors import RunDirectoryError

__all__ = ["RunDirectory", "resolve_directory"]

MANIFEST = "manifest.json"
"""What the run is: settings, goal, versions, checksums."""

JOURNAL = "journal.jsonl"
"""What happened, one record a line."""

LOCK = "lock"
"""Held by the one process that works in the folder."""

BEST_WEIGHTS = "best.weights.h5"
"""Weights of the best level so far."""

LEVELS = "levels.json"
"""The levels that were tried."""

MODEL = "model.keras"
"""The result."""

HLS_CONFIG = "hls_config.json"
"""The configuration of hls4ml with which the result is converted."""

REPORT = "report.json"
"""What was saved and what it cost, as data."""

REPORT_TEXT = "report.txt"
"""The same as text, where a result is saved."""

GROUPS = "groups.npz"
"""The treatment of each weight."""

VERIFICATION = "verification.json"
"""What verifying the result said."""

PERFORMANCE = "test.json"
"""What the result is worth on test data."""

SIMPLE_ALTERNATIVES = "alternatives.json"
"""The result beside what is simpler to do."""

CONFIGURATION = "config.yaml"
"""The configuration of the command line, if the run was started there."""

PAGE = "report.html"
"""The report to read."""

DEFAULT_DIRECTORY = "hls4ml-optimization-keras"
"""The default of ``directory``: it stands for a folder in :data:`TMP_DIRECTORY`."""

HISTORICAL_DIRECTORIES = (DEFAULT_DIRECTORY, "hls4ml-optimization")
"""Defaults of the older system's entry points, which stand for folders in :data:`TMP_DIRECTORY`."""

TMP_DIRECTORY = platformdirs.user_cache_dir("fabricfit", appauthor=False)
"""Where runs keep their files unless the caller names a directory: the platform's cache folder."""

_PARTIAL = ".partial-"


def checkpoint_file(kind: str, number: int) -> str:
    """Return the name of a checkpoint's file, which sorts by the number of its record."""
    return f"{kind}-{number:06d}.npz"


def checkpoint_pattern(kind: str) -> str:
    """Return the pattern of the names of all checkpoints of a kind."""
    return f"{kind}-??????.npz"


def resolve_directory(directory: str | os.PathLike[str]) -> Path:
    """Return where a run may write.

    Parameters
    ----------
    directory
        What the caller named. A path is taken literally; one of :data:`HISTORICAL_DIRECTORIES` stands for
        a folder in :data:`TMP_DIRECTORY`, never in the working directory.

    Raises
    ------
    RunDirectoryError
        A file has that name.
    """
    given = os.fspath(directory)
    path = Path(TMP_DIRECTORY) / given if given in HISTORICAL_DIRECTORIES else Path(given)
    path = path.expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise RunDirectoryError(f"directory must name a folder. Received a file: {path}")
    return path


class RunDirectory:
    """A new, numbered folder for one run; files of earlier runs are kept.

    Parameters
    ----------
    parent
        Folder in which ``run-0001``, ``run-0002``… are made. It is made too if it is missing.
    prefix
        First part of the folder's name.

    Raises
    ------
    RunDirectoryError
        The folder cannot be made.
    """

    def __init__(self, parent: Path, prefix: str = "run") -> None:
        try:
            parent.mkdir(parents=True, exist_ok=True)
            self.path = self._make_next(parent, prefix)
        except OSError as error:
            raise RunDirectoryError(
                f"cannot make a folder for the run in {parent}: {error}. "
                "Name another one as directory."
            ) from error

    @classmethod
    def existing(cls, path: Path) -> RunDirectory:
        """Return the folder of a run that was begun before."""
        folder = cls.__new__(cls)
        folder.path = path
        return folder

    @staticmethod
    def _make_next(parent: Path, prefix: str) -> Path:
        number = 1
        while True:
            path = parent / f"{prefix}-{number:04d}"
            try:
                path.mkdir()  # fails if it exists, also when another process is as fast
                return path
            except FileExistsError:
                number += 1

    def write(self, name: str, save: Callable[[Path], Any]) -> Path:
        """Write a file so that it is complete or not there, whenever the process dies.

        Parameters
        ----------
        name
            Its name in this folder.
        save
            Called with a temporary path of the same suffixes in the same folder.
        """
        target = self.path / name
        temporary = self.path / f"{_PARTIAL}{uuid.uuid4().hex}-{name}"
        try:
            save(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(target)
            _sync_folder(self.path)
        finally:
            temporary.unlink(missing_ok=True)
        return target

    def clean(self) -> None:
        """Delete what a process that died left half written; none other may be at work here."""
        for path in self.path.glob(f"{_PARTIAL}*"):
            path.unlink(missing_ok=True)

    def write_json(self, name: str, value: Any) -> Path:
        """Write a value as JSON, complete or not at all."""
        text = json.dumps(value, indent=2, sort_keys=True) + "\n"
        return self.write(name, lambda path: path.write_text(text, encoding="utf-8"))


def _sync_folder(path: Path) -> None:
    """Let a new name in a folder survive a loss of power, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
