import logging

import pytest

from fabricfit.description.attributes import LayerAttributes, OptimizationAttributes
from fabricfit.description.structures import SUPPORTED_STRUCTURES
from fabricfit.errors import InvalidInputError
from fabricfit.objectives import ObjectiveEstimator, ParameterEstimator


def layer(name="dense", shape=(16, 8), structure="unstructured", pruning=True, **changes):
    chosen = OptimizationAttributes(structure, pruning=pruning, **changes)
    return LayerAttributes(name, object, [], shape, shape[:1], shape[-1:], True, chosen)


class Words(ObjectiveEstimator):
    """A third party's objective, written as the documentation shows."""

    @classmethod
    def is_layer_optimizable(cls, layer_attributes):
        return bool(layer_attributes.weight_shape), OptimizationAttributes(pruning=True)

    @classmethod
    def layer_resources(cls, layer_attributes):
        return [100, 7]

    @classmethod
    def layer_savings(cls, layer_attributes):
        return [30, 0]


class Scaled(ObjectiveEstimator):
    """An objective with state: ordinary methods, passed as an instance."""

    units = ("thing",)

    def __init__(self, scale):
        self.scale = scale

    def is_layer_optimizable(self, layer_attributes):
        return True, OptimizationAttributes(pruning=True)

    def layer_resources(self, layer_attributes):
        return [10 * self.scale]

    def layer_savings(self, layer_attributes):
        return [self.scale]


@pytest.mark.parametrize("objective", [Words, Words()], ids=["class", "instance"])
def test_the_rest_follows_from_three_methods(objective):
    assert objective.layer_utilization(layer(), 0) == [100, 7]
    assert objective.layer_utilization(layer(), 2) == [40, 7]
    assert objective.layer_utilization(layer(), 9) == [0, 7]
    attributes = {"a": layer("a"), "b": layer("b"), "flat": layer("flat", ())}
    assert objective.model_utilization(attributes, {}) == [200, 14]
    assert objective.model_utilization(attributes, {"b": 1}) == [170, 14]
    assert objective.model_utilization({}, {}) == [0]
    assert objective.reason(layer()) == ""
    assert objective.units == ()
    assert objective.removes_units is False


def test_state_of_an_instance_is_used():
    attributes = {"a": layer("a"), "b": layer("b")}
    assert Scaled(3).layer_utilization(layer(), 4) == [18]
    assert Scaled(5).model_utilization(attributes, {"a": 1}) == [95]


def test_all_three_methods_must_be_there():
    class Unfinished(ObjectiveEstimator):
        @classmethod
        def layer_resources(cls, layer_attributes):
            return [1]

    with pytest.raises(TypeError, match="abstract"):
        Unfinished()


@pytest.mark.parametrize("objective", [Words, ParameterEstimator])
def test_what_is_removed_is_checked(objective):
    with pytest.raises(InvalidInputError, match=r"'dense' must be at least 0. Received: -1"):
        objective.layer_utilization(layer(), -1)
    with pytest.raises(InvalidInputError, match=r"not there\. Received: 'dens'"):
        objective.model_utilization({"dense": layer()}, {"dens": 1})


def test_dimensions_must_agree():
    class Odd(Words):
        @classmethod
        def layer_savings(cls, layer_attributes):
            return [1]

    with pytest.raises(InvalidInputError, match="same dimensions"):
        Odd.layer_utilization(layer(), 1)

    class Odder(Words):
        units = ("one",)

    with pytest.raises(InvalidInputError, match="must have 1 dimensions"):
        Odder.model_utilization({"dense": layer()}, {})


def test_parameters_are_counted_by_group():
    expected = {
        "unstructured": 1,
        "structured": 16,
        "pattern": 12,
        "block": 8,
    }
    options = {"pattern_offset": 32, "consecutive_patterns": 3, "block_shape": (4, 2)}
    for structure, saved in expected.items():
        attributes = layer(structure=structure, **options)
        assert ParameterEstimator.layer_resources(attributes) == [128]
        assert ParameterEstimator.layer_savings(attributes) == [saved]
        # The eleventh group of twelve has only eight weights, and may be one of the two.
        partial = 4 if structure == "pattern" else 0
        assert ParameterEstimator.layer_utilization(attributes, 2) == [128 - 2 * saved + partial]
    kernel = layer(shape=(3, 3, 4, 8), structure="structured")
    assert ParameterEstimator.layer_savings(kernel) == [36]


def test_parameters_are_pruned_one_by_one():
    optimizable, chosen = ParameterEstimator.is_layer_optimizable(layer())
    assert optimizable
    assert chosen == OptimizationAttributes(SUPPORTED_STRUCTURES.UNSTRUCTURED, pruning=True)
    assert ParameterEstimator.units == ("parameters",)


def test_layers_without_a_kernel_have_nothing_to_gain():
    flat = layer(shape=())
    assert ParameterEstimator.is_layer_optimizable(flat) == (False, None)
    assert ParameterEstimator.layer_resources(flat) == [0]
    assert ParameterEstimator.layer_savings(flat) == [0]
    assert "no kernel" in ParameterEstimator.reason(flat)


@pytest.mark.parametrize("pruning", [False, True])
def test_sharing_saves_nothing_and_says_so(pruning, caplog):
    with caplog.at_level(logging.WARNING, logger="fabricfit"):
        shared = layer(pruning=pruning, weight_sharing=True)
        assert ParameterEstimator.layer_savings(shared) == [0]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "'dense': weight sharing saves no weights" in caplog.text


def test_without_optimization_attributes_nothing_is_saved():
    attributes = layer()
    attributes.optimization_attributes = None
    assert ParameterEstimator.layer_savings(attributes) == [0]
