"""A full disk ends a run with an error and a folder that resumes; seen on real, small file systems."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.keras, pytest.mark.slow]

NAMESPACE = [] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]


def may_mount(place):
    if sys.platform != "linux" or (NAMESPACE and not shutil.which("unshare")):
        return False
    script = 'mount -t tmpfs tmpfs "$0" && umount "$0"'
    done = subprocess.run([*NAMESPACE, "sh", "-c", script, place], capture_output=True, check=False)
    return done.returncode == 0


def test_a_run_on_a_full_disk_says_so_and_resumes(tmp_path):
    """A run's files are 0.3 MB; Keras' own writing of 13 kB of HDF5 ends the process in some of these."""
    if not may_mount(tmp_path):
        pytest.skip("needs the right to mount a file system")
    sizes = (4, 16, 24, 40, 64, 96, 128, 200, 256, 400)
    done = subprocess.run(
        [*NAMESPACE, sys.executable, "-m", "tests.faults.small_disk", tmp_path / "disk", *map(str, sizes)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert [each["size"] for each in told] == list(sizes)
    for each in told:
        assert each["said"] == "ran" or "No space left on device" in each["said"], each
        assert each["same"] and not each["left"], each
    assert told[0]["said"] != "ran" and told[-1]["said"] == "ran"
