"""What is tried with a layer. Each check returns ``'yes'``, or says why it does not apply."""

from __future__ import annotations

import contextlib
import importlib
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

import fabricfit
from fabricfit.description.attributes import OptimizationAttributes
from fabricfit.description.layout import standard_layout
from fabricfit.errors import FabricFitError, InvalidInputError
from fabricfit.network.buildable import list_limits
from fabricfit.network.describe import (
    get_attributes_from_keras_model,
    get_attributes_from_keras_model_and_hls4ml_config,
)
from fabricfit.network.reader import read
from fabricfit.objectives import ParameterEstimator
from fabricfit.objectives.fpga import FPGAResources
from fabricfit.scheduler import ConstantScheduler
from fabricfit.surgery.reduction import plan_reduction, reduce_model
from tests.common import quick_settings

from .cases import Case, build

__all__ = ["CHECKS", "compute", "load_all", "refuse"]

_COARSEST = 0.1
"""How far results may be from Keras', which tables of sigmoid and tanh and formats of 8 bits account for."""

CONFIG = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}}


class _OfLayer(ParameterEstimator):
    """Weights of the layer alone."""

    @classmethod
    def is_layer_optimizable(cls, layer_attributes):
        if layer_attributes.layer_name != "layer" or not layer_attributes.weight_shape:
            return False, None
        return True, OptimizationAttributes("unstructured", pruning=True)


class _Shared(_OfLayer):
    """Runs of weights that may be shared; what is shared counts as saved."""

    @classmethod
    def is_layer_optimizable(cls, layer_attributes):
        if layer_attributes.layer_name != "layer" or not layer_attributes.weight_shape:
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
    settings = quick_settings(directory)
    found = attributes or get_attributes_from_keras_model(model)
    scheduler = ConstantScheduler(sparsity, sparsity, 0.1)
    return fabricfit.optimize(model, found, objective, scheduler, (X, y), (X, y), settings)


def _is_own(name: str) -> bool:
    return name.split("/")[0] == "layer"


def _kernels(result: Any) -> dict[str, np.ndarray]:
    owned = read(result.model).grouped_kernels
    kernels = read(result.model).kernel_arrays()
    return {name: kernels[name] for name in owned if _is_own(name)}


def prune(case: Case, directory: Path) -> str:
    """Half of the weights of the layer's kernels become zero and stay it in training."""
    total = sum(k.size for k in read(build(case)).kernel_arrays().values())
    own = sum(k.size for n, k in read(build(case)).kernel_arrays().items() if _is_own(n))
    result = _run(case, _OfLayer, 0.5 * own / total, directory)
    kernels = _kernels(result)
    assert kernels, "no kernel of the layer is known"
    zeros = sum(int((kernel == 0).sum()) for kernel in kernels.values())
    assert zeros >= 0.5 * own - 1, (zeros, own)
    return "yes"


_ALONE = "its weights train bits of their own, so that they cannot share values"


