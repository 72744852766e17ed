"""Samples that mean nothing are refused by name, also late in streams; the caller's own errors are theirs."""

from __future__ import annotations

import itertools
import sys

import keras
import numpy as np
import pytest

from fabricfit.errors import FabricFitError, InvalidInputError, InvalidTypeError
from fabricfit.losses import ModelLoss, label_check
from fabricfit.network.ends import read_ends
from fabricfit.samples import Data, Door, inputs_of, open_data
from fabricfit.training import check_against_model, make_engine
from tests.common import L, blobs, mlp

pytestmark = pytest.mark.keras

LOSS = "sparse_categorical_crossentropy"
X, Y = blobs(40)


@pytest.fixture(scope="module")
def model():
    return mlp()


def door_of(model, loss=LOSS):
    ends = read_ends(model)
    return Door(ends, check=label_check(ModelLoss(loss, None, ends.outputs), ends.outputs))


RAGGED = [[1.0, 2.0], [3.0]]
HALF_MASKED = np.ma.masked_array(X, np.arange(X.size).reshape(X.shape) % 2 == 0)


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (X[:, :4], Y, r"X_train must have the shape \(samples, 6\) for the input .* \(40, 4\)"),
        (X.T, Y, "X_train must have the shape"),
        (np.tile(X, 2), Y, r"Received: \(40, 12\)"),
        (X[..., None, None], Y, "X_train must have the shape"),
        (RAGGED, [0, 1], "X_train must"),
        (HALF_MASKED, Y, "X_train must hold a number everywhere. .* 120 of 240 values masked"),
        (X.astype(complex), Y, "X_train must hold numbers. Received: dtype complex"),
        (X.astype("M8[s]"), Y, "X_train must hold numbers. Received: dtype datetime"),
        (X.astype(object), Y, "X_train must hold numbers. Received: dtype object"),
        (X.astype(str), Y, "X_train must hold numbers. Received: dtype <U"),
        (np.full(X.shape, 2**63, np.uint64), Y, r"floats hold exactly, up to 2\*\*53"),
        (X, Y + 0.5, "y_train must hold class labels, which are whole numbers. Received: .*[.]5"),
        (X, Y - 1, "y_train must hold class labels from 0 to 2, .* from -1 to 1"),
        (X, Y + 1, "y_train must hold class labels from 0 to 2, .* from 1 to 3"),
        (X, np.ma.masked_array(Y, Y == 1), "y_train must hold a number everywhere"),
        (X, Y[:30], "must hold equally many samples"),
        (X[:0], Y[:0], "X_train must hold at least one sample"),
    ],
)
def test_samples_that_mean_nothing(model, inputs, labels, message):
    with pytest.raises(FabricFitError, match=message):
        open_data((inputs, labels), "train", door_of(model))


@pytest.mark.parametrize(
    ("loss", "labels", "message"),
    [
        ("binary_crossentropy", [0, 2], "numbers from 0 to 1, as the loss is a crossentropy"),
        ("crossentropy", [-1, 1], "numbers from 0 to 1"),
        (keras.losses.BinaryFocalCrossentropy(), [0, 1.5], "numbers from 0 to 1"),
    ],
)
def test_labels_of_two_classes(loss, labels, message):
    model = keras.Sequential([keras.Input((2,)), L.Dense(1, activation="sigmoid")])
    with pytest.raises(InvalidInputError, match=message):
        open_data((np.zeros((2, 2)), np.array(labels)), "train", door_of(model, loss))
    open_data((np.zeros((2, 2)), np.array([0.25, 1])), "train", door_of(model, loss))


def test_labels_that_a_loss_ignores_are_any(model):
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=-1)
    open_data((X, np.where(Y == 1, -1, Y)), "train", door_of(model, loss))


def raising():
    yield X[:20], Y[:20]
    raise KeyError("of the caller")


def leaving():
    yield X[:20], Y[:20]
    sys.exit(3)


LATE = {
    "label": (lambda: iter([(X[:20], Y[:20]), (X[20:], Y[20:] * 0 + 9)]), "labels from 0 to 2"),
    "half": (lambda: iter([(X[:20], Y[:20]), (X[20:], Y[20:] + 0.5)]), "whole numbers"),
    "NaN": (lambda: iter([(X[:20], Y[:20]), (X[20:] * np.nan, Y[20:])]), "must not hold NaN"),
    "shape": (lambda: iter([(X[:20], Y[:20]), (X[20:, :4], Y[20:])]), r"Received: \(20, 4\)"),
    "text": (lambda: iter([(X[:20], Y[:20]), (X[20:].astype(str), Y[20:])]), "must hold numbers"),
    "single": (lambda: iter([(X[:20], Y[:20]), 5]), "must yield at least one pair"),
    "none": (lambda: None, "must return an iterator of pairs .*Received: None"),
    "raises": (raising, "raised KeyError when batch 2 was drawn from it: 'of the caller'"),
    "exits": (leaving, "raised SystemExit when batch 2 was drawn from it: 3"),
}


@pytest.mark.parametrize("kind", LATE)
def test_streams_are_read_before_anything_is_trained(model, kind):
    source, message = LATE[kind]
    engine = make_engine(mlp(), LOSS, "adam")
    stream = open_data(source, "train", door_of(model))
    with pytest.raises(FabricFitError, match=message):
        check_against_model(engine, stream)


@pytest.mark.parametrize("kind", ["label", "NaN", "shape", "raises", "exits"])
def test_generators_are_checked_where_they_are_read(model, kind):
    source, message = LATE[kind]
    with pytest.raises(FabricFitError, match=message):
        open_data(source(), "train", door_of(model))


def test_the_cause_of_an_error_is_the_callers(model):
    for source, kind in ((raising, KeyError), (leaving, SystemExit)):
        with pytest.raises(InvalidInputError) as caught:
            list(open_data(source, "train", door_of(model)).batches())
        assert isinstance(caught.value.__cause__, kind)


@pytest.mark.parametrize(
    "source", ["xy", b"xy", X, 5, None, dict, itertools.repeat((X, Y)), itertools.cycle([(X, Y)])]
)
def test_what_is_no_source(source):
    with pytest.raises(FabricFitError, match="train data set must"):
        open_data(source, "train")


def test_one_sample_says_nothing(model):
    engine = make_engine(mlp(), LOSS, "adam")
    with pytest.raises(InvalidInputError, match="val data set must hold at least 2 samples"):
        check_against_model(engine, Data(X[:1], Y[:1], "val"))


def test_inputs_alone(model):
    ends = read_ends(model)
    np.testing.assert_array_equal(inputs_of(ends, X.tolist())[0].astype("float32"), X)
    with pytest.raises(InvalidTypeError, match="data must be an array of numbers, all samples of"):
        inputs_of(ends, [RAGGED], "data")
    with pytest.raises(InvalidInputError, match=r"data must have the shape \(samples, 6\)"):
        inputs_of(ends, X[:, :5], "data")


def test_short_floats_of_accelerators_are_numbers(model):
    short = keras.ops.convert_to_tensor(X, "bfloat16")
    assert open_data((short, Y), "train", door_of(model)).X.dtype == np.float32
