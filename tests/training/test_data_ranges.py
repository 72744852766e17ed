"""Ranges of HGQ2's data quantizers, against HGQ2's own function."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.network.cloning import copy_model
from fabricfit.samples import Data
from fabricfit.training import make_engine
from fabricfit.training.data_ranges import DataRanges
from tests.common import blobs, mlp, outputs_of, weights_of

pytestmark = [pytest.mark.keras, pytest.mark.hgq]

hgq = pytest.importorskip("hgq", exc_type=ImportError)
from hgq.config import QuantizerConfigScope
from hgq.layers import QConv1D, QDense
from hgq.utils import trace_minmax

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def dense():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((6,)), QDense(8, activation="relu"), keras.layers.Dropout(0.5), QDense(3)]
    return keras.Sequential(layers)


def nested():
    keras.utils.set_random_seed(0)
    inner = keras.Sequential([keras.Input((6, 1)), QConv1D(4, 3, activation="relu")])
    inputs = keras.Input((6,))
    found = keras.layers.Flatten()(inner(keras.layers.Reshape((6, 1))(inputs)))
    return keras.Model(inputs, QDense(3)(found))


@pytest.mark.parametrize("make", [dense, nested])
def test_they_are_those_that_hgq_traces(make):
    model, (X, y) = make(), blobs(300, 6)
    model.compile("adam", LOSS)
    model.fit(X, y, batch_size=64, epochs=1, verbose=0)
    expected = copy_model(model)
    trace_minmax(expected, X)
    engine = make_engine(model, LOSS, "adam")
    ranges = DataRanges(engine, Data(X, y))
    assert ranges.does_something
    ranges()
    assert any(v.name == "i" and v.shape for v in model.non_trainable_variables)
    names = [variable.name for variable in model.variables]
    for name, own, theirs in zip(names, weights_of(model), weights_of(expected), strict=True):
        assert name == "seed_generator_state" or np.array_equal(own, theirs)
    np.testing.assert_array_equal(outputs_of(model, X), outputs_of(expected, X))


def test_the_last_batch_alone_would_make_others_wrap():
    with QuantizerConfigScope(place="datalane", overflow_mode="WRAP", i_decay_speed=np.inf):
        model = dense()
    X, y = blobs(300, 6)
    X[-40:] *= 0.01
    engine = make_engine(model, LOSS, keras.optimizers.SGD(0.0))
    data = Data(X, y)
    engine.train_epoch(data, np.arange(300), 65)
    wrapped = outputs_of(model, X)
    DataRanges(engine, data)()
    assert np.abs(outputs_of(model, X)[:200] - wrapped[:200]).max() > 0.1


def test_models_without_such_quantizers_are_left_alone():
    model, (X, y) = mlp(), blobs(20, 6)
    before = weights_of(model)
    ranges = DataRanges(make_engine(model, LOSS, "adam"), Data(X, y))
    ranges()
    assert not ranges.does_something
    for old, new in zip(before, weights_of(model), strict=True):
        np.testing.assert_array_equal(old, new)
