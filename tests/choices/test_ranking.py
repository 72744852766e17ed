from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fabricfit.choices import ranking
from fabricfit.choices.ranking import (
    criteria,
    get_criterion,
    group_losses,
    register_criterion,
    weight_loss,
)
from fabricfit.description.attributes import OptimizationAttributes
from fabricfit.errors import InvalidInputError

weights = arrays(np.float64, (6, 4), elements=st.floats(-3, 3, allow_subnormal=False))
NEURONS = OptimizationAttributes("structured", pruning=True)
BOTH = OptimizationAttributes("structured", pruning=True, weight_sharing=True)
SHARING = OptimizationAttributes("structured", weight_sharing=True)


def statistics(seed=0):
    rng = np.random.default_rng(seed)
    return {"gradients": rng.normal(size=(6, 4)), "hessians": rng.normal(size=(6, 4))}


def quadratic(kernel, stats):
    """The criteria by hand: loss of moving weight w by d, written out for single numbers."""

    def l1(i, d):
        return abs(d)

    def l2(i, d):
        return d * d

    def oracle(i, d):
        return abs(stats["gradients"][i] * d)

    def saliency(i, d):
        return max(stats["hessians"][i], 0) * d * d / 2

    return {"l1": l1, "l2": l2, "oracle": oracle, "saliency": saliency}


@pytest.mark.parametrize("metric", ["l1", "l2", "oracle", "saliency"])
@given(kernel=weights)
def test_losses_are_sums_over_the_members_for_pruning_and_for_sharing(metric, kernel):
    stats = statistics()
    loss = quadratic(kernel, stats)[metric]
    pruned, shared = [], []
    for unit in range(4):
        mean = sum(kernel[row, unit] for row in range(6)) / 6
        pruned.append(sum(loss((row, unit), -kernel[row, unit]) for row in range(6)))
        moved = [loss((row, unit), mean - kernel[row, unit]) for row in range(6)]
        shared.append(sum(moved) * 6 / 5)
    # What has no derivative loses next to nothing instead of nothing.
    near = {"atol": 1e-9 + (1e-4 * max(*pruned, *shared) if metric == "saliency" else 0)}
    np.testing.assert_allclose(group_losses(kernel, NEURONS, metric, stats).loss, pruned, **near)
    np.testing.assert_allclose(group_losses(kernel, SHARING, metric, stats).loss, shared, **near)
    both = group_losses(kernel, BOTH, metric, stats)
    np.testing.assert_allclose(both.loss, np.minimum(pruned, shared), **near)


@pytest.mark.parametrize("metric, source", [("saliency", "hessians"), ("oracle", "gradients")])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_without_a_derivative_go_first_the_smallest_of_them_before_the_others(
    metric, source, dtype
):
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(30, 4)).astype(dtype)
    found = rng.random((30, 4)) + 0.1
    dead = rng.random((30, 4)) < 0.5
    kernel[0], dead[0] = 0, False
    for derivatives in (np.where(dead, 0, found), np.zeros((30, 4))):
        loss = weight_loss(kernel, metric, {source: derivatives.astype(dtype)})(-kernel)
        assert ((loss > 0) == (kernel != 0)).all() and loss.dtype == kernel.dtype
        unknown = (derivatives == 0) & (kernel != 0)
        order = np.argsort(loss[unknown])
        assert (np.diff(np.abs(kernel[unknown])[order]) >= 0).all()
        if not unknown[kernel != 0].all():
            assert loss[unknown].sum() < 1e-4 * loss.sum()


def test_a_group_goes_to_whichever_loses_less():
    kernel = np.array([[5.0, 0.1], [5.0, -0.1]])  # equal and large; small and opposite
    found = group_losses(kernel, BOTH, "l2")
    assert found.shared.tolist() == [True, False]
    assert found.loss.tolist() == pytest.approx([0.0, 0.02])


