from __future__ import annotations

import errno
import os
import subprocess
import sys

import numpy as np
import pytest

from fabricfit.errors import RunDirectoryError
from fabricfit.run import Recorder, RunDirectory, find_run, read_journal

MANIFEST = {"fingerprint": {"the model": "abc", "the goal": "def"}, "seed": 0}


def recorder(path, manifest=MANIFEST, new=False):
    folder = RunDirectory(path) if new else RunDirectory.existing(path)
    return Recorder(folder, manifest, checkpoint_seconds=0.0)


@pytest.fixture
def begun(tmp_path):
    found = recorder(tmp_path, new=True)
    yield found
    found.close()


def test_the_last_state_of_each_kind_is_found_again(begun):
    for number in range(4):
        begun.save("run", {"number": number, "weights": [np.full(3, number)]})
        begun.save("stretch1", {"epoch": number})
    path = begun.folder.path
    assert len(list(path.glob("run-*.npz"))) == 2
    begun.drop("stretch*")
    begun.close()
    again = recorder(path)
    assert again.state["number"] == 3 and again.checkpointer("stretch1").state is None
    np.testing.assert_array_equal(again.state["weights"][0], np.full(3, 3))
    assert [r.event for r in read_journal(path / "journal.jsonl")[0]][-1] == "resumed"
    again.close()


def test_a_damaged_checkpoint_is_passed_over(begun, caplog):
    for number in range(3):
        begun.save("run", {"number": number})
    path = begun.folder.path
    begun.close()
    last = sorted(path.glob("run-*.npz"))[-1]
    last.write_bytes(last.read_bytes()[:-10])
    again = recorder(path)
    assert again.state == {"number": 1} and "damaged" in caplog.text
    again.close()


def test_another_process_is_locked_out(begun):
    script = (
        "import sys; from pathlib import Path; from fabricfit.run import Recorder, RunDirectory;"
        f"Recorder(RunDirectory.existing(Path(sys.argv[1])), {MANIFEST!r}, 1.0)"
    )
    command = [sys.executable, "-c", script, str(begun.folder.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode and "another process works in" in done.stderr
    begun.close()
    assert subprocess.run(command, check=False).returncode == 0


def test_a_run_that_is_another_one_is_refused_and_not_touched(begun):
    begun.save("run", {"number": 1})
    path = begun.folder.path
    begun.close()
    before = {p.name: p.read_bytes() for p in path.iterdir()}
    other = {"fingerprint": {"the model": "abc", "the goal": "xyz"}}
    with pytest.raises(RunDirectoryError, match="differs in: the goal"):
        recorder(path, other)
    assert {p.name: p.read_bytes() for p in path.iterdir()} == before
    assert find_run(path.parent, other["fingerprint"]) is None
    assert find_run(path.parent, MANIFEST["fingerprint"]) == path
    assert (
        find_run(path, other["fingerprint"]) == path
    )  # named itself: it is for the recorder to refuse


def test_the_latest_run_is_found(tmp_path):
    for _ in range(3):
        recorder(tmp_path, new=True).close()
    assert find_run(tmp_path, MANIFEST["fingerprint"]).name == "run-0003"
    assert find_run(tmp_path / "nowhere", MANIFEST["fingerprint"]) is None


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"fingerprint": 1', '{"fingerprint": null}'])
def test_what_is_no_manifest_is_refused(begun, content):
    begun.close()
    (begun.folder.path / "manifest.json").write_text(content)
    with pytest.raises(RunDirectoryError, match=r"not the manifest|another run"):
        recorder(begun.folder.path)


def test_a_full_disk_is_an_error_that_says_what_to_do(begun, monkeypatch):
    begun.save("run", {"number": 1})

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunDirectoryError, match=r"No space left.*resume=True"):
        begun.save("run", {"number": 2})
    monkeypatch.undo()
    begun.close()
    again = recorder(begun.folder.path)
    assert again.state == {"number": 1}
    again.close()


def test_a_folder_that_cannot_be_written_to_is_refused():
    with pytest.raises(RunDirectoryError, match="Name another one"):
        recorder(__import__("pathlib").Path("/proc/fabricfit"), new=True)


def test_what_a_dead_process_left_half_written_is_cleared_away(begun):
    begun.close()
    path = begun.folder.path / ".partial-123-run-000001.npz"
    path.write_bytes(b"half")
    recorder(begun.folder.path).close()
    assert not path.exists()
    assert not os.access(path, os.F_OK)
