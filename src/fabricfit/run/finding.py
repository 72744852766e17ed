"""The run to resume: found among others by what identifies it, and refused where that differs."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fabricfit.errors import RunDirectoryError
from fabricfit.reading import RECORD, parse_json, read_text
from fabricfit.run.files import MANIFEST, refuse_links
from fabricfit.run.manifest import FORM

__all__ = ["check_manifest", "find_run"]

logger = logging.getLogger(__name__)


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
            check_manifest(folder / MANIFEST, {"fingerprint": fingerprint})
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


def check_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Refuse a folder of a run that is not this one, or that another version has begun in another form."""
    try:
        present = parse_json(read_text(path, RECORD), str(path), finite=False)
        held, about = dict(present["fingerprint"]), dict(present.get("environment") or {})
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        raise RunDirectoryError(f"{path} is not the manifest of a run: {error}") from error
    if (form := present.get("form")) != FORM:
        written = about.get("fabricfit", "an unknown version")
        raise RunDirectoryError(
            f"{os.fspath(path.parent)} was begun by fabricfit {written}, whose runs are written in another "
            f"form ({form!r}, here {FORM}). Resume it with that version, or name another directory."
        )
    wanted = json.loads(json.dumps(manifest["fingerprint"]))
    names = {*wanted, *held}
    differing = sorted(name for name in names if held.get(name) != wanted.get(name))
    if differing:
        said = ""
        if "the callbacks" in differing:
            said = " A callback that changes nothing in training may differ, if it has only_watches = True."
        raise RunDirectoryError(
            f"{os.fspath(path.parent)} holds another run, which cannot be resumed as this one. It "
            f"differs in: {', '.join(differing)}. Name another directory, or leave resume out.{said}"
        )
