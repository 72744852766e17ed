from __future__ import annotations

import errno
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabricfit.run import Journal, read_journal

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def written(path, count=5):
    journal = Journal(path)
    for number in range(count):
        journal.append("level", number=number, text="é\n\u2028 x" * number)
    return journal


@given(
    data=st.dictionaries(st.text(min_size=1).filter(lambda k: k not in ("event", "durable")), plain)
)
def test_what_is_written_is_read(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("j") / "journal.jsonl"
    Journal(path).append("anything", **data)
    Journal(path).append("more", durable=True)
    (first, second), size = read_journal(path)
    assert (first.number, first.event, first.data) == (1, "anything", json.loads(json.dumps(data)))
    assert (second.number, second.event) == (2, "more")
    assert size == path.stat().st_size


@given(cut=st.integers(0, 10_000))
def test_a_torn_end_does_not_count(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("j") / "journal.jsonl"
    whole = written(path).records
    content = path.read_bytes()
    cut %= len(content) + 1
    path.write_bytes(content[:cut])
    ends = [i + 1 for i, byte in enumerate(content) if byte == ord("\n")]
    expected = whole[: sum(end <= cut for end in ends)]
    records, size = read_journal(path)
    assert records == expected and content[:size] == content[: ([0, *ends])[len(expected)]]
    again = Journal(path)
    again.append("after")
    assert [r.event for r in read_journal(path)[0]] == [*(r.event for r in expected), "after"]


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_changed_bit_is_seen(tmp_path_factory, place, bit):
    path = tmp_path_factory.mktemp("j") / "journal.jsonl"
    whole = written(path).records
    content = bytearray(path.read_bytes())
    place %= len(content)
    line = content[:place].count(b"\n")
    content[place] ^= 1 << bit
    path.write_bytes(content)
    records, _ = read_journal(path)
    lost = (
        {line, line + 1} if content[place] ^ 1 << bit == ord("\n") else {line}
    )  # two lines in one
    assert records == [each for each in whole if each.number - 1 not in lost]
    Journal(path).append("after")
    assert [r.number for r in read_journal(path)[0]][-1] == (records[-1].number + 1)


def test_a_full_disk_leaves_no_half_record(tmp_path, monkeypatch):
    journal = written(tmp_path / "journal.jsonl")
    size = journal.path.stat().st_size

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        journal.append("lost", durable=True)
    assert journal.path.stat().st_size == size and len(journal.records) == 5
    monkeypatch.undo()
    journal.append("kept", durable=True)
    assert [r.event for r in read_journal(journal.path)[0]][-1] == "kept"
