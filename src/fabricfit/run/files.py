"""Folder of a run: the names of its files, which are written whole or not at all."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import platformdirs

from fabricfit.errors import RunDirectoryError

__all__ = [
    "Contents",
    "RunDirectory",
    "refuse_links",
    "resolve_directory",
    "write_file",
    "write_json",
]

Contents = bytes | str | Callable[[BinaryIO], Any]
"""Contents of a file: bytes, a text, or a function that writes them into an open file."""

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


def is_checkpoint(name: str) -> bool:
    """Whether a file's name is that of a checkpoint."""
    return re.fullmatch(r"[a-z]+\d*-\d{6,}\.npz", name) is not None


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


def refuse_links(folder: Path) -> None:
    """Refuse a run's folder that holds links, pipes or devices, which would lead reads and writes elsewhere.

    Raises
    ------
    RunDirectoryError
        Names the first of them.
    """
    try:
        for entry in os.scandir(folder):
            if not (entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)):
                raise RunDirectoryError(
                    f"{folder} must hold files and folders alone. Received a link, pipe or device: "
                    f"{entry.name!r}. Put the file itself in its place."
                )
    except OSError as error:
        if isinstance(error, RunDirectoryError):
            raise
        raise RunDirectoryError(f"{folder} cannot be read: {error}") from error


class RunDirectory:
    """A new folder for one run, with the number after the highest; files of earlier runs are kept.

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
        known = re.compile(rf"{re.escape(prefix)}-(\d+)")
        found = (known.fullmatch(path.name) for path in parent.iterdir())
        number = max((int(each[1]) for each in found if each), default=0)
        while True:
            number += 1
            path = parent / f"{prefix}-{number:04d}"
            try:
                path.mkdir()  # fails if it exists, also when another process is as fast
                return path
            except FileExistsError:
                continue

    def write(self, name: str, contents: Contents) -> Path:
        """Write a file of this folder: see :func:`write_file`."""
        return write_file(self.path / name, contents)

    def clean(self) -> None:
        """Delete what a process that died left half written; none other may be at work here."""
        for path in self.path.glob(f"{_PARTIAL}*"):
            path.unlink(missing_ok=True)

    def write_json(self, name: str, value: Any) -> Path:
        """Write a value as JSON into a file of this folder: see :func:`write_file`."""
        return write_json(self.path / name, value)


def write_file(path: Path, contents: Contents) -> Path:
    """Write a file so that it is complete or not there, whenever the process dies or the disk is full.

    Parameters
    ----------
    path
        The file. One of this name is replaced, once the new one is on the disk.
    contents
        What it holds. A function is given a file that is open for writing: a library that opens files by
        itself, as HDF5 does, writes to memory first, since it may not survive a full disk.

    Raises
    ------
    RunDirectoryError
        It cannot be written; what was there before is kept.
    """
    temporary = path.with_name(f"{_PARTIAL}{uuid.uuid4().hex}")
    try:
        try:
            with temporary.open("xb") as file:
                if callable(contents):
                    contents(file)
                else:
                    file.write(contents.encode() if isinstance(contents, str) else contents)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise RunDirectoryError(
            f"{path} cannot be written: {error.strerror or error}. Free some space, or name another folder."
        ) from error
    return path


def write_json(path: Path, value: Any) -> Path:
    """Write a value as JSON: see :func:`write_file`."""
    return write_file(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def _sync_folder(path: Path) -> None:
    """Let a new name in a folder survive a loss of power, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
