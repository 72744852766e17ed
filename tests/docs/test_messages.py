"""Messages that the questions' page quotes are those that fabricfit and hls4ml really print."""

from __future__ import annotations

import ast
import importlib.util
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "faq.md"
GAP = "…"


def quoted(section):
    """Return the messages in the headings of a section of the page."""
    text = PAGE.read_text(encoding="utf-8")
    part = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)[1]
    heads = re.findall(r"^### (.*)$", part, re.MULTILINE)
    return [message for head in heads for message in re.findall(r"`([^`]*)`", head)]


def texts_of(folder):
    """Return the texts in a package's code, with a gap where a value is put in."""
    found = []
    for path in sorted(folder.glob("**/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (
                    part.value if isinstance(part, ast.Constant) else GAP for part in node.values
                )
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


@cache
def messages(package):
    spec = importlib.util.find_spec(package)
    return [" ".join(text.split()) for text in texts_of(Path(spec.origin).parent)]


def is_in(message, texts):
    pieces = [" ".join(piece.split()) for piece in message.split(GAP)]
    return any(_follow(pieces, text) for text in texts)


def _follow(pieces, text):
    """Whether the pieces follow each other in a text."""
    place = 0
    for piece in pieces:
        place = text.find(piece, place)
        if place < 0:
            return False
        place += len(piece)
    return True


def test_fabricfits_own_messages_are_printed():
    told = quoted("Messages of fabricfit")
    assert len(told) > 12
    assert [each for each in told if not is_in(each, messages("fabricfit"))] == []


def test_hls4mls_messages_are_printed():
    pytest.importorskip("hls4ml")
    told = [each for each in quoted("Messages of hls4ml") if len(each.split()) > 4]
    assert len(told) >= 4
    assert [each for each in told if not is_in(each, messages("hls4ml"))] == []


def test_a_message_that_nobody_prints_is_found():
    assert not is_in("… is the name of no flavour of the model", messages("fabricfit"))
    assert is_in("a … c", ["a b c"]) and not is_in("a … d", ["a b c"])
