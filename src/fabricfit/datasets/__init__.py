"""Data sets that come with fabricfit."""

from fabricfit.datasets.jets import Jets, load_jets

__all__ = ["Jets", "load_jets"]
