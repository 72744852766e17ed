"""verify() with a synthesis tool: a stand-in that writes a report as Vitis HLS does."""

import os
import stat
from pathlib import Path

import pytest

keras = pytest.importorskip("keras")
hls4ml = pytest.importorskip("hls4ml")

from fabricfit.firmware import verify
from tests.firmware import firmware_models as models
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

REPORTS = Path(__file__).parents[1] / "data" / "reports"


@pytest.fixture
def vitis(tmp_path, monkeypatch):
    """A program that reports the numbers of a file for every project."""
    report = next(REPORTS.glob("*vitis*csynth.xml"))
    tools = tmp_path / "bin"
    tools.mkdir()
    program = tools / "vitis-run"
    program.write_text(
        f"#!/bin/sh\nmkdir -p myproject_prj/solution1/syn/report\n"
        f"cp '{report}' myproject_prj/solution1/syn/report/myproject_csynth.xml\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")


def test_reported_resources_stand_beside_the_estimate(vitis):
    model = models.tagger()
    config = models.tagger_config(model)
    found = verify(model, config, compile=False, synthesis=True, part="xc7z020clg400-1")
    (comparison,) = found.synthesis
    dsp = comparison.resources[0]
    assert dsp.name == "dsp"
    assert dsp.reported is not None
    assert dsp.estimate.value > 0
    assert "reported" in str(found)
    assert "Vitis HLS" in str(found)
    assert found.to_dict()["synthesis"][0]["resources"]["dsp"]["reported"] == dsp.reported
