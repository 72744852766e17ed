"""The page about callbacks, with TensorBoard: its epochs go on through all stretches."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.marks import ON_ONE_BACKEND

pytest.importorskip("tensorboard")
pytestmark = [*ON_ONE_BACKEND, pytest.mark.slow]

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "callbacks.md"


def test_tensorboard_shows_a_run_on_one_axis(tmp_path, monkeypatch):
    pytest.importorskip("tensorflow")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(
        r'^```python(?: title="needs tensorboard")?\n(.*?)^```', text, re.DOTALL | re.MULTILINE
    )
    names: dict[str, object] = {"__name__": "__page__"}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    events = EventAccumulator(str(tmp_path / "logs" / "train"))
    events.Reload()
    steps = sorted(event.step for event in events.Tensors("epoch_loss"))
    assert steps == list(range(len(names["log"].lines)))
