"""Reports of finished runs: a web page, figures, and tables as DataFrames."""

from __future__ import annotations

from fabricfit.deprecation import serve_old_names
from fabricfit.reporting.finished_run import FinishedRun
from fabricfit.reporting.page import read_run, render_page, write_page

__all__ = ["FinishedRun", "read_run", "render_page", "write_page"]

__getattr__ = serve_old_names(
    __name__, {"REPORT_FILE": "fabricfit.run.files:PAGE", "Story": "FinishedRun"}
)
