"""Programs within limits of time and memory, and what a verification says where they do not suffice."""

import logging
import sys
import time

import pytest

from fabricfit.errors import InvalidInputError
from fabricfit.firmware.bounded import LimitExceededError, Limits, run_bounded
from fabricfit.firmware.simulation import _compile_beside
from fabricfit.run.stages import Progress

PYTHON = [sys.executable, "-c"]


def test_a_program_tells_its_status_and_what_it_printed():
    lines = []
    script = "import sys; print('a'); print('b', file=sys.stderr); sys.exit(3)"
    status, printed = run_bounded([*PYTHON, script], Limits(), "it", on_line=lines.append)
    assert status == 3
    assert sorted(lines) == ["a\n", "b\n"]
    assert sorted(printed.split()) == ["a", "b"]


def test_a_program_and_its_children_are_stopped_in_time(tmp_path):
    late = tmp_path / "late.py"
    late.write_text(f"import time; time.sleep(2); open({str(tmp_path / 'late')!r}, 'w')")
    script = (
        "import subprocess, sys, time; "
        f"subprocess.Popen([sys.executable, {str(late)!r}]); time.sleep(60)"
    )
    with pytest.raises(LimitExceededError, match=r"it took more than the 0.5 s .*time_limit"):
        run_bounded([*PYTHON, script], Limits(0.5), "it")
    time.sleep(2.2)
    assert not (tmp_path / "late").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit memory")
def test_a_program_is_stopped_at_its_memory():
    with pytest.raises(LimitExceededError, match=r"0\.5 GiB of memory"):
        script = (
            "try:\n x = bytearray(2**30)\nexcept MemoryError:\n raise SystemExit('out of memory')"
        )
        run_bounded([*PYTHON, script], Limits(memory_gib=0.5), "it")
    status, _ = run_bounded([*PYTHON, script], Limits(memory_gib=4), "it")
    assert status == 0


@pytest.mark.parametrize("value", [0, -1, float("nan"), "much", True])
def test_limits_are_checked(value):
    with pytest.raises(InvalidInputError, match="time_limit must be a number above 0"):
        Limits(value)
    with pytest.raises(InvalidInputError, match="memory_limit must be a number above 0"):
        Limits(None, value)


def test_limits_are_told():
    assert str(Limits()) == "without a limit"
    assert str(Limits(600, 8)) == "at most 600 s and 8 GiB of memory"


SCRIPT = """#!/bin/bash
CC={compiler}
CFLAGS="-O3"
${CC} ${CFLAGS} -c firmware/a.cpp -o a.o
${CC} ${CFLAGS} -c b.cpp -o b.o
${CC} ${CFLAGS} -shared a.o b.o -o lib.so
rm -f *.o
"""


def run_script(folder, compiler):
    (folder / "compiler").write_text(compiler)
    (folder / "compiler").chmod(0o755)
    (folder / "build.sh").write_text(
        _compile_beside(SCRIPT.replace("{compiler}", str(folder / "compiler")))
    )
    return run_bounded(["bash", "build.sh"], Limits(60), "it", cwd=folder)


def test_files_are_compiled_at_the_same_time_and_then_linked(tmp_path):
    # Each of the two waits until the other has begun.
    compiler = """#!/bin/bash
if [[ "$*" == *-shared* ]]; then cat a.o b.o > lib.so; exit; fi
out=${@: -1}; other=$([ $out = a.o ] && echo b || echo a); touch $out.begun
for i in $(seq 100); do [ -e $other.o.begun ] && break; sleep 0.05; done
[ -e $other.o.begun ] && echo $out > $out
"""
    status, printed = run_script(tmp_path, compiler)
    assert status == 0, printed
    assert (tmp_path / "lib.so").read_text().split() == ["a.o", "b.o"]


def test_a_file_that_does_not_compile_ends_the_script(tmp_path):
    compiler = '#!/bin/bash\n[[ "$*" == *a.cpp* ]] && { echo no; exit 1; }; touch "${@: -1}"\n'
    status, printed = run_script(tmp_path, compiler)
    assert status == 1
    assert "no" in printed
    assert not (tmp_path / "lib.so").exists()


def test_progress_tells_what_is_done_and_the_time_left(caplog):
    with caplog.at_level(logging.INFO, "fabricfit"):
        progress = Progress("simulated", 4, "samples", every=0)
        for _ in range(4):
            progress.add()
    assert [each.message.split(",")[0] for each in caplog.records] == [
        f"simulated {k} of 4 samples" for k in (1, 2, 3)
    ]
    assert all("s left" in each.message for each in caplog.records)


@pytest.mark.keras
def test_long_searches_of_hls4ml_are_announced(monkeypatch, caplog):
    pytest.importorskip("hls4ml")
    import keras

    from fabricfit.errors import FabricFitError
    from fabricfit.firmware import verification

    def stop(*args, **options):
        raise FabricFitError("stopped")

    monkeypatch.setattr(verification, "convert", stop)
    model = keras.Sequential([keras.Input((128,)), keras.layers.Dense(128, name="wide")])
    for strategy in ("distributed_arithmetic", "Resource"):
        config = {
            "Model": {"Precision": "fixed<16,6>", "ReuseFactor": 128, "Strategy": strategy},
            "LayerName": {
                "wide": {"Strategy": strategy, "ReuseFactor": 1 if strategy != "Resource" else 128}
            },
        }
        caplog.clear()
        with pytest.raises(FabricFitError, match="stopped"):
            verification.verify(model, config)
        said = "'wide' with 16,384 weights" in caplog.text
        assert said == (strategy == "distributed_arithmetic")


@pytest.mark.keras
def test_a_design_that_takes_too_long_is_only_counted(monkeypatch):
    pytest.importorskip("hls4ml")
    from fabricfit.firmware import verification
    from tests.firmware import firmware_models as models

    def take_too_long(hls_model, limits):
        raise LimitExceededError("compiling the generated code took more than the 5 s")

    monkeypatch.setattr(verification, "compile_project", take_too_long)
    model = models.tagger()
    found = verification.verify(model, models.tagger_config(model), time_limit=5)
    assert found.outcome is verification.Outcome.NOT_PROVEN
    assert found.counts_agree
    assert not found.compiled
    assert "took more than the 5 s: only its multipliers were counted" in str(found)


def test_long_code_is_compiled_with_less_optimization(tmp_path):
    from types import SimpleNamespace

    from fabricfit.firmware import simulation

    code = tmp_path / "firmware" / "nnet_utils"
    code.mkdir(parents=True)
    config = SimpleNamespace(
        get_output_dir=lambda: str(tmp_path),
        get_project_name=lambda: "lib",
        get_config_value=lambda name: "1",
    )
    script = '#!/bin/bash\nCFLAGS="-O3 -fPIC"\necho "$CFLAGS" > firmware/lib-1.so\n'
    for lines, expected in ((10, "-O3 -fPIC"), (200_000, "-O1 -fno-inline -fPIC")):
        (code / "nnet_code_gen.h").write_text("x;\n" * lines)
        (tmp_path / "build_lib.sh").write_text(script)
        library = simulation.compile_project(SimpleNamespace(config=config))
        assert library.read_text().strip() == expected
