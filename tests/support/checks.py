"""What is tried with a layer. Each check returns ``'yes'``, or says why it does not apply."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import fabricfit
from fabricfit.attributes import (
    OptimizationAttributes,
    get_attributes_from_keras_model,
    get_attributes_from_keras_model_and_hls4ml_config,
)
from fabricfit.errors import FabricFitError
from fabricfit.keras.reading import kernel_arrays, named_kernels
from fabricfit.objectives import ParameterEstimator
from fabricfit.objectives.resources import FPGAResources
from fabricfit.scheduler import ConstantScheduler

from .cases import Case, build

__all__ = ["CHECKS", "count", "prune", "share"]

CONFIG = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}}


class _OfLayer(ParameterEstimator):
    """Weights of the layer alone."""

    @classmethod
    def is_layer_optimizable(cls, layer_attributes):
        if layer_attributes.layer_name == "out" or not layer_attributes.weight_shape:
            return False, None
        return True, OptimizationAttributes("unstructured", pruning=True)


class _Shared(_OfLayer):
    """Runs of weights that may be shared; what is shared counts as saved."""

    @classmethod
    def is_layer_optimizable(cls, layer_attributes):
        if layer_attributes.layer_name == "out" or not layer_attributes.weight_shape:
            return False, None
        size = int(np.prod(layer_attributes.weight_shape))
        return True, OptimizationAttributes(
            "pattern", weight_sharing=True, pattern_offset=size // 2
        )

    @classmethod
    def layer_savings(cls, layer_attributes):
        return [1] if layer_attributes.optimization_attributes.weight_sharing else [0]


def _run(
    case: Case, objective: Any, sparsity: float, directory: Path, attributes: Any = None
) -> Any:
    model = build(case)
    X = case.samples(64)
    y = np.random.default_rng(1).integers(0, 3, 64)
    settings = fabricfit.OptimizationSettings(
        batch_size=32,
        epochs=2,
        optimizer="adam",
        loss_fn="sparse_categorical_crossentropy",
        validation_metric="accuracy",
        increasing=True,
        rtol=None,
        tuner=None,
        directory=str(directory),
    )
    found = attributes or get_attributes_from_keras_model(model)
    scheduler = ConstantScheduler(sparsity, sparsity, 0.1)
    return fabricfit.optimize(model, found, objective, scheduler, (X, y), (X, y), settings)


def _kernels(result: Any) -> dict[str, np.ndarray]:
    owned = named_kernels(result.model)
    kernels = kernel_arrays(result.model)
    return {name: kernels[name] for name in owned if name.split("/")[0] == "layer"}


def prune(case: Case, directory: Path) -> str:
    """Half of the weights of the layer's kernels become zero and stay it in training."""
    total = sum(k.size for k in kernel_arrays(build(case)).values())
    own = sum(k.size for n, k in kernel_arrays(build(case)).items() if n != "out")
    result = _run(case, _OfLayer, 0.5 * own / total, directory)
    kernels = _kernels(result)
    assert kernels, "no kernel of the layer is known"
    zeros = sum(int((kernel == 0).sum()) for kernel in kernels.values())
    assert zeros >= 0.5 * own - 1, (zeros, own)
    return "yes"


def share(case: Case, directory: Path) -> str:
    """Half of the pairs of neighbouring weights come to hold one value each."""
    total = sum(k.size for k in kernel_arrays(build(case)).values())
    own = sum(k.size // 2 for n, k in kernel_arrays(build(case)).items() if n != "out")
    result = _run(case, _Shared, 0.5 * own / total, directory)
    equal = 0
    attributes = get_attributes_from_keras_model(result.model)
    for name, kernel in _kernels(result).items():
        layer = attributes[name]
        layer.optimization_attributes = _Shared.is_layer_optimizable(layer)[1]
        groups = layer.grouping.to_groups(kernel)
        equal += int((groups == groups[:, :1]).all(axis=1).sum())
    assert equal >= 0.5 * own - len(_kernels(result)), (equal, own)
    return "yes"


def count(case: Case, directory: Path) -> str:
    """The DSPs of the layer fall to half, counted in its weights."""
    attributes = get_attributes_from_keras_model_and_hls4ml_config(build(case), CONFIG)
    objective = FPGAResources(("dsp",))
    own = [n for n, a in attributes.items() if a.layer_name == "layer" and a.multiplies]
    if not own:
        return "no: nothing is multiplied"
    result = _run(case, objective, 0.5, directory, attributes)
    before, after = result.report.resources_before[0], result.report.resources_after[0]
    assert 0 < after <= 0.5 * before, (before, after)
    return "yes"


def convert(case: Case, directory: Path) -> str:
    """Let hls4ml read the model."""
    import hls4ml

    model = build(case)
    try:
        config = hls4ml.utils.config_from_keras_model(model, granularity="name")
        hls4ml.converters.convert_from_keras_model(
            model, hls_config=config, output_dir=str(directory / "hls"), io_type="io_parallel"
        )
    except FabricFitError:
        raise
    except Exception as error:  # whatever hls4ml says of a layer that it does not know
        return f"no: {type(error).__name__}"
    return "yes"


CHECKS = {"prune": prune, "share": share, "count": count}
