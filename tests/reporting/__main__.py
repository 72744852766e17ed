"""``python -m tests.reporting FOLDER``: take the pictures of the documentation from a finished run.

Pictures of print need ``pdftoppm`` (Poppler).
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright
from rich.console import Console

from fabricfit.reporting import read_run, write_page
from fabricfit.run import JOURNAL, Status, draw_status, read_journal
from tests.reporting.test_page import CHROMIUM, QUIET

IMAGES = Path(__file__).parents[2] / "docs" / "images"


PICTURES = (
    ("report.png", "light", (1280, 1000), ""),
    ("report-dark.png", "dark", (1280, 1000), "On test data"),
    ("report-narrow.png", "light", (360, 1000), ""),
)
"""File, theme, size, and the heading that is scrolled to."""


def _join_pages(place: Path) -> None:
    """Put the first pages of print side by side."""
    subprocess.run(
        ["pdftoppm", "-r", "55", "-l", "3", "-png", "page.pdf", "page"], cwd=place, check=True
    )
    pages = [Image.open(each) for each in sorted(place.glob("page-*.png"))]
    whole = Image.new("RGB", (sum(each.width + 8 for each in pages) - 8, pages[0].height), "#888")
    for number, each in enumerate(pages):
        whole.paste(each, (number * (each.width + 8), 0))
    whole.save(IMAGES / "report-print.png", optimize=True)


def main(folder: Path) -> None:
    IMAGES.mkdir(exist_ok=True)
    page_file = write_page(read_run(folder))
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        for name, scheme, size, heading in PICTURES:
            width, height = size
            context = browser.new_context(
                color_scheme=scheme, viewport={"width": width, "height": height}
            )
            page = context.new_page()
            page.goto(page_file.as_uri())
            if heading:
                page.get_by_role("heading", name=heading).first.evaluate("e => e.scrollIntoView()")
            page.screenshot(path=IMAGES / name)
            context.close()
        page = browser.new_page()
        page.goto(page_file.as_uri())
        with tempfile.TemporaryDirectory() as place:
            page.pdf(path=f"{place}/page.pdf", prefer_css_page_size=True, print_background=True)
            _join_pages(Path(place))
        browser.close()
    records, _ = read_journal(folder / JOURNAL)
    last = max(n for n, record in enumerate(records) if record.event == "frozen")
    part = records[: last + 3]  # two epochs into the last level
    console = Console(record=True, width=92, file=io.StringIO())
    console.print(draw_status(Status.of(part), part[-1].time))
    console.save_svg(str(IMAGES / "terminal.svg"), title="fabricfit optimize run.yaml")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
