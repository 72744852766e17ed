"""Signals end a command as Ctrl-C does: a code, no traceback, and the folder to resume."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from fabricfit.cli import main
from fabricfit.cli.signals import TerminatedError, exit_code_of, interruptible


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_signals_interrupt_and_have_their_codes(number, code):
    before = signal.getsignal(number)
    usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    signal.signal(number, usual)  # nohup, and shells in the background, ignore some
    with pytest.raises(KeyboardInterrupt) as found, interruptible():
        signal.raise_signal(number)
    signal.signal(number, before)
    assert exit_code_of(found.value) == code
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_handlers_of_others_and_other_threads_are_left_alone():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with interruptible():
            signal.raise_signal(signal.SIGTERM)
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
    thread = threading.Thread(target=lambda: interruptible().__enter__())
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before


def test_before_a_run_there_is_nothing_to_resume(monkeypatch, capfd):
    from fabricfit.cli import app

    def stop(*_, **__):
        raise TerminatedError(signal.SIGTERM)

    monkeypatch.setattr(app, "app", stop)
    assert main(["devices"]) == 143
    assert "nothing to resume" in capfd.readouterr().err


@pytest.mark.keras
@pytest.mark.skipif(os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow", reason="once")
def test_a_run_that_is_terminated_names_its_folder(job, tmp_path):
    words = [
        sys.executable,
        "-m",
        "fabricfit",
        "optimize",
        "run.yaml",
        "--epochs",
        "4000",
        "--quiet",
    ]
    runs = tmp_path / "runs"
    process = subprocess.Popen(
        [*words, "--output", str(runs)], cwd=job.folder, stderr=subprocess.PIPE, text=True
    )
    try:
        while process.poll() is None:
            journals = [*runs.glob("run-*/journal.jsonl")]
            if journals and '"epoch"' in journals[0].read_text():
                break
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 143, said
    assert f"fabricfit resume {runs / 'run-0001'}" in said.replace("\n", "")
    assert "Traceback" not in said
