"""Texts that others wrote: few bytes never cost much, and what is refused is named with its line."""

from __future__ import annotations

import os
import time

import pytest

from fabricfit.errors import InvalidInputError
from fabricfit.reading import DEPTH, parse_json, parse_toml, parse_yaml, read_bytes, read_text


def laughs(depth, width):
    lines = [f"x0: &x0 [{', '.join(['a'] * width)}]"]
    lines += [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * width)}]" for n in range(1, depth)]
    return "\n".join(lines)


def merges(depth):
    lines = ["x0: &x0 {a: 1, b: 2}"]
    lines += [f"x{n}: &x{n} {{<<: [*x{n - 1}, *x{n - 1}]}}" for n in range(1, depth)]
    return "\n".join(lines)


YAML = {
    "aliases that grow": (laughs(9, 9), r"line \d+: .*more than [\d,]+ values"),
    "aliases that deepen": (
        "x0: &x0 [1]\n" + "\n".join(f"x{n}: &x{n} [*x{n - 1}]" for n in range(1, 300)),
        r"line \d+: .*more than 100 deep",
    ),
    "merges that grow": (merges(60), r"line \d+: .*(values|deep)"),
    "a mapping in itself": ("a: 1\nb: &b {x: *b}", "line 2: .*'b' holds itself"),
    "a list in itself": ("a: &a [1, *a]", "line 1: .*'a' holds itself"),
    "lists in lists": ("[" * 200_000, "line 1: .*(nesting|deep)"),
    "mappings in mappings": ("a: " + "{a: " * 900 + "1" + "}" * 900, "line 1: .*more than 100 deep"),
    "dashes": ("- " * 100_000, "line 1: .*more than 100 deep"),
    "a name twice": ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3", "line 5: .*'c' is there twice"),
    "a number twice": ("1: a\n0x1: b", "line 2: .*'1' is there twice"),
    "a merge twice": ("a: &a {b: 1}\nc:\n  <<: *a\n  <<: *a", "line 4: .*'<<' is there twice"),
    "a list as a name": ("a: 1\n? [b]\n: 1", "line 2: .*cannot be a name"),
    "an integer without end": ("a: 1\nb: " + "9" * 5000, "line 2: .*number has 5,000 digits"),
    "an integer in hexadecimal": ("a: 0x" + "F" * 900, "more than 300 digits"),
    "minutes without end": ("a: 1" + ":59" * 100_000, "line 1: .*number has"),
    "a date that is none": ("a: 1\nb: 2026-13-45", "line 2: .*'2026-13-45' is no timestamp"),
    "a truth that is none": ("a: 1\nb: [1, !!bool x]", "line 2: .*'x' is no bool"),
    "an object": ("!!python/object/apply:os.system ['true']", "line 1: .*constructor"),
    "two documents": ("---\na: 1\n---\nb: 1", "line 3: .*document"),
    "nothing of that name": ("a: *b", "line 1: .*alias"),
    "half of a character": ('a: "\\ud800"', "line 1"),
}  # fmt: skip

JSON = {
    "lists in lists": ("[" * 200_000, "more than 100 deep"),
    "deep enough for Python": ("[" * 150 + "]" * 150, "more than 100 deep"),
    "a name twice": ('{"a": {"b": "a:"},\n "c": [{"d": 1,\n "d": 2}]}', "line 3: .*'d' is there twice"),
    "a name twice, otherwise spelt": ('{"a": 1, "\\u0061": 2}', "line 1: .*'a' is there twice"),
    "no number": ('{"a": NaN}', "NaN is no finite number"),
    "infinity": ('{"a": -Infinity}', "no finite number"),
    "a large number": ('{"a": 1e999}', "1e999 is no finite number"),
    "an integer without end": ("9" * 5000, "5,000 digits"),
    "an integer that is no float": ("9" * 401, "401 digits"),
    "half of a character": ('"\\ud800"', "lone surrogate"),
    "more behind it": ("{}\n x", "line 2: .*Extra data"),
    "no text": (b"\xff\xfe\x00", "not valid JSON"),
    "nothing": ("", "line 1"),
}  # fmt: skip

