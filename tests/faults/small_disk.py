"""``python -m tests.faults.small_disk FOLDER SIZE…``: do a run on small file systems, and go on with it.

They have so many kibibytes, and are mounted at FOLDER; the caller must be allowed to, as root or in a
namespace of its own (``unshare -rm``). Prints one line of JSON: how each run ended, and what came out once
there was space.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from .__main__ import child, run


def main() -> None:
    place, sizes = Path(sys.argv[1]), [int(each) for each in sys.argv[2:]]
    place.mkdir(parents=True, exist_ok=True)
    status, whole = child(lambda: run("search", place / "whole", resume=False))
    assert status == 0, whole
    told = []
    for size in sizes:
        mount = ["mount", "-t", "tmpfs", "-o"]
        subprocess.run([*mount, f"size={size}k", "tmpfs", place], check=True)
        try:
            status, said = child(lambda: run("search", place / "runs", resume=False))
            ended = "ran" if status == 0 and said == whole else said if status else "different"
            left = [path.name for path in place.rglob(".partial*")]
            subprocess.run([*mount, "remount,size=64m", "tmpfs", place], check=True)
            again, outcome = child(lambda: run("search", place / "runs", resume=True))
            same = again == 0 and outcome == whole
            told.append({"size": size, "status": status, "said": ended, "left": left, "same": same})
        finally:
            subprocess.run(["umount", place], check=True)
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
