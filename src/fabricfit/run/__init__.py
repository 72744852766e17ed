"""Record of a run on disk: folder, manifest, journal, checkpoints, status."""

from fabricfit.deprecation import serve_old_names
from fabricfit.run.checkpoints import load_state, save_state
from fabricfit.run.files import JOURNAL, MANIFEST, RunDirectory, resolve_directory
from fabricfit.run.finding import find_run
from fabricfit.run.journal import Journal, Record, read_journal
from fabricfit.run.manifest import digest, environment
from fabricfit.run.progress import draw_status, show_progress
from fabricfit.run.recorder import Checkpointer, Recorder
from fabricfit.run.status import Status

__all__ = [
    "JOURNAL",
    "MANIFEST",
    "Checkpointer",
    "Journal",
    "Record",
    "Recorder",
    "RunDirectory",
    "Status",
    "digest",
    "draw_status",
    "environment",
    "find_run",
    "load_state",
    "read_journal",
    "resolve_directory",
    "save_state",
    "show_progress",
]

__getattr__ = serve_old_names(
    __name__, {"Keeper": "Checkpointer", "render": "draw_status", "watched": "show_progress"}
)
