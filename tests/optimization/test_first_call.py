"""The first call that people make: forms of model, validation and budget, and uses of the result."""

import json

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit.errors import RunDirectoryError
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

CONFIG = {"Model": {"Precision": "fixed<12,4>", "ReuseFactor": 4, "Strategy": "Resource"}}


@pytest.fixture(scope="module")
def case():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 8)).astype("float32")
    y = (X[:, :3].argmax(axis=1)).astype("int32")
    model = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(8, "relu", name="fc"),
            keras.layers.Dense(3, "softmax", name="out"),
        ]
    )
    model.compile(
        keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    model.fit(X, y, epochs=12, verbose=0)
    return model, (X, y)


@pytest.fixture(scope="module")
def result(case, tmp_path_factory):
    model, data = case
    folder = tmp_path_factory.mktemp("first")
    model.save(folder / "tagger.keras")
    options = {"hls_config": CONFIG, "epochs": 2, "tuner": None, "directory": folder}
    return fabricfit.fit(folder / "tagger.keras", data, 0.25, {"dsp": "50%"}, **options)


def test_a_file_a_part_for_validation_and_percentages(case, result):
    assert result.report.fits
    assert result.report.resources_after[0] <= 0.5 * result.report.resources_before[0]
    assert "on 100 validation samples" in str(result.report)
    assert case[0].count_params() == result.model.count_params()


def test_a_saved_result_is_what_it_was(result, tmp_path):
    (tmp_path / "own.txt").write_text("mine")
    folder = result.save(tmp_path)
    loaded = fabricfit.load_model(folder / "model.keras")
    for found, expected in zip(loaded.get_weights(), result.model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    config = json.loads((folder / "hls_config.json").read_text())
    assert config == json.loads(json.dumps(result.hls_config))
    assert (folder / "report.txt").read_text().strip() == str(result.report).strip()
    assert json.loads((folder / "report.json").read_text())["metric_name"] == "accuracy"
    assert (folder / "own.txt").read_text() == "mine"
    result.save(folder)  # again, in the place of the first


def test_a_result_is_not_saved_into_a_file(result, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(RunDirectoryError, match="cannot make the folder"):
        result.save(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_the_project_of_hls4ml_has_the_weights_of_the_model(result, tmp_path):
    pytest.importorskip("hls4ml")
    graph = result.to_hls4ml(tmp_path / "project")
    written = tmp_path / "project" / "firmware" / "weights"
    numbers = [float(each) for each in (written / "w2.txt").read_text().replace(",", " ").split()]
    kernel = result.model.get_layer("fc").get_weights()[0]
    assert sorted(set(numbers) - {0.0}) == pytest.approx(sorted(set(kernel.ravel()) - {0.0}))
    assert [node.name for node in graph.get_layers()][-1].startswith("out")
    with pytest.raises(RunDirectoryError, match="not empty"):
        result.to_hls4ml(tmp_path / "project")


def test_estimates_and_designs_take_budgets_in_words(case):
    model, data = case
    text = fabricfit.estimate(model, CONFIG, budget="pynq-z2@50%")
    object_ = fabricfit.estimate(model, CONFIG, budget=fabricfit.Budget.device("pynq-z2", 0.5))
    assert text.limits == object_.limits
    assert text.to_dict() == object_.to_dict()
    found = fabricfit.explore(model, {"device": "pynq-z2", "latency": "1us"}, data)
    assert set(found.best.config["LayerName"]) >= {"fc", "out"}


def test_formats_that_lose_much_are_told_with_the_way_out(case, tmp_path, caplog):
    model, data = case
    narrow = {"Model": {"Precision": "fixed<10,1>", "ReuseFactor": 4, "Strategy": "Resource"}}
    options = {"epochs": 1, "tuner": None, "directory": tmp_path, "finishing_epochs": 0}
    found = fabricfit.fit(model, data, 0.25, {"dsp": "90%"}, hls_config=narrow, **options)
    assert "with the number formats of hls_config accuracy is 0." in caplog.text
    assert "fabricfit.calibrate(model, data)" in str(found.report)
