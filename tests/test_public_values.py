"""Every public function refuses what means nothing for a parameter, with an error of fabricfit's own.

A new public name, or a new parameter of one, is tried of itself: the names and their signatures are read.
"""

from __future__ import annotations

import warnings

import pytest

from fabricfit.errors import FabricFitError
from fabricfit.run import RunDirectory
from tests.marks import ON_ONE_BACKEND
from tests.public_calls import CALLS, EXEMPT, junk_for, parameters_of, public_callables

pytestmark = ON_ONE_BACKEND

PUBLIC = public_callables()

HISTORICAL = ("fabricfit.optimize_keras_model_for_hls4ml", "fabricfit.optimize_model")
"""Names that hand the same settings on, which are tried under the present ones."""


class Accepted(BaseException):
    """A run begins to write: by then everything has been checked."""


@pytest.fixture(autouse=True)
def nothing_is_written(monkeypatch, tmp_path):
    def refuse(*args, **options):
        raise Accepted

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(RunDirectory, "__init__", refuse)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    assert not list(tmp_path.iterdir())


def outcome(function, arguments):
    """Return '' where an error of fabricfit's own was raised that can be shown, else what happened."""
    try:
        function(**arguments)
    except FabricFitError as error:
        said = str(error)
        said.encode("utf-8")
        return "" if len(said) < 3000 else f"an error of {len(said)} letters"
    except Accepted:
        return "accepted"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:120]}"
    return "accepted"


def test_every_public_name_is_tried_or_exempt():
    assert PUBLIC.keys() - CALLS.keys() - EXEMPT == set()
    assert (CALLS.keys() | EXEMPT) - PUBLIC.keys() == set()


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if n in HISTORICAL else ()) for n in sorted(CALLS)],
)
def test_what_means_nothing_is_refused(name):
    call, function = CALLS[name], PUBLIC[name]
    found = {}
    for parameter, annotation in parameters_of(function, call.options).items():
        for kind, value in junk_for(parameter, annotation, call.legal).items():
            said = outcome(function, {**call.good(), parameter: value})
            if said:
                found[f"{parameter}={kind}"] = said
    assert found == {}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if call.computes else ())
        for name, call in sorted(CALLS.items())
        if name not in ("fabricfit.load_model", "fabricfit.to_rtl", "fabricfit.firmware.to_hls4ml")
    ],
)
def test_the_good_call_is_accepted(name):
    """Else the bad ones would be refused for another reason."""
    assert outcome(PUBLIC[name], CALLS[name].good()) == "accepted"
