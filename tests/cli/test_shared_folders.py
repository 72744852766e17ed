"""Two commands at once: in one directory each has a folder of its own, and a run's folder takes one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from filelock import FileLock

pytestmark = [pytest.mark.keras, pytest.mark.slow]


def start(job, *words):
    command = [sys.executable, "-m", "fabricfit", *map(str, words), "--quiet"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        command, cwd=job.folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_two_runs_in_one_directory_have_folders_of_their_own(job, tmp_path):
    both = [start(job, "optimize", "run.yaml", "--output", tmp_path) for _ in range(2)]
    for process in both:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run-0001", "run-0002"]
    first, second = (tmp_path / name for name in ("run-0001", "run-0002"))
    assert (first / "best.weights.h5").stat().st_size == (second / "best.weights.h5").stat().st_size


def test_a_second_command_in_the_folder_of_a_run_is_refused(job, tmp_path, monkeypatch, command):
    monkeypatch.chdir(job.folder)
    code, *_ = command("optimize", "run.yaml", "--output", tmp_path, "--quiet")
    assert code == 0
    with FileLock(tmp_path / "run-0001" / "lock"):  # as the process of a run holds it
        code, _, said = command("resume", tmp_path / "run-0001", "--quiet")
    assert code == 2 and "another process works in" in said.replace("\n", " ")
