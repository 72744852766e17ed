"""Counts of the generated code against weights whose multipliers are known."""

from pathlib import Path

import numpy as np
import pytest

keras = pytest.importorskip("keras")
hls4ml = pytest.importorskip("hls4ml")

from fabricfit.errors import FabricFitError
from fabricfit.firmware.counting import count_multiplications
from fabricfit.firmware.simulation import CapturedOutput, convert
from tests.firmware import firmware_models as models
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


def converted(model, config, folder, io_type="io_parallel"):
    return convert(model, config, folder, CapturedOutput(), backend="Vitis", io_type=io_type)


def one_layer(kernel, strategy, reuse_factor, folder):
    features = keras.Input((kernel.shape[0],))
    model = keras.Model(features, keras.layers.Dense(kernel.shape[1], name="fc")(features))
    model.get_layer("fc").set_weights([kernel, np.zeros(kernel.shape[1])])
    config = models.write_config(model, {"fc": (strategy, reuse_factor)})
    graph = converted(model, config, folder)
    return count_multiplications(graph)["fc"], graph


@pytest.fixture
def kernel():
    """Twelve inputs, four outputs; of runs of 3, 6 and 12 weights some are all zero."""
    kernel = np.random.default_rng(0).choice([-0.75, 0.5, 1.25], (12, 4))
    kernel[:6, 1] = 0
    kernel[:, 2] = 0
    kernel[9:, 3] = 0
    return kernel


@pytest.mark.parametrize("reuse_factor", [3, 6, 12, 24])
def test_unrolled_products_are_sorted_by_multiplier(kernel, reuse_factor, tmp_path):
    found, _ = one_layer(kernel, "ResourceUnrolled", reuse_factor, tmp_path)
    runs = kernel.T.reshape(-1, reuse_factor)
    assert found.strategy == "resource_unrolled"
    assert found.multipliers == np.count_nonzero(runs.any(axis=1))
    assert found.products == np.count_nonzero(kernel)
    if reuse_factor <= 12:
        assert found.limit == found.multipliers
    else:  # looser than it could be: outputs less zero runs
        assert found.limit == 4 - np.count_nonzero(~runs.any(axis=1))


@pytest.mark.parametrize("strategy", ["Latency", "Resource"])
def test_constants_are_counted_in_the_written_weights(strategy, tmp_path):
    """19 and -21 units of the last bit, on one input or on two; 12 = 8 + 4 and 11 take none."""
    kernel = np.array([[19, 19, -21, 12], [0, 19, 11, 4]]) / 2**10
    found, _ = one_layer(kernel, strategy, 1, tmp_path)
    assert found.constants == 3
    found, _ = one_layer(np.tile(kernel, (3, 1)), "Resource", 2, tmp_path / "shared")
    assert found.constants is None


def test_the_other_strategies(kernel, tmp_path):
    found, _ = one_layer(kernel, "Latency", 1, tmp_path / "a")
    assert (found.multipliers, found.strategy) == (np.count_nonzero(kernel), "latency")
    found, _ = one_layer(kernel, "Resource", 4, tmp_path / "b")
    assert (found.multipliers, found.products, found.limit) == (12, 48, 12)


@pytest.mark.parametrize("factor", [1, 2, 6])
def test_pixels_computed_at_once_count_each(factor, tmp_path):
    layers = keras.layers
    image = keras.Input((4, 5, 2))
    x = layers.Conv2D(3, (3, 4), name="conv")(image)
    model = models.seeded(image, layers.Conv2D(4, 1, name="point")(x))
    config = models.write_config(model, {"conv": ("Resource", 6), "point": ("Latency", 1)})
    for name in ("conv", "point"):
        config["LayerName"][name]["ParallelizationFactor"] = factor if factor != 6 else 4
    found = count_multiplications(converted(model, config, tmp_path))
    assert found["conv"].multipliers == 3 * 4 * 2 * 3 // 6 * found["conv"].copies
    assert found["point"].multipliers == 12 * found["point"].copies
    assert {found["conv"].copies, found["point"].copies} == {min(factor, 4)}
    streamed = count_multiplications(converted(model, config, tmp_path / "s", "io_stream"))
    assert streamed["conv"].copies == 1


def test_other_orders_and_other_code_are_refused(kernel, tmp_path):
    _, graph = one_layer(kernel, "ResourceUnrolled", 6, tmp_path)
    code = tmp_path / "firmware" / "nnet_utils" / "nnet_code_gen.h"
    text = code.read_text()
    code.write_text(text.replace("data[1], weights[1]", "data[2], weights[1]"))
    with pytest.raises(FabricFitError, match=r"weight 1 meets input 2.*not the order"):
        count_multiplications(graph)
    code.write_text(text.replace("dense_resource_unrolled_", "dense_resource_folded_"))
    with pytest.raises(FabricFitError, match="not among the functions"):
        count_multiplications(graph)
    Path(tmp_path / "firmware" / "parameters.h").unlink()
    with pytest.raises(FabricFitError, match="cannot be read"):
        count_multiplications(graph)
