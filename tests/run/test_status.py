from __future__ import annotations

import io
import logging
import sys
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from fabricfit.run import Record, Status, draw_status, show_progress


def records(*events):
    return [Record(n, event, data, 100.0 + n) for n, (event, data) in enumerate(events, 1)]


BASELINE = (
    "baseline",
    {
        "name": "accuracy", "metric": 0.8, "threshold": 0.76, "increasing": True, "units": ["DSP", "BRAM18"],
        "resources": [400.0, 20.0], "limits": [220.0, 30.0], "target": 1.0,
    },
)  # fmt: skip


def settled(sparsity, accepted=True, note="", metric=0.79):
    return (
        "settled",
        {
            "sparsity": sparsity, "accepted": accepted, "metric": metric, "utilization": [300.0, 20.0],
            "epochs": 3, "seconds": 1.5, "note": note,
        },
    )  # fmt: skip


EVENTS = [
    ("begun", {}),
    BASELINE,
    ("searching", {"tuner": "halving", "epochs": 8}),
    ("trial", {"epochs": 2}),
    ("rung", {"epochs": 1, "scores": [0.7]}),
    ("level", {"sparsity": 0.5, "epochs": 4}),
    ("frozen", {"sparsity": 0.5, "resources": [310.0, 20.0]}),
    ("epoch", {"epoch": 0, "loss": 1.0, "metric": 0.78}),
    ("epoch", {"epoch": 1, "loss": 0.9, "metric": 0.79}),
    settled(0.5),
    ("level", {"sparsity": 1.0, "epochs": 4}),
    ("frozen", {"sparsity": 1.0, "resources": [220.0, 20.0]}),
    ("epoch", {"epoch": 0, "loss": 1.0, "metric": 0.7}),
    settled(1.0, False, "the loss became nan: lower the learning rate", None),
    ("finished", {"metric": 0.79, "resources": [310.0, 20.0]}),
]


def text_of(status, now=200.0, width=100):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(draw_status(status, now))
    return console.file.getvalue()


def test_events_tell_where_a_run_stands():
    status = Status.of(records(*EVENTS[:9]))
    assert status.stage == "level 1" and status.epoch == 2 and status.metric == 0.79
    assert status.used == (310.0, 20.0) and status.trials == 1
    assert status.share_done == pytest.approx(0.25)
    shown = text_of(status)
    for part in (
        "Level 1",
        "sparsity 0.5 of 1",
        "epoch 2 of at most 4",
        "0.79 (before 0.8, at least 0.76)",
    ):
        assert part in shown
    assert "310 of 400, budget 220" in shown


def test_a_training_of_precision_tells_epochs_cost_and_time():
    baseline = ("baseline", {**BASELINE[1], "units": ["DSP", "LUT"], "threshold": None})
    events = [
        ("begun", {}),
        baseline,
        ("training", {"epochs": 10, "resources": [0.0, 50.0]}),
        ("epoch", {"epoch": 0, "loss": 1.0, "metric": 0.5, "cost": 900.0}),
        ("epoch", {"epoch": 3, "loss": 0.9, "metric": 0.6, "cost": 400.0}),
    ]
    status = Status.of(records(*events))
    assert status.counted == "epoch" and status.used == (0.0, 450.0)
    assert status.share_done == pytest.approx(0.4)
    assert status.seconds_left(105.0) == pytest.approx((105.0 - 103.0) * 0.6 / 0.4)
    shown = text_of(status, 105.0)
    assert "Training precision" in shown and "epoch 4 of 10" in shown and "left" in shown
    events += [("choosing", {"step": step, "steps": 4}) for step in range(2)]
    status = Status.of(records(*events))
    assert status.share_done == pytest.approx(0.25)
    assert status.seconds_left(109.0) == pytest.approx((109.0 - 106.0) * 0.75 / 0.25)
    assert "Choosing networks · step 1 of 4" in text_of(status, 109.0)
    done = Status.of(records(*events, ("finished", {"metric": 0.6, "resources": [0.0, 440.0]})))
    assert done.is_finished and not done.counted and done.used == (0.0, 440.0)


def test_a_finished_run_is_shown_with_its_levels():
    status = Status.of(records(*EVENTS))
    assert status.is_finished and status.share_done == 1.0 and status.seconds_left(1e9) == 0
    shown = text_of(status)
    assert "Finished" in shown and "the loss became nan" in shown and "accepted" in shown


@given(count=st.integers(0, len(EVENTS)), now=st.floats(100, 1e6), width=st.integers(30, 200))
def test_any_state_can_be_shown(count, now, width):
    status = Status.of(records(*EVENTS[:count]))
    assert text_of(status, now, width)
    assert 0 <= status.share_done <= 1
    left = status.seconds_left(now)
    assert left is None or left >= 0


def test_a_resumed_run_does_not_count_levels_twice():
    status = Status.of(records(*EVENTS[:10], ("resumed", {}), BASELINE, settled(0.5)))
    assert len(status.levels) == 1


def test_a_run_is_shown_live_on_a_terminal_and_its_warnings_above():
    logger = logging.getLogger("fabricfit.test_live")
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with show_progress(logger, console) as observer:
        for record in records(*EVENTS):
            observer(record)
        logger.warning("look here")
        logger.info("not this")
    shown = console.file.getvalue()
    assert "Finished" in shown and "look here" in shown and "not this" not in shown
    assert not logger.handlers


def test_a_search_tells_its_price_and_the_time_left():
    status = Status.of(records(*EVENTS[:4]))
    assert (status.trials, status.epoch, status.epochs) == (1, 2, 8)
    assert status.seconds_left(104.0) == pytest.approx((104.0 - 103.0) * 6 / 2)
    assert "Searching regularization strengths · epoch 2 of 8" in text_of(status, 104.0)
    first_level = Status.of(records(*EVENTS[:6]))
    assert first_level.seconds_left(110.0) is None  # levels are timed by themselves


def test_a_notebook_without_widgets_shows_a_run_in_one_place(monkeypatch):
    class Handle:
        def __init__(self):
            self.pages = []

        def update(self, page):
            self.pages.append(page)

    handle = Handle()
    module = types.ModuleType("IPython.display")
    module.HTML, module.display = str, lambda page, display_id: handle
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    logger = logging.getLogger("fabricfit.test_notebook")
    with show_progress(logger, Console(file=io.StringIO(), force_jupyter=True)) as observer:
        for record in records(*EVENTS):
            observer(record)
    assert handle.pages[-1].startswith("<pre") and "Finished" in handle.pages[-1]
    assert len(handle.pages) < len(EVENTS) and not logger.handlers


def test_elsewhere_there_are_plain_lines(capfd):
    logger = logging.getLogger("fabricfit.test_plain")
    with show_progress(logger) as observer:
        observer(records(*EVENTS)[0])
        logger.info("sparsity 0.5: accepted")
    found = capfd.readouterr()
    assert "sparsity 0.5: accepted" in found.err and not found.out and not logger.handlers


def test_nothing_is_shown_unasked(capfd):
    with show_progress(None) as observer:
        for record in records(*EVENTS):
            observer(record)
    assert capfd.readouterr() == ("", "")
