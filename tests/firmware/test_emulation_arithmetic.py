"""The C++ types that hls4ml's projects are compiled with are the oracle of our fixed-point numbers."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabricfit.errors import InvalidInputError
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
from fabricfit.firmware.emulation.matrix_products import (
    accumulate,
    addition_order,
    same_padding,
    windows,
)
from fabricfit.firmware.emulation.softmax import tree_reduce
from fabricfit.firmware.emulation.weights import quantize_as_written

N = 400

PROGRAM = """
#include <cstdio>
#include <vector>
#include "ap_fixed.h"
#include "ap_int.h"
template <class S, class D> void convert(const std::vector<long long> &raw) {
    for (long long r : raw) {
        S s; s.V = r;
        D d = s;
        printf("%llu\\n", (unsigned long long)(d.range().to_uint64()));
    }
}
template <class D> void from_double(const std::vector<double> &numbers) {
    for (double x : numbers) {
        D d = D(x);
        printf("%llu\\n", (unsigned long long)(d.range().to_uint64()));
    }
}
template <class A, class B> void divide(const std::vector<long long> &raw) {
    for (long long r : raw) {
        A a; a.V = r;
        a /= (unsigned)3;
        printf("%llu\\n", (unsigned long long)(a.range().to_uint64()));
    }
}
int main() {
    int n; scanf("%d", &n);
    std::vector<long long> raw(n); std::vector<double> numbers(n);
    for (auto &r : raw) scanf("%lld", &r);
    for (auto &x : numbers) scanf("%la", &x);
CALLS
}
"""


def cpp(format):
    if format.rounding == "TRN_ZERO" and format.fractional == 0 and format.saturation == "WRAP":
        return f"ap_{'' if format.signed else 'u'}int<{format.width}>"
    modes = f"AP_{format.rounding},AP_{format.saturation}"
    return f"ap_{'' if format.signed else 'u'}fixed<{format.width},{format.integer},{modes}>"


def conversions():
    """Every pair of modes, each with sources and targets that round, overflow, widen and narrow."""
    rng = np.random.default_rng(7)
    pairs = []
    for rounding in ROUNDINGS:
        for saturation in SATURATIONS:
            for signed in (True, False):
                width = int(rng.integers(1, 14))
                to = Format(width, int(rng.integers(-2, width + 3)), signed, rounding, saturation)
                source_width = int(rng.integers(4, 24))
                source = Format(
                    source_width,
                    to.integer + int(rng.integers(-1, 6)),
                    bool(rng.integers(2)),
                )
                pairs.append((source, to))
    pairs += [
        (Format(20, 8), Format(16, 6, True, "RND", "SAT")),
        (Format(37, 17), Format(16, 6)),
        (Format(53, 23), Format(18, 8, True, "RND_CONV", "SAT")),
        (Format(55, 25), Format(8, 3, True, "RND_CONV", "SAT_SYM")),
        (Format(8, 3), Format(24, 8, True, "RND", "SAT")),
        (Format(8, 3), Format(5, 5, True, "TRN_ZERO")),  # an ap_int
        (Format(12, 4), Format(6, 6, False, "TRN_ZERO")),
        (Format(12, -2, False), Format(4, 0, True, "RND_INF", "SAT_ZERO")),
        (Format(6, 0), Format(7, -9, True, "RND", "SAT")),
        (Format(24, 6), Format(7, 12, True, "RND_CONV", "SAT")),
    ]
    return pairs


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    """Results of the C++ types: conversions, conversions from double, divisions."""
    compiler, hls4ml = shutil.which("g++"), importlib.util.find_spec("hls4ml")
    if compiler is None or hls4ml is None:
        pytest.skip("needs g++ and the headers that come with hls4ml")
    folder = tmp_path_factory.mktemp("oracle")
    headers = Path(hls4ml.submodule_search_locations[0]) / "templates" / "vivado" / "ap_types"
    rng = np.random.default_rng(1)
    edges = np.array([0, 1, -1, 2, -2, 3, -3])
    raw = np.concatenate([edges, rng.integers(-(2**60), 2**60, N - len(edges))])
    raw >>= rng.integers(0, 61, N)
    numbers = np.concatenate(
        [rng.normal(0, 3, 200), rng.integers(-80, 80, 190) / 16, [1e9, -1e9, 1e-9, -1e-9, 0.0]]
    )
    numbers = np.concatenate([numbers, np.array([0.5, -0.5, 2.0**40, -(2.0**40), 7.0])])
    calls = [f"convert<{cpp(source)}, {cpp(to)}>(raw);" for source, to in conversions()]
    calls += [f"from_double<{cpp(to)}>(numbers);" for _, to in conversions()]
    calls += [f"divide<{cpp(to)}, {cpp(to)}>(raw);" for _, to in conversions()]
    source = folder / "oracle.cpp"
    source.write_text(PROGRAM.replace("CALLS", "\n".join(calls)))
    program = folder / "oracle"
    command = [compiler, "-std=c++11", "-O0", "-w", f"-I{headers}", str(source), "-o", str(program)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[:3000]
    given_ = f"{N}\n" + "\n".join(map(str, raw)) + "\n" + "\n".join(x.hex() for x in numbers)
    printed = subprocess.run([program], input=given_, capture_output=True, text=True, check=True)
    bits = np.array(printed.stdout.split(), np.uint64).reshape(3, len(conversions()), N)
    return raw, numbers, bits


def as_bits(tensor):
    return (tensor.values & ((1 << tensor.format.width) - 1)).astype(np.uint64)


def raw_tensor(raw, format):
    """What is in a variable of a format after its bits are written."""
    return cast(FixedTensor(raw, Format(62, 62)), Format(format.width, format.width, format.signed))


@pytest.mark.parametrize("case", range(len(conversions())))
def test_conversions_agree_with_the_cpp_types(oracle, case):
    raw, numbers, (converted, from_double, _) = oracle
    source, to = conversions()[case]
    x = FixedTensor(raw_tensor(raw, source).values, source)
    np.testing.assert_array_equal(as_bits(cast(x, to)), converted[case], str((source, to)))
    # The header of ap_int turns a double just below zero, to about -0.5, into 1.
    sound = (numbers >= 0) | (numbers <= -0.5) | ("int" not in cpp(to))
    from_float = FixedTensor.from_float(numbers[sound], to)
    np.testing.assert_array_equal(as_bits(from_float), from_double[case][sound], str(to))


@pytest.mark.parametrize("case", range(0, len(conversions()), 5))
def test_quotients_agree_with_the_cpp_types(oracle, case):
    from fabricfit.firmware.emulation.pooling import divide

    raw, _, (_, _, divided) = oracle
    _, to = conversions()[case]
    x = FixedTensor(raw_tensor(raw, to).values, to)
    np.testing.assert_array_equal(as_bits(cast(divide(x, 3), to)), divided[case], str(to))


def test_limits_of_a_format():
    assert Format(8, 3).limits == (-128, 127)
    assert Format(8, 3, False).limits == (0, 255)
    assert Format(8, 3, True, "RND", "SAT_SYM").limits == (-127, 127)
    assert str(Format(8, 3, False, "RND", "SAT")) == "ufixed<8,3,RND,SAT>"


def test_formats_that_cannot_be_computed_with_are_refused():
    with pytest.raises(InvalidInputError, match=r"62 bits.*Received: 63 bits.*narrower"):
        Format(63, 10)
    with pytest.raises(InvalidInputError, match="needs more than 62 bits"):
        cast(FixedTensor(np.array([1]), Format(40, 40)), Format(62, 20, True, "RND", "SAT"))
    with pytest.raises(NotModelledError, match="WRAP_SM"):
        Format(8, 3, True, "TRN", "WRAP_SM")
    with pytest.raises(InvalidInputError, match="62 bits"):
        multiply(
            FixedTensor(np.array([1]), Format(40, 8)), FixedTensor(np.array([1]), Format(40, 8))
        )


formats = st.builds(
    Format,
    st.integers(2, 12),
    st.integers(-2, 14),
    st.booleans(),
    st.sampled_from(ROUNDINGS),
    st.sampled_from(SATURATIONS),
)


@given(formats, formats, st.integers(0, 2**31))
def test_sums_and_products_are_exact(a, b, seed):
    rng = np.random.default_rng(seed)
    x, y = (FixedTensor(rng.integers(*_range(f), 20), f) for f in (a, b))
    np.testing.assert_array_equal(add(x, y).to_float(), x.to_float() + y.to_float())
    np.testing.assert_array_equal(add(x, y, -1).to_float(), x.to_float() - y.to_float())
    np.testing.assert_array_equal(multiply(x, y).to_float(), x.to_float() * y.to_float())
    for z in (add(x, y), add(x, y, -1), multiply(x, y)):
        low, high = z.format.limits
        assert z.values.min() >= low
        assert z.values.max() <= high


def _range(format):
    low, high = format.limits
    return low, high + 1


@given(
    formats,
    formats,
    st.builds(
        Format,
        st.integers(3, 20),
        st.integers(-2, 14),
        st.just(True),
        st.sampled_from(["TRN", "RND", "RND_CONV"]),
        st.sampled_from(["WRAP", "SAT"]),
    ),
    st.integers(0, 2**31),
)
def test_accumulation_is_the_loop_of_the_templates(inputs, kernel, accum, seed):
    """One number at a time, in Python, against the vectorized shortcut."""
    rng = np.random.default_rng(seed)
    x = FixedTensor(rng.integers(*_range(inputs), (3, 6)), inputs)
    w = FixedTensor(rng.integers(*_range(kernel), (6, 2)), kernel)
    bias = FixedTensor(rng.integers(*_range(kernel), 2), kernel)
    order = addition_order(6, 3, "resource")
    found = accumulate(x, w, bias, accum, order)
    for row in range(3):
        for column in range(2):
            total = cast(FixedTensor(bias.values[column], kernel), accum)
            for i in order:
                one = multiply(
                    FixedTensor(x.values[row, i], inputs), FixedTensor(w.values[i, column], kernel)
                )
                total = cast(add(total, cast(one, accum)), accum)
            assert found.values[row, column] == total.values


def test_resource_adds_in_the_order_of_its_cycles():
    assert addition_order(6, 2, "resource") == [0, 2, 4, 1, 3, 5]
    assert addition_order(6, 12, "resource_unrolled") == list(range(6))
    assert addition_order(6, 2, "latency") == list(range(6))


@pytest.mark.keras
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
def test_windows_are_those_of_keras(padding, strides):
    import keras

    rng = np.random.default_rng(0)
    image, kernel = rng.integers(-9, 9, (2, 7, 8, 3)), rng.integers(-9, 9, (3, 2, 3, 4))
    cut = windows(image, (3, 2), strides, padding)
    expected = keras.ops.conv(
        image.astype("float32"), kernel.astype("float32"), strides=strides, padding=padding
    )
    np.testing.assert_array_equal(cut @ kernel.reshape(-1, 4), keras.ops.convert_to_numpy(expected))


def test_same_padding_is_uneven_at_the_end():
    assert same_padding(8, 3, 1) == (1, 1)
    assert same_padding(8, 3, 2) == (0, 1)
    assert same_padding(7, 1, 2) == (0, 0)


def test_reduction_tree_is_full_on_the_left():
    terms = [FixedTensor(np.array(i), Format(8, 8)) for i in range(5)]
    seen = []
    tree_reduce(terms, lambda a, b: seen.append((int(a.values), int(b.values))) or a)
    assert seen == [(0, 1), (2, 3), (0, 2), (0, 4)]


def test_weights_go_through_the_decimals_of_hls4ml():
    """0.49999 has three decimals in fixed<8,5>: it is written 0.500 and so not cut to 0.375."""
    assert quantize_as_written([0.49999], Format(8, 5)).to_float() == [0.5]
    assert quantize_as_written([0.4994], Format(8, 5)).to_float() == [0.375]
    assert quantize_as_written([-0.625], Format(8, 5)).to_float() == [-0.625]


@given(
    st.integers(0, 2**16),
    st.sampled_from([(16, 6), (18, 8), (30, 12)]),
    st.sampled_from(["TRN", "RND", "RND_CONV", "TRN_ZERO"]),
    st.sampled_from([(9, 4), (16, 6), (33, 20)]),
)
def test_sums_that_wrap_are_what_they_are_product_by_product(seed, given_format, rounding, accum):
    rng = np.random.default_rng(seed)
    form = Format(*given_format)
    low, high = form.limits
    inputs, matrix = (
        FixedTensor(rng.integers(low, high, shape, endpoint=True), form)
        for shape in ((5, 7), (7, 3))
    )
    sums = Format(*accum, rounding=rounding)
    bias = FixedTensor(rng.integers(-9, 9, 3), form)
    found = accumulate(inputs, matrix, bias, sums, range(7)).values
    total = cast(bias, sums).values + np.zeros((5, 1), np.int64)
    for i in range(7):
        one = multiply(
            FixedTensor(inputs.values[:, [i]], form), FixedTensor(matrix.values[[i]], form)
        )
        total = cast(add(FixedTensor(total, sums), cast(one, sums)), sums).values
    np.testing.assert_array_equal(found, total)
