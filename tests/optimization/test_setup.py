"""Bad input is refused before anything is trained or written."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit.choices.ranking import Criterion, weight_loss
from fabricfit.errors import FabricFitError, InvalidInputError, InvalidTypeError
from fabricfit.keras import OptimizationSettings, optimize
from fabricfit.network.describe import get_attributes_from_keras_model
from fabricfit.objectives import ParameterEstimator
from fabricfit.scheduler import ConstantScheduler, OptimizationScheduler
from tests.common import L, mlp, weights_of
from tests.marks import ON_ONE_BACKEND
from tests.optimization.runs import LOSS, run, settings

pytestmark = ON_ONE_BACKEND


NAN = np.full((20, 6), np.nan, "float32")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"rtol": -1}, "rtol must be a number above 0"),
        ({"epochs": 1}, "epochs must be more than rewinding_epochs"),
        ({"epochs": 2.5}, "epochs must be a whole number"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1"),
        ({"cutoff_bad_trials": -1}, "cutoff_bad_trials"),
        ({"ranking_metric": "magnitude"}, "ranking_metric must be one of 'l1'"),
        ({"knapsack_solver": "magic"}, "knapsack_solver must be one of"),
        ({"knapsack_options": {"time": 3}}, "time_limit, scaling_factor. Received: 'time'"),
        ({"knapsack_options": {"time_limit": 0}}, "time_limit must be a number above 0"),
        ({"tuner": "Random"}, "tuner must be one of 'halving', 'Bayesian'"),
        ({"regularization_range": []}, "regularization_range"),
        ({"regularization_range": [-1e-3]}, "regularization_range"),
        ({"optimizer": "adamant"}, "optimizer must be one that Keras knows"),
        ({"loss_fn": "lossless"}, "loss_fn must be a loss that Keras knows"),
        ({"validation_metric": "metre"}, "validation_metric must be one that Keras knows"),
        ({"callbacks": [print]}, "callbacks must hold"),
        ({"data": ((NAN, np.zeros(20)), (NAN, np.zeros(20)))}, "X_train must not hold NaN"),
        ({"objective": "DSP"}, "objective must be an Objective or an ObjectiveEstimator"),
        ({"scheduler": "constant"}, "scheduler must be an OptimizationScheduler"),
        ({"model": "model"}, "model must be a keras.Model"),
        ({"model": keras.Sequential([L.Dense(3)])}, "is not built"),
        ({"attributes": {}}, "model_attributes lack layers"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(trained, data, tmp_path, change, message):
    model = change.pop("model", trained)
    attributes = change.pop("attributes", get_attributes_from_keras_model(trained))
    objective = change.pop("objective", ParameterEstimator)
    scheduler = change.pop("scheduler", ConstantScheduler(0, 0.5, 0.25))
    data = change.pop("data", data)
    with pytest.raises(FabricFitError, match=message):
        optimize(model, attributes, objective, scheduler, *data, settings(tmp_path / "x", **change))
    assert not (tmp_path / "x").exists()


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.layer = L.Dense(3)

    def call(self, x):
        return self.layer(x)


def test_a_subclassed_model_whose_shapes_are_not_known_is_refused_with_the_way_out():
    with pytest.raises(InvalidInputError, match="Call it on a batch"):
        get_attributes_from_keras_model(Subclassed())


def test_a_model_with_nothing_to_optimize_is_refused_with_the_reasons(data, tmp_path):
    model = mlp()
    model.trainable = False
    with pytest.raises(InvalidInputError, match=r"no layer of model .* 'fc1': it is frozen"):
        run(model, data, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_costs_that_are_none_are_refused(trained, data, tmp_path):
    class Negative(ParameterEstimator):
        @classmethod
        def layer_savings(cls, layer_attributes):
            return [-1]

    with pytest.raises(InvalidInputError, match="non-negative whole numbers"):
        run(trained, data, tmp_path / "x", Negative)
    assert not (tmp_path / "x").exists()


def test_a_model_whose_metric_is_no_number_is_refused(trained, data, tmp_path):
    def undefined(y_true, y_pred):
        return y_pred[:, 0] * float("nan")

    with pytest.raises(InvalidInputError, match="undefined on the validation data is nan"):
        run(trained, data, tmp_path / "x", validation_metric=undefined)
    assert not (tmp_path / "x").exists()


def test_errors_are_also_what_python_would_raise():
    with pytest.raises(ValueError):
        OptimizationSettings(0, 3, "adam", LOSS, "accuracy", True, 0.9)
    with pytest.raises(TypeError):
        OptimizationSettings(1, 3, 5, LOSS, "accuracy", True, 0.9)
    assert issubclass(InvalidTypeError, FabricFitError)


@pytest.mark.parametrize("tuner", [None, "Bayesian"])
def test_a_serialized_loss_serves_throughout_a_run(trained, data, tmp_path, tuner):
    """In the settings, in training, for the ranking by derivatives, and in the model that comes out."""
    loss = keras.losses.SparseCategoricalCrossentropy()
    found = [
        run(
            trained, data, tmp_path / str(number), loss_fn=each, ranking_metric="saliency", rtol=0.3,
            distillation=0.3, tuner=tuner, regularization_range=[1e-5, 1e-4], epochs=2,
        )
        for number, each in enumerate((loss, keras.losses.serialize(loss)))
    ]  # fmt: skip
    for one, other in zip(*(weights_of(each.model) for each in found), strict=True):
        np.testing.assert_array_equal(one, other)
    assert isinstance(found[1].model.loss, keras.losses.SparseCategoricalCrossentropy)


@pytest.mark.parametrize(
    "loss",
    [
        {},
        {"class_name": "Nonsense", "config": {}},
        {"out": "nonsense"},
        "nonsense",
        ["nonsense"],
        "Loss",
    ],
)
def test_a_loss_that_cannot_be_used_is_refused_in_the_settings(tmp_path, loss):
    with pytest.raises(FabricFitError, match=r"loss_fn.* must .*Received: loss_fn"):
        settings(tmp_path / "x", loss_fn=loss)
    assert not (tmp_path / "x").exists()


def leaving(*_):
    raise SystemExit(3)


class _Schedule(OptimizationScheduler):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def update_step(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    repair_step = update_step


class _Estimator(ParameterEstimator):
    @classmethod
    def layer_savings(cls, layer):
        raise KeyError("of the caller")


@pytest.mark.parametrize(
    ("change", "message", "cause"),
    [
        ({"loss_fn": leaving}, "the loss cannot be computed", SystemExit),
        ({"validation_metric": leaving}, "'leaving' cannot be computed", SystemExit),
        (
            {"scheduler": _Schedule(KeyError("no"))},
            "_Schedule.update_step raised KeyError",
            KeyError,
        ),
        ({"scheduler": _Schedule(None)}, "must return a pair", None),
        ({"scheduler": _Schedule((True, "x"))}, "must be a number from 0 to 1", None),
        ({"scheduler": _Schedule((1, 0.5))}, "must be True or False", None),
        ({"objective": _Estimator}, "_Estimator.layer_savings raised KeyError", KeyError),
        ({"optimizer": keras.optimizers.SGD(np.nan)}, "a learning rate of at least 0", None),
        ({"reuse": 5}, "reuse must be an OptimizationResult", None),
        ({"documents": {"../x": "text"}}, "names of files in the run's folder", None),
        ({"documents": {"journal.jsonl": "text"}}, "the run's own files", None),
        ({"documents": {"a.txt": 5}}, "must be a text", None),
        ({"directory": __file__}, "must name a folder. Received a file", None),
        ({"directory": f"{__file__}/inside"}, "directory must not be in a file", None),
        ({"seed": 2**32}, "seed must be a whole number from 0 to 4294967295", None),
    ],
)
def test_what_is_the_callers_own_is_tried_before_there_is_a_folder(
    trained, data, tmp_path, change, message, cause
):
    attributes = get_attributes_from_keras_model(trained)
    objective = change.pop("objective", ParameterEstimator)
    scheduler = change.pop("scheduler", ConstantScheduler(0, 0.5, 0.25))
    rest = {name: change.pop(name) for name in ("reuse", "documents") if name in change}
    with pytest.raises(FabricFitError, match=message) as caught:
        own = settings(tmp_path / "x", **change)
        optimize(trained, attributes, objective, scheduler, *data, own, **rest)
    assert cause is None or isinstance(caught.value.__cause__, cause)
    assert not (tmp_path / "x").exists()


def test_a_criterion_of_ones_own_is_named():
    kernel = np.ones((2, 3))
    for loss, message in (
        (lambda change, **_: {}["no"], "criterion 'own' raised KeyError"),
        (lambda change, **_: change * np.nan, "criterion 'own' must return finite losses"),
        (lambda change, **_: -np.abs(change), "criterion 'own' must return finite losses of at"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            weight_loss(kernel, Criterion("own", loss))(-kernel)


def test_weights_that_are_no_numbers(trained, data, tmp_path):
    broken = keras.models.clone_model(trained)
    broken.layers[0].kernel.assign(broken.layers[0].kernel * np.nan)
    for refuse in (
        lambda: fabricfit.estimate(broken),
        lambda: fabricfit.reduce_model(broken),
        lambda: fabricfit.calibrate(broken, data[0][0]),
        lambda: run(broken, data, tmp_path / "x"),
    ):
        with pytest.raises(InvalidInputError, match=r"finite weights.* of 'kernel' in layer"):
            refuse()
    assert not (tmp_path / "x").exists()