TOML = {
    "a name twice": ("a = 1\na = 2", "line 2: .*overwrite"),
    "a table twice": ("[a]\nb = 1\n[a]\nc = 2", "line 3"),
    "lists in lists": ("a = " + "[" * 3000 + "]" * 3000, "more than 100 deep"),
    "tables in tables": ("a = " + "{a = " * 800 + "1" + "}" * 800, "more than 100 deep"),
    "a name of many parts": ("[" + ".".join("a" * 100_000) + "]", "line 1: .*more than 100 parts"),
    "a quoted name of many parts": ("b = 1\n" + '"a".' * 50_000 + "a = 1", "line 2: .*100 parts"),
    "an integer without end": ("a = " + "9" * 5000, "more than 300 digits"),
    "an integer in hexadecimal": ("a = 0x" + "F" * 100_000, "more than 300 digits"),
    "a date that is none": ("a = 1\nb = 2026-13-45", "line 2"),
}


@pytest.mark.parametrize(
    ("parse", "case"),
    [
        pytest.param(parse, case, id=f"{parse.__name__}-{name}")
        for parse, cases in ((parse_yaml, YAML), (parse_json, JSON), (parse_toml, TOML))
        for name, case in cases.items()
    ],
)
def test_hostile_texts_are_refused_at_once(parse, case):
    text, said = case
    begun = time.process_time()
    with pytest.raises(InvalidInputError, match=f"^it.*{said}") as told:
        parse(text, "it")
    assert time.process_time() - begun < 10
    assert len(str(told.value)) < 400


def test_aliases_that_cost_little_are_followed():
    text = "a: &a {x: 1, y: [1, 2]}\nb: *a\nc: {<<: *a, x: 3}\nd: [*a, *a]"
    values, lines = parse_yaml(text, "it")
    assert values == {
        "a": {"x": 1, "y": [1, 2]},
        "b": {"x": 1, "y": [1, 2]},
        "c": {"x": 3, "y": [1, 2]},
        "d": [{"x": 1, "y": [1, 2]}] * 2,
    }
    assert lines["d",] == 4 and lines["a", "y"] == 1 and lines["c", "x"] == 3


def test_what_is_deep_but_not_too_deep_is_read():
    deep = "[" * DEPTH + "]" * DEPTH
    assert parse_json(deep, "it") == parse_yaml(deep, "it")[0]
    assert parse_toml(f"a = {deep[1:-1]}", "it")[0] == {"a": parse_json(deep[1:-1], "it")}
    assert parse_yaml("", "it") == (None, {})


def test_numbers_that_json_does_not_have_are_read_where_that_is_asked_for():
    found = parse_json('{"a": [NaN, Infinity, -Infinity, 1e999, 2.5]}', "it", finite=False)["a"]
    assert found[0] != found[0] and found[1:] == [float("inf"), -float("inf"), float("inf"), 2.5]


def test_only_regular_files_of_a_size_are_read(tmp_path):
    (tmp_path / "it").write_bytes(b"\xef\xbb\xbfabc")
    assert read_text(tmp_path / "it", 10) == "abc"
    assert read_bytes(tmp_path / "it", 6) == b"\xef\xbb\xbfabc"
    with pytest.raises(InvalidInputError, match=r"at most 5 bytes .* It has 6"):
        read_bytes(tmp_path / "it", 5)
    (tmp_path / "it").write_bytes(b"a\nb\n\xff")
    with pytest.raises(InvalidInputError, match="it, line 3: not text in UTF-8"):
        read_text(tmp_path / "it", 10)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    wrong = {
        "pipe": "It is a pipe",
        ".": "It is a folder",
        "loop": "cannot be read",
        "no": "cannot",
    }
    for name, said in {**wrong, "/dev/zero": "It is a device", "x" * 999: "too long"}.items():
        with pytest.raises(InvalidInputError, match=said) as told:
            read_bytes(tmp_path / name, 10)
        assert len(str(told.value)) < 500
