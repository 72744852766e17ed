"""Reports for people: a page for the browser, figures, and tables as DataFrames."""

from __future__ import annotations

from fabricfit.deprecation import serve_old_names
from fabricfit.reporting.page import read_run, render_page, write_page
from fabricfit.reporting.run_folder import Story

__all__ = ["Story", "read_run", "render_page", "write_page"]

__getattr__ = serve_old_names(__name__, {"REPORT_FILE": "fabricfit.run.files:PAGE"})
