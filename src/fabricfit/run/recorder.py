"""Record of a run on disk: manifest, journal, checkpoints, and the state that a resumed run starts from."""

from __future__ import annotations

import fnmatch
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

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
from fabricfit.run.finding import check_manifest
from fabricfit.run.journal import Journal, Record
from fabricfit.run.manifest import FORM, environment

__all__ = ["Attached", "Checkpointer", "Recorder"]

logger = logging.getLogger(__name__)

__getattr__ = serve_old_names(__name__, {"Keeper": "Checkpointer"})

_BEGINNING = "beginning"
"""Kind of the checkpoint of what is attached as a run begins."""

_KEPT_CHECKPOINTS = 2
"""Checkpoints of a kind that are kept: should the last one be damaged, there is another."""


class Attached(Protocol):
    """Something of the caller's that changes as a run goes on, and is saved with its checkpoints."""

    @property
    def is_whole(self) -> bool:
        """Whether all of it can be read now."""

    def pack(self) -> Any:
        """Return its state, as far as it can be read, as nested plain values and arrays."""

    @property
    def remarks(self) -> Sequence[str]:
        """What keeps a resumed run from being as an unbroken one, in sentences for its report."""

    def restore(self, state: Any) -> None:
        """Put it where :meth:`pack` found it."""


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
        self._attached: Attached | None = None
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
            check_manifest(path, manifest)
        else:
            whole = {"form": FORM, "environment": environment(), "begun": time.time(), **manifest}
            self._guard(lambda: self.folder.write_json(MANIFEST, whole))
        self._journal = self._guard(lambda: Journal(self.folder.path / JOURNAL))
        self._drop_unnamed()
        self.is_resumed = bool(self._journal.records)
        found: tuple[Any, Any] = self._load_last("run") or (None, None)
        self.state, self._attached_state = found
        self.mark("resumed" if self.is_resumed else "begun", environment=environment())
        if self.is_resumed:
            logger.info("resuming the run in %s", self.folder.path)

    def attach(self, attached: Attached) -> None:
        """Save something of the caller's with every checkpoint; where a run resumes, put it where it was."""
        saved = self._load_last(_BEGINNING)
        if self._attached_state is not None:
            attached.restore(self._attached_state)
        elif saved is not None:
            attached.restore(saved[1])
        self._attached = attached
        if saved is None:
            self.save(_BEGINNING, None)

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
            whole = [state, None if self._attached is None else self._attached.pack()]
            path = self.folder.write(name, lambda file: save_state(file, whole))
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
        return Checkpointer(self, kind, *(self._load_last(kind) or (None, None)))

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

    def restore_attached(self, state: Any) -> None:
        """Put what is attached where a checkpoint found it."""
        if self._attached is not None and state is not None:
            self._attached.restore(state)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What keeps a resumed run from being as an unbroken one, in sentences for its report."""
        return () if self._attached is None else tuple(self._attached.remarks)

    @property
    def is_whole(self) -> bool:
        """Whether a checkpoint would hold all that the run depends on."""
        return self._attached is None or self._attached.is_whole

    def _load_last(self, kind: str) -> tuple[Any, Any] | None:
        """Return the last state of a kind that is whole, and what was attached to it; None without one."""
        for path, checksum in reversed(self._list_checkpoints(kind)):
            if not path.exists():
                continue
            try:
                state, attached = load_state(path, checksum)
            except RunDirectoryError as error:
                logger.warning("%s The checkpoint before it is used.", error)
            else:
                return state, attached
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
    state, attached
        The last state that an earlier process saved, and of what was attached; None where the work begins.
    """

    def __init__(
        self, recorder: Recorder, kind: str, state: Any = None, attached: Any = None
    ) -> None:
        self.state = state
        self._recorder, self._kind, self._attached = recorder, kind, attached
        self._saved = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether the time between two checkpoints has passed, and one would hold all that counts."""
        is_time = time.monotonic() - self._saved >= self._recorder.checkpoint_seconds
        return is_time and self._recorder.is_whole

    def restore_attached(self) -> None:
        """Put what the caller's run depends on where the last state was saved."""
        self._recorder.restore_attached(self._attached)

    def save(self, state: Any) -> None:
        """Save the present state."""
        self._recorder.save(self._kind, state)
        self._saved = time.monotonic()

    def mark(self, event: str, **data: Any) -> None:
        """Append an event to the journal."""
        self._recorder.mark(event, **data)
