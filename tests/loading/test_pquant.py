"""Files of PQuantML's models load as models that are estimated, fitted and verified."""

from __future__ import annotations

import logging

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit.cli import main
from tests.loading.models import check_same

pytestmark = [pytest.mark.keras, pytest.mark.pquant]

pytest.importorskip("pquant", exc_type=ImportError)
from tests.layers.pquant_models import configure, dense, samples, train


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A trained model, and the file that it is saved to."""
    config = configure(use_relu_multiplier=True)
    model = train(dense(config), config, final=False)
    model.compile("adam", "mse", metrics=["mae"])
    path = tmp_path_factory.mktemp("pquant") / "m.keras"
    model.save(path)
    return model, path


def test_a_file_is_loaded_as_layers_that_are_known(saved, caplog):
    model, path = saved
    with caplog.at_level(logging.INFO, "fabricfit"):
        loaded = fabricfit.load_model(path)
    assert "stand for those of PQuantML: act1, act2, fc1, fc2, out" in caplog.text
    assert {type(layer).__module__.split(".")[0] for layer in loaded.layers} == {"keras", "hgq"}
    assert loaded.loss == "mse"
    X, _ = samples(model)
    expected = model.predict(X, verbose=0)
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), expected)
    loaded.save(path.with_name("known.keras"))
    again = keras.saving.load_model(path.with_name("known.keras"))
    np.testing.assert_array_equal(again.predict(X, verbose=0), expected)


def test_a_file_is_loaded_as_it_is_for_who_trains_on(saved):
    model, path = saved
    loaded = fabricfit.load_model(path, as_stored=True)
    assert [type(layer) for layer in loaded.layers] == [type(layer) for layer in model.layers]
    check_same(loaded, model)


def test_the_command_line_estimates_a_file(saved, capfd):
    _, path = saved
    assert main(["estimate", str(path)]) == 0
    said = capfd.readouterr().out
    assert "fc1 (QDense)" in said and "no known family" not in said
