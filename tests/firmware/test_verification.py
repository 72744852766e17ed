"""hls4ml's generated C++, compiled and run, against the emulation; and changes that must be seen."""

import shutil
import sys

import numpy as np
import pytest

keras = pytest.importorskip("keras")
hls4ml = pytest.importorskip("hls4ml")

from fabricfit.errors import FabricFitError, InvalidInputError, InvalidTypeError, MissingExtraError
from fabricfit.firmware import Outcome, simulation, verification
from fabricfit.firmware.verification import expected_multipliers, verify
from tests.firmware import firmware_models as models
from tests.marks import ON_ONE_BACKEND

layers = models.layers

pytestmark = [
    *ON_ONE_BACKEND,
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler"),
]


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    """A verified model, the folder of its project and the library that was compiled from it."""
    folder, model = tmp_path_factory.mktemp("tagger"), models.tagger()
    config = models.tagger_config(model)
    found = verify(model, config, models.samples(model, 120), output_dir=folder)
    return model, config, found, folder


@pytest.fixture
def precompiled(tagger, monkeypatch):
    """Verify the tagger again without compiling it: its project reads its weights when it runs."""
    model, config, _, folder = tagger
    library = next((folder / "firmware").glob("*.so"))
    weights = folder / "firmware" / "weights"

    def again(tamper):
        def compile_project(hls_model, limits):
            tamper(weights)
            return library

        monkeypatch.setattr(verification, "compile_project", compile_project)
        return verify(model, config, models.samples(model, 20), output_dir=folder)

    return again


def test_a_perceptron_of_all_strategies_passes(tagger):
    _, _, found, _ = tagger
    assert found.passed, str(found)
    assert found.outputs_agree
    assert not found.mismatches
    assert not found.not_modelled
    assert found.samples == 100  # of the 120 given
    layers = {layer.name: layer for layer in found.layers}
    assert {name: layer.strategy for name, layer in layers.items()} == {
        "fast": "latency",
        "folding": "resource",
        "shared": "resource",
        "unrolled": "resource_unrolled",
        "many": "resource_unrolled",
        "out": "resource",
    }
    assert layers["unrolled"].multipliers == 64 // 4 - 4
    assert layers["unrolled"].strategy_asked == "ResourceUnrolled"
    assert layers["shared"].multipliers == 10 * 8 // 5


def test_the_table_says_what_was_found(tagger):
    _, _, found, _ = tagger
    text = str(found)
    assert text.splitlines()[0].split() == [
        *("layer", "asked", "built", "RF", "multipliers", "expected", "products"),
        *("constants", "expected"),
    ]
    assert "unrolled  ResourceUnrolled  resource_unrolled   4           12        12" in text
    assert "100 samples: every layer agrees bit for bit." in text
    assert text.splitlines()[-1] == "passed"
    plain = found.to_dict()
    assert plain["passed"] is True
    assert plain["layers"][0]["name"] == "fast"
    assert plain["mismatches"] == []


def test_an_unchanged_project_passes_again(precompiled):
    assert precompiled(lambda weights: None).passed


def test_a_changed_weight_is_seen(precompiled):
    """One number of the file that the C++ simulation reads, of the layer before the output."""

    def tamper(weights):
        (file,) = [f for f in weights.glob("w*.txt") if len(f.read_text().split(",")) == 6 * 5]
        first, *rest = file.read_text().split(", ")
        file.write_text(", ".join([str(float(first) + 1), *rest]))

    found = precompiled(tamper)
    assert not found.passed
    assert not found.outputs_agree
    assert found.mismatches[0].samples > 0
    assert found.mismatches[0].largest > 0
    assert [difference.layer for difference in found.differences] == [
        f"{found.mismatches[0].layer} before its activation"
    ]
    assert len(found.headers_differ) == 1
    assert "FAILED" in str(found)
    assert f"{found.mismatches[0].layer}: " in str(found)


