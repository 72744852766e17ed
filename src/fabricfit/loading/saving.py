"""Models and weights as the bytes of their files: what Keras would write, made in memory.

HDF5 writes into a file by itself, and ends the process where the disk is full; in memory it does not.
"""

from __future__ import annotations

import io

import keras

__all__ = ["serialize_model", "serialize_weights"]


class _Memory(io.BytesIO):
    """File in memory with a name, by whose end Keras tells what to write into it."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def __str__(self) -> str:
        return self._name


def serialize_model(model: keras.Model) -> bytes:
    """Return what ``model.save("….keras")`` writes."""
    file = _Memory("model.keras")
    model.save(file)
    return file.getvalue()


def serialize_weights(model: keras.Model) -> bytes:
    """Return what ``model.save_weights("….weights.h5")`` writes."""
    file = _Memory("model.weights.h5")
    model.save_weights(file)
    return file.getvalue()
