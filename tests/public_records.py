"""Good calls of public functions and records that need no run: hardware, knapsacks, formats, losses."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import keras
import numpy as np

import fabricfit
from fabricfit.description import LayerAttributes
from tests.common import mlp

__all__ = ["ANY", "CONFIG", "FUNCTION", "OPEN", "RECORDS", "SETTINGS_LEGAL", "Call"]

OPEN, FUNCTION = frozenset({"none"}), frozenset({"function"})


ANY = frozenset(
    {"none", "true", "text", "empty", "negative", "nan", "infinite", "huge", "list", "dict"}
) | {
    *("object", "bytes", "array", "complex", "function", "class"),
}
"""All kinds of junk."""


@dataclass(frozen=True)
class Call:
    """A call that is accepted.

    Parameters
    ----------
    good
        Makes its arguments by name.
    legal
        Argument -> kinds of junk that mean something for it after all.
    computes
        Whether accepted arguments make it compute for more than a moment.
    options
        Names and annotations of what it takes as ``**keywords``.
    """

    good: Any = dict
    legal: dict[str, Any] = field(default_factory=dict)
    computes: bool = False
    options: dict[str, str] = field(default_factory=dict)


@cache
def model() -> keras.Model:
    made = mlp()
    made.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return made


@cache
def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 6)).astype("float32"), rng.integers(3, size=40)


CONFIG = {"Model": {"Precision": "fixed<12,4>", "ReuseFactor": 1, "Strategy": "Latency"}}
TIMES = {"latency": "str | float | None", "interval": "str | float | None", "clock": "str"}


def attributes() -> Any:
    return fabricfit.get_attributes_from_keras_model(model())


def product() -> Any:
    return fabricfit.hardware.Product(8, 4, 8)


def work() -> Any:
    return fabricfit.hardware.Work.full(product())


def layer() -> Any:
    return attributes()["fc1"]


def _law() -> dict[str, Any]:
    return {"product": product(), "work": work()}


def _problem() -> Any:
    return fabricfit.knapsack.GroupedProblem([np.array([5.0, 1.0])], [[3]], [5])


SETTINGS_LEGAL = {
    # What is left open is what the model was compiled with, and what suits the data.
    **dict.fromkeys(("batch_size", "epochs", "rewinding_epochs", "increasing"), OPEN),
    **dict.fromkeys(("optimizer", "loss_weights"), OPEN),
    **dict.fromkeys(("loss", "loss_fn", "metric", "validation_metric"), OPEN | FUNCTION),
    "increasing": {"none", "true"},
    "callbacks": {"none", "list"},
    "knapsack_options": {"none", "dict"},
    "loss_weights": {"none", "negative"},
    "checkpoint_seconds": {"infinite"},
    "class_weight": {"none"},
}
"""Settings that may be left open, and functions that may be losses."""


TARGET_LEGAL = {"part": {"none", "empty"}}

RECORDS: dict[str, Call] = {
    "fabricfit.hardware.Device": Call(
        lambda: dict(
            zip(
                ("name", "part", "family", "dsp", "bram36", "uram", "lut", "ff"),
                ("x", "x", "7series", 1, 1, 1, 1, 1),
                strict=True,
            )
        ),
        {"others": {"dict"}},
    ),
    "fabricfit.hardware.Estimate": Call(
        lambda: {"value": 1, "low": 0, "high": 2},
        {"low": {"negative"}, "high": {"infinite"}, "note": {"empty", "text"}},
    ),
    "fabricfit.hardware.Family": Call(
        lambda: {
            "name": "x",
            "dsp_block": "X",
            "products": ((27, 18, 1),),
            "memory_shapes": ((512, 36),),
        },
        {"labels": {"dict"}},
    ),
    "fabricfit.hardware.Product": Call(lambda: {"n_in": 8, "n_out": 4, "weight_width": 8}),
    "fabricfit.hardware.Work": Call(
        lambda: dict.fromkeys(("multipliers", "nonzeros", "constants", "adders", "digits"), 1),
        dict.fromkeys(("wide", "hard_digits", "longest", "span"), frozenset({"negative"})),
    ),
    "fabricfit.hardware.ResourceKind": Call(
        lambda: {"name": "x", "label": "X", "unit": "x"},
        {
            "multiples": {"dict"},
            **dict.fromkeys(("law", "layer_law"), OPEN | FUNCTION | {"class"}),
        },
    ),
    "fabricfit.hardware.Resources": Call(
        lambda: {"dsp": 4}, {"dsp": {"negative", "infinite"}}, options={"dsp": "float"}
    ),
    "fabricfit.hardware.Target": Call(
        dict, {**TARGET_LEGAL, "part": {"empty"}, "unbuilt": {"list"}}
    ),
    "fabricfit.hardware.csd_digits": Call(
        lambda: {"values": [1, 2]}, {"values": {"negative", "list"}}
    ),
    "fabricfit.hardware.dsps_per_multiplier": Call(lambda: {"weight_width": 8}),
    "fabricfit.hardware.ff_per_multiplier": Call(lambda: {"product": product()}),
    "fabricfit.hardware.find_device": Call(lambda: {"name": "pynq-z2"}),
    "fabricfit.hardware.find_family": Call(lambda: {"name": "7series"}),
    "fabricfit.hardware.find_resource": Call(lambda: {"name": "dsp"}),
    "fabricfit.hardware.find_target": Call(lambda: {"target": "7series"}),
    "fabricfit.hardware.find_tool": Call(lambda: {"name": "vitis"}),
    "fabricfit.hardware.latency_dsp": Call(lambda: {"kernel": [[1, 2]]}, {"kernel": {"negative"}}),
    "fabricfit.hardware.lut_of_constants": Call(lambda: {"product": product()}),
    "fabricfit.hardware.lut_per_multiplier": Call(lambda: {"product": product()}),
    "fabricfit.hardware.memory_blocks": Call(lambda: {"width": 8, "depth": 8}),
    "fabricfit.hardware.memory_word": Call(lambda: {"depth": 8}),
    "fabricfit.hardware.multipliers": Call(lambda: {"n_in": 8, "n_out": 4, "reuse_factor": 2}),
    "fabricfit.hardware.output_registers": Call(
        lambda: {"n_outputs": 4, "output_width": 8, "io_type": "io_parallel"}
    ),
    "fabricfit.hardware.product_dsp": Call(_law),
    "fabricfit.hardware.product_ff": Call(_law),
    "fabricfit.hardware.product_interval": Call(_law),
    "fabricfit.hardware.product_latency": Call(_law),
    "fabricfit.hardware.product_lut": Call(_law),
    "fabricfit.hardware.product_memory": Call(_law),
    "fabricfit.hardware.product_resources": Call(_law),
    "fabricfit.hardware.register_device": Call(
        lambda: {"device": fabricfit.hardware.find_device("pynq-z2")}
    ),
    "fabricfit.hardware.register_family": Call(
        lambda: {"family": fabricfit.hardware.find_family("7series")}
    ),
    "fabricfit.hardware.register_resource": Call(
        lambda: {"kind": fabricfit.hardware.find_resource("dsp")}
    ),
    "fabricfit.hardware.weight_bram18": Call(
        lambda: {"patterns": 8, "weight_width": 8, "reuse_factor": 2}
    ),
    "fabricfit.hardware.weight_costs": Call(lambda: {"product": product()}),
    "fabricfit.hardware.weight_registers": Call(
        lambda: {"n_weights": 8, "weight_width": 8, "strategy": "latency"}
    ),
    "fabricfit.scheduler.BinaryScheduler": Call(dict),
    "fabricfit.scheduler.ConstantScheduler": Call(dict),
    "fabricfit.scheduler.PolynomialScheduler": Call(lambda: {"maximum_steps": 5}),
    "fabricfit.objectives.as_objective": Call(
        lambda: {"objective": fabricfit.objectives.ParameterEstimator}
    ),
    "fabricfit.knapsack.GroupedProblem": Call(
        lambda: {"values": [np.array([5.0, 1.0])], "costs": [[3]], "capacity": [5]},
        {"floors": {"none"}, "ceilings": {"none"}},
    ),
    "fabricfit.knapsack.ItemProblem": Call(
        lambda: {"values": [10, 7], "weights": [[5, 3]], "capacity": [6]}
    ),
    "fabricfit.knapsack.Options": Call(dict, {"time_limit": {"infinite"}}),
    "fabricfit.knapsack.solve_grouped": Call(
        lambda: {"problem": _problem()}, {"time_limit": {"infinite"}}
    ),
    "fabricfit.knapsack.solve_items": Call(
        lambda: {"values": [10, 7], "weights": [[5, 3]], "capacity": [6]},
        {"time_limit": {"none", "infinite"}},
        options={"time_limit": "float", "scaling_factor": "float | None"},
    ),
    "fabricfit.knapsack.solve_knapsack": Call(
        lambda: {"values": [10, 7], "weights": [[5, 3]], "capacity": [6]},
        {"time_limit": {"none", "infinite"}},
        options={"time_limit": "float", "scaling_factor": "float | None"},
    ),
    "fabricfit.description.FixedPrecision": Call(
        lambda: {"width": 16, "integer": 6}, {"integer": {"negative"}}
    ),
    "fabricfit.description.Grouping": Call(lambda: {"shape": (4, 4)}),
    "fabricfit.description.LayerAttributes": Call(
        lambda: {
            "name": "fc",
            "layer_type": keras.layers.Dense,
            "inbound_layers": [],
            "weight_shape": (4, 4),
            "input_shape": (4,),
            "output_shape": (4,),
        },
        # Only the outermost kind is looked at of what fabricfit fills in itself.
        {"layer_type": {"class"}, "bit_operations": {"none", "array"}, "matrices": {"list"}}
        | {
            name: {"list", "dict", "text", "empty", "none"}
            for name, kind in inspect.get_annotations(LayerAttributes).items()
            if kind.partition("[")[0] in ("tuple", "list", "dict", "Mapping")
        }
        | dict.fromkeys(("known_window", "reuse_shape"), frozenset({"none", "list"}))
        | dict.fromkeys(("io_type", "node_name", "note"), frozenset({"text", "empty"}))
        | dict.fromkeys(("kernel_of", "weight_name"), frozenset({"text", "empty"}))
        | {"known_positions": {"none", "negative", "huge"}}
        | {"other_bit_operations": {"negative", "nan", "infinite", "huge"}},
    ),
    "fabricfit.description.Layout": Call(
        lambda: {"axes": (4, 4), "rows": (0,), "columns": (1,), "units": (1,)},
        {"units": {"list"}},
    ),
    "fabricfit.description.OptimizationAttributes": Call(dict),
    "fabricfit.description.hls4mlAttributes": Call(
        lambda: {
            "n_in": 8,
            "n_out": 4,
            "io_type": "io_parallel",
            "strategy": "Latency",
            **dict.fromkeys(("weight_precision", "output_precision"), "fixed<16,6>"),
            "reuse_factor": 1,
        }
    ),
    "fabricfit.description.parse_precision": Call(lambda: {"text": "fixed<16,6>"}),
    "fabricfit.hls4ml.effective_strategy": Call(
        lambda: {
            "strategy": "Latency",
            "reuse_factor": 1,
            "io_type": "io_parallel",
            "is_convolution": False,
        },
        {"instead": {"dict"}},
    ),
    "fabricfit.hls4ml.legal_parallelization_factor": Call(
        lambda: {"positions": 16, "parallelization_factor": 4}
    ),
    "fabricfit.hls4ml.legal_reuse_factor": Call(lambda: {"n_in": 8, "n_out": 4, "reuse_factor": 4}),
    "fabricfit.hls4ml.read_hls4ml_attributes": Call(
        lambda: {"config": CONFIG, "layer_attributes": layer()}
    ),
    "fabricfit.hls4ml.valid_reuse_factors": Call(lambda: {"n_in": 8, "n_out": 4}),
    "fabricfit.design.DesignSpace": Call(dict),
    "fabricfit.design.measure_curvature": Call(
        lambda: {"model": model(), "data": data()},
        {"loss": {"none", "function"}, "network": {"none"}},
        computes=True,
    ),
    "fabricfit.firmware.evaluate": Call(
        lambda: {"model": model(), "hls_config": CONFIG, "X": data()[0], "y": data()[1]},
        {"metric": {"none", "function"}, "weights": {"none"}},
        computes=True,
    ),
    "fabricfit.firmware.quantize_to_grid": Call(
        lambda: {"model": model(), "attributes": attributes()}, {"attributes": {"dict"}}
    ),
    "fabricfit.firmware.realize": Call(lambda: {"model": model(), "hls_config": CONFIG}),
    "fabricfit.firmware.to_hls4ml": Call(
        lambda: {"model": model(), "hls_config": CONFIG, "folder": "project"}, computes=True
    ),
    "fabricfit.losses.ModelLoss": Call(
        lambda: {"loss_fn": "mse"},
        {**SETTINGS_LEGAL, "loss_fn": {"function"}, "outputs": {"none"}},
    ),
    "fabricfit.losses.ModelMetric": Call(
        lambda: {"metric": "mse"}, {"metric": {"function"}, "outputs": {"none"}}
    ),
    "fabricfit.losses.check_losses": Call(
        lambda: {"loss_fn": "mse"}, {**SETTINGS_LEGAL, "loss_fn": {"function"}}
    ),
    "fabricfit.losses.resolve_loss": Call(
        lambda: {"loss_fn": "mse"}, {"loss_fn": {"function"}, "argument": ANY}
    ),
    "fabricfit.keras.MaskedBackprop": Call(
        lambda: {"model": model(), "loss_fn": "mse", "attributes": attributes()},
        {"loss_fn": {"function"}, "attributes": {"dict"}},
    ),
}
"""Public name -> a good call."""
