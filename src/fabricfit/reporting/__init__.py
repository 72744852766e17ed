"""Reports for people: a page for the browser, figures, and tables as DataFrames."""

from __future__ import annotations

from fabricfit.reporting.page import REPORT_FILE, read_run, render_page, write_page
from fabricfit.reporting.run_folder import Story

__all__ = ["REPORT_FILE", "Story", "read_run", "render_page", "write_page"]
