"""What pages of the site are made of by the program itself: the command line, and the limits of hls4ml."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def load(name):
    """Return a module of the site's own tools."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_and_option_is_on_the_page():
    pytest.importorskip("typer")
    from typer.main import get_command

    from fabricfit.cli.app import app

    page = (ROOT / "docs" / "reference" / "command-line.md").read_text(encoding="utf-8")
    made = load("command_line").on_page_markdown(page)
    assert made != page and "<!--" not in made
    for name, command in get_command(app).commands.items():
        start = made.index(f"## fabricfit {name} ")
        part = made[start : made.find("\n## ", start)]
        for parameter in command.params:
            if parameter.hidden if hasattr(parameter, "hidden") else False:
                continue
            if parameter.param_type_name == "option":
                assert f"`{parameter.opts[0]}" in part, (name, parameter.opts)


def test_every_limit_is_on_its_page():
    from fabricfit.hls4ml.limits import LIMITS

    page = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")
    made = load("limits").on_page_markdown(page)
    assert made != page and "<!--" not in made
    assert all(limit.way_out in made for limit in LIMITS)


def test_other_pages_are_left_alone():
    assert load("limits").on_page_markdown("# A page") == "# A page"


@pytest.mark.parametrize(
    "page",
    [
        '<script src="https://cdn.example.org/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example.org/css">',
        "<img alt='x' src='http://example.org/badge.svg'>",
        '<a class="md-source" href="https://example.org" data-md-component="source">',
    ],
)
def test_a_page_that_asks_another_host_is_found(page):
    found = load("no_requests").find_request(f"<p>text</p>{page}<p>")
    assert found and page.startswith(found)


def test_a_page_may_link_to_other_hosts():
    page = (
        '<a href="https://arxiv.org">x</a> <link rel="canonical" href="https://x/"> <img src="x">'
    )
    assert load("no_requests").find_request(page) == ""
