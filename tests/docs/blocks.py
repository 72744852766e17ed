"""``python blocks.py PAGE``: run every Python block of a page, from top to bottom.

It needs the standard library only, so that it runs in whatever environment fabricfit is installed in.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

__all__ = ["blocks_of", "run_blocks"]


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


if __name__ == "__main__":
    run_blocks(Path(sys.argv[1]))
