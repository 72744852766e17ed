"""What Keras trains is what is trained: an engine against ``model.fit`` and ``model.evaluate``.

Random models with one to three inputs and outputs, losses, weights, metrics, and data in every structure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fabricfit.losses import ModelLoss, ModelMetric
from fabricfit.network.reader import read
from fabricfit.samples import Door, check_class_weight, open_data
from fabricfit.training import make_engine
from tests.marks import WAIT_ELSEWHERE

pytestmark = pytest.mark.keras

L = keras.layers
SAMPLES, BATCH, CLASSES = 20, 8, 3
NAMES = ("zeta", "alpha", "mid")  # not in alphabetical order


def own_function(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1)


class OwnLoss(keras.losses.Loss):
    """Somebody's own class, which Keras cannot find by its description."""

    def __init__(self, factor=2.0, **options):
        super().__init__(**options)
        self.factor = factor

    def call(self, y_true, y_pred):
        return self.factor * keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


class Area(keras.metrics.AUC):
    def __init__(self, **options):
        super().__init__(num_thresholds=20, **options)


LOSSES = {
    "number": ("mse", "MeanAbsoluteError", keras.losses.Huber(0.3), own_function, OwnLoss(3.0)),
    "outcome": (
        "binary_crossentropy", "crossentropy", keras.losses.binary_crossentropy, OwnLoss(),
        keras.losses.BinaryCrossentropy(label_smoothing=0.1, reduction="sum"),
    ),
    "class": (
        "sparse_categorical_crossentropy", "crossentropy",
        keras.losses.SparseCategoricalCrossentropy(ignore_class=1),
        keras.losses.SparseCategoricalCrossentropy(reduction="mean_with_sample_weight"),
    ),
}  # fmt: skip
METRICS = {
    "number": ("mse", keras.metrics.MeanAbsoluteError),
    "outcome": ("accuracy", Area),
    "class": ("accuracy", "sparse_categorical_crossentropy"),
}


@dataclass
class Case:
    """A model to make, and what it is trained with."""

    inputs: list[int]
    outputs: list[str]
    by_name: tuple[bool, bool]
    compiled: dict[str, Any]
    parts: tuple[Any, ...]
    class_weight: dict[int, float] | None
    kind: str
    plainly: tuple[Any, ...]
    """The data in the structure of the model's own outputs: Keras finds weights of samples in no other."""

    def model(self):
        """Return the model, with the same weights each time."""
        keras.utils.set_random_seed(7)
        given = [
            keras.Input((size,), name=f"in_{n}")
            for size, n in zip(self.inputs, NAMES, strict=False)
        ]
        joined = L.Concatenate(name="join")(given) if len(given) > 1 else given[0]
        hidden = L.Dense(5, "tanh", kernel_regularizer="l2", name="hidden")(joined)
        ends = {"number": (1, None), "outcome": (1, "sigmoid"), "class": (CLASSES, "softmax")}
        made = [
            L.Dense(*ends[kind], name=n)(hidden)
            for kind, n in zip(self.outputs, NAMES, strict=False)
        ]
        inputs = {each.name: each for each in given} if self.by_name[0] else given
        outputs = dict(zip(NAMES, made, strict=False)) if self.by_name[1] else made
        return keras.Model(inputs, outputs if len(made) > 1 or self.by_name[1] else made[0])

    def source(self):
        """Return the data in the structure, and from the source, that was drawn."""
        if self.kind == "arrays":
            return self.parts
        cut = [
            keras.tree.map_structure(lambda a, i=start: a[i : i + BATCH], self.parts)
            for start in range(0, SAMPLES, BATCH)
        ]
        if self.kind == "tf.data" and keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            whole = keras.tree.lists_to_tuples(self.parts)
            return tf.data.Dataset.from_tensor_slices(whole).batch(BATCH)
        return (lambda: iter(cut)) if self.kind == "function" else (each for each in cut)