def share(case: Case, directory: Path) -> str:
    """Half of the pairs of neighbouring weights come to hold one value each."""
    total = sum(k.size for k in read(build(case)).kernel_arrays().values())
    own = sum(k.size // 2 for n, k in read(build(case)).kernel_arrays().items() if _is_own(n))
    try:
        result = _run(case, _Shared, 0.5 * own / total, directory)
    except InvalidInputError as error:
        if _ALONE not in str(error):
            raise
        return f"no: {_ALONE}"
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
    own = [n for n, a in attributes.items() if _is_own(n) and a.multiplies]
    if not own:
        return "no: nothing is multiplied"
    result = _run(case, objective, 0.5, directory, attributes)
    before, after = result.report.resources_before[0], result.report.resources_after[0]
    assert 0 < after <= 0.5 * before, (before, after)
    return "yes"


def _zero_units(model: keras.Model) -> None:
    """Zero the first units of all kernels of the layer, and their biases."""
    for name, kernel in read(model).grouped_kernels.items():
        if name.split("/")[0] not in ("layer", "first"):
            continue
        axes = kernel.layout or standard_layout(kernel.shape)
        gone = np.arange(axes.n_units) < max(axes.n_units // 3, 1)
        array = np.array(keras.ops.convert_to_numpy(kernel.variable))
        by_unit = axes.ordered(array, axes.by_unit, (axes.n_units, -1), np).copy()
        by_unit[gone] = 0
        kernel.variable.assign(axes.restored(by_unit, axes.by_unit, array.shape, np))
        if kernel.bias is not None:
            bias = np.array(keras.ops.convert_to_numpy(kernel.bias))
            units = axes.n_units
            bias.reshape(-1, units)[:, gone] = 0
            kernel.bias.assign(bias)


def reduce(case: Case, directory: Path) -> str:
    """A third of the layer's units, zeroed, are taken out, and the model computes the same."""
    model = build(case)
    _zero_units(model)
    plan, reduced = plan_reduction(model), reduce_model(model)
    X = case.samples(32)
    before, after = (
        np.asarray(keras.ops.convert_to_numpy(m(X, training=False)), np.float64)
        for m in (model, reduced)
    )
    assert np.abs(before - after).max() <= 1e-5 * np.abs(before).max()
    if reduced.count_params() < model.count_params():
        return "yes"
    assert "layer" in plan.kept, plan
    return f"no: {plan.kept['layer'].partition(': ')[2]}"


def save(case: Case, directory: Path) -> str:
    """The pruned model is saved, for :func:`load_all`."""
    total = sum(k.size for k in read(build(case)).kernel_arrays().values())
    own = sum(k.size for n, k in read(build(case)).kernel_arrays().items() if _is_own(n))
    model = _run(case, _OfLayer, 0.3 * own / total, directory).model
    X = case.samples(8)
    model.save(directory / "model.keras")
    np.savez(directory / "io.npz", X=X, y=keras.ops.convert_to_numpy(model(X, training=False)))
    return "yes"


def load_all(folders: list[Path], family: str = "keras") -> None:
    """Load saved models in a process that has never heard of fabricfit, and compare what they compute."""
    done = subprocess.run(
        [sys.executable, "-c", _LOADING, family, *map(str, folders)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


_LOADING = """
import importlib, sys
sys.modules["fabricfit"] = None  # importing it fails
family, objects = importlib.import_module(sys.argv[1]), {}
import keras, numpy as np
if family.__name__ == "qkeras":
    from qkeras.utils import _add_supported_quantized_objects
    _add_supported_quantized_objects(objects)
for folder in sys.argv[2:]:
    model = keras.saving.load_model(folder + "/model.keras", custom_objects=objects)
    data = np.load(folder + "/io.npz")
    found = keras.ops.convert_to_numpy(model(data["X"], training=False))
    assert np.abs(found - data["y"]).max() <= 1e-5, (folder, np.abs(found - data["y"]).max())
"""


def convert(case: Case, directory: Path) -> str:
    """Let hls4ml read the pruned model, and say where it is known to build something else."""
    said = _convert(case, directory)
    (refused, *_) = [*_find_limits(case), None]
    if said != "yes" or refused is None:
        return said
    return f"no: hls4ml {refused.limit.effect.format(kind=refused.kind)}"


def _convert(case: Case, directory: Path) -> str:
    import hls4ml

    model = build(case)
    _zero_units(model)
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            converted = hls4ml.converters.convert_from_keras_model(
                model,
                hls_config=CONFIG,
                output_dir=str(directory / "hls"),
                io_type="io_parallel",
                backend="Vitis",
            )
            converted.write()
        except Exception as error:  # whatever hls4ml says of a layer that it does not know
            said = str(error).splitlines()[0]
            if "not found in regist" in said:
                return f"no: hls4ml has no converter for {type(model.get_layer('layer')).__name__}"
            return f"no: hls4ml stops: {said}"
    without = [n for n in converted.get_layers() if _is_own(n.name) and not _has_code(n)]
    if without:
        return f"no: hls4ml reads {without[0].class_name} and writes no code for it"
    return "yes"


def compute(case: Case, directory: Path) -> str:
    """Compile what hls4ml makes of the model, and compare its outputs with Keras'.

    The model ends in front of the softmax, whose tables are coarser than any layer.
    """
    model = build(case)
    if case.family == "keras":
        _zero_units(model)
    model = keras.Model(model.input, model.get_layer("out").output)
    config = {"Model": {"Precision": "fixed<24,10>", "ReuseFactor": 1, "Strategy": "Latency"}}
    if case.family == "hgq":
        importlib.import_module("hgq.utils").trace_minmax(model, case.samples(64), verbose=False)
    try:
        found = fabricfit.verify(model, config, case.samples(16))
    except FabricFitError as error:
        return f"no: {error}"
    (output,) = found.outputs
    if found.differences or found.mismatches or output.largest > _COARSEST:
        return f"no: hls4ml builds another function ({found.outcome}, {output.largest:.2g} off)"
    return "yes"


def refuse(case: Case, directory: Path) -> str:
    """Ask fabricfit.fit for what hls4ml cannot build."""
    return "\n".join(map(str, _find_limits(case)))


def _find_limits(case: Case) -> list[Any]:
    model = build(case)
    network = read(model)
    attributes = get_attributes_from_keras_model_and_hls4ml_config(model, CONFIG)
    return [each for each in list_limits(network, attributes, CONFIG) if each.limit.is_wrong]


def _has_code(node: Any) -> bool:
    return bool(node.get_attr("function_cpp"))


CHECKS = {
    "prune": prune,
    "share": share,
    "count": count,
    "reduce": reduce,
    "save": save,
    "convert": convert,
}
