from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabricfit.description.attributes import OptimizationAttributes
from fabricfit.errors import InfeasibleError, InvalidInputError
from fabricfit.keras.masking import get_model_masks
from fabricfit.keras.utils import (
    get_last_layer_with_weights,
    get_last_layers_with_weights,
    get_model_gradients,
    get_model_hessians,
    get_model_sparsity,
)
from fabricfit.network.describe import get_attributes_from_keras_model
from fabricfit.objectives import ParameterEstimator
from tests.common import L, blobs, estimator, kernel_of, lenet, mlp, weights_of

pytestmark = pytest.mark.keras


def described(model, structure="unstructured", **changes):
    attributes = get_attributes_from_keras_model(model)
    for layer in attributes.values():
        if layer.weight_shape:
            options = {"pruning": True, "pattern_offset": 4, "block_shape": (2, 2), **changes}
            layer.optimizable = True
            layer.optimization_attributes = OptimizationAttributes(structure, **options)
    return attributes


@pytest.fixture(scope="module")
def model():
    return lenet()


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("structure", ["unstructured", "structured", "pattern", "block"])
@given(sparsity=st.floats(0, 0.7))
def test_masks_are_of_whole_groups_and_meet_the_sparsity(model, structure, local, sparsity):
    attributes = described(model, structure)
    before = weights_of(model)
    masks, offsets = get_model_masks(
        model, attributes, sparsity, estimator(structure), local=local, minimum_groups=1
    )
    kept = total = 0
    for name, mask in masks.items():
        kernel = kernel_of(model, name)
        assert mask.shape == kernel.shape and mask.dtype == kernel.dtype
        groups = attributes[name].grouping.to_groups(mask)
        counts = attributes[name].grouping.member_counts
        sums = groups.sum(axis=1)
        assert np.isin(sums, [0]).sum() + (sums == counts).sum() == len(counts)
        assert not offsets[name].any()
        assert mask.any(), "a layer has vanished"
        if local:
            assert mask.sum() <= (1 - sparsity) * mask.size + 1e-6
        kept, total = kept + mask.sum(), total + mask.size
    assert kept <= (1 - sparsity) * total + 1e-6
    for old, new in zip(before, weights_of(model), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_smallest_weights_go_first(model):
    masks, _ = get_model_masks(model, described(model), 0.6, ParameterEstimator)
    sizes = {n: np.abs(kernel_of(model, n)) for n in masks}
    kept = np.concatenate([sizes[n][masks[n] == 1] for n in masks])
    gone = np.concatenate([sizes[n][masks[n] == 0] for n in masks])
    assert gone.max() <= kept.min()


def test_offsets_are_means_of_groups_that_are_shared_in_any_layer(model):
    # Global sharing of structures: every layer, not the first one only, reads its own columns.
    attributes = described(model, "structured", pruning=False, weight_sharing=True)
    objective = estimator("structured", pruning=False, weight_sharing=True)
    masks, offsets = get_model_masks(model, attributes, 0.5, objective, metric="l2")
    shared = 0
    for name, mask in masks.items():
        kernel = kernel_of(model, name).reshape(-1, mask.shape[-1])
        mask, offset = mask.reshape(kernel.shape), offsets[name].reshape(kernel.shape)
        for unit in range(kernel.shape[1]):
            if mask[0, unit] == 0:
                np.testing.assert_allclose(offset[:, unit], kernel[:, unit].mean(), rtol=1e-5)
                shared += 1
            else:
                assert not offset[:, unit].any()
    assert shared >= 10


def test_pruned_and_shared_groups_can_stand_side_by_side():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), L.Dense(6, name="fc")])
    kernel = np.random.default_rng(0).normal(0, 0.01, (4, 6)).astype("float32")
    kernel[:, 3:] += 2
    model.layers[0].set_weights([kernel, np.zeros(6)])
    attributes = described(model, "structured", weight_sharing=True)
    objective = estimator("structured", weight_sharing=True)
    masks, offsets = get_model_masks(model, attributes, 0.8, objective)
    frozen = masks["fc"][0] == 0
    assert frozen.sum() == 5
    assert (offsets["fc"][:, 3:][:, frozen[3:]] > 1.9).all()
    assert np.abs(offsets["fc"][:, :3]).max() < 0.1


