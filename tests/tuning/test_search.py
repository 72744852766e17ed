from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from fabricfit.description.attributes import OptimizationAttributes
from fabricfit.errors import FabricFitError, InvalidInputError
from fabricfit.keras.builder import (
    HyperOptimizationModel,
    build_optimizable_model,
    remove_custom_regularizers,
)
from fabricfit.layers.regularizers import Conv2DRegularizer, DenseRegularizer
from fabricfit.network.describe import get_attributes_from_keras_model
from tests.common import L, blobs, lenet, mlp, outputs_of, weights_of
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

LOSS = "sparse_categorical_crossentropy"


def described(model, **changes):
    attributes = get_attributes_from_keras_model(model)
    for layer in attributes.values():
        if layer.weight_shape:
            options = {"pruning": True, **changes}
            layer.optimizable = True
            layer.optimization_attributes = OptimizationAttributes("structured", **options)
    return attributes


def build(model, attributes, tmp_path, tuner, **changes):
    X, y = blobs(128)
    options = {"regularization_range": [1e-5, 1e-3], "directory": str(tmp_path), **changes}
    data = ((X[:96], y[:96]), (X[96:], y[96:]))
    return build_optimizable_model(
        model, attributes, "adam", LOSS, "accuracy", True, *data, 32, 2, tuner=tuner, **options
    )


@pytest.mark.parametrize("tuner", [None, "Manual"])
def test_without_a_search_all_layers_get_the_first_strength(tmp_path, tuner):
    model = mlp()
    tuned = build(model, described(model, weight_sharing=True), tmp_path / "x", tuner)
    for name in ("fc1", "fc2", "out"):
        regularizer = tuned.get_layer(name).kernel_regularizer
        assert isinstance(regularizer, DenseRegularizer)
        assert (regularizer.alpha, regularizer.beta) == (1e-5, 1e-5)
        assert regularizer.structure_type.value == "structured"
        assert tuned.get_layer(name).kernel.regularizer is regularizer
    for a, b in zip(weights_of(model), weights_of(tuned), strict=True):
        np.testing.assert_array_equal(a, b)
    assert tuned.optimizer is not None and not (tmp_path / "x").exists()


