"""``python -m tests.reporting FOLDER``: take the pictures of the README from the folder of a finished run."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright
from rich.console import Console

from fabricfit.reporting import read_run, write_page
from fabricfit.run import JOURNAL, Status, draw_status, read_journal
from tests.reporting.test_page import CHROMIUM, QUIET

IMAGES = Path(__file__).parents[2] / "docs" / "images"


def main(folder: Path) -> None:
    IMAGES.mkdir(exist_ok=True)
    page_file = write_page(read_run(folder))
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(viewport={"width": 1000, "height": 1180})
        page.goto(page_file.as_uri())
        page.screenshot(path=IMAGES / "report.png")
        browser.close()
    records, _ = read_journal(folder / JOURNAL)
    last = max(n for n, record in enumerate(records) if record.event == "frozen")
    part = records[: last + 3]  # two epochs into the last level
    console = Console(record=True, width=92, file=io.StringIO())
    console.print(draw_status(Status.of(part), part[-1].time))
    console.save_svg(str(IMAGES / "terminal.svg"), title="fabricfit optimize run.yaml")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
