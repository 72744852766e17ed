"""Samples to train on and to evaluate on: one door for every structure, then held or streamed."""

from fabricfit.samples.class_weights import check_class_weight
from fabricfit.samples.data import Data, Dataset, Stream, open_data, samples_in, tensors
from fabricfit.samples.door import Door, inputs_of, to_numpy
from fabricfit.samples.stored import Column, Joined, Stored

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
