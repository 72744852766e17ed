import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabricfit.errors import InvalidInputError, InvalidTypeError
from fabricfit.hardware import (
    csd_digits,
    dsps_per_multiplier,
    latency_dsp,
    memory_word,
    multipliers,
    output_registers,
    weight_bram18,
    weight_registers,
)


@pytest.mark.parametrize(
    ("weight", "inputs", "family", "expected"),
    [
        (2, 16, "DSP48E2", 0),
        (4, 16, "DSP48E2", 0),
        (6, 6, "DSP48E2", 0),
        (16, 4, "DSP48E2", 0),
        (6, 16, "DSP48E2", 1),
        (8, 8, "DSP48E2", 1),
        (8, 16, "DSP48E2", 1),
        (18, 27, "DSP48E2", 1),
        (27, 18, "DSP48E2", 1),
        (26, 16, "DSP48E1", 2),
        (25, 18, "DSP48E1", 1),
        (28, 18, "DSP48E2", 2),
        (19, 19, "DSP48E2", 2),
        (32, 32, "DSP48E2", 4),
    ],
)
def test_dsps_of_one_product(weight, inputs, family, expected):
    assert dsps_per_multiplier(weight, inputs, family) == expected


def test_unknown_inputs_are_sixteen_bits_wide():
    assert dsps_per_multiplier(6) == dsps_per_multiplier(6, 16) == 1


@given(st.integers(1, 64), st.integers(1, 64))
def test_a_product_has_no_sides_and_never_shrinks(a, b):
    assert dsps_per_multiplier(a, b) == dsps_per_multiplier(b, a)
    assert dsps_per_multiplier(a, b) <= dsps_per_multiplier(a + 1, b)
    assert dsps_per_multiplier(a, b) <= dsps_per_multiplier(a, b, "DSP48E1")


def test_bad_widths_and_families_are_refused():
    with pytest.raises(InvalidInputError, match="at least 1"):
        dsps_per_multiplier(0)
    with pytest.raises(InvalidInputError, match=r"family must be one of .*'DSP48E2'"):
        dsps_per_multiplier(8, 8, "DSP99")


def test_multipliers_round_up_and_repeat_for_parallel_positions():
    assert multipliers(16, 64, 4) == 256
    assert multipliers(3, 5, 4) == 4
    assert multipliers(27, 8, 27, parallelization_factor=6) == 48


def signed_digits(number):
    """Canonical signed digits by the textbook: divide by two, digits +1 or -1 at odd remainders."""
    count = 0
    while number:
        if number % 2:
            number -= 2 - number % 4
            count += 1
        number //= 2
    return count


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=30))
def test_signed_digits_agree_with_the_textbook(numbers):
    assert csd_digits(np.array(numbers)).tolist() == [signed_digits(n) for n in numbers]


def test_products_by_shifts_and_shared_products_take_no_dsp():
    assert latency_dsp(np.array([[0, 1, -2, 64, 6, -7, 127]])) == 0
    assert latency_dsp(np.array([[19, 19, -19, 21]])) == 3
    # The same constant on another input is another product.
    assert latency_dsp(np.array([[19], [19]])) == 2
    # 11 and 13 fit into four bits, their negatives do not.
    assert latency_dsp(np.array([[11, 13, -11, -13]])) == 2


def test_inputs_of_a_convolution_are_all_axes_but_the_last():
    kernel = np.full((3, 3, 2, 8), 19, np.int16)
    kernel[..., 4:] = -19
    assert latency_dsp(kernel) == 3 * 3 * 2 * 2


@given(st.integers(0, 2**32 - 1))
def test_pruning_never_takes_more_dsps(seed):
    rng = np.random.default_rng(seed)
    kernel = rng.integers(-128, 128, (6, 9))
    pruned = np.where(rng.random(kernel.shape) < 0.5, kernel, 0)
    assert latency_dsp(pruned) <= latency_dsp(kernel) <= np.count_nonzero(kernel)


def test_weights_must_be_quantized():
    with pytest.raises(InvalidTypeError, match="must be integers"):
        latency_dsp(np.array([[0.5]]))


@pytest.mark.parametrize(
    ("depth", "expected"),
    [(1, 36), (512, 36), (513, 18), (1024, 18), (1025, 9), (4096, 4), (16384, 1), (20000, 1)],
)
def test_words_get_narrower_with_depth(depth, expected):
    assert memory_word(depth) == expected


def test_brams_of_weights():
    assert weight_bram18(256, 16, 1) == 0
    assert weight_bram18(256, 16, 4) == 114  # ceil(4096 / 36)
    assert weight_bram18(2, 18, 512) == 1
    assert weight_bram18(2, 18, 513) == 2
    assert weight_bram18(1, 8, 20000) == 16  # two blocks deep for each bit
    with pytest.raises(InvalidInputError, match="depth must be a whole number of at least 1"):
        memory_word(0)


def test_registers():
    assert weight_registers(10, 8, "latency") == 80
    assert weight_registers(10, 8, "resource") == 0
    assert output_registers(5, 16, "io_parallel") == 80
    assert output_registers(5, 16, "io_stream") == 0
