"""The tutorial as a notebook that has been run: ``python docs/tools/notebook.py``.

It needs ``nbclient`` and ``ipykernel`` beside what the tutorial itself needs.
"""

from __future__ import annotations

import base64
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat import v4

DOCS = Path(__file__).parents[1]
PAGE, NOTEBOOK = DOCS / "tutorial.md", DOCS / "notebooks" / "tutorial.ipynb"

_BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n.*?^```\n)?", re.DOTALL | re.MULTILINE)
_IMAGE = re.compile(r"!\[([^]]*)\]\((images/[^)]+)\)")
_LINK = re.compile(r"\]\((?!https?:|attachment:)([^)]+)\.md\)")
_ASIDE = re.compile(r"^The \[notebook\]\(.*\n", re.MULTILINE)


def cells_of(text: str) -> list[Any]:
    """Return a page's cells; what its blocks print is left to the notebook."""
    found, position = [], 0
    for block in _BLOCK.finditer(text):
        found += _prose(text[position : block.start()])
        found.append(v4.new_code_cell(block[1].strip()))
        position = block.end()
    return found + _prose(text[position:])


def _prose(text: str) -> list[Any]:
    """Return a cell of text, with its images inside and its links to the pages beside it."""
    images = {Path(path).name: DOCS / path for _, path in _IMAGE.findall(text)}
    text = _IMAGE.sub(lambda found: f"![{found[1]}](attachment:{Path(found[2]).name})", text)
    text = _LINK.sub(r"](../\1.md)", _ASIDE.sub("", text)).strip()
    if not text:
        return []
    cell = v4.new_markdown_cell(text)
    if images:
        cell["attachments"] = {
            name: {"image/png": base64.b64encode(path.read_bytes()).decode()}
            for name, path in images.items()
        }
    return [cell]


def main() -> int:
    """Write the notebook and run it in an empty folder."""
    notebook = v4.new_notebook(cells=cells_of(PAGE.read_text(encoding="utf-8")))
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(
            notebook, timeout=300, record_timing=False, resources={"metadata": {"path": folder}}
        ).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
    NOTEBOOK.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, NOTEBOOK)
    return 0


if __name__ == "__main__":
    sys.exit(main())
