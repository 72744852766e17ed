"""The command that finds number formats."""

from __future__ import annotations

import json

from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


def test_a_configuration_is_found_and_written(job, command, tmp_path):
    target = tmp_path / "config.json"
    words = ("calibrate", job.model, "--data", job.folder / "data.npz", "--samples", 48)
    options = ("--loss", "sparse_categorical_crossentropy", "--output", target)
    code, out, _ = command(*words, *options, "--json")
    told = json.loads(out)
    assert code == (0 if told["lossless"] else 4)
    assert json.loads(target.read_text()) == told["config"]
    assert command("estimate", job.model, "--hls-config", target)[0] == 0
    assert command(*words, *options)[0] == 2  # nothing is overwritten
    code, out, _ = command(*words)
    assert code == 0 and "one less: deviation" in out


def test_what_cannot_be_done_is_refused(refused):
    words = ("calibrate", "model.keras", "--data", "data.npz")
    assert "--data" in refused("calibrate", "model.keras")
    assert "--overflow must be one of 'saturate', 'wrap'" in refused(*words, "--overflow", "no")
    assert "--metric needs --loss" in refused(*words, "--metric", "accuracy")
