"""What is searched for with an ampersand, such as W&B, found: the index holds it as the page's code does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.plugins import event_priority


@event_priority(-100)  # after the search has written its index
def on_post_build(config: Any, **kwargs: Any) -> None:
    """Write ampersands into the index as readers type them."""
    index = Path(config["site_dir"]) / "search" / "search_index.json"
    text = index.read_text(encoding="utf-8")
    index.write_text(text.replace("&amp;", "&"), encoding="utf-8")
