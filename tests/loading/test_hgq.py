"""Models of HGQ2 load without being told what they are made of."""

from __future__ import annotations

import keras
import pytest

import fabricfit
from fabricfit.cli import main
from tests.loading.models import check_same

pytestmark = [pytest.mark.keras, pytest.mark.hgq]

pytest.importorskip("hgq", exc_type=ImportError)
from hgq import layers as q_layers


def test_its_layers_are_found(tmp_path, capfd):
    keras.utils.set_random_seed(0)
    layers = [q_layers.QDense(5, activation="relu", name="fc"), q_layers.QDense(2, name="out")]
    model = keras.Sequential([keras.Input((6,)), *layers])
    model.compile("adam", "mse", metrics=["mae"])
    model.save(tmp_path / "m.keras")
    loaded = fabricfit.load_model(tmp_path / "m.keras")
    check_same(loaded, model)
    assert loaded.loss == "mse"
    assert main(["estimate", str(tmp_path / "m.keras")]) == 0
    assert "fc" in capfd.readouterr().out
