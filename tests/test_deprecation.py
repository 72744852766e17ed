from __future__ import annotations

import warnings

import pytest

from fabricfit import run
from fabricfit.deprecation import serve_old_names
from fabricfit.run import Checkpointer, recorder


def test_an_old_name_warns_and_serves():
    for module in (run, recorder):
        with pytest.warns(DeprecationWarning, match=r"Keeper is now fabricfit\.run.*Checkpointer"):
            assert module.Keeper is Checkpointer


def test_a_name_may_have_moved_to_another_module():
    serve = serve_old_names("somewhere", {"Old": "fabricfit.run.recorder:Checkpointer"})
    with pytest.warns(DeprecationWarning, match="somewhere.Old is now fabricfit.run.recorder"):
        assert serve("Old") is Checkpointer


@pytest.mark.keras
def test_documented_names_that_have_changed_still_serve():
    from fabricfit.training import distillation, weight_update

    with pytest.warns(DeprecationWarning, match="the next release"):
        assert weight_update.Compensation is weight_update.OptimalBrainSurgeonUpdate
        assert distillation.Distilled is distillation.DistillationLoss
        assert distillation.taught is distillation.add_teacher_outputs


def test_other_names_are_not_there():
    with warnings.catch_warnings(), pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        warnings.simplefilter("error")
        _ = recorder.Nothing