def test_a_transposed_kernel_is_seen(precompiled):
    """The square layer's weights in the wrong order, in both files alike."""

    def tamper(weights):
        files = [f for f in weights.glob("w*.txt") if len(f.read_text().split(",")) == 64]
        (file,) = files
        before = file.read_text()
        numbers = np.array(before.split(", ")).reshape(8, 8)
        after = ", ".join(numbers.T.ravel())
        header = file.with_suffix(".h")
        file.write_text(after)
        header.write_text(header.read_text().replace(before, after))

    found = precompiled(tamper)
    assert not found.passed
    assert found.counts_agree
    assert not found.headers_differ
    assert found.mismatches[0].layer == "unrolled"
    assert found.differences[0].layer == "unrolled before its activation"


def test_a_weight_that_only_synthesis_reads_is_seen(precompiled):
    def tamper(weights):
        header = sorted(weights.glob("w*.h"))[0]
        text = header.read_text()
        header.write_text(text.replace("= {", "= {1.5, ", 1))

    found = precompiled(tamper)
    assert found.outputs_agree
    assert not found.passed
    assert any("synthesis reads other weights" in remark for remark in found.remarks)


def test_a_streamed_convolutional_network_passes():
    model = models.lenet()
    config = models.lenet_config(model) | {"IOType": "io_stream"}
    found = verify(model, config, models.samples(model))
    assert found.passed, str(found)
    assert not found.not_modelled
    counts = {layer.name: (layer.strategy, layer.multipliers) for layer in found.layers}
    assert counts["conv1"] == ("resource_unrolled", 36 // 3 - 3)
    assert counts["conv2"] == ("resource_unrolled", 72 // 6 - 3)


def test_parallel_convolutions_and_branches_pass_and_unknown_layers_are_named(monkeypatch):
    models.forget(monkeypatch, "ParametrizedActivation")
    model = models.branches()
    found = verify(model, models.branches_config(model), models.samples(model))
    assert found.outcome is Outcome.NOT_PROVEN, str(found)
    assert not found.mismatches and not found.differences
    assert found.not_modelled == ("curve: layers of the class ParametrizedActivation",)
    assert "not modelled: curve: layers of the class ParametrizedActivation" in str(found)
    counts = {layer.name: layer.multipliers for layer in found.layers}
    assert counts["conv1"] == 72 // 6 * 4  # four pixels at once


def test_counts_are_compared_with_what_the_caller_expects(tagger):
    model, config, _, _ = tagger
    found = verify(model, config, compile=False, expected={"unrolled": 13})
    assert not found.passed
    assert [layer.name for layer in found.layers if not layer.agrees] == ["unrolled"]
    assert "DIFFERS" in str(found)
    assert "The generated code was not run." in str(found)
    assert verify(model, config, compile=False).passed
    with pytest.raises(InvalidInputError, match=r"without multipliers.*: \['none'\]"):
        verify(model, config, compile=False, expected={"none": 1})


def test_weights_that_are_zero_only_after_quantization_are_counted_otherwise(tagger):
    """hls4ml looks for zeros in the floats, so what was not snapped to zero costs a multiplier."""
    model = keras.models.clone_model(tagger[0])
    model.set_weights(tagger[0].get_weights())
    layer = model.get_layer("unrolled")
    kernel, bias = layer.get_weights()
    layer.set_weights([np.where(kernel == 0, 1e-5, kernel), bias])
    found = verify(model, tagger[1], compile=False)
    (differing,) = [layer for layer in found.layers if not layer.agrees]
    assert (differing.name, differing.multipliers, differing.expected) == ("unrolled", 16, 12)


def test_hls4mls_replacements_are_remarked(tagger):
    model, config, _, _ = tagger
    changed = {**config, "LayerName": dict(config["LayerName"])}
    changed["LayerName"]["shared"] = {**config["LayerName"]["shared"], "ReuseFactor": 6}
    found = verify(model, changed, compile=False)
    assert any('"shared"' in r and "ReuseFactor" in r for r in found.remarks), found.remarks
    assert changed["LayerName"]["shared"]["ReuseFactor"] == 6


def test_nothing_is_printed(tagger, capfd):
    model, config, _, _ = tagger
    verify(model, config, compile=False)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [("Latency", 5), ("Resource", 4), ("ResourceUnrolled", 3), ("distributed_arithmetic", 0)],
)
def test_multipliers_of_a_kernel(strategy, expected):
    """Outputs first: runs (1, 0), (0, 0), (2, 3), (4, 5) of a reuse factor of 2."""
    kernel = np.array([[1, 2], [0, 3], [0, 4], [0, 5]])
    assert expected_multipliers(kernel, 2, strategy) == expected


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"X": np.zeros((3, 15))}, InvalidInputError, r"shape \(samples, 16\).*\(3, 15\)"),
        ({"X": np.zeros((0, 16))}, InvalidInputError, r"Received: \(0, 16\)"),
        ({"X": np.full((3, 16), np.nan)}, InvalidInputError, "X must not hold NaN or infinite"),
        ({"X": [["a"] * 16]}, InvalidTypeError, "X must hold numbers"),
        ({"backend": "Quartus"}, InvalidInputError, "'Vitis', 'Vivado'"),
        ({"io_type": "io_serial"}, InvalidInputError, "io_type must be one of"),
        ({"samples": 0}, InvalidInputError, "samples must be a whole number of at least 1"),
        ({"samples": 2.5}, InvalidInputError, "samples must be a whole number of at least 1"),
        ({"hls_config": 3}, InvalidTypeError, "hls4ml configuration must be a dictionary"),
        ({"model": 3}, InvalidTypeError, "must be a keras.Model"),
        ({"synthesis": True}, InvalidInputError, "HLS tool of Vitis, which is not on PATH"),
    ],
)
def test_bad_input_is_refused_before_conversion(tagger, monkeypatch, changes, error, message):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(verification, "convert", lambda *_, **__: pytest.fail("converted"))
    given = {"model": tagger[0], "hls_config": tagger[1]} | changes
    with pytest.raises(error, match=message):
        verify(**given)


