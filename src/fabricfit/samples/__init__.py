"""Samples to train on and to evaluate on: one door for every structure, then held or streamed."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fabricfit.samples.arrays import to_numpy
    from fabricfit.samples.class_weights import check_class_weight
    from fabricfit.samples.columns import Column
    from fabricfit.samples.data import Data, Dataset, Stream, open_data, samples_in, tensors
    from fabricfit.samples.door import Door, inputs_of
    from fabricfit.samples.stored import Joined, Stored

_HOMES = {
    "Column": "columns",
    "Data": "data",
    "Dataset": "data",
    "Door": "door",
    "Joined": "stored",
    "Stored": "stored",
    "Stream": "data",
    "check_class_weight": "class_weights",
    "inputs_of": "door",
    "open_data": "data",
    "samples_in": "data",
    "tensors": "data",
    "to_numpy": "arrays",
}
"""Public name -> its module, imported at first use, so that columns in files need no Keras."""

__all__ = [
    "Column",
    "Data",
    "Dataset",
    "Door",
    "Joined",
    "Stored",
    "Stream",
    "check_class_weight",
    "inputs_of",
    "open_data",
    "samples_in",
    "tensors",
    "to_numpy",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
