"""What a run leaves on disk."""

from fabricfit.run.checkpoints import load_state, save_state
from fabricfit.run.files import RunDirectory, resolve_directory
from fabricfit.run.journal import Journal, Record, read_journal
from fabricfit.run.manifest import digest, environment
from fabricfit.run.progress import render, watched
from fabricfit.run.recorder import JOURNAL, MANIFEST, Keeper, Recorder, find_run
from fabricfit.run.status import Status

__all__ = [
    "JOURNAL",
    "MANIFEST",
    "Journal",
    "Keeper",
    "Record",
    "Recorder",
    "RunDirectory",
    "Status",
    "digest",
    "environment",
    "find_run",
    "load_state",
    "read_journal",
    "render",
    "resolve_directory",
    "save_state",
    "watched",
]
