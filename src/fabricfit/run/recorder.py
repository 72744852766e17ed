"""Record of a run on disk: manifest, journal, checkpoints, and the state that a resumed run starts from."""

from __future__ import annotations

import fnmatch
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fabricfit.deprecation import serve_old_names
from fabricfit.errors import RunDirectoryError
from fabricfit.run.checkpoints import checksum_of, load_state, save_state
from fabricfit.run.files import (
    JOURNAL,
    LOCK,
    MANIFEST,
    Contents,
    RunDirectory,
    checkpoint_file,
    is_checkpoint,
    refuse_links,
)
from fabricfit.run.journal import Journal, Record
from fabricfit.run.manifest import environment

__all__ = ["Checkpointer", "Recorder", "find_run"]

logger = logging.getLogger(__name__)

__getattr__ = serve_old_names(__name__, {"Keeper": "Checkpointer"})

_KEPT_CHECKPOINTS = 2
"""Checkpoints of a kind that are kept: should the last one be damaged, there is another."""


def find_run(directory: Path, fingerprint: Mapping[str, str]) -> Path | None:
    """Return the folder of the run to resume: the directory itself, or the latest such run in it.

    Parameters
    ----------
    directory
        A run's own folder, whatever its run is, or the folder in which runs make theirs.
    fingerprint
        Of the run that is looked for.
    """
    if os.path.lexists(directory / MANIFEST):
        return directory
    for folder in sorted(_list_folders(directory), key=_by_number, reverse=True):
        if not os.path.lexists(folder / MANIFEST):
            continue
        try:
            refuse_links(folder)
            _check_manifest(folder / MANIFEST, {"fingerprint": fingerprint})
        except RunDirectoryError as error:
            logger.debug("%s is not resumed: %s", folder, error)
            continue
        return folder
    return None


def _list_folders(directory: Path) -> list[Path]:
    try:
        return [
            Path(entry) for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)
        ]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunDirectoryError(f"{directory} cannot be read: {error}") from error


