"""hls4ml's generated C++, compiled and run, against the emulation; and changes that must be seen."""

import shutil

import numpy as np
import pytest

keras = pytest.importorskip("keras")
hls4ml = pytest.importorskip("hls4ml")

from fabricfit.errors import FabricFitError, InvalidInputError, InvalidTypeError, MissingExtraError
from fabricfit.firmware import simulation, snap_model, verification
from fabricfit.firmware.emulation.fixed import NotModelledError
from fabricfit.firmware.emulation.weights import exactly
from fabricfit.firmware.verification import expected_multipliers, verify
from fabricfit.network.describe import get_attributes_from_keras_model_and_hls4ml_config
from fabricfit.network.kernels import named_kernels
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
        def compile_project(hls_model, listener):
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


def test_parallel_convolutions_and_branches_pass_and_unknown_layers_are_named():
    model = models.branches()
    found = verify(model, models.branches_config(model), models.samples(model))
    assert found.passed, str(found)
    assert found.not_modelled == ("curve: the activation 'elu'",)
    assert "not modelled: curve: the activation 'elu'" in str(found)
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
        ({"X": np.full((3, 16), np.nan)}, InvalidInputError, "X must be finite"),
        ({"X": [["a"] * 16]}, InvalidTypeError, "X must hold numbers"),
        ({"backend": "Quartus"}, InvalidInputError, "'Vitis', 'Vivado'"),
        ({"io_type": "io_serial"}, InvalidInputError, "io_type must be one of"),
        ({"samples": 0}, InvalidInputError, "samples must be a whole number of at least 1"),
        ({"samples": 2.5}, InvalidInputError, "samples must be a whole number of at least 1"),
        ({"hls_config": 3}, InvalidTypeError, "hls_config must be a dictionary"),
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


def test_models_that_hls4ml_refuses_are_named():
    x = keras.Input((4, 4))
    model = keras.Model(x, keras.layers.Softmax(axis=[1, 2])(x), name="odd")
    config = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}}
    with pytest.raises(FabricFitError, match="hls4ml cannot convert the model 'odd'"):
        verify(model, config, compile=False)


def sequence():
    """Convolutions along one axis, global pooling, a dense layer on two axes."""
    layers = keras.layers
    x = line = keras.Input((12, 3), name="line")
    x = layers.Conv1D(4, 3, padding="same", strides=2, activation="relu", name="conv")(x)
    x = layers.MaxPooling1D(2, name="pool")(x)
    x = layers.Dense(4, name="steps")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.GlobalAveragePooling1D(name="mean")(x)
    return models.seeded(line, layers.Dense(3, activation="softmax", name="out")(x))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["Vitis", "Vivado"])
@pytest.mark.parametrize("io_type", ["io_parallel", "io_stream"])
@pytest.mark.parametrize("strategy", ["Latency", "Resource", "ResourceUnrolled"])
def test_sequences_pass(io_type, strategy, backend):
    model = sequence()
    chosen = (strategy, 1 if strategy == "Latency" else 3)
    strategies = dict.fromkeys(("conv", "steps", "out"), chosen) | {"steps": (strategy, 2)}
    if strategy != "Latency":
        strategies["out"] = (strategy, 2)
    precisions = {"out": {"result": "fixed<12,5>"}}
    config = models.write_config(model, strategies, precisions, default="fixed<14,6,RND,SAT>")
    found = verify(model, config, models.samples(model), io_type=io_type, backend=backend)
    assert found.passed, str(found)
    assert not found.not_modelled


