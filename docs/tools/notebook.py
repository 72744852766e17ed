"""Notebooks run from top to bottom: ``python docs/tools/notebook.py [NOTEBOOK …]``.

Without a name it is the tutorial's, made from its page; others are run as they are, and keep what they print.
It needs ``nbclient`` and ``ipykernel`` beside what the notebooks themselves need.
"""

from __future__ import annotations

import base64
import re
import sys
import tempfile
from collections.abc import Sequence
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


def run(notebook: Any, timeout: int = 300) -> Any:
    """Run a notebook in an empty folder; leave out warnings, times and the names of this machine's folders.

    Parameters
    ----------
    notebook
        The notebook; changed.
    timeout
        Seconds that a cell may take.
    """
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(
            notebook, timeout=timeout, record_timing=False, resources={"metadata": {"path": folder}}
        ).execute()
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs = [
                    _tidy(out, folder) for out in cell.outputs if out.get("name") != "stderr"
                ]
    return notebook


def _tidy(output: Any, folder: str) -> Any:
    """Return an output with paths from the notebook's folder on, without the text behind what is shown."""
    if len(output.get("data", {})) > 1:
        output["data"].pop("text/plain", None)
    resolved = str(Path(folder).resolve())
    for place in (resolved, folder):
        if "text" in output:
            output["text"] = output["text"].replace(f"{place}/", "").replace(place, ".")
        for kind, data in output.get("data", {}).items():
            if isinstance(data, str) and not kind.startswith("image/"):
                output["data"][kind] = data.replace(f"{place}/", "").replace(place, ".")
    return output


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


def main(names: Sequence[str]) -> int:
    """Run the notebooks named, or the tutorial."""
    if not names:
        made = v4.new_notebook(cells=cells_of(PAGE.read_text(encoding="utf-8")))
        nbformat.write(run(made), NOTEBOOK)
    for name in names:
        nbformat.write(run(nbformat.read(name, as_version=4)), name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
