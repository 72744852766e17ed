"""The historical entry point, with configurations as hls4ml itself writes them."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit import optimize_keras_model_for_hls4ml
from fabricfit.errors import InvalidInputError
from fabricfit.keras import OptimizationSettings, optimize, optimize_model
from fabricfit.network.describe import (
    get_attributes_from_keras_model,
    get_attributes_from_keras_model_and_hls4ml_config,
)
from fabricfit.objectives import ParameterEstimator
from fabricfit.objectives.vivado_objectives import (
    VivadoDSPEstimator,
    VivadoFFEstimator,
    VivadoMultiObjectiveEstimator,
)
from fabricfit.scheduler import ConstantScheduler
from tests.common import blobs, kernel_of, mlp
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

hls4ml = pytest.importorskip("hls4ml")


def configuration(model, strategy, reuse_factor, io_type="io_parallel"):
    config = hls4ml.utils.config_from_keras_model(
        model, granularity="name", backend="Vitis", default_precision="fixed<16,6>"
    )
    config["IOType"] = io_type
    for layer in config["LayerName"].values():
        layer["Strategy"], layer["ReuseFactor"] = strategy, reuse_factor
    return config


def optimized(model, config, objective, tmp_path, **changes):
    X, y = blobs(256)
    options = {"directory": str(tmp_path), "tuner": None, "regularization_range": [1e-4], **changes}
    return optimize_keras_model_for_hls4ml(
        model, config, objective, ConstantScheduler(0, 0.5, 0.25), X[:192], y[:192], X[192:],
        y[192:], 64, 4, keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy",
        "accuracy", True, 0.5, **options,
    )  # fmt: skip


@pytest.mark.parametrize(
    "objective, strategy, reuse_factor",
    [
        (VivadoDSPEstimator, "Resource", 2),
        (VivadoDSPEstimator, "Latency", 1),
        (VivadoMultiObjectiveEstimator, "Resource", 2),
        (VivadoMultiObjectiveEstimator, "ResourceUnrolled", 4),
        (VivadoFFEstimator, "Latency", 1),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_half_of_every_resource_is_saved(tmp_path, objective, strategy, reuse_factor):
    model = mlp(inputs=6, hidden=16, outputs=3)
    if strategy != "Latency":
        model = mlp(inputs=6, hidden=12, outputs=4)
    config = configuration(model, strategy, reuse_factor)
    result = optimized(model, config, objective, tmp_path)
    attributes = get_attributes_from_keras_model_and_hls4ml_config(model, config)
    removed = {}
    for name, layer in attributes.items():
        optimizable, settings = objective.is_layer_optimizable(layer)
        if optimizable:
            layer.optimization_attributes = settings
            groups = layer.grouping.to_groups(kernel_of(result, name))
            removed[name] = int((~groups.any(axis=1)).sum())
    before = objective.model_utilization(attributes, {})
    after = objective.model_utilization(attributes, removed)
    assert all(a <= 0.5 * b for a, b in zip(after, before, strict=True)), (before, after)
    assert max(before) > 0


def test_an_unknown_strategy_is_refused_before_anything_happens(tmp_path):
    model = mlp()
    config = configuration(model, "Unrolled", 2)
    with pytest.raises(InvalidInputError, match="ResourceUnrolled"):
        optimized(model, config, VivadoDSPEstimator, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_narrow_weights_leave_nothing_to_optimize_and_that_is_said(tmp_path):
    model = mlp()
    config = configuration(model, "Resource", 2)
    for layer in config["LayerName"].values():
        layer["Precision"] = {"weight": "fixed<4,1>", "result": "fixed<16,6>"}
    with pytest.raises(InvalidInputError, match=r"no layer of model .* LUT"):
        optimized(model, config, VivadoDSPEstimator, tmp_path / "x")


def test_hardware_objectives_need_the_configuration(tmp_path):
    from fabricfit.network.describe import get_attributes_from_keras_model

    model, (X, y) = mlp(), blobs(64)
    with pytest.raises(InvalidInputError, match="hls4ml_config"):
        optimize_model(
            model, get_attributes_from_keras_model(model), VivadoDSPEstimator,
            ConstantScheduler(), X, y, X, y, 32, 3, "adam", "sparse_categorical_crossentropy",
            "accuracy", True, 0.5, tuner=None, directory=str(tmp_path / "x"),
        )  # fmt: skip
    assert not (tmp_path / "x").exists()


def test_the_result_converts_with_hls4ml(tmp_path):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("one backend is enough: hls4ml reads the saved layers")
    model = mlp(inputs=6, hidden=12, outputs=4)
    config = configuration(model, "ResourceUnrolled", 2)
    result = optimized(model, config, VivadoDSPEstimator, tmp_path)
    project = hls4ml.converters.convert_from_keras_model(
        result, hls_config=config, output_dir=str(tmp_path / "hls"), backend="Vitis"
    )
    weights = next(iter(project.graph["fc2"].get_weights())).data
    np.testing.assert_allclose(np.sort(weights.ravel()), np.sort(kernel_of(result, "fc2").ravel()))
    assert (weights == 0).any()


@pytest.mark.parametrize("whole", [False, True])
def test_the_sparsity_is_of_layers_that_can_be_optimized(tmp_path, whole):
    # A large frozen layer in front: of the whole model, half could not be saved.
    model = mlp(inputs=6, hidden=8)
    model.get_layer("fc2").trainable = False
    X, y = blobs(256)
    attributes = get_attributes_from_keras_model(model)
    common = (model, attributes, ParameterEstimator, ConstantScheduler(0, 0.75, 0.75))
    training = {
        "batch_size": 64,
        "epochs": 2,
        "optimizer": "adam",
        "loss_fn": "sparse_categorical_crossentropy",
        "validation_metric": "accuracy",
        "increasing": True,
        "rtol": 0.01,
        "directory": str(tmp_path),
        "tuner": None,
    }
    data = (X[:192], y[:192], X[192:], y[192:])
    if whole:
        pairs = (data[:2], data[2:])
        result = optimize(*common, *pairs, OptimizationSettings(**training))
        assert result.report.sparsity == 0 and "2" in str(result.report)
        return
    smaller = optimize_model(*common, *data, **training)
    kernels = [kernel_of(smaller, name) for name in ("fc1", "out")]
    zeros, total = (sum(map(f, kernels)) for f in (lambda k: int((k == 0).sum()), np.size))
    assert zeros == 0.75 * total
    np.testing.assert_array_equal(kernel_of(smaller, "fc2"), kernel_of(model, "fc2"))