@pytest.mark.slow
@pytest.mark.parametrize("io_type", ["io_parallel", "io_stream"])
@pytest.mark.parametrize("implementation", ["latency", "argmax", "legacy"])
def test_softmax_implementations(implementation, io_type):
    features = keras.Input((6,))
    model = models.seeded(
        features, keras.layers.Dense(5, activation="softmax", name="out")(features)
    )
    config = models.write_config(model, {"out": ("Latency", 1)}, default="fixed<12,5>")
    config["LayerName"]["out"]["Precision"].update(result="fixed<12,5>", accum="fixed<14,7>")
    config["LayerName"]["out_softmax"]["Implementation"] = implementation
    found = verify(model, config, models.samples(model), io_type=io_type)
    if implementation == "legacy":  # an output that is not modelled is no proof
        assert not found.outputs_agree
        assert not found.passed
        assert "an output could not be compared" in str(found)
    else:
        assert found.passed, str(found)


@pytest.mark.slow
@pytest.mark.parametrize("reuse_factor", [2, 4, 8, 16])
def test_a_pruned_jet_tagger_has_the_multipliers_that_are_predicted(reuse_factor):
    from fabricfit.datasets import load_jets

    layers, rng = keras.layers, np.random.default_rng(reuse_factor)
    x = features = keras.Input((16,))
    for i, units in enumerate((64, 32, 32)):
        x = layers.Dense(units, activation="relu", name=f"fc{i}")(x)
    model = models.seeded(features, layers.Dense(5, activation="softmax", name="out")(x))
    for i, size in enumerate((1024, 2048, 1024)):
        runs = size // reuse_factor
        models.prune(model, f"fc{i}", rng.choice(runs, runs * 3 // 4, replace=False), reuse_factor)
    strategies = {f"fc{i}": ("ResourceUnrolled", reuse_factor) for i in range(3)}
    config = models.write_config(model, strategies | {"out": ("Resource", reuse_factor)})
    found = verify(model, config, load_jets().X_test, samples=200)
    assert found.passed, str(found)
    counted = {layer.name: layer.multipliers for layer in found.layers}
    assert [counted[f"fc{i}"] * reuse_factor * 4 for i in range(3)] == [1024, 2048, 1024]


@pytest.mark.slow
def test_several_inputs_and_outputs_keep_their_order():
    layers = keras.layers
    inputs = [keras.Input((4,), name="zeta"), keras.Input((3,), name="alpha")]
    left, right = layers.Dense(4, name="left")(inputs[0]), layers.Dense(4, name="right")(inputs[1])
    both = layers.Subtract(name="both")([right, left])
    outputs = [layers.Dense(2, name="second")(both), layers.Dense(3, name="first")(both)]
    model = models.seeded(inputs, outputs)
    strategies = dict.fromkeys(("left", "right", "first", "second"), ("Latency", 1))
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(30, 4)), rng.normal(size=(30, 3))]
    found = verify(model, models.write_config(model, strategies), X, io_type="io_stream")
    assert found.passed, str(found)
    with pytest.raises(InvalidInputError, match="one array for each of the model's 2 inputs"):
        verify(model, {}, X[0])


@pytest.mark.slow
def test_a_convolution_that_hls4ml_computes_wrongly_is_seen():
    """Conv2D with io_parallel and a reuse factor above its inputs."""
    image = keras.Input((5, 5, 2))
    model = models.seeded(image, keras.layers.Conv2D(4, 2, name="conv")(image))
    config = models.write_config(model, {"conv": ("Resource", 16)})
    found = verify(model, config, models.samples(model))
    assert not found.passed
    assert [mismatch.layer for mismatch in found.mismatches] == ["conv"]


@pytest.mark.slow
def test_code_that_stops_is_an_error_and_no_end_of_the_process():
    """Conv1D with io_parallel and a reuse factor above its inputs: an assertion of its code."""
    line = keras.Input((5, 2))
    model = models.seeded(line, keras.layers.Conv1D(4, 2, name="conv")(line))
    config = models.write_config(model, {"conv": ("Resource", 8)})
    with pytest.raises(FabricFitError, match=r"(?s)the generated code stopped.*Assertion"):
        verify(model, config, models.samples(model))


