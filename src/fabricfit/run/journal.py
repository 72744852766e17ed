"""Journal of a run: one event a line, each with a checksum.

A process may die in the middle of a line, and a disk may be full or damaged. A line that is not whole is as
if it had never been written; what is behind the last whole one is cut off.
"""

from __future__ import annotations

import json
import logging
import os
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fabricfit.errors import InvalidInputError
from fabricfit.reading import RECORD, parse_json, read_bytes

__all__ = ["Journal", "Record", "read_journal"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """Event of a run.

    Parameters
    ----------
    number
        From 1 on, with a gap where a line was damaged.
    event
        Kind of event.
    data
        Its numbers and texts, by name.
    time
        When, in seconds since 1970.
    """

    number: int
    event: str
    data: dict[str, Any]
    time: float


def read_journal(path: Path) -> tuple[list[Record], int]:
    """Return the records that are whole, and how many bytes there are to the end of the last one.

    Parameters
    ----------
    path
        The file; it need not be there.

    Raises
    ------
    InvalidInputError
        It cannot be read, or is no file.
    """
    records: list[Record] = []
    size = place = damaged = 0
    content = read_bytes(path, RECORD) if path.exists() else b""
    for line in content.splitlines(keepends=True):
        place += len(line)
        record = _parse_line(line)
        if record is None or (records and record.number <= records[-1].number):
            damaged += 1
            continue
        records.append(record)
        size = place
    if damaged:
        logger.warning("%s: %d lines are not whole and do not count", path, damaged)
    return records, size


def _parse_line(line: bytes) -> Record | None:
    checksum, _, body = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != _compute_checksum(body):
        return None
    try:
        found = parse_json(body, "a record", finite=False)
        values = found["n"], found["event"], found["data"], found["time"]
    except (InvalidInputError, KeyError, TypeError):
        return None
    kinds: tuple[Any, ...] = (int, str, dict, (int, float))
    fit = all(isinstance(each, kind) for each, kind in zip(values, kinds, strict=True))
    return Record(*values) if fit else None


def _compute_checksum(body: bytes) -> bytes:
    return b"%08x" % zlib.crc32(body)


class Journal:
    """Journal that is appended to.

    Parameters
    ----------
    path
        The file. What is behind its last whole line is cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records, size = read_journal(path)
        if path.exists() and size < path.stat().st_size:
            os.truncate(path, size)

    @property
    def next_number(self) -> int:
        """Number of the record that is written next."""
        return self.records[-1].number + 1 if self.records else 1

    def append(self, event: str, *, durable: bool = False, **data: Any) -> Record:
        """Write a record.

        Parameters
        ----------
        event
            What happened.
        durable
            Whether it must be on the disk when this returns, even if the machine fails.
        **data
            Numbers, texts, lists and dictionaries of them.
        """
        record = Record(self.next_number, event, data, time.time())
        body = json.dumps(
            {"n": record.number, "time": record.time, "event": event, "data": data},
            separators=(",", ":"),
        ).encode()
        line = _compute_checksum(body) + b" " + body + b"\n"
        place = self.path.stat().st_size if self.path.exists() else 0
        try:
            with self.path.open("ab", buffering=0) as file:
                written = file.write(line)
                if written != len(line):
                    raise OSError(f"only {written} of {len(line)} bytes could be written")
                if durable:
                    os.fsync(file.fileno())
        except OSError:
            if self.path.exists() and self.path.stat().st_size > place:
                os.truncate(self.path, place)  # so that the next record is not behind half of one
            raise
        self.records.append(record)
        return record