def test_sharing_wins_only_where_the_mean_stands_out():
    rng = np.random.default_rng(0)
    about_zero, about_one = rng.normal(0, 1, (50, 400)), rng.normal(1, 1, (50, 400))
    for metric in ("l1", "l2"):
        assert 0.2 < group_losses(about_zero, BOTH, metric).shared.mean() < 0.6
        assert group_losses(about_one, BOTH, metric).shared.mean() > 0.99


def test_sharing_is_compared_by_the_standard_error_of_the_mean():
    kernel = np.random.default_rng(0).normal(0.1, 1, (30, 200))
    mean, error = kernel.mean(axis=0), kernel.std(axis=0, ddof=1) / np.sqrt(30)
    expected = np.abs(mean) > error
    np.testing.assert_array_equal(group_losses(kernel, BOTH, "l2").shared, expected)


def test_a_single_weight_cannot_be_shared():
    single = OptimizationAttributes("unstructured", pruning=True, weight_sharing=True)
    found = group_losses(np.array([[0.0, 5.0]]), single, "l2")
    assert not found.shared.any() and found.loss.tolist() == [0.0, 25.0]


@given(kernel=weights, scale=st.floats(0.1, 10))
def test_losses_do_not_depend_on_the_order_of_units(kernel, scale):
    order = [2, 0, 3, 1]
    first = group_losses(kernel, BOTH, "l1").loss
    turned, scaled = (group_losses(k, BOTH, "l1").loss for k in (kernel[:, order], kernel * scale))
    np.testing.assert_allclose(turned, first[order], atol=1e-9)
    np.testing.assert_allclose(scaled, first * scale, atol=1e-9)


def test_saliency_uses_the_curvature_not_only_the_size():
    kernel = np.array([[1.0, 2.0]])
    found = group_losses(kernel, NEURONS, "saliency", {"hessians": np.array([[8.0, 1.0]])})
    assert found.loss.tolist() == [4.0, 2.0]


def test_padding_costs_nothing():
    kernel = np.full((5, 1), 2.0)
    pattern = OptimizationAttributes("pattern", weight_sharing=True, pattern_offset=2)
    assert group_losses(kernel, pattern, "l2").loss.tolist() == [0.0, 0.0]
    pattern = OptimizationAttributes("pattern", pruning=True, pattern_offset=2)
    assert group_losses(kernel, pattern, "l2").loss.tolist() == [12.0, 8.0]


def test_a_user_can_register_a_criterion():
    try:
        register_criterion("cubic", lambda change, **_: np.abs(change) ** 3)
        assert "cubic" in criteria()
        assert group_losses(np.array([[2.0]]), NEURONS, "cubic").loss.tolist() == [8.0]

        @register_criterion("twice", needs=["gradients"])
        def twice(change, *, gradients, **_):
            return 2 * np.abs(gradients)

        given = {"gradients": np.array([[3.0]])}
        assert group_losses(np.array([[2.0]]), NEURONS, "twice", given).loss.tolist() == [6.0]
    finally:
        ranking._CRITERIA.pop("cubic", None)
        ranking._CRITERIA.pop("twice", None)


def test_names_are_found_in_any_case():
    assert get_criterion("Oracle").name == "oracle"


def test_what_is_missing_or_wrong_is_named():
    kernel = np.ones((6, 4))
    with pytest.raises(InvalidInputError, match="'l1', 'l2', 'oracle', 'saliency'"):
        group_losses(kernel, NEURONS, "magnitude")
    with pytest.raises(InvalidInputError, match="needs gradients of layer 'fc1'"):
        group_losses(kernel, NEURONS, "oracle", layer="fc1")
    with pytest.raises(InvalidInputError, match=r"\(6, 4\).*\(4, 6\)"):
        group_losses(kernel, NEURONS, "oracle", {"gradients": np.ones((4, 6))})
    with pytest.raises(InvalidInputError, match="NaN"):
        group_losses(kernel, NEURONS, "saliency", {"hessians": np.full((6, 4), np.nan)})
    with pytest.raises(InvalidInputError, match="neither pruning nor"):
        group_losses(kernel, OptimizationAttributes("structured"))
    with pytest.raises(InvalidInputError, match="needs must be one of"):
        register_criterion("bad", lambda change, **_: change, needs=["moments"])
