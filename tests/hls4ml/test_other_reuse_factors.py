"""Reuse factors of layers whose legal ones hls4ml takes from another matrix: its code is the oracle."""

import re
import warnings

import pytest

pytest.importorskip("hls4ml")
keras = pytest.importorskip("keras")

from fabricfit.firmware.simulation import CapturedOutput, convert
from fabricfit.hls4ml.products import product_of
from fabricfit.network.buildable import list_limits
from fabricfit.network.configuration import open_configuration
from fabricfit.network.describe import describe_for_hls4ml
from fabricfit.network.reader import as_network
from tests.marks import ON_ONE_BACKEND

L = keras.layers

pytestmark = ON_ONE_BACKEND

BLOCK = re.compile(
    r"struct (config\w+) : nnet::dense_config.*?n_in = (\d+);.*?n_out = (\d+);.*?reuse_factor = (\d+);"
    r".*?using kernel = nnet::(\w+)<",
    re.DOTALL,
)


def configure(reuse_factor, strategy="Resource", io_type="io_parallel"):
    section = {"Precision": "fixed<16,6>", "ReuseFactor": reuse_factor, "Strategy": strategy}
    return {"Model": section, "IOType": io_type}


def read(model, config):
    """Return the network and its attributes, as the configuration describes it."""
    network = as_network(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return network, describe_for_hls4ml(network, open_configuration(config, network))


def written(model, config, folder):
    """Return of each product that hls4ml writes: rows, columns, reuse factor and function."""
    plain = {"Model": config["Model"]}
    options = {"backend": "Vitis", "io_type": config["IOType"], "written": False}
    graph = convert(model, plain, folder, CapturedOutput(), **options)
    text = "\n".join(node.get_attr("config_cpp", "") or "" for node in graph.get_layers())
    return [(*map(int, sizes), code) for _, *sizes, code in BLOCK.findall(text)]


def runs(n_in, n_out, reuse_factor, function):
    """Whether the assertions of hls4ml's function hold (nnet_dense_resource.h)."""
    limit = -(-n_in * n_out // min(n_in, reuse_factor))
    if limit % n_out and reuse_factor < n_in:
        return False
    if function.endswith("leq_nin"):
        return limit == -(-n_in * n_out // reuse_factor)
    return reuse_factor > n_in and reuse_factor % n_in == 0


@pytest.mark.parametrize("reuse_factor", [2, 4, 5, 9, 24, 40, 1000])
def test_depthwise_convolutions_in_a_stream(reuse_factor, tmp_path):
    x = image = keras.Input((6, 5, 4), name="image")
    x = L.Reshape((28, 4))(
        L.DepthwiseConv2D((5, 2), name="area")(L.ZeroPadding2D(((1, 1), (1, 2)))(x))
    )
    model = keras.Model(image, L.DepthwiseConv1D(3, name="line")(x))
    config = configure(reuse_factor, io_type="io_stream")
    _, attributes = read(model, config)
    for name, (_, _, factor, function) in zip(
        ("area", "line"), written(model, config, tmp_path), strict=True
    ):
        assert function.startswith("DepthwiseDenseResource")
        assert attributes[name].hls4ml.reuse_factor == factor
        product = product_of(attributes[name])
        assert product.reuse_factor == min(factor, product.size)
        assert product.size == {"area": 40, "line": 12}[name]


FACTORS = (1, 2, 3, 4, 6, 8, 12, 24, 48, 500)
RECURRENT = [
    *((kind, 4, 4, factor) for kind in ("LSTM", "Bidirectional") for factor in FACTORS),
    *((kind, 3, 4, factor) for kind in ("GRU", "Bidirectional") for factor in (3, 6, 12)),
    *(("Bidirectional", rows, units, 6) for rows, units in ((6, 4), (6, 6), (12, 6), (2, 3))),
]


@pytest.mark.parametrize(("kind", "rows", "units", "reuse_factor"), RECURRENT)
def test_recurrent_layers(kind, rows, units, reuse_factor, tmp_path):
    """The factors that are built are those that are read, and what stops is told."""
    layer = L.LSTM(units) if kind == "Bidirectional" else getattr(L, kind)(units, name="layer")
    layer = L.Bidirectional(layer, name="layer") if kind == "Bidirectional" else layer
    model = keras.Sequential([keras.Input((3, rows), name="features"), layer])
    config = configure(reuse_factor)
    network, attributes = read(model, config)
    found = written(model, config, tmp_path)
    kernels = [attributes[name] for name in attributes["layer"].kernels]
    assert [kernel.hls4ml.reuse_factor for kernel in kernels] == [
        factor for _, _, factor, _ in found
    ]
    assert [kernel.matrix_shape for kernel in kernels] == [tuple(each[:2]) for each in found]
    limits = [finding.limit.name for finding in list_limits(network, attributes, config)]
    assert limits == ([] if all(runs(*each) for each in found) else ["recurrent reuse factor"])


def test_unrolled_kernels_of_bidirectional_are_built_as_with_resource(tmp_path):
    layer = L.Bidirectional(L.LSTM(4), name="layer")
    model = keras.Sequential([keras.Input((3, 4), name="features"), layer])
    config = configure(12, "ResourceUnrolled")
    _, attributes = read(model, config)
    products = [product_of(attributes[name]) for name in attributes["layer"].kernels]
    assert {product.strategy for product in products} == {"resource"}
    assert [p.reuse_factor for p in products] == [
        f for _, _, f, _ in written(model, config, tmp_path)
    ]
    assert products[0].multipliers == 6  # of 64 products, the last multiplier with fewer
