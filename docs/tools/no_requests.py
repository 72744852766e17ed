"""No page asks another host for anything: what it needs is part of the site."""

from __future__ import annotations

import re
from typing import Any

_LOADS = re.compile(
    r"<(?:script|img|iframe|source|video|audio|embed|object)\b[^>]*\b(?:src|data|srcset)=[\"']?(?:https?:)?//[^>]*>"
    r"|<link\b(?![^>]*\brel=[\"']?(?:canonical|alternate|next|prev)\b)[^>]*\bhref=[\"']?(?:https?:)?//[^>]*>"
    r"|<\w+\b[^>]*\bdata-md-component=[\"']?source\b[^>]*>",  # asks for the stars of the repository
    re.IGNORECASE,
)


def find_request(text: str) -> str:
    """Return what a page would load from another host, ``''`` for nothing; links of readers are none."""
    found = _LOADS.search(text)
    return "" if found is None else found[0]


def on_post_page(output: str, page: Any, **kwargs: Any) -> str:
    """Refuse a page that would load something from elsewhere."""
    from mkdocs.exceptions import PluginError

    if found := find_request(output):
        raise PluginError(f"{page.file.src_uri} would ask another host: {found[:200]}")
    return output
