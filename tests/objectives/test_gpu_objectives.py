import itertools
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabricfit.description.attributes import LayerAttributes, OptimizationAttributes
from fabricfit.errors import InvalidInputError
from fabricfit.objectives.gpu_objectives import GPUFLOPEstimator


def layer(name, shape, output_shape=None, consumers=None, structure="structured"):
    return LayerAttributes(
        name,
        object,
        [],
        shape,
        shape[-2:-1],
        output_shape or shape[-1:],
        True,
        OptimizationAttributes(structure, pruning=True),
        consumers=consumers or {},
    )


def connect(*layers):
    attributes = {layer.name: layer for layer in layers}
    for one in layers:
        one.consumer_attributes = {name: attributes[name] for name in one.consumers}
    return attributes


def test_a_product_is_two_operations_and_a_bias_one():
    assert GPUFLOPEstimator.layer_resources(layer("fc", (16, 64))) == [2 * 16 * 64 + 64]


def test_kernels_work_at_every_position():
    conv = layer("conv", (3, 3, 2, 4), (6, 5, 4))
    assert GPUFLOPEstimator.layer_resources(conv) == [30 * (2 * 18 * 4 + 4)]
    dense = layer("steps", (8, 4), (10, 4))
    assert GPUFLOPEstimator.layer_resources(dense) == [10 * (2 * 8 * 4 + 4)]
    channels_first = layer("conv", (3, 3, 2, 4), (4, 6, 5))
    assert GPUFLOPEstimator.layer_resources(channels_first) == [30 * (2 * 18 * 4 + 4)]


def test_an_axis_of_unknown_length_counts_once():
    assert GPUFLOPEstimator.layer_resources(layer("steps", (8, 4), (None, 4))) == [2 * 8 * 4 + 4]


def test_a_unit_takes_the_rows_it_feeds_along():
    attributes = connect(layer("conv", (3, 3, 2, 4), (6, 6, 4), {"fc": 36}), layer("fc", (144, 10)))
    own, next_layer = 36 * (2 * 18 + 1), 36 * 2 * 10
    assert GPUFLOPEstimator.layer_savings(attributes["conv"]) == [own + next_layer]
    before = GPUFLOPEstimator.model_utilization(attributes, {})[0]
    after = GPUFLOPEstimator.model_utilization(attributes, {"conv": 1})[0]
    assert before - after == own + next_layer
    assert GPUFLOPEstimator.layer_utilization(attributes["conv"], 1) == [36 * 3 * 37]


def count_one_by_one(kept):
    """Operations of a chain of Dense layers, each product and sum looked at singly."""
    operations = 0
    for inputs, outputs in itertools.pairwise(kept):
        for output in outputs:
            if output:
                operations += sum(2 for there in inputs if there) + 1
    return operations


@settings(deadline=None)
@given(st.lists(st.integers(1, 6), min_size=3, max_size=5), st.data())
def test_what_is_left_of_a_chain_is_counted_exactly(sizes, data):
    names = [f"fc{i}" for i in range(len(sizes) - 1)]
    chain = [
        layer(name, (n_in, n_out), consumers={after: 1} if after else {})
        for name, after, n_in, n_out in zip(
            names, [*names[1:], ""], sizes[:-1], sizes[1:], strict=True
        )
    ]
    attributes = connect(*chain)
    removed = {one.name: data.draw(st.integers(0, one.weight_shape[-1])) for one in chain[:-1]}
    kept = [[True] * sizes[0]]
    kept += [[i >= removed.get(one.name, 0) for i in range(one.weight_shape[-1])] for one in chain]
    expected = count_one_by_one(kept)
    assert GPUFLOPEstimator.model_utilization(attributes, removed) == [expected]
    total = GPUFLOPEstimator.model_utilization(attributes, {})[0]
    linear = total - sum(
        removed[name] * GPUFLOPEstimator.layer_savings(attributes[name])[0] for name in removed
    )
    assert linear <= expected <= total


