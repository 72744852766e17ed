from __future__ import annotations

import io
import re
import sys

import pytest
import rich.console
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from fabricfit import tables
from fabricfit.tables import WIDTH, Document, Facts, Printable, TextTable, output_width

HEADER = ["layer", "built with", "weights", "DSP", "LUT", "FF", "latency", "remark"]
ROWS = [
    [
        "fc1 (Dense)", "latency, RF 1", "1,024", "763 (762 … 763)", "29,207 (11,273 … 71,802)",
        "4,754 (1,160 … 12,958)", "1 (0 … 2)", "",
    ],
    [
        "a_long_name_of_a_layer_in_a_branch (SeparableConv2D)", "resource_unrolled, RF 16", "64",
        "4", "9", "7", "12", "not optimized: its products need no DSP, so that nothing is saved",
    ],
    ["total", "", "1,088", "767", "29,216", "4,761", "13", ""],
]  # fmt: skip
TABLE = TextTable(HEADER, ROWS, frozenset((0, 1, 7)), closing=1)


def test_a_wide_table_has_one_line_for_each_row():
    lines = TABLE.lines(260)
    assert len(lines) == len(ROWS) + 3
    assert lines[0].split()[:3] == ["layer", "built", "with"] and set(lines[1]) == {"─"}
    assert lines[4] == lines[1] and lines[5].startswith("total")
    ends = [line.index(each) + len(each) for line, each in zip(
        (lines[2], lines[3], lines[5]), ("1,024", " 64", "1,088"), strict=True)]  # fmt: skip
    assert len(set(ends)) == 1


def test_columns_that_do_not_fit_continue_below_with_the_names_again():
    lines = TABLE.lines(80)
    assert max(map(len, lines)) <= 80
    parts = "\n".join(lines).split("\n\n")
    assert len(parts) > 1 and all(part.split()[0] == "layer" for part in parts)
    assert sum("total" in part for part in parts) == len(parts)
    for row in ROWS:
        assert all(cell in "\n".join(lines) for cell in row[2:7])


cell = st.from_regex(r"[0-9]{1,3}(,[0-9]{3}){0,2}( \([0-9]{1,4} … [0-9]{1,4}\))?", fullmatch=True)
name = st.text("abc_ ", min_size=1, max_size=60)


@given(
    st.integers(2, 9).flatmap(
        lambda n: st.lists(
            st.tuples(name, *[cell] * (n - 1)), min_size=1, max_size=4
        )  # rows of a name and numbers
    ),
    st.integers(50, 200),
)
def test_no_number_is_ever_broken(rows, width):
    header = ["layer", *(f"unit {n}" for n in range(1, len(rows[0])))]
    lines = TextTable(header, rows, closing=1).lines(width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for number in (number for row in rows for number in row[1:]):
        assert number in text
    letters = "".join(filter(lambda c: c in "abc_", text))
    assert all("".join(row[0].split()) in letters for row in rows[:1])


def test_an_output_that_is_no_terminal_has_a_fixed_width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "33")
    assert output_width() == WIDTH
    monkeypatch.setattr(sys, "stdout", None)
    assert output_width() == WIDTH


def test_a_terminal_is_filled(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "72")
    assert output_width() == 72
    assert max(map(len, TABLE.lines())) <= 72


def test_an_output_without_unicode_has_plain_rules(monkeypatch):
    class Latin(io.StringIO):
        encoding = "latin-1"

    monkeypatch.setattr(tables.sys, "stdout", Latin())
    text = "\n".join(TextTable(["layer", "DSP"], [["fc", "4"]]).lines())
    assert text.encode("latin-1") and "fc" in text


def test_a_console_draws_it_at_its_own_width_with_a_title():
    console = Console(width=90, file=io.StringIO(), record=True)
    console.print(TextTable(HEADER, ROWS, frozenset((0, 1, 7)), closing=1, title="What is used"))
    lines = console.export_text().splitlines()
    assert lines[0].strip() == "What is used" and max(map(len, lines)) <= 90
    assert sum("What is used" in line for line in lines) == 1


def test_a_notebook_gets_the_text_of_a_table_too(monkeypatch):
    expected = TABLE.lines(90)
    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert TABLE.lines(90) == expected


SENTENCE = "a sentence of many words that goes on and on, with a path /a/b/" + "c" * 60
DOCUMENT = Document(
    [TABLE, SENTENCE, "  set in: " + "word " * 30, Facts([("metric", "0.62 → 0.63 " * 12)])]
)


@pytest.mark.parametrize("width", [24, 60, 80, 132])
def test_nothing_is_wider_than_the_terminal_and_nothing_is_lost(width):
    lines = DOCUMENT.lines(width)
    assert max(map(cell_len, lines)) <= width
    letters = "".join("".join(lines).split())
    assert "".join(SENTENCE.split()) in letters
    assert letters.count("0.62→0.63") == 12 or width == 24
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(DOCUMENT)
    assert [line.rstrip() for line in console.export_text().splitlines()] == lines


def test_sentences_of_a_file_are_whole_lines():
    assert SENTENCE in str(DOCUMENT).splitlines()


def test_a_notebook_shows_tables_in_which_names_are_text():
    told = TextTable(["<b>", "DSP"], [["a\x1b[31m&\n", "4"], ["total", "4"]], closing=1)
    shown = Document([told, "x < y\nz", Facts([("<i>", "&")])]).to_html()
    tags = set(re.findall(r"<(\w+)", shown))
    assert tags == {"div", "table", "thead", "tbody", "tr", "th", "td", "p", "br"}
    for part in ("&lt;b&gt;", r"a\x1b[31m&amp;\n", "x &lt; y<br>z", "&lt;i&gt;"):
        assert part in shown
    assert "font-weight: bold" in shown.split("<tbody>")[1].split("<tr>")[2]


def test_control_characters_do_not_reach_the_terminal():
    told = TextTable(["layer", "DSP"], [["a\x1b[2J\r\nb", "4"]])
    assert r"a\x1b[2J\r\nb  " in "\n".join(told.lines())


def test_what_prints_tables_does_so_everywhere():
    class Printed(Printable):
        def _make_document(self):
            return DOCUMENT

    assert str(Printed()) == str(DOCUMENT) and Printed()._repr_html_() == DOCUMENT.to_html()
    console = Console(width=70, file=io.StringIO(), record=True)
    console.print(Printed())
    assert console.export_text().rstrip().splitlines()[0] == DOCUMENT.lines(70)[0]
