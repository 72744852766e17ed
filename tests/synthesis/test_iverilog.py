"""Words in and out of Icarus Verilog, and what is said where it refuses or takes too long."""

import shutil

import pytest

from fabricfit.errors import FabricFitError, MissingExtraError, TimeLimitError
from fabricfit.synthesis import iverilog
from fabricfit.synthesis.iverilog import simulate_verilog
from fabricfit.synthesis.yosys import find_version, run_yosys, synthesize_verilog

installed = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="needs Icarus Verilog (Debian: apt install iverilog)"
)
native = pytest.mark.skipif(shutil.which("yosys") is None, reason="needs a native yosys")

BENCH = """
module bench;
    parameter N = 1;
    reg [7:0] words [0:N-1];
    integer n, file;
    initial begin
        $readmemh("x.hex", words);
        file = $fopen("y.hex", "w");
        for (n = 0; n < N; n = n + 1) $fwrite(file, "%h\\n", words[n] + 8'd1);
        $fwrite(file, "%h\\n", 4'bx);
        $fclose(file);
        $finish;
    end
endmodule
"""


@installed
def test_words_are_read_and_written():
    found = simulate_verilog(
        BENCH, "bench", {"x": [1, 254, 255]}, ["y", "none"], parameters={"N": 3}
    )
    assert found == {"y": [2, 255, 0, None], "none": []}


@installed
def test_what_the_tool_says_is_passed_on():
    with pytest.raises(FabricFitError, match=r"iverilog stopped with status.*\n.*syntax error"):
        simulate_verilog("module bench (", "bench", {}, [])
    endless = "module bench; reg x = 0; always #1 x = ~x; endmodule"
    with pytest.raises(TimeLimitError, match=r"vvp did not end within 0\.5 s"):
        simulate_verilog(endless, "bench", {}, [], seconds=0.5)


def test_without_the_tool_it_is_named(monkeypatch):
    monkeypatch.setattr(iverilog.shutil, "which", lambda name: None)
    with pytest.raises(MissingExtraError, match="apt install iverilog"):
        simulate_verilog(BENCH, "bench", {}, [])


@native
def test_a_synthesis_that_takes_too_long_names_its_step():
    code = "module wide (input [63:0] a, b, output [127:0] y); assign y = a * b; endmodule"
    with pytest.raises(TimeLimitError, match=r"within 0\.01 s: it was at the step"):
        synthesize_verilog(code, "wide", dsp=False, seconds=0.01)


@native
def test_sums_that_wrap_keep_their_carry_chains():
    names = "abcdefgh"
    ports = ", ".join(f"input [7:0] {name}" for name in names)
    code = f"module total ({ports}, output [7:0] y); assign y = {' + '.join(names)}; endmodule"
    apart = synthesize_verilog(code, "total", merge_sums=False)
    merged = synthesize_verilog(code, "total")
    assert apart.lut <= 7 * 8 < merged.lut
    assert apart.cells["CARRY4"] == 14


@native
def test_the_version_is_told(tmp_path):
    assert find_version().startswith("Yosys ")
    assert run_yosys("log -stdout seen", tmp_path, seconds=60) == "seen\n"
