"""The race of designs: which are trained to their end, which is chosen, and what is said of the others."""

from __future__ import annotations

import dataclasses
import json
import logging

import pytest

from fabricfit.errors import InfeasibleError, MissingExtraError
from fabricfit.optimization.design_race import Candidate, Race
from fabricfit.optimization.result import OptimizationResult
from fabricfit.optimization.settings import OptimizationSettings
from fabricfit.reporting.alternatives import largest_share
from fabricfit.reporting.report import OptimizationReport
from fabricfit.run import RunDirectory
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


@pytest.fixture
def settings(tmp_path):
    return OptimizationSettings(
        batch_size=8, epochs=16, optimizer="adam", loss_fn="mse", validation_metric="accuracy",
        increasing=True, rtol=None, directory=tmp_path, rewinding_epochs=4,
    )  # fmt: skip


class Entrant:
    """A design that reaches a metric with every training, and remembers those."""

    def __init__(self, settings, name, metrics, lut=100.0, error=None, slow=False, **report):
        self.epochs, self.settings = [], settings
        self.metrics, self.lut, self.error, self.report = metrics, lut, error, report
        self.candidate = Candidate(name, f"fc: {name}", settings, self.fit, learns_slowly=slow)

    def fit(self, own):
        if self.error is not None:
            raise self.error
        self.epochs.append(own.epochs)
        self.own = own
        metric = self.metrics[own.epochs == self.settings.epochs]
        report = OptimizationReport(
            ("LUT",), (), (1000.0,), (self.lut,), "accuracy", 0.9, metric, None, 0.0, (),
            budget=(500.0,),
        )  # fmt: skip
        folder = RunDirectory(own.directory).path
        found = dataclasses.replace(report, **self.report)
        return OptimizationResult(None, found, folder, increasing=self.settings.increasing)


def race(*entrants, error=0.0):
    return Race([each.candidate for each in entrants], lambda *_: error).run()


def outcomes(result):
    return {each.name: each.outcome for each in result.report.alternatives}


def test_all_are_trained_shortly_and_two_to_their_end(settings):
    entrants = [
        Entrant(settings, name, (metric, metric + 0.01))
        for name, metric in (("a", 0.5), ("b", 0.7), ("c", 0.6), ("d", 0.4))
    ]
    result = race(*entrants)
    assert [each.epochs for each in entrants] == [[2], [2, 16], [2, 16], [2]]
    assert outcomes(result) == dict.fromkeys("acd", "less good") | {"b": "chosen"}
    (first, second, *others) = result.report.alternatives
    assert (first.name, first.epochs, first.metric) == ("b", 1.0, pytest.approx(0.71))
    assert (second.name, second.epochs, others[0].epochs) == ("c", 1.0, 1 / 8)
    short = entrants[0].own
    assert (short.tuner, short.rewinding_epochs, entrants[1].own.rewinding_epochs) == (None, 0, 4)


def test_two_need_no_short_training(settings):
    entrants = [Entrant(settings, name, (0.5, 0.6)) for name in "ab"]
    race(*entrants)
    assert [each.epochs for each in entrants] == [[16], [16]]


def test_what_learns_slowly_is_trained_to_its_end_if_it_fits(settings):
    slow = Entrant(settings, "slow", (0.1, 0.9), slow=True)
    others = [Entrant(settings, name, (0.5, 0.6)) for name in "ab"]
    assert outcomes(race(slow, *others))["slow"] == "chosen"
    big = Entrant(settings, "slow", (0.8, 0.9), lut=501.0, slow=True)
    assert outcomes(race(big, *others))["slow"] == "does not fit the budget"
    assert big.epochs == [2]


@pytest.mark.parametrize(
    ("error", "chosen"), [(0.02, "small"), (0.005, "large"), (float("nan"), "large")]
)
def test_within_the_error_the_smaller_one_is_chosen(settings, error, chosen):
    entrants = Entrant(settings, "large", (0, 0.61), lut=400), Entrant(settings, "small", (0, 0.6))
    result = race(*entrants, error=error)
    assert outcomes(result)[chosen] == "chosen"
    lost = result.report.alternatives[1]
    assert lost.error == error or error != error
    reason = "as good, with a larger share of the budget" if chosen == "small" else "less good"
    assert lost.outcome == reason


def test_of_designs_that_are_good_enough_the_smaller_one_is_chosen(settings):
    large = Entrant(settings, "large", (0, 0.9), lut=400, threshold=0.5)
    small = Entrant(settings, "small", (0, 0.6), threshold=0.5)
    bad = Entrant(settings, "bad", (0, 0.4), lut=1, threshold=0.5)
    assert outcomes(race(large, small))["small"] == "chosen"
    assert outcomes(race(bad, small)) == {"small": "chosen", "bad": "less good than required"}


def test_less_may_be_better(settings):
    settings = dataclasses.replace(settings, increasing=False)
    entrants = [Entrant(settings, str(value), (value, value)) for value in (0.3, 0.1, 0.2)]
    assert outcomes(race(*entrants))["0.1"] == "chosen"


def test_a_metric_that_is_no_number_loses(settings):
    entrants = Entrant(settings, "a", (0, float("nan"))), Entrant(settings, "b", (0, 0.2))
    assert outcomes(race(*entrants)) == {"b": "chosen", "a": "less good"}


def test_what_is_not_possible_is_told(settings, caplog):
    late = Entrant(settings, "late", (0, 0), error=InfeasibleError("too late"))
    bare = Entrant(settings, "bare", (0, 0), error=MissingExtraError("not installed"))
    good = Entrant(settings, "good", (0, 0.5))
    with caplog.at_level(logging.INFO, "fabricfit"):
        result = race(late, bare, good)
    assert outcomes(result) == {"good": "chosen", "late": "too late", "bare": "not installed"}
    assert "design 3 of 3, 12% of its training: good" in caplog.text
    with pytest.raises(InfeasibleError, match="too late"):
        race(late)
    with pytest.raises(InfeasibleError, match=r"late: too late bare: not installed"):
        race(late, bare)


def test_nothing_is_left_where_nothing_is_possible(settings, tmp_path):
    late = Entrant(settings, "late", (0, 0), error=InfeasibleError("too late"))
    with pytest.raises(InfeasibleError):
        race(late)
    assert not list(tmp_path.iterdir())


def test_the_report_in_the_folder_names_the_others(settings):
    entrants = Entrant(settings, "a", (0, 0.4)), Entrant(settings, "b", (0, 0.5))
    result = race(*entrants)
    written = json.loads((result.directory / "report.json").read_text())
    assert str(OptimizationReport.from_dict(written)) == str(result.report)
    text = str(result.report)
    assert "designs that were tried:" in text and "less good" in text


def test_a_race_is_resumed_in_its_folder(settings, tmp_path):
    first = [Entrant(settings, name, (0.5, 0.6)) for name in "abc"]
    result = race(*first)
    again = dataclasses.replace(settings, resume=True)
    second = [Entrant(again, name, (0.5, 0.6)) for name in "abc"]
    assert race(*second).directory.parents[1] == result.directory.parents[1]
    assert second[0].own.resume
    assert len(list(tmp_path.glob("designs-*"))) == 1


def test_the_largest_share_is_infinite_where_none_is_allowed():
    assert largest_share((5, 0), (10, 0)) == 0.5
    assert largest_share((5, 1), (10, 0)) == float("inf")
    assert largest_share((), ()) == 0
