"""A good call of each public function, of which one argument at a time is replaced by something else."""

from __future__ import annotations

import enum
import importlib
import inspect
from typing import Any

import numpy as np

import fabricfit
from fabricfit.optimization.compiled_settings import RunOptions
from tests.public_records import ANY, CONFIG, RECORDS, SETTINGS_LEGAL, Call, attributes, data, model

__all__ = ["CALLS", "EXEMPT", "MODULES", "Call", "junk_for", "parameters_of", "public_callables"]

MODULES = (
    "fabricfit",
    "fabricfit.hardware",
    "fabricfit.scheduler",
    "fabricfit.objectives",
    "fabricfit.knapsack",
    "fabricfit.description",
    "fabricfit.hls4ml",
    "fabricfit.design",
    "fabricfit.calibration",
    "fabricfit.firmware",
    "fabricfit.choices",
    "fabricfit.losses",
    "fabricfit.keras",
    "fabricfit.attributes",
)
"""Modules whose public names are tried."""


class Stranger:
    """An object of a class that fabricfit knows nothing of, which cannot even be spelled."""

    def __repr__(self) -> str:
        raise RuntimeError("not to be spelled")


JUNK: dict[str, Any] = {
    "none": None,
    "true": True,
    "text": "\u202e\ud83d\0",
    "empty": "",
    "negative": -1,
    "nan": float("nan"),
    "infinite": float("inf"),
    "huge": 10**5000,
    "list": [],
    "dict": {},
    "object": Stranger(),
    "bytes": b"x",
    "array": np.array([[1.5, np.nan]]),
    "complex": 1j,
    "function": lambda: None,
    "class": Stranger,
}

_LEGAL_BY_ANNOTATION = {"None": {"none"}, "bool": {"true"}}


def run() -> dict[str, Any]:
    return {
        "model": model(),
        "train_data": data(),
        "validation_data": data(),
        "budget": {"dsp": "50%"},
        "hls_config": CONFIG,
        "settings": None,
    }


def older() -> dict[str, Any]:
    X, y = data()
    settings: dict[str, Any] = {
        "batch_size": 16,
        "epochs": 2,
        "optimizer": "adam",
        "loss_fn": "sparse_categorical_crossentropy",
        "validation_metric": "accuracy",
        "increasing": True,
        "rtol": 0.5,
        "tuner": None,
    }
    return {
        "objective": fabricfit.objectives.ParameterEstimator,
        "scheduler": fabricfit.scheduler.ConstantScheduler(),
        **dict(zip(("X_train", "y_train", "X_val", "y_val"), (X, y, X, y), strict=True)),
        **settings,
    }


OPTIONS = {name: str(kind) for name, kind in RunOptions.__annotations__.items()}

_CONFIG_LEGAL = {"hls_config": {"none", "dict"}}
_RUN_LEGAL = {**SETTINGS_LEGAL, **_CONFIG_LEGAL, "documents": {"none", "dict"}}
CALLS: dict[str, Call] = {
    "fabricfit.Budget": Call(
        lambda: {"dsp": 5},
        {name: {"none"} for name in ("dsp", "bram18", "bram36", "uram", "lut", "ff")}
        | {"part": {"none", "empty"}, "clock": {"none"}},
        options=dict.fromkeys(("dsp", "bram18", "bram36", "uram", "lut", "ff"), "float | None"),
    ),
    "fabricfit.OptimizationSettings": Call(dict, SETTINGS_LEGAL),
    "fabricfit.calibrate": Call(
        lambda: {"model": model(), "data": data(), "hls_config": CONFIG},
        {**SETTINGS_LEGAL, **_CONFIG_LEGAL},
        computes=True,
    ),
    "fabricfit.estimate": Call(
        lambda: {"model": model(), "hls_config": CONFIG},
        {"hls_config": {"none"}, "part": {"none"}, "family": {"none"}},
    ),
    "fabricfit.explore": Call(
        lambda: {"model": model(), "budget": {"dsp": 500}, "samples": 8},
        {**SETTINGS_LEGAL, **_CONFIG_LEGAL, "data": {"none"}, "curvature": {"none", "dict"}}
        | {"loss": ANY},  # without data there is none
        computes=True,
    ),
    "fabricfit.fit": Call(run, _RUN_LEGAL, computes=True, options=OPTIONS),
    "fabricfit.masked": Call(
        run,
        {**_RUN_LEGAL, "hls_config": set()},
        computes=True,
        options={n: k for n, k in OPTIONS.items() if n in ("loss", "metric", "rtol", "directory")},
    ),
    "fabricfit.sweep": Call(
        lambda: {**{k: v for k, v in run().items() if k != "budget"}, "budgets": [{"dsp": "50%"}]},
        _RUN_LEGAL,
        computes=True,
        options=OPTIONS,
    ),
    "fabricfit.optimize": Call(
        lambda: {
            "attributes": attributes(),
            **{k: v for k, v in run().items() if k not in ("budget", "hls_config")},
            **{k: v for k, v in older().items() if k in ("objective", "scheduler")},
        },
        _RUN_LEGAL,
        computes=True,
        options=OPTIONS,
    ),
    "fabricfit.get_attributes_from_keras_model": Call(lambda: {"model": model()}),
    "fabricfit.get_attributes_from_keras_model_and_hls4ml_config": Call(
        lambda: {"model": model(), "config": CONFIG}
    ),
    "fabricfit.load_model": Call(
        lambda: {"path": "there-is-none.keras"}, {"custom_objects": {"none", "dict"}}
    ),
    "fabricfit.optimize_keras_model_for_hls4ml": Call(
        lambda: {"keras_model": model(), "hls_config": CONFIG, **older()},
        {**SETTINGS_LEGAL, "rtol": {"none"}, "ranking_metric": {"none"}},
        computes=True,
    ),
    "fabricfit.optimize_model": Call(
        lambda: {"model": model(), "model_attributes": attributes(), **older()},
        {**SETTINGS_LEGAL, "rtol": {"none"}, "ranking_metric": {"none"}},
        computes=True,
    ),
    "fabricfit.reduce_model": Call(lambda: {"model": model()}),
    "fabricfit.register_criterion": Call(
        lambda: {"name": "tried", "loss": lambda change, **_: change**2},
        {"loss": {"none", "function", "class"}, "needs": {"list", "dict"}},
    ),
    "fabricfit.register_layer": Call(lambda: {"family": fabricfit.layers.families()[0]}),
    "fabricfit.to_rtl": Call(
        lambda: {"model": model(), "hls_config": CONFIG, "folder": "rtl"}, computes=True
    ),
    "fabricfit.verify": Call(
        lambda: {"model": model(), "hls_config": CONFIG, "compile": False, "samples": 4},
        # Without compilation there is nothing to compare; what a compiler needs is not at hand everywhere.
        {"y": {"none"}, "metric": ANY, "X": {"none"}, "expected": {"none", "dict"}}
        | {name: {"true"} for name in ("synthesis", "rtl", "compile")},
        computes=True,
    ),
    **RECORDS,
}
"""Public name -> a good call."""