def test_concatenated_layers_each_take_their_rows():
    attributes = connect(
        layer("left", (4, 3), consumers={"join": 1}),
        layer("right", (4, 2), consumers={"join": 1}),
        layer("join", (5, 7)),
    )
    left = GPUFLOPEstimator.model_utilization(attributes, {"left": 1, "right": 2})
    assert left == [2 * (2 * 4 + 1) + 0 + 7 * (2 * 2 + 1)]


def test_units_that_feed_nothing_known_save_only_their_own():
    alone = layer("fc", (4, 3), consumers={"elsewhere": 1})
    assert GPUFLOPEstimator.layer_savings(alone) == [9]
    assert GPUFLOPEstimator.model_utilization({"fc": alone}, {"fc": 5}) == [0]


def test_other_structures_save_nothing_and_say_so(caplog):
    attributes = {"fc": layer("fc", (4, 4), structure="unstructured")}
    with caplog.at_level(logging.WARNING, logger="fabricfit"):
        assert GPUFLOPEstimator.layer_savings(attributes["fc"]) == [0]
    assert "'fc': only whole units" in caplog.text
    assert GPUFLOPEstimator.model_utilization(attributes, {"fc": 3}) == [36]
    assert GPUFLOPEstimator.layer_utilization(attributes["fc"], 3) == [36]


@pytest.mark.parametrize("pruning", [False, True])
def test_sharing_saves_nothing(pruning, caplog):
    shared = layer("fc", (4, 4))
    shared.optimization_attributes = OptimizationAttributes("structured", pruning, True)
    with caplog.at_level(logging.WARNING, logger="fabricfit"):
        assert GPUFLOPEstimator.layer_savings(shared) == [0]
    assert len(caplog.records) == 1
    assert "'fc': weight sharing saves no operations" in caplog.text
    assert GPUFLOPEstimator.model_utilization({"fc": shared}, {"fc": 2}) == [36]


def test_which_layers_and_in_which_groups():
    optimizable, chosen = GPUFLOPEstimator.is_layer_optimizable(layer("fc", (4, 4)))
    assert optimizable
    assert chosen == OptimizationAttributes("structured", pruning=True)
    assert GPUFLOPEstimator.removes_units
    assert GPUFLOPEstimator.units == ("FLOP",)
    assert GPUFLOPEstimator().layer_resources(layer("fc", (4, 4))) == [36]
    flat = layer("flat", (), (9,))
    assert GPUFLOPEstimator.is_layer_optimizable(flat) == (False, None)
    assert GPUFLOPEstimator.layer_resources(flat) == GPUFLOPEstimator.layer_savings(flat) == [0]
    assert "no kernel" in GPUFLOPEstimator.reason(flat)
    assert "no units" in GPUFLOPEstimator.reason(layer("scale", (4,)))


def test_bad_removals_are_refused():
    with pytest.raises(InvalidInputError, match="at least 0"):
        GPUFLOPEstimator.model_utilization({"fc": layer("fc", (4, 4))}, {"fc": -1})


@pytest.mark.keras
def test_a_smaller_model_takes_what_was_predicted():
    keras = pytest.importorskip("keras")
    from fabricfit.network.describe import get_attributes_from_keras_model

    def build(filters, units):
        image = keras.Input((8, 8, 1))
        x = keras.layers.Conv2D(filters, 3, activation="relu", name="conv")(image)
        x = keras.layers.MaxPooling2D(2)(x)
        x = keras.layers.Flatten()(x)
        x = keras.layers.Dense(units, activation="relu", name="fc")(x)
        x = keras.layers.BatchNormalization()(x)
        return keras.Model(image, keras.layers.Dense(3, name="out")(x))

    def read(model):
        attributes = get_attributes_from_keras_model(model)
        for one in attributes.values():
            _, one.optimization_attributes = GPUFLOPEstimator.is_layer_optimizable(one)
        return attributes

    predicted = GPUFLOPEstimator.model_utilization(read(build(6, 10)), {"conv": 2, "fc": 3})
    assert predicted == GPUFLOPEstimator.model_utilization(read(build(4, 7)), {})
    products = 36 * 9 * 4 + 4 * 9 * 7 + 7 * 3
    assert predicted == [2 * products + 36 * 4 + 7 + 3]
    assert np.issubdtype(type(predicted[0]), np.integer)