@pytest.mark.slow
@pytest.mark.parametrize("io_type", ["io_parallel", "io_stream"])
def test_distributed_arithmetic_is_exact_on_the_grid(io_type):
    """Adder graphs neither round nor overflow before the result's format."""
    pytest.importorskip("da4ml")
    layers = keras.layers
    x = image = keras.Input((5, 5, 2))
    x = layers.Conv2D(3, 3, activation="relu", name="conv")(x)
    x = layers.Flatten(name="flat")(x)
    model = models.seeded(image, layers.Dense(3, name="out")(x))
    section = {
        "Precision": "fixed<12,5>",
        "ReuseFactor": 1,
        "Strategy": "distributed_arithmetic",
    }
    config = {"Model": section, "IOType": io_type}
    attributes = get_attributes_from_keras_model_and_hls4ml_config(model, config)
    found = verify(snap_model(model, attributes)[0], config, models.samples(model))
    assert found.passed, str(found)
    assert not found.not_modelled
    assert {layer.multipliers for layer in found.layers} == {0}


def test_distributed_arithmetic_off_the_grid_is_not_modelled():
    pytest.importorskip("da4ml")
    with pytest.raises(NotModelledError, match="on no grid"):
        exactly(np.array([0.1]))
    np.testing.assert_array_equal(exactly(np.array([0.625, -3])).to_float(), [0.625, -3])
    assert str(exactly(np.array([0.625, -3])).format) == "fixed<6,3,TRN,WRAP>"


_OTHERS = {
    "LSTM": ((5, 4), lambda: layers.LSTM(6, name="layer")),
    "GRU": ((5, 4), lambda: layers.GRU(4, name="layer")),
    "Bidirectional": (
        (5, 4),
        lambda: layers.Bidirectional(layers.LSTM(4), name="layer"),
    ),
    "DepthwiseConv2D": ((6, 6, 4), lambda: layers.DepthwiseConv2D(3, name="layer")),
    "DepthwiseConv1D": ((8, 4), lambda: layers.DepthwiseConv1D(3, name="layer")),
    "EinsumDense": (
        (4, 6),
        lambda: layers.EinsumDense("abc,cd->abd", (4, 8), bias_axes="d", name="layer"),
    ),
}


@pytest.mark.parametrize(
    ("kind", "strategy", "reuse_factor"),
    [
        *((kind, "Latency", 1) for kind in _OTHERS),
        *((kind, "Resource", 2) for kind in ("LSTM", "GRU")),
        *((kind, "ResourceUnrolled", 4) for kind in ("LSTM", "GRU")),
        ("LSTM", "ResourceUnrolled", 1),
    ],
)
def test_products_of_other_layers_are_counted_and_predicted(kind, strategy, reuse_factor):
    shape, make = _OTHERS[kind]
    features = keras.Input(shape)
    x = make()(features)
    if len(x.shape) > 2:
        x = layers.Flatten()(x)
    model = models.seeded(features, layers.Dense(3, name="out")(x))
    rng = np.random.default_rng(5)
    for kernel in named_kernels(model).values():
        values = np.array(kernel.used())
        values[rng.random(values.shape) < 0.4] = 0  # single weights
        values[..., : values.shape[-1] // 3] = 0  # and whole runs
        kernel.variable.assign(values)
    config = models.write_config(model, {"layer": (strategy, reuse_factor)})
    found = verify(model, config, io_type="io_parallel", compile=False)
    of_layer = [each for each in found.layers if each.name.split("/")[0] == "layer"]
    assert {each.name for each in of_layer} == {
        name for name in named_kernels(model) if name.split("/")[0] == "layer"
    }
    for each in of_layer:
        assert each.expected is not None and each.agrees, each
        assert 0 < each.multipliers == each.expected, each


def test_a_layer_without_code_is_named():
    features = keras.Input((5, 4))
    model = keras.Model(features, layers.SimpleRNN(6, name="layer")(features))
    config = models.write_config(model, {"layer": ("Latency", 1)})
    with pytest.raises(FabricFitError, match=r"'layer' \(SimpleRNN\).*no code"):
        verify(model, config, compile=False)
