"""Signals of a circuit compute what integers do: the emulation's own functions on both are compared."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabricfit.firmware.emulation.fixed import (
    ROUNDINGS,
    SATURATIONS,
    FixedTensor,
    Format,
    NotModelledError,
    add,
    cast,
    multiply,
)
from fabricfit.firmware.emulation.matrix_products import accumulate, sum_exactly
from fabricfit.firmware.emulation.pooling import divide
from fabricfit.firmware.emulation.wires import Wires
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

alkaid = pytest.importorskip("alkaid.trace", exc_type=ImportError)

ROUNDED = sorted(ROUNDINGS)

few = settings(max_examples=25)


def computed(function, form, numbers, *more):
    """What a function makes of numbers: by the circuit that it makes of signals, and by integers."""
    signals = Wires.inputs((1, numbers.shape[1]), *form.limits)
    made = function(FixedTensor(signals, form), *more)
    logic = alkaid.trace(np.asarray(signals).ravel(), np.asarray(Wires.of(made.values)).ravel())
    results = np.array([logic(row.astype(float)) for row in numbers])
    return results, function(FixedTensor(numbers, form), *more).values.reshape(len(numbers), -1)


@st.composite
def formats(draw, most=8):
    width = draw(st.integers(1, most))
    return Format(
        width,
        draw(st.integers(width - 6, width + 3)),
        draw(st.booleans()),
        draw(st.sampled_from(ROUNDED)),
        draw(st.sampled_from(SATURATIONS)),
    )


def numbers_of(form, seed, shape=(40, 1)):
    plain = Format(form.width, form.integer, form.signed)
    return np.random.default_rng(seed).integers(*plain.limits, shape, endpoint=True)


@few
@given(formats(), formats(), formats(), st.integers(0, 99))
def test_casts_behind_each_other(source, first, second, seed):
    source = Format(source.width, source.integer, source.signed)
    found, expected = computed(
        lambda x: cast(cast(x, first), second), source, numbers_of(source, seed)
    )
    assert (found == expected).all()


@few
@given(formats(6), formats(7), st.integers(1, 4), st.integers(0, 10**6))
def test_sums_in_any_accumulator(source, accum, n_in, seed):
    source = Format(source.width, source.integer, source.signed)
    rng = np.random.default_rng(seed)
    matrix = FixedTensor(rng.integers(-12, 13, (n_in, 2)), Format(5, 2))
    bias = FixedTensor(rng.integers(-9, 10, 2), Format(5, 2))
    found, expected = computed(
        lambda x: accumulate(x, matrix, bias, accum, range(n_in)),
        source,
        numbers_of(source, seed, (40, n_in)),
    )
    assert (found == expected).all()


@few
@given(formats(6), st.integers(1, 5), st.integers(0, 10**6))
def test_exact_sums_and_casts_of_them(result, n_in, seed):
    rng, source = np.random.default_rng(seed), Format(6, 3)
    matrix = FixedTensor(rng.integers(-12, 13, (n_in, 3)), Format(5, 2))
    found, expected = computed(
        lambda x: cast(sum_exactly(x, matrix), result), source, numbers_of(source, seed, (40, n_in))
    )
    assert (found == expected).all()


@few
@given(st.booleans(), st.integers(2, 9), st.integers(1, 30), st.integers(0, 99))
def test_quotients_truncate_towards_zero(signed, width, count, seed):
    source = Format(width, width, signed)
    found, expected = computed(lambda x: divide(x, count), source, numbers_of(source, seed))
    assert (found == expected).all()


@few
@given(st.integers(0, 10**6))
def test_the_larger_the_smaller_and_a_choice(seed):
    source = Format(5, 5)

    def compare(x):
        a, b = x.values[:, 0], x.values[:, 1]
        chosen = np.where(a - b > 3, np.maximum(a, b), np.minimum(b, -a))
        limited = np.clip(a - b, -7, 11)
        return FixedTensor(np.stack([chosen, limited, np.where(~(a >= b), b, 4)]), source)

    signals = Wires.inputs((1, 2), *source.limits)
    made = compare(FixedTensor(signals, source)).values
    logic = alkaid.trace(np.asarray(signals).ravel(), np.asarray(made).ravel())
    numbers = numbers_of(source, seed, (60, 2))
    expected = compare(FixedTensor(numbers, source)).values.T
    assert (np.array([logic(row.astype(float)) for row in numbers]) == expected).all()


def test_products_of_signals_and_tables_of_them():
    source = Format(5, 3)
    numbers = numbers_of(source, 1, (60, 2))

    def square(x):
        a, b = (FixedTensor(x.values[:, i], source) for i in (0, 1))
        return add(multiply(a, b), a, -1)

    found, expected = computed(square, source, numbers)
    assert (found == expected).all()
    signals = Wires.inputs((1, 1), *source.limits)
    cube = signals.looked_up(lambda numbers: numbers**3)
    logic = alkaid.trace(np.asarray(signals).ravel(), np.asarray(cube).ravel())
    assert [logic(np.array([float(n)]))[0] for n in (-16, -1, 0, 7)] == [-4096, -1, 0, 343]


@pytest.mark.parametrize(
    "use",
    [
        lambda x: x.argmax(axis=-1),
        lambda x: np.sort(x),
        lambda x: x // 3,
        lambda x: bool(x[0, 0:1]),
        lambda x: x.astype(float),
        lambda x: x == 3,
        lambda x: np.abs(x),
        lambda x: x + (1 << 31),
        lambda x: x * ((1 << 25) + 1),
    ],
)
def test_what_no_circuit_is_known_for_is_refused(use):
    with pytest.raises(NotModelledError):
        use(Wires.inputs((1, 3), -8, 7))
