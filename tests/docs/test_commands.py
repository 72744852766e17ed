"""Every command that the pages of the site show runs in a shell, page by page, from top to bottom."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fabricfit.cli import main
from tests.docs.blocks import blocks_of
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docs"
COMMAND = re.compile(r"^(fabricfit|python) .*$", re.MULTILINE)


def commands(page):
    return [found[0] for _, text in blocks_of(page, "sh") for found in COMMAND.finditer(text)]


PAGES = [page for page in sorted(SITE.glob("**/*.md")) if commands(page)]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with what the pages take for granted: a small tagger, some jets and configurations."""
    import keras
    import yaml

    from fabricfit.datasets import load_jets

    folder = tmp_path_factory.mktemp("project")
    jets = load_jets()
    keras.utils.set_random_seed(0)
    layers = keras.layers
    tagger = keras.Sequential(
        [
            keras.Input((16,)),
            layers.Dense(8, activation="relu", name="fc1"),
            layers.Dense(5, activation="softmax", name="out"),
        ]
    )
    tagger.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    tagger.fit(jets.X_train[:1000], jets.y_train[:1000], epochs=2, verbose=0)
    tagger.save(folder / "tagger.keras")
    tagger.save(folder / "pretrainedResnet.h5")
    np.savez(folder / "jets.npz", X=jets.X_train[:1000], y=jets.y_train[:1000])
    for strategy, reuse in {"latency": 1, "resource": 4}.items():
        model = {"Precision": "fixed<16,6>", "ReuseFactor": reuse, "Strategy": strategy.title()}
        (folder / f"{strategy}.yml").write_text(yaml.safe_dump({"Model": model}))
    hls = folder / "my-hls-test"
    hls.mkdir()
    tagger.save(hls / "keras_model.keras")
    model = {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}
    told = {"HLSConfig": {"Model": model}, "KerasModel": "keras_model.keras"}
    (hls / "hls4ml_config.yml").write_text(yaml.safe_dump(told))
    (page_file,) = (
        text
        for _, text in blocks_of(SITE / "howto" / "command-line.md", "yaml")
        if text.startswith("# fabricfit optimize run.yaml")
    )
    (folder / "run.yaml").write_text(page_file, encoding="utf-8")
    return folder


def run(command):
    """Run a command: here if it is of fabricfit alone, which spares starting a backend, else in a shell."""
    if command.startswith("fabricfit ") and ">" not in command:
        return main(shlex.split(command, comments=True)[1:])
    programs = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(command, shell=True, env=environment, timeout=300, check=False).returncode


@pytest.mark.skipif(
    os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow", reason="run on one backend"
)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(SITE)))
def test_commands_run(project, page, tmp_path, monkeypatch, capfd):
    folder = shutil.copytree(project, tmp_path / "project")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if page.name == "resume.md":  # it resumes a run that was begun
        assert run("fabricfit optimize run.yaml --epochs 2") == 0
        told = (folder / "run.yaml").read_text().replace("epochs: 10", "epochs: 2")
        (folder / "run.yaml").write_text(told)
    for command in commands(page):
        code = run(command)
        assert code == 0, f"{command}\n{capfd.readouterr().err[-4000:]}"


def test_there_are_pages():
    assert {page.name for page in PAGES} >= {
        "command-line.md",
        "calibrate.md",
        "explore.md",
        "load.md",
        "resume.md",
    }
    assert sum(len(commands(page)) for page in PAGES) >= 20