@pytest.mark.parametrize("tuner", ["Bayesian", "Hyperband"])
def test_a_search_chooses_from_the_range_and_stays_in_its_folder(tmp_path, tuner):
    model = mlp()
    before = weights_of(model)
    tuned = build(model, described(model), tmp_path, tuner)
    for name in ("fc1", "fc2", "out"):
        assert tuned.get_layer(name).kernel_regularizer.alpha in (1e-5, 1e-3)
        assert tuned.get_layer(name).kernel_regularizer.beta == 0
    for a, b in zip(before, weights_of(model), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [path.name for path in tmp_path.iterdir()] == ["tuning-0001"]
    build(model, described(model), tmp_path, tuner)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tuning-0001", "tuning-0002"]


@pytest.mark.parametrize("increasing", [True, False])
def test_the_best_trial_is_the_best_on_the_validation_data(tmp_path, monkeypatch, increasing):
    from fabricfit.tuning import keras_tuner as tuning

    seen = []
    original = tuning._Trials.run

    def spy(self, trial, epochs):
        metrics = original(self, trial, epochs)
        seen.append(metrics)
        return metrics

    monkeypatch.setattr(tuning._Trials, "run", spy)
    model = mlp()
    X, y = blobs(96)
    wrong = (y + 1) % 3  # on the validation data, learning the training data makes it worse
    tuned = build_optimizable_model(
        model, described(model), keras.optimizers.Adam(0.05), LOSS, "accuracy", increasing,
        (X, y), (X, wrong), 32, 3, tuner="Bayesian", directory=str(tmp_path),
        regularization_range=[1e-6, 1.0],
    )  # fmt: skip
    values = [metrics["val_accuracy"] for metrics in seen]
    assert len(values) == 8  # two strengths for three layers: all there are
    best = max(values) if increasing else min(values)
    accuracy = (outputs_of(tuned, X).argmax(axis=1) == wrong).mean()
    assert accuracy == pytest.approx(best)


def test_a_tuner_can_be_driven_by_hand():
    keras_tuner = pytest.importorskip("keras_tuner")
    model = lenet()
    hyper = HyperOptimizationModel(
        model, described(model, weight_sharing=True), "adam", LOSS, "accuracy", [1e-4, 1e-2]
    )
    assert isinstance(hyper, keras_tuner.HyperModel)
    hp = keras_tuner.HyperParameters()
    built = hyper.build(hp)
    names = [f"{n}_{kind}" for n in ("conv1", "conv2", "fc", "out") for kind in ("alpha", "beta")]
    assert list(hp.values) == names
    assert isinstance(built.get_layer("conv1").kernel_regularizer, Conv2DRegularizer)
    assert built.get_layer("conv1").kernel_regularizer.alpha == hp.values["conv1_alpha"]
    X = np.zeros((8, 8, 8, 1), "float32")
    built.fit(X, np.zeros(8), verbose=0)


def test_removing_gives_back_what_was_there(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            L.Dense(4, kernel_regularizer=keras.regularizers.L1(0.01), name="fc1"),
            L.Dense(3, activation="softmax", name="out"),
        ]
    )
    tuned = build(model, described(model), tmp_path, None)
    ours = tuned.get_layer("fc1").kernel_regularizer
    assert isinstance(ours.base, keras.regularizers.L1)
    penalty = float(keras.ops.convert_to_numpy(ours(tuned.get_layer("fc1").kernel)))
    kernel = weights_of(model)[0]
    assert penalty == pytest.approx((0.01 + 1e-5) * np.abs(kernel).sum(), rel=1e-4)
    plain = remove_custom_regularizers(tuned)
    assert isinstance(plain.get_layer("fc1").kernel_regularizer, keras.regularizers.L1)
    assert plain.get_layer("out").kernel_regularizer is None
    assert plain.get_layer("out").kernel.regularizer is None
    assert tuned.get_layer("fc1").kernel_regularizer is ours  # the argument is as it was
    assert "fabricfit" not in plain.to_json()
    for a, b in zip(weights_of(tuned), weights_of(plain), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_model_that_still_carries_them_saves_and_loads(tmp_path):
    model = mlp()
    tuned = build(model, described(model), tmp_path, None)
    tuned.save(tmp_path / "tuned.keras")
    loaded = keras.models.load_model(tmp_path / "tuned.keras")
    expected = tuned.get_layer("fc1").kernel_regularizer.get_config()
    assert loaded.get_layer("fc1").kernel_regularizer.get_config() == expected
    assert float(sum(loaded.losses)) == pytest.approx(float(sum(tuned.losses)), rel=1e-5)
    assert keras.models.model_from_json(tuned.to_json()).get_layer("fc1").kernel_regularizer


def test_bad_settings_are_refused(tmp_path):
    model = mlp()
    for change, message in (
        ({"tuner": "Grid"}, "tuner must be one of"),
        ({"tuner": None, "regularization_range": []}, "regularization_range"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            build(model, described(model), tmp_path / "x", **change)
    assert not (tmp_path / "x").exists()


KERNELS = {"dense": (6, 4), "conv": (2, 3, 2, 4)}
STRUCTURES = [
    {"structure_type": "unstructured"},
    {"structure_type": "structured"},
    {"structure_type": "pattern", "pattern_offset": 8},
    {"structure_type": "pattern", "pattern_offset": 5, "consecutive_patterns": 2},
    {"structure_type": "block", "block_shape": (4, 3)},
]


@pytest.mark.parametrize("shape", KERNELS.values(), ids=KERNELS)
@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda s: "-".join(map(str, s.values())))
@pytest.mark.parametrize("norm", [1, 2])
def test_the_penalty_is_the_sum_over_groups(shape, structure, norm):
    from fabricfit.description.grouping import Grouping

    kernel = np.random.default_rng(0).normal(size=shape).astype("float32")
    kind = DenseRegularizer if len(shape) == 2 else Conv2DRegularizer
    regularizer = kind(0.3, 0.7, norm, **structure)
    names = {"structure_type": "structure"}
    grouping = Grouping(shape, **{names.get(k, k): v for k, v in structure.items()})
    marks = grouping.to_groups(np.arange(1, kernel.size + 1).reshape(shape))
    expected = 0.0
    for members in marks:
        group = kernel.ravel()[members[members > 0] - 1].astype("float64")
        expected += 0.3 * np.linalg.norm(group, norm) + 0.7 * group.var()
    penalty = float(keras.ops.convert_to_numpy(regularizer(keras.ops.convert_to_tensor(kernel))))
    assert penalty == pytest.approx(expected, rel=1e-4)


def test_a_group_of_zeros_has_a_finite_gradient():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            L.Dense(3, kernel_regularizer=DenseRegularizer(1.0, 1.0, 2, "structured")),
        ]
    )
    kernel = np.ones((4, 3))
    kernel[:, 1] = 0
    model.layers[0].set_weights([kernel, np.zeros(3)])
    model.compile("sgd", "mse")
    model.fit(np.ones((8, 4)), np.ones((8, 3)), verbose=0)
    assert all(np.isfinite(w).all() for w in weights_of(model))


def test_configurations_are_plain_and_complete():
    base = keras.regularizers.L2(0.1)
    for regularizer in (
        DenseRegularizer(0.1, 0.2, 2, "block", (4, 2), 3, 2, base=base),
        Conv2DRegularizer(0.1, 0.2, 2, "pattern", 3, 2, block_shape=(2, 2), base=base),
    ):
        config = regularizer.get_config()
        assert json.loads(json.dumps(config)) == config
        again = type(regularizer).from_config(config)
        assert again.get_config() == config
        saved = keras.regularizers.serialize(regularizer)
        assert keras.regularizers.deserialize(saved).get_config() == config


@pytest.mark.parametrize(
    "arguments",
    [{"alpha": -1}, {"alpha": 1, "beta": float("nan")}, {"alpha": 1, "norm": 3},
     {"alpha": 1, "structure_type": "round"}],
)  # fmt: skip
def test_strengths_out_of_range_are_refused(arguments):
    with pytest.raises(FabricFitError, match="Received"):
        DenseRegularizer(**arguments)
