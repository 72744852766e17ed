"""A resource that is added by one registration, from the estimate to the report of a run."""

from __future__ import annotations

import pytest

from tests.hardware.made_up import power
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


def test_it_is_in_the_estimate_and_in_the_report(tmp_path):
    import fabricfit
    from tests.common import blobs, mlp, quick_settings

    X, y = blobs(192)
    data, model = ((X[:128], y[:128]), (X[128:], y[128:])), mlp(hidden=8)
    config = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 2, "Strategy": "Resource"}}
    settings = quick_settings(tmp_path / "runs", regularization_range=[1e-6])
    with power():
        before = fabricfit.estimate(model, config).resources["power"].value
        budget = fabricfit.Budget(power=0.6 * before)
        result = fabricfit.fit(model, *data, budget, settings, hls_config=config)
    assert result.report.units == ("POWER",)
    assert result.report.resources_before[0] == pytest.approx(before)
    assert result.report.resources_after[0] <= 0.6 * before
    assert "POWER" in str(result.report)