@pytest.mark.parametrize("metric, source", [("oracle", "gradients"), ("saliency", "hessians")])
def test_derivatives_are_used_where_the_metric_needs_them(metric, source):
    model, (X, y) = mlp(), blobs(64)
    attributes = described(model)
    loss = keras.losses.SparseCategoricalCrossentropy()
    ways = {"gradients": get_model_gradients, "hessians": get_model_hessians}
    statistics = ways[source](model, loss, X, y)
    with pytest.raises(InvalidInputError, match=f"needs {source}"):
        get_model_masks(model, attributes, 0.5, ParameterEstimator, metric=metric)
    masks, _ = get_model_masks(
        model, attributes, 0.5, ParameterEstimator, metric=metric, **{source: statistics}
    )

    def score(name):
        kernel = kernel_of(model, name)
        if metric == "oracle":
            return np.abs(statistics[name] * kernel)
        return np.maximum(statistics[name], 0) * kernel**2 / 2

    kept = np.concatenate([score(n)[masks[n] == 1] for n in masks])
    gone = np.concatenate([score(n)[masks[n] == 0] for n in masks])
    assert gone.max() <= kept.min()


def test_what_cannot_be_reached_is_said(model):
    with pytest.raises(InfeasibleError, match=r"parameters: at least 4 remain, 0 are allowed"):
        get_model_masks(model, described(model), 1.0, ParameterEstimator, minimum_groups=1)


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("structure", ["unstructured", "structured", "pattern", "block"])
def test_at_sparsity_one_all_masks_are_zero(model, structure, local):
    attributes, objective = described(model, structure), estimator(structure)
    masks, _ = get_model_masks(model, attributes, 1.0, objective, local=local)
    assert len(masks) == 4 and not any(mask.any() for mask in masks.values())


@pytest.mark.parametrize("local", [False, True])
@given(sparsity=st.floats(0, 1), left_out=st.sampled_from(["conv2", "fc", "out"]))
def test_a_sparsity_is_of_the_layers_that_are_optimizable(model, local, sparsity, left_out):
    attributes = described(model)
    attributes[left_out].optimizable = False
    masks, _ = get_model_masks(model, attributes, sparsity, ParameterEstimator, local=local)
    assert left_out not in masks
    total = sum(mask.size for mask in masks.values())
    kept = sum(int(mask.sum()) for mask in masks.values())
    allowed = int((1 - sparsity) * total + 1e-6)
    assert kept <= allowed
    assert local or kept == allowed  # the groups are single weights, so that nothing is left over


def test_attributes_of_another_model_are_refused(model):
    with pytest.raises(InvalidInputError, match="the model does not have"):
        get_model_masks(mlp(), described(model), 0.5, ParameterEstimator)


def test_sparsity_counts_the_zeros_of_kernels():
    model = mlp()
    kernel = kernel_of(model, "fc1")
    kernel[:3] = 0
    model.get_layer("fc1").kernel.assign(kernel)
    total, layers = get_model_sparsity(model)
    assert layers == {"fc1": 0.5, "fc2": 0.0, "out": 0.0}
    assert total == pytest.approx(24 / (48 + 64 + 24))
    empty = keras.Sequential([keras.Input((3,)), L.ReLU()])
    assert get_model_sparsity(empty) == (0.0, {})


def test_last_layers_are_found_by_graph():
    inputs = keras.Input((4,))
    trunk = L.Dense(6, name="trunk")(inputs)
    skip = L.Dense(6, name="skip")(inputs)
    merged = L.Add(name="add")([trunk, L.ReLU()(skip)])
    first = L.Softmax()(L.BatchNormalization()(L.Dense(2, name="first")(merged)))
    model = keras.Model(inputs, [first, L.Concatenate()([merged, L.Dense(1, name="second")(skip)])])
    assert set(get_last_layers_with_weights(model)) == {"trunk", "skip", "first", "second"}
    simple = mlp()
    assert get_last_layer_with_weights(simple) == simple.layers.index(simple.get_layer("out"))
    assert get_last_layers_with_weights(lenet()) == ("out",)
    empty = keras.Sequential([keras.Input((3,)), L.ReLU()])
    assert get_last_layer_with_weights(empty) == 1


def test_structured_groups_of_convolutions_are_filters(model):
    assert described(model, "structured")["conv2"].grouping.n_groups == 6
