"""Layers of quantized packages are found by their names; a package that is missing is named."""

from __future__ import annotations

import json
import sys
import types

import keras
import pytest

import fabricfit
from fabricfit.cli import main
from fabricfit.errors import InvalidInputError, MissingExtraError
from tests.loading.keras2_files import write_h5
from tests.loading.models import build
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


def _described(kind, **more):
    layer = {"class_name": kind, "config": {"name": "fc", "units": 3}, **more}
    return {"class_name": "Sequential", "config": {"name": "net", "layers": [layer]}}


MISSING = {
    "qkeras": (_described("QDense"), "2.4.0", r"'qkeras-v3' .*fabricfit\[qkeras\].*without HGQ2"),
    "qkeras of Keras 3": (
        _described("QDense", module="qkeras.qlayers", registered_name="qkeras>QDense"),
        "3.8.0",
        r"layers of QKeras \(QDense\).*fabricfit\[qkeras\]",
    ),
    "hgq": (
        _described("QDense", module="hgq.layers.core.dense", registered_name="hgq>QDense"),
        "3.8.0",
        r"layers of HGQ2 \(QDense\), and 'hgq2' .*fabricfit\[hgq\].*without qkeras-v3",
    ),
    "pquant": (
        _described(
            "PQDense", module="pquant.core.keras.layers", registered_name="PQuantML>PQDense"
        ),
        "3.8.0",
        r"layers of PQuantML \(PQDense\), and 'pquant-ml' .*fabricfit\[pquant\].*HGQ2",
    ),
}


@pytest.mark.parametrize("kind", MISSING)
def test_a_package_that_is_missing_is_named_with_its_extra(kind, tmp_path, monkeypatch, capfd):
    config, version, said = MISSING[kind]
    for name in ("qkeras", "hgq", "hgq.layers", "pquant", "pquant.core.keras.layers"):
        monkeypatch.setitem(sys.modules, name, None)
    path = tmp_path / "net.json"
    path.write_text(json.dumps({**config, "keras_version": version}))
    (tmp_path / "net_weights.h5").write_bytes(
        write_h5(tmp_path / "x.h5", build("dense")).read_bytes()
    )
    with pytest.raises(MissingExtraError, match=said):
        fabricfit.load_model(path)
    assert main(["estimate", str(path)]) == 2
    assert "pip install" in capfd.readouterr().err


def test_the_package_of_hgq2_that_is_named_qkeras_is_not_taken_for_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "qkeras", types.ModuleType("qkeras"))
    path = write_h5(tmp_path / "m.h5", build("dense"), config=_described("QDense"))
    with pytest.raises(MissingExtraError, match="qkeras-v3"):
        fabricfit.load_model(path)


def test_layers_of_the_first_hgq_are_refused(tmp_path):
    path = write_h5(tmp_path / "m.h5", build("dense"), config=_described("HGQ>UnaryLUT"))
    with pytest.raises(InvalidInputError, match="the first HGQ, a package for Keras 2"):
        fabricfit.load_model(path)


def test_a_package_is_imported_without_being_asked_for(tmp_path, monkeypatch):
    class QDense(keras.layers.Dense):
        pass

    module = types.ModuleType("qkeras")
    QDense.__module__ = "qkeras.qlayers"
    module.QDense = QDense
    monkeypatch.setitem(sys.modules, "qkeras", module)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, name="fc")])
    config = _described("QDense")
    config["config"]["layers"][0]["config"]["batch_input_shape"] = [None, 6]
    loaded = fabricfit.load_model(write_h5(tmp_path / "m.h5", model, config=config))
    assert type(loaded.layers[0]) is QDense
