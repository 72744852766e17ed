"""The check of objectives: what we deliver passes it, and what is wrong does not."""

from __future__ import annotations

import numpy as np
import pytest

from fabricfit.description import LayerAttributes, OptimizationAttributes, hls4mlAttributes
from fabricfit.objectives import Objective, ParameterEstimator
from fabricfit.objectives.fpga import FPGAResources
from fabricfit.objectives.fpga_luts import BitOperations
from fabricfit.objectives.fpga_units import UnitResources
from fabricfit.objectives.gpu_objectives import GPUFLOPEstimator
from fabricfit.objectives.vivado_objectives import (
    VivadoDSPEstimator,
    VivadoFFEstimator,
    VivadoMultiObjectiveEstimator,
)
from fabricfit.testing import check_objective

OURS = [
    ParameterEstimator,
    GPUFLOPEstimator,
    VivadoDSPEstimator,
    VivadoMultiObjectiveEstimator,
    VivadoFFEstimator,
    FPGAResources,
    FPGAResources(["dsp", "bram18"]),
    BitOperations(),
    UnitResources(["dsp", "lut", "ff"]),
]


class Dense:
    """Stands for a Keras layer's class."""


def layers(strategy="Latency", reuse_factor=1):
    found = []
    for name, shape in {"fc1": (16, 12), "fc2": (12, 8)}.items():
        hls = hls4mlAttributes(
            *shape, "io_parallel", strategy, "fixed<12,4>", "fixed<16,6>", reuse_factor
        )
        layer = LayerAttributes(name, Dense, [], shape, shape[:1], shape[1:])
        found.append(layer.with_hls4ml(hls))
    return [*found, LayerAttributes("flat", Dense, [], (), (3, 4), (12,))]


@pytest.mark.parametrize("built", [("Latency", 1), ("Resource", 4)])
@pytest.mark.parametrize("objective", OURS)
def test_ours_pass(objective, built):
    check_objective(objective, layers(*built))


class Columns(Objective):
    """Columns that are not zero."""

    units = ("column",)

    def groups(self, layer):
        return OptimizationAttributes("structured", pruning=True) if layer.weight_shape else None

    def usage(self, layer, kernel=None):
        if kernel is None:
            return np.array([float(layer.matrix_shape[1])])
        return np.array([float(kernel.any(axis=0).sum())])

    def saving(self, layer):
        return np.array([1.0])


def test_an_objective_of_one_s_own_passes():
    check_objective(Columns, {layer.name: layer for layer in layers()})


@pytest.mark.parametrize(
    ("method", "wrong", "message"),
    [
        ("groups", lambda self, layer: None, "nothing was checked"),
        ("groups", lambda self, layer: True, "OptimizationAttributes or None"),
        ("saving", lambda self, layer: np.array([1.5]), "must be whole numbers"),
        ("saving", lambda self, layer: np.array([-1.0]), "at least 0"),
        ("saving", lambda self, layer: np.array([1.0, 2.0]), "a number for each of"),
        ("usage", lambda self, layer, kernel=None: np.array([np.nan]), "must be finite"),
        (
            "usage_without",
            lambda self, layer, removed: np.array([12.0 + removed - 4 * (layer.name == "fc2")]),
            "must not use more without",
        ),
        (
            "usage",
            lambda self, layer, kernel=None: np.array(
                [float(layer.matrix_shape[1] if kernel is None else (kernel == 0).sum())]
            ),
            "all weights zero",
        ),
    ],
)
def test_what_is_wrong_is_told(method, wrong, message):
    broken = type("Broken", (Columns,), {method: wrong})
    with pytest.raises(AssertionError, match=message):
        check_objective(broken, layers())
