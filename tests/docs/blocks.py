"""``python blocks.py PAGE``: run every Python block of a page, from top to bottom.

It needs the standard library only, so that it runs in whatever environment fabricfit is installed in.
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

__all__ = ["blocks_of", "commands_of", "run_blocks"]


def blocks_of(page: Path, language: str = "python") -> list[tuple[int, str]]:
    """Return the line and the text of each block in a language; one with a title is left out."""
    text = page.read_text(encoding="utf-8")
    block = re.compile(rf"^```{language}\n(.*?)^```", re.DOTALL | re.MULTILINE)
    return [(text[: found.start()].count("\n") + 1, found[1]) for found in block.finditer(text)]


def run_blocks(page: Path) -> None:
    """Run the blocks of a page, which share their names."""
    names: dict[str, object] = {"__name__": "__page__"}
    for line, block in blocks_of(page):
        exec(compile("\n" * line + block, str(page), "exec"), names)


def commands_of(page: Path, folder: Path) -> list[tuple[list[str], tuple[int, ...]]]:
    """Return the words of each command of a page, without the program's name, and its good exit codes.

    The file ``run.yaml`` that the page shows is written into a folder.
    """
    for _, text in blocks_of(page, "yaml"):
        if text.startswith("# run.yaml"):
            (folder / "run.yaml").write_text(text, encoding="utf-8")
    lines = [line for _, text in blocks_of(page, "sh") for line in text.splitlines()]
    words = [
        shlex.split(line, comments=True)[1:] for line in lines if line.startswith("fabricfit ")
    ]
    # 4 says that a model does not fit as it is
    return [(each, (0, 4) if each[0] == "estimate" else (0,)) for each in words]


if __name__ == "__main__":
    run_blocks(Path(sys.argv[1]))
