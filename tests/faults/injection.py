"""Making file operations fail, or the process die in the middle of one."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Any

__all__ = ["HOW", "Faults"]

HOW = ("before", "half", "after", "full", "read-only")
"""Die before an operation, when half of it is done, or after it; or find the disk full half-way, or the
folder read-only, from then on."""


class Faults:
    """Counts the operations on files below a folder, and lets one of them fail.

    Parameters
    ----------
    folder
        Operations elsewhere do not count.
    at
        Which operation fails, from 1 on; 0 for none.
    how
        One of :data:`HOW`.
    """

    def __init__(self, folder: Path, at: int = 0, how: str = "before") -> None:
        self.folder, self.at, self.how = folder, at, how
        self.done: list[str] = []

    def install(self) -> None:
        """Wrap what writes files; there is no way back."""
        faults, open_file = self, Path.open

        def opened(path: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
            file = open_file(path, mode, *args, **options)
            writes = any(letter in mode for letter in "wax+") and faults.is_below(path)
            return Writing(file, faults, path.suffix) if writes else file

        Path.open = opened  # type: ignore[method-assign, assignment]
        for name in ("replace", "unlink"):
            setattr(Path, name, self._wrapped(getattr(Path, name), name))

    def is_below(self, path: Path) -> bool:
        return self.folder in Path(path).absolute().parents

    def _wrapped(self, operation: Any, name: str) -> Any:
        def wrapped(path: Path, *args: Any, **options: Any) -> Any:
            if not self.is_below(path):
                return operation(path, *args, **options)
            return self.do(name, lambda: operation(path, *args, **options))

        return wrapped

    def do(self, kind: str, operation: Any, half: Any = None) -> Any:
        """Do an operation, unless this is the one that fails."""
        self.done.append(kind)
        if len(self.done) < self.at or not self.at:
            return operation()
        if self.how == "read-only":
            raise OSError(errno.EROFS, "Read-only file system")
        if self.how == "full" and half is None and len(self.done) > self.at:
            return operation()  # files can still be moved and deleted
        if self.how in ("half", "full") and half is not None:
            half()
        if self.how == "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        if self.how == "after":
            operation()
        os.kill(os.getpid(), signal.SIGKILL)
        return None


class Writing:
    """A file whose writes are counted."""

    def __init__(self, file: Any, faults: Faults, kind: str) -> None:
        self._file, self._faults, self._kind = file, faults, kind

    def write(self, data: Any) -> Any:
        def half() -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        return self._faults.do(self._kind, lambda: self._file.write(data), half)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Writing:
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()
