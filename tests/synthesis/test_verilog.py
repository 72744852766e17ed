"""Layers as Verilog: read back by a small interpreter, and checked for what is left out and shared."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabricfit.errors import InvalidInputError, InvalidTypeError
from fabricfit.hardware import Product, Work
from fabricfit.hls4ml import valid_reuse_factors
from fabricfit.synthesis.verilog import dense_verilog

WIDTHS = {"weight_width": 5, "input_width": 6, "accumulator_width": 14}

LITERAL = re.compile(r"\d+'sd(\d+)")


def signed(value, bits):
    return (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


def weights_as_constants(code, x):
    """Compute a layer of constants line by line, as its wires do."""
    values = {f"x{i}": int(value) for i, value in enumerate(x)}
    for bits, name, expression in re.findall(r"wire signed \[(\d+):0\] (\w+) = (.*);", code):
        values[name] = signed(eval(LITERAL.sub(r"\1", expression), {}, values), int(bits) + 1)
    (word,) = re.findall(r"y <= \{(.*)\};", code)
    return [values[name] for name in reversed(word.split(", "))]


def weights_in_memory(code, x, reuse_factor, bias):
    """Compute a time-multiplexed layer cycle by cycle, from its memory, multiplexers and sums."""
    words = [word.split(", ") for word in re.findall(r": words = \{(.*)\};", code)]
    picks: dict[str, list[int]] = {}
    for name, i in re.findall(r": (u\d+) = x(\d+);", code):
        picks.setdefault(name, []).append(int(i))
    products = re.findall(r"(p\d+) = (u\d+) \* \$signed\(w\[(\d+):(\d+)\]\);", code)
    sums = [signed(b, WIDTHS["accumulator_width"]) for b in bias]
    written: dict[str, list[int]] = {}
    for output, m in re.findall(r": y(\d+) <= s(\d+);", code):
        written.setdefault(f"p{m}", []).append(int(output))
    added = re.findall(r"y(\d+) <= y\1 \+ (.*);", code)
    for cycle in range(reuse_factor if products else 0):
        values = {}
        for name, pick, high, low in products:
            word = list(reversed(words[cycle]))[int(low) // (int(high) - int(low) + 1)]
            bits, digits = word.split("'h")
            weight = signed(int(digits, 16), int(bits))
            values[name] = weight * int(x[picks[pick][cycle % len(picks[pick])]])
        for output, expression in added:
            sums[int(output)] += eval(expression, {}, values)
        for name, outputs in written.items():
            sums[outputs[cycle // (reuse_factor // len(outputs))]] += values[name]
    return [signed(s, WIDTHS["accumulator_width"]) for s in sums]


def layers():
    sizes = st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(0, 2**32 - 1))
    return sizes.map(lambda drawn: random_layer(*drawn))


def random_layer(n_in, n_out, seed):
    rng = np.random.default_rng(seed)
    kernel = rng.integers(-16, 16, (n_in, n_out)) * (rng.random((n_in, n_out)) < 0.6)
    return kernel, rng.integers(-32, 32, n_in), rng.integers(-99, 99, n_out)


@given(layers())
def test_constants_give_the_matrix_product(layer):
    kernel, x, bias = layer
    code = dense_verilog(kernel, bias=bias, **WIDTHS)
    assert weights_as_constants(code, x) == (x @ kernel + bias).tolist()


@given(layers(), st.data(), st.sampled_from(["Resource", "ResourceUnrolled"]))
def test_time_multiplexed_weights_give_the_matrix_product(layer, data, strategy):
    kernel, x, bias = layer
    factors = valid_reuse_factors(*kernel.shape)
    if strategy == "ResourceUnrolled":
        factors.pop()
    factors = [factor for factor in factors if factor > 1]
    if not factors:
        return
    factor = data.draw(st.sampled_from(factors))
    code = dense_verilog(kernel, bias=bias, reuse_factor=factor, strategy=strategy, **WIDTHS)
    assert weights_in_memory(code, x, factor, bias) == (x @ kernel + bias).tolist()


def test_the_lowest_numbers_do_not_change_their_sign():
    kernel = np.array([[-16], [-16]])
    code = dense_verilog(kernel, bias=[-(2**13)], **WIDTHS)
    assert weights_as_constants(code, [-32, -32]) == [2 * 512 - 2**13]
    code = dense_verilog(kernel, reuse_factor=2, strategy="resource", **WIDTHS)
    assert weights_in_memory(code, [-32, -32], 2, [0]) == [2 * 512]


@given(layers())
def test_an_input_is_multiplied_once_by_each_distinct_weight(layer):
    kernel, _, _ = layer
    code = dense_verilog(kernel, **WIDTHS)
    distinct = sum(len(set(row) - {0}) for row in kernel.tolist())
    assert len(re.findall(r" p\d+_\d+ = ", code)) == distinct
    assert len(re.findall(r"\bp\d+_\d+\b", code)) == distinct + np.count_nonzero(kernel)


@pytest.mark.parametrize("reuse_factor", [2, 4, 8, 16])
def test_multipliers_without_work_are_left_out_if_unrolled(reuse_factor):
    rng = np.random.default_rng(reuse_factor)
    runs = rng.integers(1, 16, (32 // reuse_factor, reuse_factor))
    runs[::2] = 0
    kernel = runs.reshape(4, 8).T
    product = Product(8, 4, 5, strategy="resource_unrolled", reuse_factor=reuse_factor)
    for strategy, built in (
        ("resource", product.multipliers),
        ("resource_unrolled", Work.of(product, kernel).multipliers),
    ):
        code = dense_verilog(kernel, reuse_factor=reuse_factor, strategy=strategy, **WIDTHS)
        assert len(re.findall(r" \* ", code)) == built
        assert f"output reg [{5 * built - 1}:0] words" in code


def test_a_layer_without_weights_is_its_bias():
    kernel = np.zeros((4, 2), int)
    code = dense_verilog(kernel, bias=[3, -4], **WIDTHS)
    assert "*" not in code
    assert weights_as_constants(code, [1, 2, 3, 4]) == [3, -4]
    unrolled = dense_verilog(kernel, reuse_factor=2, strategy="resource_unrolled", **WIDTHS)
    assert " * " not in unrolled
    assert "dense_weights" not in unrolled


def test_names_of_modules():
    code = dense_verilog([[1, 2]], reuse_factor=2, strategy="resource", name="fc1", **WIDTHS)
    assert re.findall(r"^module (\w+)", code, re.MULTILINE) == ["fc1", "fc1_weights"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel": [1, 2]}, r"kernel must have the shape \(n_in, n_out\).*\(2,\)"),
        ({"kernel": np.zeros((0, 2), int)}, "kernel must have the shape"),
        ({"kernel": [[16, 17]]}, "kernel must fit into 5 bits, from -16 to 15. Received: 16 and 1"),
        ({"bias": [0]}, r"bias must have the shape \(2,\)"),
        ({"bias": [0, 2**13]}, "bias must fit into 14 bits"),
        (
            {"weight_width": 0},
            "weight_width must be a whole number from 1 to 256. .*weight_width=0",
        ),
        ({"input_width": 257}, "input_width must be a whole number from 1 to 256"),
        ({"reuse_factor": 2}, "reuse_factor must be 1 with strategy='latency'"),
        ({"reuse_factor": 3, "strategy": "resource"}, "hls4ml can build: 2 is the nearest"),
        ({"reuse_factor": 0}, "reuse_factor must be a whole number of at least 1"),
        ({"accumulator_width": 8.5}, "accumulator_width must be a whole number"),
        ({"reuse_factor": True}, "reuse_factor must be a whole number"),
        ({"strategy": "fast"}, "strategy must be"),
        ({"strategy": "distributed_arithmetic"}, "no multiplications to write"),
        ({"name": "1st"}, "name must be letters"),
    ],
)
def test_what_cannot_be_built_is_refused(changes, message):
    arguments = {"kernel": [[1, 2], [3, 4]], **WIDTHS, **changes}
    with pytest.raises(InvalidInputError, match=message):
        dense_verilog(**arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel": [[0.5]]}, "kernel must hold integers"),
        ({"bias": [0.5, 0.5]}, "bias must hold integers"),
    ],
)
def test_what_is_no_integer_is_refused(changes, message):
    with pytest.raises(InvalidTypeError, match=message):
        dense_verilog(**{"kernel": [[1, 2]], **WIDTHS, **changes})