def test_a_missing_compiler_is_told_before_conversion(tagger, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingExtraError, match=r"g\+\+.*compile=False"):
        verify(tagger[0], tagger[1])


def test_what_the_compiler_says_is_in_the_error(tagger, tmp_path, monkeypatch):
    model, config, _, _ = tagger
    written = simulation.convert

    def broken(*args, **options):
        graph = written(*args, **options)
        source = tmp_path / "firmware" / "myproject.cpp"
        source.write_text("#error no such luck\n")
        return graph

    monkeypatch.setattr(verification, "convert", broken)
    with pytest.raises(FabricFitError, match="no such luck"):
        verify(model, config, output_dir=tmp_path)


def test_what_distributed_arithmetic_needs_is_named_with_its_extra(monkeypatch):
    features = keras.Input((4,))
    model = models.seeded(features, layers.Dense(2, name="out")(features))
    model.get_layer("out").set_weights([np.ones((4, 2)), np.zeros(2)])
    section = {
        "Precision": "fixed<12,5>",
        "ReuseFactor": 1,
        "Strategy": "distributed_arithmetic",
    }
    for name in [n for n in sys.modules if n.partition(".")[0] == "da4ml"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "da4ml", None)
    with pytest.raises(MissingExtraError, match=r"'da4ml'.*pip install 'fabricfit\[adders\]'"):
        verify(model, {"Model": section}, compile=False)


def test_models_that_hls4ml_refuses_are_named():
    x = keras.Input((4, 4))
    model = keras.Model(x, keras.layers.Softmax(axis=[1, 2])(x), name="odd")
    config = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}}
    with pytest.raises(FabricFitError, match="hls4ml cannot convert the model 'odd'"):
        verify(model, config, compile=False)