EXEMPT = {
    # What fabricfit makes and callers read.
    *(
        "fabricfit.OptimizationResult",
        "fabricfit.hardware.WeightCosts",
        "fabricfit.hls4ml.Realized",
    ),
    *("fabricfit.knapsack.KnapsackResult",),
    *(f"fabricfit.calibration.{name}" for name in ("Calibration", "Figures", "NumberFormat")),
    *(f"fabricfit.design.{name}" for name in ("Choice", "Design", "Exploration", "LayerOption")),
    *("fabricfit.firmware.LayerDifference", "fabricfit.firmware.LayerVerification"),
    *("fabricfit.firmware.Mismatch", "fabricfit.firmware.OutputDifference"),
    *("fabricfit.firmware.QuantizationChange", "fabricfit.firmware.QuantizedMetric"),
    *("fabricfit.firmware.RtlDesign", "fabricfit.firmware.RtlVerification"),
    "fabricfit.firmware.Verification",
    *(f"fabricfit.choices.{name}" for name in ("Solution", "Treatment", "Response")),
    # What works on what another public function has checked already.
    "fabricfit.scheduler.next_level",
    *("fabricfit.design.choose_options", "fabricfit.firmware.QuantizedNetwork"),
    *(f"fabricfit.choices.{name}" for name in ("ChoiceSolver", "Choices", "ConstantChoices")),
    *(f"fabricfit.choices.{name}" for name in ("ConstantLevel", "ConstantPrices", "GroupChoices")),
    "fabricfit.choices.solve_choices",
    *(f"fabricfit.losses.{name}" for name in ("check_labels", "check_loss_weights", "label_check")),
    *(f"fabricfit.losses.{name}" for name in ("check_metrics", "fresh_metric", "function_of")),
    *(f"fabricfit.losses.{name}" for name in ("is_builtin", "is_sparse", "options_of")),
    "fabricfit.losses.separate_samples",
}
"""Public names that are not tried."""


def public_callables() -> dict[str, Any]:
    """Public name -> function or class that takes arguments, each under the first of its names."""
    found: dict[str, Any] = {}
    seen: set[int] = set()
    for module in MODULES:
        home = importlib.import_module(module)
        for name in home.__all__:
            thing = getattr(home, name)
            is_class = inspect.isclass(thing)
            if not callable(thing) or id(thing) in seen:
                continue
            if is_class and (
                issubclass(thing, BaseException | enum.Enum) or inspect.isabstract(thing)
            ):
                continue
            seen.add(id(thing))
            if parameters_of(thing):
                found[f"{module}.{name}"] = thing
    return found


def parameters_of(thing: Any, options: dict[str, str] | None = None) -> dict[str, str]:
    """Parameter -> its annotation; keywords of any name are those of ``options``."""
    found = {}
    for name, parameter in inspect.signature(thing).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            found |= options or {"anything": ""}
        elif parameter.kind is not inspect.Parameter.VAR_POSITIONAL:
            found[name] = str(parameter.annotation)
    return found


def junk_for(name: str, annotation: str, legal: dict[str, Any]) -> dict[str, Any]:
    """Kind -> value, of what means nothing for a parameter."""
    allowed = set(legal.get(name, ()))
    for word, kinds in _LEGAL_BY_ANNOTATION.items():
        if word in annotation:
            allowed |= kinds
    return {kind: value for kind, value in JUNK.items() if kind not in allowed}