def _by_number(folder: Path) -> list[tuple[int, str]]:
    """Return a key that sorts names by the numbers in them: run-9999 before run-10000."""
    parts = re.split(r"(\d+)", folder.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


class Recorder:
    """Writes what a run does into its folder, and reads where a resumed one was left; a context manager.

    Parameters
    ----------
    folder
        The run's own folder.
    manifest
        The run's configuration, and under ``'fingerprint'`` what must be the same for it to be
        resumed.
    checkpoint_seconds
        Seconds between two checkpoints within a stretch of training.
    observer
        Called with every record as it is written.

    Raises
    ------
    RunDirectoryError
        The folder cannot be written to, another process works in it, or it is of another run.
    """

    def __init__(
        self,
        folder: RunDirectory,
        manifest: Mapping[str, Any],
        checkpoint_seconds: float,
        observer: Callable[[Record], None] | None = None,
    ) -> None:
        self.folder = folder
        self._observer = observer or (lambda record: None)
        self.checkpoint_seconds = checkpoint_seconds
        refuse_links(folder.path)
        self._lock = FileLock(folder.path / LOCK)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RunDirectoryError(
                f"another process works in {folder.path}. Wait for it, or name another directory."
            ) from None
        except OSError as error:
            raise RunDirectoryError(f"{folder.path} cannot be written to: {error}") from error
        try:
            self._open(manifest)
        except BaseException:
            self.close()
            raise

    def _open(self, manifest: Mapping[str, Any]) -> None:
        self._guard(self.folder.clean)
        path = self.folder.path / MANIFEST
        if path.exists():
            _check_manifest(path, manifest)
        else:
            whole = {"environment": environment(), "begun": time.time(), **manifest}
            self._guard(lambda: self.folder.write_json(MANIFEST, whole))
        self._journal = self._guard(lambda: Journal(self.folder.path / JOURNAL))
        self._drop_unnamed()
        resumed = bool(self._journal.records)
        self.state = self._load_last("run")
        self.mark("resumed" if resumed else "begun", environment=environment())
        if resumed:
            logger.info("resuming the run in %s", self.folder.path)

    def mark(self, event: str, *, durable: bool = False, **data: Any) -> None:
        """Append an event to the journal."""
        self._observer(self._guard(lambda: self._journal.append(event, durable=durable, **data)))

    def save(self, kind: str, state: Any) -> None:
        """Write a checkpoint: once this returns, the run can be resumed from it.

        Parameters
        ----------
        kind
            What it is a state of. The latest states of each kind are kept.
        state
            Nested dictionaries, lists, arrays and plain values.
        """

        def write() -> None:
            name = checkpoint_file(kind, self._journal.next_number)
            path = self.folder.write(name, lambda file: save_state(file, state))
            self._journal.append(
                "checkpoint", durable=True, kind=kind, file=name, sha256=checksum_of(path)
            )

        self._guard(write)
        self._drop_checkpoints(kind, _KEPT_CHECKPOINTS)

    def write_json(self, name: str, value: Any) -> None:
        """Write a file beside the journal."""
        self._guard(lambda: self.folder.write_json(name, value))

    def write_state(self, name: str, state: Any) -> None:
        """Write arrays and plain values beside the journal, for :func:`load_state`."""
        self.write(name, lambda file: save_state(file, state))

    def write(self, name: str, contents: Contents) -> None:
        """Write a file beside the journal: see :func:`write_file`."""
        self._guard(lambda: self.folder.write(name, contents))

    def checkpointer(self, kind: str) -> Checkpointer:
        """Return what saves the states of a stretch of work, and holds the one to resume from."""
        return Checkpointer(self, kind, self._load_last(kind))

    def drop(self, kind: str) -> None:
        """Delete the checkpoints of stretches of work that are done; ``*`` stands for anything."""
        self._drop_checkpoints(kind, 0)

    def close(self) -> None:
        """Let others work in the folder."""
        self._lock.release()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _load_last(self, kind: str) -> Any:
        """Return the last state of a kind that is whole; None without one."""
        for path, checksum in reversed(self._list_checkpoints(kind)):
            if not path.exists():
                continue
            try:
                return load_state(path, checksum)
            except RunDirectoryError as error:
                logger.warning("%s The checkpoint before it is used.", error)
        return None

    def _list_checkpoints(self, kind: str) -> list[tuple[Path, str]]:
        """Return files and checksums of the checkpoints that the journal names, in their order."""
        told = [each.data for each in self._journal.records if each.event == "checkpoint"]
        return [
            (self.folder.path / data["file"], data["sha256"])
            for data in told
            if fnmatch.fnmatchcase(data["kind"], kind) and is_checkpoint(data["file"])
        ]

    def _drop_checkpoints(self, kind: str, kept: int) -> None:
        found = [path for path, _ in self._list_checkpoints(kind) if path.exists()]
        self._delete(found[: len(found) - kept])

    def _drop_unnamed(self) -> None:
        """Delete checkpoints that the journal does not name: what it says of them was lost."""
        named = {path for path, _ in self._list_checkpoints("*")}
        found = {path for path in self.folder.path.iterdir() if is_checkpoint(path.name)}
        self._delete(found - named)

    @staticmethod
    def _delete(paths: Iterable[Path]) -> None:
        for path in paths:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:  # it uses space, and does no harm
                logger.debug("%s cannot be deleted: %s", path, error)

    def _guard(self, write: Any) -> Any:
        try:
            return write()
        except OSError as error:
            reason = error.__cause__ if isinstance(error, RunDirectoryError) else error
            raise RunDirectoryError(
                f"the run cannot be recorded in {self.folder.path}: {reason}. What it has done so far is "
                "kept: free some space, and resume it with resume=True."
            ) from error


class Checkpointer:
    """Saves the states of a stretch of work, every N seconds.

    Parameters
    ----------
    recorder
        What writes them.
    kind
        What they are called.
    state
        The last state that an earlier process saved; None where the work begins.
    """

    def __init__(self, recorder: Recorder, kind: str, state: Any) -> None:
        self.state = state
        self._recorder, self._kind = recorder, kind
        self._saved = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether the time between two checkpoints has passed."""
        return time.monotonic() - self._saved >= self._recorder.checkpoint_seconds

    def save(self, state: Any) -> None:
        """Save the present state."""
        self._recorder.save(self._kind, state)
        self._saved = time.monotonic()

    def mark(self, event: str, **data: Any) -> None:
        """Append an event to the journal."""
        self._recorder.mark(event, **data)


def _check_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Refuse a folder of a run that is not this one."""
    try:
        present = json.loads(path.read_text(encoding="utf-8"))
        held = dict(present["fingerprint"])
    except (KeyError, OSError, RecursionError, TypeError, ValueError) as error:
        raise RunDirectoryError(f"{path} is not the manifest of a run: {error}") from error
    wanted = json.loads(json.dumps(manifest["fingerprint"]))
    names = {*wanted, *held}
    differing = sorted(name for name in names if held.get(name) != wanted.get(name))
    if differing:
        raise RunDirectoryError(
            f"{os.fspath(path.parent)} holds another run, which cannot be resumed as this one. It "
            f"differs in: {', '.join(differing)}. Name another directory, or leave resume out."
        )
