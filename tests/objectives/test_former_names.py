"""Former names of the methods of FPGA objectives serve for one release, with a warning."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from fabricfit.objectives.fpga import FPGAResources
from fabricfit.objectives.fpga_luts import BitOperations
from tests.objectives.test_fpga import decided, kernel_for, layer


def test_answers_are_those_of_old():
    objective = FPGAResources(["dsp"])
    attributes = decided(layer(), objective)
    kernel = kernel_for(attributes)
    with pytest.warns(DeprecationWarning, match=r"FPGAResources.layer_use is now usage"):
        assert objective.layer_use(attributes, kernel) == [128]
    with pytest.warns(DeprecationWarning):
        assert objective.layer_resources(attributes) == [128]
        assert objective.layer_savings(attributes) == [1]
        assert objective.layer_utilization(attributes, 3) == [125]
        assert objective.model_utilization({"fc": attributes}, {"fc": 3}) == [125]
        optimizable, settings = objective.is_layer_optimizable(attributes)
    assert optimizable
    assert settings == objective.groups(attributes)
    with pytest.warns(DeprecationWarning, match="layer_use is now usage"):
        assert len(BitOperations().layer_use(attributes, kernel)) == 1


def test_other_names_are_missing_as_ever():
    with pytest.raises(
        AttributeError, match="'FPGAResources' object has no attribute 'layer_uses'"
    ):
        FPGAResources().layer_uses  # noqa: B018
    assert pickle.loads(pickle.dumps(FPGAResources(["dsp"]))).resources == ("dsp",)


def test_a_method_that_nothing_calls_is_told():
    with pytest.warns(
        DeprecationWarning, match="Mine.layer_use is not called any more; define usage"
    ):

        class Mine(FPGAResources):
            def layer_use(self, layer_attributes, kernel):
                return np.zeros(4)
