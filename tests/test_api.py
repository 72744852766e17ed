"""The public names, their arguments and defaults: facts that scripts in the field rely on."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import numpy as np
import pytest

from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

REQUIRED = inspect.Parameter.empty
RANGE = np.logspace(-6, -2, num=16).tolist()

RUN = {
    "X_train": REQUIRED,
    "y_train": REQUIRED,
    "X_val": REQUIRED,
    "y_val": REQUIRED,
    "batch_size": REQUIRED,
    "epochs": REQUIRED,
    "optimizer": REQUIRED,
    "loss_fn": REQUIRED,
    "validation_metric": REQUIRED,
    "increasing": REQUIRED,
    "rtol": REQUIRED,
    "callbacks": None,
    "ranking_metric": "l1",
    "local": False,
    "verbose": False,
    "rewinding_epochs": 1,
}
SEARCH = {"tuner": "Bayesian", "knapsack_solver": "CBC_MIP", "regularization_range": RANGE}
STRUCTURE = {"structure_type": "structure"}

SIGNATURES = {
    "fabricfit:optimize_keras_model_for_hls4ml": {
        "keras_model": REQUIRED,
        "hls_config": REQUIRED,
        "objective": REQUIRED,
        "scheduler": REQUIRED,
        **RUN,
        "cutoff_bad_trials": 3,
        "directory": "hls4ml-optimization",
        **SEARCH,
    },
    "fabricfit.keras:optimize_model": {
        "model": REQUIRED,
        "model_attributes": REQUIRED,
        "objective": REQUIRED,
        "scheduler": REQUIRED,
        **RUN,
        "cutoff_bad_trials": 1,
        "directory": "hls4ml-optimization-keras",
        **SEARCH,
    },
    "fabricfit:install_as_hls4ml_optimization": {},
    "fabricfit.attributes:hls4mlAttributes": {
        "n_in": REQUIRED,
        "n_out": REQUIRED,
        "io_type": REQUIRED,
        "strategy": REQUIRED,
        "weight_precision": REQUIRED,
        "output_precision": REQUIRED,
        "reuse_factor": REQUIRED,
        "parallelization_factor": 1,
    },
    "fabricfit.attributes:OptimizationAttributes": {
        "structure_type": "unstructured",
        "pruning": False,
        "weight_sharing": False,
        "block_shape": (1, 1),
        "pattern_offset": 1,
        "consecutive_patterns": 1,
    },
    "fabricfit.attributes:get_attributes_from_keras_model": {"model": REQUIRED},
    "fabricfit.attributes:get_attributes_from_keras_model_and_hls4ml_config": {
        "model": REQUIRED,
        "config": REQUIRED,
    },
    "fabricfit.scheduler:ConstantScheduler": {
        "initial_sparsity": 0,
        "final_sparsity": 1.0,
        "update_step": 0.05,
    },
    "fabricfit.scheduler:BinaryScheduler": {
        "initial_sparsity": 0,
        "final_sparsity": 1.0,
        "threshold": 0.01,
    },
    "fabricfit.scheduler:PolynomialScheduler": {
        "maximum_steps": REQUIRED,
        "initial_sparsity": 0,
        "final_sparsity": 1.0,
        "decay_power": 3,
    },
    "fabricfit.knapsack:solve_knapsack": {
        "values": REQUIRED,
        "weights": REQUIRED,
        "capacity": REQUIRED,
        "implementation": "CBC_MIP",
    },
    "fabricfit.objectives:ObjectiveEstimator.is_layer_optimizable": {"layer_attributes": REQUIRED},
    "fabricfit.objectives:ObjectiveEstimator.layer_resources": {"layer_attributes": REQUIRED},
    "fabricfit.objectives:ObjectiveEstimator.layer_savings": {"layer_attributes": REQUIRED},
    "fabricfit.keras:MaskedBackprop": {
        "model": REQUIRED,
        "loss_fn": REQUIRED,
        "attributes": REQUIRED,
    },
    "fabricfit.keras:MaskedBackprop.update_masks": {"self": REQUIRED, "masks": REQUIRED},
    "fabricfit.keras:MaskedBackprop.__call__": {
        "self": REQUIRED,
        "X": REQUIRED,
        "y": REQUIRED,
        "s": "any",
    },
    "fabricfit.keras.builder:HyperOptimizationModel": {
        "model": REQUIRED,
        "attributes": REQUIRED,
        "optimizer": REQUIRED,
        "loss_fn": REQUIRED,
        "validation_metric": REQUIRED,
        "regularization_range": REQUIRED,
    },
    "fabricfit.keras.builder:HyperOptimizationModel.build": {"self": REQUIRED, "hp": REQUIRED},
    "fabricfit.keras.builder:build_optimizable_model": {
        "model": REQUIRED,
        "attributes": REQUIRED,
        "optimizer": REQUIRED,
        "loss_fn": REQUIRED,
        "validation_metric": REQUIRED,
        "increasing": REQUIRED,
        "train_dataset": REQUIRED,
        "validation_dataset": REQUIRED,
        "batch_size": REQUIRED,
        "epochs": REQUIRED,
        "verbose": False,
        "directory": "hls4ml-optimization-keras",
        "tuner": "Bayesian",
        "regularization_range": RANGE,
    },
    "fabricfit.keras.builder:remove_custom_regularizers": {"model": REQUIRED},
    "fabricfit.keras.masking:get_model_masks": {
        "keras_model": REQUIRED,
        "model_attributes": REQUIRED,
        "sparsity": REQUIRED,
        "objective": REQUIRED,
        "metric": "l1",
        "local": False,
        "gradients": None,
        "hessians": None,
        "knapsack_solver": "CBC_MIP",
    },
    "fabricfit.keras.reduction:reduce_model": {"model": REQUIRED},
    "fabricfit.keras.regularizers:DenseRegularizer": {
        "alpha": REQUIRED,
        "beta": 0,
        "norm": 1,
        "structure_type": "unstructured",
        "block_shape": (1, 1),
        "pattern_offset": 1,
        "consecutive_patterns": 1,
    },
    "fabricfit.keras.regularizers:Conv2DRegularizer": {
        "alpha": REQUIRED,
        "beta": 0,
        "norm": 1,
        "structure_type": "unstructured",
        "pattern_offset": 1,
        "consecutive_patterns": 1,
    },
    "fabricfit.keras.utils:get_last_layer_with_weights": {"model": REQUIRED},
    "fabricfit.keras.utils:get_model_gradients": {
        "model": REQUIRED,
        "loss_fn": REQUIRED,
        "X": REQUIRED,
        "y": REQUIRED,
    },
    "fabricfit.keras.utils:get_model_hessians": {
        "model": REQUIRED,
        "loss_fn": REQUIRED,
        "X": REQUIRED,
        "y": REQUIRED,
    },
    "fabricfit.keras.utils:get_model_sparsity": {"model": REQUIRED},
}


def find(address):
    module, _, path = address.partition(":")
    thing = importlib.import_module(module)
    for name in path.split("."):
        thing = getattr(thing, name)
    return thing


@pytest.mark.parametrize("address", SIGNATURES)
def test_signature(address):
    expected = SIGNATURES[address]
    parameters = inspect.signature(find(address)).parameters
    old = list(parameters)[: len(expected)]
    assert old == list(expected), "names and order"
    for name, default in expected.items():
        found = parameters[name].default
        found = getattr(found, "value", found)
        assert default == "any" or found == default, name
    for name in list(parameters)[len(expected) :]:
        new = parameters[name]
        assert new.kind in (new.KEYWORD_ONLY, new.VAR_KEYWORD) or new.default is not REQUIRED, name


def test_layer_attributes_take_their_arguments_in_the_old_order():
    from fabricfit.attributes import LayerAttributes, OptimizationAttributes

    settings = OptimizationAttributes()
    layer = LayerAttributes("fc", object, ["x"], (3, 2), (3,), (2,), False, settings, {"a": 1})
    layer.update_args({"b": 2})
    assert (layer.name, layer.inbound_layers, layer.weight_shape) == ("fc", ["x"], (3, 2))
    assert (layer.optimizable, layer.optimization_attributes) == (False, settings)
    assert layer.args == {"a": 1, "b": 2}


def test_structures_have_lower_case_values():
    from fabricfit.config import SUPPORTED_STRUCTURES

    assert {member.name: member.value for member in SUPPORTED_STRUCTURES} == {
        "UNSTRUCTURED": "unstructured",
        "STRUCTURED": "structured",
        "PATTERN": "pattern",
        "BLOCK": "block",
    }


def test_configuration_names():
    import keras

    from fabricfit.keras import config

    assert keras.layers.Dense in config.SUPPORTED_LAYERS
    assert keras.layers.Conv2D in config.SUPPORTED_LAYERS
    assert config.SUPPORTED_METRICS[:4] == ("l1", "l2", "oracle", "saliency")
    assert isinstance(config.TMP_DIRECTORY, str)


def test_estimators_are_where_scripts_look_for_them():
    from fabricfit.objectives import ObjectiveEstimator, ParameterEstimator
    from fabricfit.objectives.gpu_objectives import GPUFLOPEstimator
    from fabricfit.objectives.vivado_objectives import (
        VivadoDSPEstimator,
        VivadoFFEstimator,
        VivadoMultiObjectiveEstimator,
    )

    for estimator in (
        ParameterEstimator,
        GPUFLOPEstimator,
        VivadoDSPEstimator,
        VivadoFFEstimator,
        VivadoMultiObjectiveEstimator,
    ):
        assert issubclass(estimator, ObjectiveEstimator)


def test_every_exported_name_exists_and_is_documented():
    import fabricfit

    for name in fabricfit.__all__:
        assert getattr(fabricfit, name, None) is not None, name
        if name != "__version__":
            assert inspect.getdoc(getattr(fabricfit, name)), name
    assert set(fabricfit.__all__) <= set(dir(fabricfit))
    with pytest.raises(AttributeError):
        fabricfit.nonsense  # noqa: B018
    shown = {name for name in dir(fabricfit) if not name.startswith("__")}
    assert {"firmware", "hardware", "fit"} <= shown
    assert shown.isdisjoint({"importlib", "pkgutil", "Any", "TYPE_CHECKING", "annotations"})


@pytest.mark.parametrize(
    "name",
    [
        "optimization.result:OptimizationResult",
        "optimization.sweep_result:SweepResult",
        "reporting.report:OptimizationReport",
        "reporting.performance:Performance",
        "reporting.alternatives:SimpleAlternatives",
        "hls4ml.model_estimate:ModelEstimate",
        "design.designs:Exploration",
        "calibration.result:Calibration",
        "firmware.verification_result:Verification",
        "firmware.rtl_result:RtlVerification",
        "synthesis.table:ReportTable",
        "synthesis.comparison:Comparison",
        "surgery.reduction:ReductionPlan",
    ],
)
def test_what_is_handed_out_prints_at_the_terminals_width_and_in_notebooks(name):
    from fabricfit.tables import Printable

    module, _, kind = name.partition(":")
    found = getattr(importlib.import_module(f"fabricfit.{module}"), kind)
    assert issubclass(found, Printable) and found.__str__ is Printable.__str__


def test_packages_are_there_after_one_import_and_wait_until_they_are_used():
    script = (
        "import sys, fabricfit; assert 'keras' not in sys.modules\n"
        "for name in ('firmware', 'attributes', 'hardware', 'synthesis', 'errors', 'scheduler'):\n"
        "    assert getattr(fabricfit, name).__name__ == 'fabricfit.' + name\n"
        "assert fabricfit.firmware.quantize_to_grid"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
