"""What hls4ml does not build, read from the table that fabricfit itself uses when the site is built."""

from __future__ import annotations

from typing import Any

from fabricfit.hls4ml.findings import Verdict
from fabricfit.hls4ml.limits import LIMITS

_MARK = "<!-- limits of hls4ml -->"
_TOLD = {
    Verdict.REFUSED: "refused",
    Verdict.WORKED_AROUND: "worked around",
    Verdict.WARNED: "a warning",
}


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Put the table in the place of the mark on a page."""
    return markdown.replace(_MARK, describe()) if _MARK in markdown else markdown


def describe() -> str:
    """Return the table in Markdown."""
    rows = []
    for limit in LIMITS:
        effect = limit.effect.format(kind="the layer")
        rows.append(f"| {limit.name} | {effect} | {limit.way_out} | {_TOLD[limit.verdict]} |")
    return "\n".join(["| what | hls4ml … | the way out | `fit` |", "|---|---|---|---|", *rows])