@st.composite
def cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    inputs = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    outputs = draw(st.lists(st.sampled_from(sorted(LOSSES)), min_size=1, max_size=3))
    count = len(outputs)
    losses = [draw(st.sampled_from(LOSSES[kind])) for kind in outputs]
    metrics = [draw(st.sampled_from(METRICS[kind])) for kind in outputs]
    weights = draw(
        st.none() | st.lists(st.sampled_from((0.25, 1.0, 3.0)), min_size=count, max_size=count)
    )
    X = [rng.normal(size=(SAMPLES, size)) for size in inputs]
    y = [
        _labels(rng, kind, draw(st.sampled_from(("float32", "float64", "int64"))))
        for kind in outputs
    ]
    # Keras broadcasts labels (n,) against outputs (n, 1) in losses of one's own class.
    flat = [draw(st.booleans()) and not isinstance(loss, OwnLoss) for loss in losses]
    y = [each[:, 0] if cut else each for each, cut in zip(y, flat, strict=False)]
    samples = [rng.random(SAMPLES).astype("float32") for _ in outputs]
    class_weight, extra = None, draw(st.sampled_from(("none", "each", "class")))
    if extra == "class" and outputs == ["class"]:
        class_weight = {0: 2.0, 2: 0.5}
    by_name = (draw(st.booleans()), draw(st.booleans()) and count > 1)
    structure = _structure(draw, [f"in_{n}" for n in NAMES[: len(inputs)]], named=by_name[0])
    targets = _structure(draw, NAMES[:count], named=by_name[1])
    parts = [structure(X), targets(y)]
    if extra == "each" and class_weight is None:
        parts.append(targets(samples))
    form = draw(st.sampled_from(("dict", "list"))) if count > 1 else "one"
    if by_name[1] and count > 1:
        form = "dict"
    shaped = {
        "one": lambda each: each[0],
        "list": list,
        "dict": lambda each: dict(reversed(list(zip(NAMES, each, strict=False)))),
    }[form]
    compiled = {
        "loss": shaped(losses),
        "loss_weights": None
        if weights is None
        else [weights[0]]
        if count == 1
        else shaped(weights),
        "metrics": [metrics[0]] if count == 1 else shaped(metrics),
    }
    kind = draw(st.sampled_from(("arrays", "arrays", "tf.data", "function", "generator")))
    plain = _structure(draw, NAMES[:count], named=by_name[1], forms=("list",))
    plainly = (parts[0], plain(y), *((plain(samples),) if len(parts) > 2 else ()))
    return Case(inputs, outputs, by_name, compiled, tuple(parts), class_weight, kind, plainly)


def _labels(rng, kind, dtype):
    if kind == "number" and dtype != "int64":
        return rng.normal(size=(SAMPLES, 1)).astype(dtype)
    return rng.integers(
        0, {"number": 5, "outcome": 2, "class": CLASSES}[kind], (SAMPLES, 1)
    ).astype(dtype)


def _structure(draw, names, named=False, forms=("list", "dict")):
    """Return a function that puts arrays into a structure that Keras takes."""
    order = draw(st.permutations(range(len(names))))
    form = draw(st.sampled_from(forms)) if len(names) > 1 else "plain"
    if named or form == "dict":
        return lambda arrays: {names[place]: arrays[place] for place in order}
    return (lambda arrays: list(arrays)) if len(names) > 1 else (lambda arrays: arrays[0])


def trained_by_keras(case):
    model = case.model()
    X, y, *rest = case.plainly
    model.compile(keras.optimizers.SGD(0.05), run_eagerly=True, **case.compiled)
    options = {"sample_weight": rest[0]} if rest else {}
    loss = model.fit(
        X, y, batch_size=BATCH, shuffle=False, verbose=0, class_weight=case.class_weight, **options
    ).history["loss"][0]
    found = model.evaluate(X, y, batch_size=BATCH, verbose=0, return_dict=True, **options)
    own = [each for name, each in found.items() if "loss" not in name]
    return (
        loss,
        np.mean(own),
        found["loss"],
        [keras.ops.convert_to_numpy(v) for v in model.variables],
    )


