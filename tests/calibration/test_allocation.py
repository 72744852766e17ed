"""Bits within a loss, and formats around numbers, against their definitions."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fabricfit.calibration.allocation import choose_bits, loss_of
from fabricfit.calibration.ranges import format_within
from fabricfit.calibration.rounding import in_format
from fabricfit.calibration.tensors import Numbers
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

TENSOR = Numbers((("layer", "result"),))
SIZES = st.floats(-1e3, 1e3, allow_subnormal=False)


@given(
    coefficients=st.lists(st.floats(1e-6, 1e4), min_size=1, max_size=6),
    allowed=st.floats(1e-6, 10),
    seed=st.integers(0, 99),
)
def test_losses_stay_within_what_is_allowed_and_no_bit_could_be_less(coefficients, allowed, seed):
    savings = np.random.default_rng(seed).integers(1, 1000, len(coefficients)).tolist()
    least = [-4] * len(coefficients)
    bits = choose_bits(coefficients, savings, allowed, least)
    losses = loss_of(coefficients, bits)
    if losses.sum() > allowed:
        assert bits == [20] * len(bits)  # even the most bits lose more
        return
    for place, each in enumerate(bits):
        assert each >= -4
        assert each == -4 or losses.sum() + 3 * losses[place] > allowed


def test_no_choice_saves_much_more_within_the_same_loss():
    coefficients, savings, allowed = [0.5, 20.0, 3.0], [100, 7, 30], 2e-2
    bits = choose_bits(coefficients, savings, allowed, [0, 0, 0])
    cost = float(np.dot(bits, savings))
    best = min(
        float(np.dot(each, savings))
        for each in itertools.product(range(12), repeat=3)
        if loss_of(coefficients, each).sum() <= allowed
    )
    assert cost <= best + max(savings) / 2


@given(low=SIZES, high=SIZES, fractional=st.integers(-4, 12))
@settings(max_examples=200)
def test_a_format_holds_all_numbers_and_a_bit_less_does_not(low, high, fractional):
    low, high = sorted((low, high))
    form = format_within(TENSOR, fractional, low, high, high - low, 0)
    numbers = np.linspace(low, high, 50)
    kept = in_format(numbers, form)
    assert np.abs(kept - numbers).max() <= 2.0 ** -(fractional + 1) + 1e-12
    assert form.signed == (kept.min() < 0)
    narrower = type(form)(fractional, form.integer - 1, form.signed)
    if form.width > 1 + form.signed:
        assert (in_format(numbers, narrower) != kept).any()


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=8), st.integers(0, 8))
def test_what_a_softmax_receives_holds_the_distance_of_any_two_numbers(numbers, fractional):
    softmax = Numbers((("layer", "result"),), softmax=True)
    spread = max(numbers) - min(numbers)
    form = format_within(softmax, fractional, min(numbers), max(numbers), spread, 0)
    assert form.signed
    assert 2.0 ** (form.integer - 1) > spread - 2.0**-fractional


def test_a_margin_is_of_integer_bits():
    plain = format_within(TENSOR, 4, -1.0, 3.0, 4.0, 0)
    wider = format_within(TENSOR, 4, -1.0, 3.0, 4.0, 2)
    assert (wider.integer, wider.fractional) == (plain.integer + 2, 4)


def test_numbers_round_half_up_and_saturate():
    form = format_within(TENSOR, 2, -1.0, 1.5, 2.5, 0)
    numbers = np.array([0.125, -0.125, 1.5, 9.0, -9.0])
    assert in_format(numbers, form).tolist() == [0.25, 0.0, 1.5, 1.75, -2.0]
    wrapping = replace(form, rounding="TRN", overflow="WRAP")
    assert in_format(np.array([0.3, 2.0, -2.25, 5.0]), wrapping).tolist() == [0.25, -2.0, 1.75, 1.0]
