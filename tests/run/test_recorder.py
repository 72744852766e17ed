from __future__ import annotations

import errno
import json
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


def test_a_damaged_line_costs_that_line(begun):
    for number in range(3):
        begun.save("run", {"number": number})
        begun.mark("epoch", epoch=number)
    begun.close()
    journal = begun.folder.path / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"checkpoint", b"checkpeint")
    journal.write_bytes(b"".join(lines))
    again = recorder(begun.folder.path)
    assert again.state == {"number": 2}
    again.close()


def test_new_checkpoints_live_on_whatever_stale_files_there_are(begun):
    begun.save("run", {"number": 0})
    begun.close()
    path = begun.folder.path
    for name in ("run-000900.npz", "run-1000000.npz", "stretch7-000003.npz"):
        (path / name).write_bytes(b"of a journal that was lost")
    (path / "mine.npz").write_bytes(b"")
    again = recorder(path)
    assert again.state == {"number": 0}
    for number in (1, 2, 3):
        again.save("run", {"number": number})
    again.close()
    last = recorder(path)
    assert last.state == {"number": 3}
    last.close()
    names = sorted(each.name for each in path.glob("*.npz"))
    assert len(names) == 3 and "mine.npz" in names and "run-000900.npz" not in names


def test_without_a_journal_a_run_begins_anew(begun):
    begun.save("run", {"number": 0})
    begun.close()
    (begun.folder.path / "journal.jsonl").unlink()
    again = recorder(begun.folder.path)
    assert again.state is None and not list(begun.folder.path.glob("*.npz"))
    again.close()


@pytest.mark.parametrize(
    "name", ["journal.jsonl", "manifest.json", "lock", "run-000002.npz", "more"]
)
def test_links_in_a_folder_are_refused(begun, name, tmp_path):
    begun.save("run", {"number": 0})
    begun.close()
    path, elsewhere = begun.folder.path / name, tmp_path / "elsewhere"
    if path.exists():
        path.replace(elsewhere)
    else:
        elsewhere.write_bytes(b"another's")
    path.symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    with pytest.raises(RunDirectoryError, match="must hold files and folders alone"):
        recorder(begun.folder.path)
    assert elsewhere.read_bytes() == before
    assert find_run(tmp_path, MANIFEST["fingerprint"]) is None


def test_a_pipe_in_a_folder_is_refused(begun):
    begun.close()
    (begun.folder.path / "manifest.json").unlink()
    os.mkfifo(begun.folder.path / "manifest.json")
    with pytest.raises(RunDirectoryError, match="Received a link, pipe or device"):
        recorder(begun.folder.path)
    assert find_run(begun.folder.path.parent, MANIFEST["fingerprint"]) is None


def test_foreign_neighbours_do_not_hide_a_run(tmp_path):
    recorder(tmp_path, new=True).close()
    contents = {
        "run-0002": b"\xff\xfe",
        "run-0003": b"[" * 100_000,
        "run-0004": b'{"fingerprint": {"a": [1]}}',
        "run-0005": b"1" * 5000,
        "zzz": b"",
    }
    for name, content in contents.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_bytes(content)
    (tmp_path / "run-0006" / "manifest.json").mkdir(parents=True)
    (tmp_path / "run-0007").mkdir()
    (tmp_path / "run-0007" / "manifest.json").symlink_to(tmp_path / "run-0001" / "manifest.json")
    (tmp_path / "run-0008").symlink_to(tmp_path / "run-0001")
    (tmp_path / "run-0009").write_text("no folder")
    assert find_run(tmp_path, MANIFEST["fingerprint"]).name == "run-0001"


def test_numbers_of_runs_are_numbers(tmp_path):
    for name in ("run-9999", "run-10000"):
        (tmp_path / name).mkdir()
        recorder(tmp_path / name).close()
    assert find_run(tmp_path, MANIFEST["fingerprint"]).name == "run-10000"
    assert RunDirectory(tmp_path).path.name == "run-10001"


def test_a_run_of_another_form_is_refused_with_the_version_that_began_it(begun):
    begun.close()
    path = begun.folder.path / "manifest.json"
    told = json.loads(path.read_text())
    told |= {"form": 1, "environment": {"fabricfit": "0.0.1"}}
    path.write_text(json.dumps(told))
    with pytest.raises(RunDirectoryError, match=r"begun by fabricfit 0\.0\.1.*another form"):
        recorder(begun.folder.path)
    assert find_run(begun.folder.path.parent, MANIFEST["fingerprint"]) is None


class Counter:
    """Something of a caller's whose state may be unreadable."""

    def __init__(self, is_whole=True):
        self.count, self.is_whole, self.remarks = 0, is_whole, ()

    def pack(self):
        return {"count": self.count}

    def restore(self, state):
        self.count = state["count"]


def test_what_is_attached_comes_back_with_the_state_that_is_resumed(tmp_path):
    first, counter = recorder(tmp_path, new=True), Counter()
    counter.count = 5
    first.attach(counter)
    first.close()
    again, fresh = recorder(first.folder.path), Counter()
    again.attach(fresh)
    assert fresh.count == 5  # as it was when the run began
    fresh.count = 6
    again.save("run", {"number": 1})
    fresh.count = 7
    again.save("stretch1", {"epoch": 1})
    again.close()
    last, third = recorder(first.folder.path), Counter()
    last.attach(third)
    assert third.count == 6 and last.state == {"number": 1}
    stretch = last.checkpointer("stretch1")
    assert stretch.state == {"epoch": 1}
    stretch.restore_attached()
    assert third.count == 7
    last.close()


def test_there_is_no_checkpoint_between_epochs_of_what_cannot_be_read(begun):
    assert begun.checkpointer("stretch1").is_due
    begun.attach(Counter(is_whole=False))
    assert not begun.checkpointer("stretch1").is_due