def trained_by_an_engine(case):
    model = case.model()
    network = read(model)
    outputs = network.ends.outputs
    metrics = case.compiled["metrics"]
    metric = metrics[0] if len(outputs) == 1 else metrics
    loss = ModelLoss(case.compiled["loss"], case.compiled["loss_weights"], outputs)
    engine = make_engine(network, loss, keras.optimizers.SGD(0.05))
    door = Door(network.ends, class_weight=check_class_weight(case.class_weight))
    data, order = open_data(case.source(), "train", door), None
    if data.order(np.random.default_rng(0)) is not None:
        order = np.arange(SAMPLES)
    seen = engine.train_epoch(data, order, BATCH)
    whole = open_data(case.parts, "val", Door(network.ends))
    return (
        seen,
        engine.evaluate(whole, ModelMetric(metric, outputs)),
        _loss_by_batches(engine, whole, outputs),
        engine.get_weights(),
    )


def _loss_by_batches(engine, data, outputs):
    """Return the loss in batches as large as Keras': some reductions depend on them."""
    metric, parts = ModelMetric("loss", outputs), range(0, SAMPLES, BATCH)
    cut = [data.take(slice(start, start + BATCH)) for start in parts]
    return sum(engine.evaluate(each, metric) * len(each) for each in cut) / SAMPLES


def examples(count):
    return settings(
        max_examples=count,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],  # to make an example smaller would last minutes
    )


@examples(3 if WAIT_ELSEWHERE else 8)
@given(cases())
def test_an_engine_trains_as_keras_does(case):
    check_that_an_engine_trains_as_keras_does(case)


@pytest.mark.slow
@examples(40)
@given(cases())
def test_an_engine_trains_as_keras_does_on_many_models(case):
    check_that_an_engine_trains_as_keras_does(case)


def check_that_an_engine_trains_as_keras_does(case):
    expected, found = trained_by_keras(case), trained_by_an_engine(case)
    for number, name in enumerate(("loss", "metric", "loss after")):
        assert found[number] == pytest.approx(expected[number], rel=2e-5, abs=1e-6), name
    for ours, theirs in zip(found[3], expected[3], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def steps_model():
    keras.utils.set_random_seed(3)
    layers = [keras.Input((4, 1)), L.Masking(0.0), L.Dense(5, "relu"), L.Dense(1, name="o")]
    return keras.Sequential(layers)


@pytest.mark.parametrize("weighted", ["no", "samples", "steps"])
def test_masks_and_weights_of_steps_count_as_in_keras(weighted):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(SAMPLES, 4, 1)).astype("float32")
    X[rng.random((SAMPLES, 4)) < 0.3] = 0
    y, steps = X * 2 - 1, rng.random((SAMPLES, 4)).astype("float32")
    # Keras multiplies the values of steps by (n,) along the wrong axis, and on PyTorch in place.
    every = np.repeat(steps[:, :1], 4, axis=1)
    forms = {"no": (None, None), "samples": (steps[:, 0], every), "steps": (steps, steps)}
    ours, theirs = (None if each is None else each.copy() for each in forms[weighted])
    reference, model = steps_model(), steps_model()
    reference.compile(keras.optimizers.SGD(0.05), "mse", metrics=["mae"])
    expected = reference.fit(X, y, sample_weight=theirs, batch_size=BATCH, shuffle=False, verbose=0)
    network = read(model)
    loss = ModelLoss("mse", outputs=network.ends.outputs)
    engine = make_engine(network, loss, keras.optimizers.SGD(0.05))
    parts = (X, y) if ours is None else (X, y, ours)
    data = open_data(parts, "train", Door(network.ends))
    found = engine.train_epoch(data, np.arange(SAMPLES), BATCH)
    assert found == pytest.approx(expected.history["loss"][0], rel=1e-5)
    theirs = None if weighted == "no" else {"samples": every, "steps": steps}[weighted].copy()
    scores = reference.evaluate(
        X, y, sample_weight=theirs, batch_size=SAMPLES, verbose=0, return_dict=True
    )
    for name in ("mae", "loss"):
        value = engine.evaluate(data, ModelMetric(name, network.ends.outputs))
        assert value == pytest.approx(scores[name], rel=1e-5), name
