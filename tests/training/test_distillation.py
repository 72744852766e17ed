"""What the model said before it was pruned, as a target of its own."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.errors import InvalidInputError
from fabricfit.network.ends import Targets
from fabricfit.samples import Data, Stream
from fabricfit.training import DistillationLoss, add_teacher_outputs, make_engine
from tests.common import L, blobs, kernel_of, mlp
from tests.optimization.test_optimize import run

from .test_fit_engine import own

pytestmark = pytest.mark.keras

LOSS = "sparse_categorical_crossentropy"


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def value(loss, y, teacher, outputs):
    as_tensor = keras.ops.convert_to_tensor
    told = Targets((as_tensor(y),), (), (as_tensor(teacher),))
    return float(keras.ops.convert_to_numpy(loss(told, as_tensor(outputs))))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("from_logits", [False, True])
def test_classes_are_compared_at_a_temperature(temperature, from_logits):
    """Checked against the formula in NumPy."""
    rng = np.random.default_rng(0)
    t, s, y = rng.normal(size=(7, 4)), rng.normal(size=(7, 4)), rng.integers(0, 4, 7)
    p, q = softmax(t / temperature), softmax(s / temperature)
    soft = temperature**2 * (p * np.log(p / q)).sum(axis=1).mean()
    hard = -np.log(softmax(s)[np.arange(7), y]).mean()
    given = (t, s) if from_logits else (softmax(t), softmax(s))
    plain = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
    t, s = (each.astype("float32") for each in given)
    found = value(DistillationLoss(plain, 0.3, temperature), y, t, s)
    assert found == pytest.approx(0.7 * hard + 0.3 * soft, rel=1e-4)
    assert value(DistillationLoss(plain, 0.0, temperature), y, t, s) == pytest.approx(
        hard, rel=1e-4
    )


def test_outcomes_and_numbers():
    t, s = np.array([[0.8], [0.3]], "float32"), np.array([[0.6], [0.4]], "float32")
    y = np.array([[1.0], [0.0]], "float32")
    hard = -(np.log(0.6) + np.log(0.6)) / 2
    soft = np.mean(t * np.log(t / s) + (1 - t) * np.log((1 - t) / (1 - s)))
    found = value(DistillationLoss("binary_crossentropy", 0.5, 1.0), y, t, s)
    assert found == pytest.approx(0.5 * hard + 0.5 * soft, rel=1e-4)
    found = value(DistillationLoss("mse", 0.5, 1.0), y, t, s)
    squares = 0.5 * np.square(y - s).mean() + 0.5 * np.square(t - s).mean()
    assert found == pytest.approx(squares, rel=1e-5)


def test_a_student_comes_to_say_what_its_teacher_says():
    X, y = blobs(256)
    teacher = mlp(seed=3)
    wrong = np.zeros_like(y)  # the targets themselves teach nothing
    student = mlp(seed=4)
    teacher.compile(keras.optimizers.Adam(0.02), LOSS)
    teacher.fit(X, y, epochs=10, verbose=0)
    told = make_engine(teacher, LOSS, "sgd").predict
    data = add_teacher_outputs(Data(X, wrong), told)
    engine = make_engine(student, DistillationLoss(LOSS, 0.99, 1.0), keras.optimizers.Adam(0.02))
    losses = [engine.train_epoch(data, np.arange(256), 32) for _ in range(60)]
    assert losses[-1] < 0.3 * losses[0]
    agree = told(X).argmax(axis=1) == engine.predict(X).argmax(axis=1)
    assert agree.mean() > 0.9


def test_streams_are_taught_as_they_come():
    X, y = blobs(96)
    pairs = [(X[i : i + 32], y[i : i + 32]) for i in range(0, 96, 32)]
    teach = make_engine(mlp(seed=3), LOSS, "sgd").predict
    losses = []
    for data in (Data(X, y), Stream(pairs)):
        engine = make_engine(mlp(), DistillationLoss(LOSS, 0.5, 2.0), "sgd")
        told = add_teacher_outputs(data, teach)
        order = told.order(np.random.default_rng(0))
        order = None if order is None else np.arange(96)
        losses.append(engine.train_epoch(told, order, 32))
        assert told.head(5).y.teacher[0].shape == (5, 3)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_run_distills(tmp_path):
    X, y = blobs(256)
    data = ((X, y), (X, y))
    results = [
        run(mlp(), data, tmp_path, rtol=None, distillation=weight, temperature=2.0)
        for weight in (0.0, 0.5)
    ]
    kernels = [kernel_of(result.model, "fc1") for result in results]
    assert not np.allclose(*kernels)
    for kernel in kernels:
        assert (kernel == 0).any()
    two = keras.Input((6,), name="given")
    hidden = L.Dense(8, "relu", name="fc1")(two)
    several = keras.Model(two, [L.Dense(1, name="a")(hidden), L.Dense(2, name="b")(hidden)])
    targets = [y[:, None] * 1.0, np.stack([y, y], axis=1) * 1.0]
    options = {"loss_fn": "mse", "validation_metric": "mse", "increasing": False, "rtol": None}
    found = run(several, ((X, targets),) * 2, tmp_path, distillation=0.5, **options)
    assert found.report.sparsity == 0.5


@pytest.mark.parametrize(
    "wrong", [{"distillation": 1.0}, {"distillation": -0.1}, {"temperature": 0.0}]
)
def test_weights_and_temperatures_out_of_range_are_refused(wrong, tmp_path):
    X, y = blobs(32)
    with pytest.raises(InvalidInputError, match=next(iter(wrong))):
        run(mlp(), ((X, y), (X, y)), tmp_path, **wrong)


def test_a_train_step_of_its_own_is_not_distilled():
    with pytest.raises(InvalidInputError, match="distillation needs a training step"):
        make_engine(own()[0], DistillationLoss("mse", 0.5, 1.0), "sgd")
