"""What a run leaves on disk."""

from fabricfit.run.files import RunDirectory, resolve_directory

__all__ = ["RunDirectory", "resolve_directory"]
