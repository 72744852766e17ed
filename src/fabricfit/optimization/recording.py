"""Recording of a run: its folder, its journal, and the view of its progress."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from fabricfit.optimization.callers_state import CallersState
from fabricfit.optimization.settings import OptimizationSettings
from fabricfit.run import (
    Record,
    Recorder,
    RunDirectory,
    find_run,
    resolve_directory,
    show_progress,
)
from fabricfit.samples import Dataset

__all__ = ["open_recorder", "recorded"]

logger = logging.getLogger(__name__)


def open_recorder(
    settings: OptimizationSettings,
    manifest: Mapping[str, Any],
    documents: Mapping[str, str],
    observer: Callable[[Record], None] | None = None,
) -> Recorder:
    """Return the recorder of a run: of a new folder, or of the one that is resumed.

    Parameters
    ----------
    settings
        Where the folder is, and whether a run is resumed.
    manifest
        What the run is.
    documents
        File name -> text: further files for the folder.
    observer
        Called with everything that is written into the run's journal.
    """
    place = resolve_directory(settings.directory)
    found = find_run(place, manifest["fingerprint"]) if settings.resume else None
    folder = RunDirectory(place) if found is None else RunDirectory.existing(found)
    recorder = Recorder(folder, manifest, settings.checkpoint_seconds, observer)
    try:
        for name, text in documents.items():
            if not (folder.path / name).exists():
                recorder.write(name, text)
    except BaseException:
        recorder.close()
        raise
    return recorder


@contextmanager
def recorded(
    settings: OptimizationSettings,
    manifest: Mapping[str, Any],
    documents: Mapping[str, str],
    data: Sequence[Dataset] = (),
) -> Iterator[Recorder]:
    """Record a run in its folder and show its progress.

    Parameters
    ----------
    settings, manifest, documents
        As for :func:`open_recorder`.
    data
        Samples that the run draws, some of which may come from streams.
    """
    shown = logging.getLogger("fabricfit") if settings.verbose else None
    with (
        show_progress(shown) as observer,
        open_recorder(settings, manifest, documents, observer) as recorder,
    ):
        try:
            if attached := CallersState(settings.callbacks or (), data):
                recorder.attach(attached)
            yield recorder
        except BaseException as error:
            if not hasattr(error, "run_folder"):
                error.run_folder = recorder.folder.path  # type: ignore[attr-defined]
            if isinstance(error, KeyboardInterrupt):
                logger.warning(
                    "interrupted; resume=True resumes the run in %s", recorder.folder.path
                )
            raise
