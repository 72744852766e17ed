"""Adder graphs and bit operations of matrices of constants."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabricfit.errors import InvalidInputError, InvalidTypeError, MissingExtraError
from fabricfit.hardware import adder_graphs as adders
from fabricfit.hardware.adder_graphs import adder_graph_lut, bit_operations, enclosed_bits

alkaid = pytest.importorskip("alkaid")


def normal(shape=(8, 12), scale=300, seed=0):
    return np.round(np.random.default_rng(seed).normal(0, scale, shape)).astype(int)


def test_one_addition_takes_a_lut_a_bit():
    """Two inputs of 8 bits are added to 9 bits, and to 10 where one is shifted by one."""
    assert adder_graph_lut([[1], [1]], 8) == pytest.approx(8, abs=2)
    assert adder_graph_lut([[1], [2]], 8) == pytest.approx(9, abs=2)


def test_wires_take_nothing():
    assert adder_graph_lut(np.zeros((3, 4), int), 8) == 0
    assert adder_graph_lut([[4, 0], [0, 1]], 8) == 0


def test_cost_falls_with_pruning_narrower_weights_and_sharing():
    kernel = normal()
    full = adder_graph_lut(kernel, 12)
    pruned = np.where(np.random.default_rng(1).random(kernel.shape) < 0.5, 0, kernel)
    assert adder_graph_lut(pruned, 12) < 0.8 * full
    assert adder_graph_lut(kernel // 16 * 16, 12) < 0.8 * full
    shared = np.repeat(kernel[:, ::4], 4, axis=1)  # a value for every four outputs of an input
    assert adder_graph_lut(shared, 12) < 0.5 * full
    assert adder_graph_lut(kernel, 6) < full


def test_cost_is_no_worse_than_an_adder_for_every_digit():
    from fabricfit.hardware.product import csd_digits

    kernel = normal()
    additions = int(csd_digits(kernel).sum()) - kernel.shape[1]
    assert 0 < adder_graph_lut(kernel, 12) < additions * (12 + 10 + 3)


@given(st.lists(st.integers(-(2**20), 2**20), min_size=1, max_size=30))
def test_enclosed_bits_follow_their_definition(values):
    expected = [len(bin(abs(v))[2:].rstrip("0")) if v else 0 for v in values]
    np.testing.assert_array_equal(enclosed_bits(np.array(values)), expected)


def test_bit_operations_are_bits_times_bits():
    assert bit_operations([[5, 0], [-40, 8]], 6) == (3 + 0 + 3 + 1) * 6


def test_bad_input_is_refused():
    with pytest.raises(InvalidTypeError, match="integers"):
        adder_graph_lut([[0.5]], 8)
    with pytest.raises(InvalidTypeError, match="integers"):
        bit_operations([[0.5]], 8)
    with pytest.raises(InvalidInputError, match="input_width=0"):
        adder_graph_lut([[1]], 0)


@pytest.mark.parametrize("density", [0.2, 1.0])
@pytest.mark.parametrize("scale", [3, 300])
def test_graphs_of_many_digits_are_estimated_within_the_stated_band(monkeypatch, scale, density):
    kernel = normal((40, 12), scale) * (np.random.default_rng(2).random((40, 12)) < density)
    traced = adder_graph_lut(kernel, 8)
    monkeypatch.setattr(adders, "MOST_DIGITS", 100)
    estimated = adder_graph_lut(kernel, 8)
    low, high = adders.GRAPH_BAND
    assert estimated != traced
    assert low * estimated <= traced <= high * estimated


def test_a_graph_that_would_need_hours_is_not_traced(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "alkaid.trace", None)
    kernel = normal((400, 120), 5000)
    assert adder_graph_lut(kernel, 16) > kernel.size


def test_layers_whose_graphs_are_estimated_are_named():
    few, many = adders.MOST_DIGITS, adders.MOST_DIGITS + 1
    assert adders.remark_on_digits({"small": few}) == ()
    (remark,) = adders.remark_on_digits({"small": few, "large": many})
    assert "'large' (2,001)" in remark
    assert "0.75 to 1.30" in remark
    assert "small" not in remark


def test_a_missing_package_names_its_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "alkaid.trace", None)
    adders._graph_cost.cache_clear()
    with pytest.raises(MissingExtraError, match=r"fabricfit\[adders\]"):
        adder_graph_lut([[3]], 8)
