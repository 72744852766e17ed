"""What tells one run from another: functions by what they do, objects by how they were made."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest

from fabricfit.optimization.identity import describe_callbacks, plain_setting
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

ops = keras.ops
SCALE = 1.0


def weighted(factor):
    def loss(target, predicted):
        return factor * ops.mean((target - predicted) ** 2)

    return loss


def nested(power):
    def outer(target, predicted):
        def inner(value):
            return value**power

        return ops.mean(inner(target - predicted))

    return outer


def in_function(sign):
    if sign > 0:
        return lambda target, predicted: (lambda value: value + 1)(target - predicted)
    return lambda target, predicted: (lambda value: value - 1)(target - predicted)


def scaled(target, predicted):
    return SCALE * ops.mean(target - predicted)


class Loss(keras.losses.Loss):
    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = factor

    def call(self, y_true, y_pred):
        return self.factor * ops.mean(y_true - y_pred)


class Other(Loss):
    def call(self, y_true, y_pred):
        return self.factor * ops.mean(y_pred - y_true)


class Method:
    def __init__(self, factor):
        self.factor = factor

    def loss(self, target, predicted):
        return self.factor * ops.mean(target - predicted)


PAIRS = {
    "code": (lambda t, p: ops.mean((t - p) ** 2), lambda t, p: -ops.mean((t - p) ** 2)),
    "names": (lambda t, p: ops.mean(t - p), lambda t, p: ops.sum(t - p)),
    "constants": (lambda t, p: 2.0 * (t - p), lambda t, p: 3.0 * (t - p)),
    "closure": (weighted(1.0), weighted(100.0)),
    "array in a closure": (weighted(np.ones(3)), weighted(np.zeros(3))),
    "function in a closure": (weighted(weighted(1)), weighted(weighted(2))),
    "closure of a closure": (nested(2), nested(4)),
    "function within": (in_function(1), in_function(-1)),
    "defaults": (lambda t, p, k=1: k * (t - p), lambda t, p, k=2: k * (t - p)),
    "keywords": (lambda t, p, *, k=1: k * (t - p), lambda t, p, *, k=2: k * (t - p)),
    "partial": (functools.partial(weighted(1), 2), functools.partial(weighted(1), 3)),
    "bound method": (Method(1).loss, Method(2).loss),
    "object": (Loss(1.0), Loss(2.0)),
    "class": (Loss(1.0), Other(1.0)),
    "of Keras": (keras.losses.Huber(1.0), keras.losses.Huber(2.0)),
    "names of Keras": ("mse", "mae"),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_what_does_something_else_is_told_apart(kind):
    first, second = PAIRS[kind]
    assert plain_setting(first) != plain_setting(second)
    assert plain_setting(first) == plain_setting(first)


@pytest.mark.parametrize(
    "make", [weighted, nested, Loss, lambda k: Method(k).loss, lambda k: functools.partial(weighted(k), 1)]
)  # fmt: skip
def test_what_is_made_alike_is_the_same(make):
    assert plain_setting(make(3.0)) == plain_setting(make(3.0))
    assert plain_setting([make(3.0)]) != plain_setting([make(4.0)])


def test_a_constant_of_the_module_counts(monkeypatch):
    before = plain_setting(scaled)
    assert plain_setting(scaled) == before
    monkeypatch.setitem(globals(), "SCALE", 100.0)
    assert plain_setting(scaled) != before


class Counts(keras.callbacks.Callback):
    def __init__(self, patience=1):
        super().__init__()
        self.patience, self.seen = patience, []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(epoch)


def test_callbacks_are_told_apart_by_how_they_were_made():
    known = keras.callbacks
    differing = [
        [],
        [Counts(1)],
        [Counts(2)],
        [known.EarlyStopping(patience=1)],
        [known.EarlyStopping(patience=2)],
        [known.LearningRateScheduler(lambda _, rate: 0.5 * rate)],
        [known.LearningRateScheduler(lambda _, rate: 0.7 * rate)],
        [Counts(1), Counts(2)],
        [Counts(2), Counts(1)],
    ]
    told = [repr(describe_callbacks(each)) for each in differing]
    assert len(set(told)) == len(told)
    used = Counts(1)
    used.on_epoch_end(3)
    assert describe_callbacks([used]) == describe_callbacks([Counts(1)])
    stopped = known.EarlyStopping("val_accuracy", mode="max", min_delta=0.1)
    fresh = describe_callbacks([stopped])
    stopped.on_train_begin()
    stopped.on_epoch_end(0, {"val_accuracy": 0.5})
    assert describe_callbacks([stopped]) == fresh
    assert describe_callbacks([known.TerminateOnNaN(), known.CSVLogger("x.csv")]) == []
