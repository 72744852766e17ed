"""Families other than the one that was measured: their blocks, their memories, their backends."""

import pytest

from fabricfit.errors import InvalidInputError
from fabricfit.hardware import (
    Product,
    Work,
    find_device,
    find_family,
    product_dsp,
    product_memory,
    product_resources,
)
from fabricfit.hardware.budget import Budget
from fabricfit.hardware.devices import family_of_part
from fabricfit.hls4ml.products import product_of, realized_product
from fabricfit.objectives.fpga import FPGAResources
from tests.objectives.test_fpga import decided, kernel_for, layer


def many(width=16, input_width=16, **more):
    return Product(16, 32, width, input_width, strategy="resource", reuse_factor=4, **more)


@pytest.mark.parametrize(
    ("family", "widths", "products", "blocks"),
    [
        ("arria10", (18, 18), 128, 64),  # two 18 x 19 in a block
        ("arria10", (19, 18), 128, 64),
        ("arria10", (19, 19), 128, 128),  # one 27 x 27
        ("arria10", (27, 27), 128, 128),
        ("arria10", (28, 18), 128, 256),
        ("agilex7", (9, 9), 128, 32),  # four 9 x 9
        ("versal", (24, 27), 128, 128),
        ("7series", (18, 26), 128, 256),
    ],
)
def test_products_in_a_block(family, widths, products, blocks):
    product = many(*widths)
    assert product.multipliers == products
    assert product_dsp(product, Work.full(product), family).value == blocks


def test_intels_memories_have_another_width():
    product = Product(16, 32, 10, strategy="resource", reuse_factor=4)
    full = Work.full(product)
    assert product_memory(product, full, "arria10").value == -(-128 * 10 // 40)
    assert product_memory(product, full, "ultrascale+").value == -(-128 * 10 // 36)
    assert product_memory(product, full, "arria10").low == 0


def test_every_layer_is_resource_for_intel():
    """hls4ml's Quartus and oneAPI backends know no other strategy, and drop no multipliers."""
    for strategy in ("Latency", "Resource", "ResourceUnrolled", "distributed_arithmetic"):
        attributes = layer(strategy=strategy, reuse_factor=4)
        for read in (product_of, realized_product):
            found = read(attributes, "stratix10")
            assert (found.strategy, found.reuse_factor) == ("resource", 4)
    objective = FPGAResources(["dsp"], family="stratix10")
    assert objective.groups(attributes) is None
    assert "keeps multipliers for zeros" in objective.reason(attributes)


def test_constants_can_be_saved_for_intel():
    objective = FPGAResources(["dsp", "lut"], family="arria10")
    assert objective.units == ("DSP", "ALUT")
    attributes = decided(layer(strategy="Latency", reuse_factor=1), objective)
    kernel = kernel_for(attributes)
    used = objective.usage(attributes, kernel)
    half = kernel.copy()
    half[:, ::2] = 0
    fewer = objective.usage(attributes, half)
    assert fewer[0] == pytest.approx(used[0] / 2, rel=0.1)


def test_error_bars_are_wider_where_nothing_was_measured():
    product = Product(96, 64, 8, 8, accumulator_width=16, strategy="latency")
    full = Work.full(product)
    spans = []
    for family in ("ultrascale+", "7series", "arria10"):
        found = product_resources(product, full, family)["lut"]
        spans.append(found.high / found.low)
    assert spans == sorted(spans)
    assert len(set(spans)) == 3
    assert "7series" in product_resources(product, full, "7series")["ff"].note


@pytest.mark.parametrize(
    ("part", "family"),
    [
        ("xcvu13p-flga2577-2-e", "ultrascale+"),
        ("xcvu37p-fsvh2892-2L-e", "ultrascale+"),
        ("xcku040-ffva1156-2-e", "ultrascale"),
        ("xc7a200tfbg484-1", "7series"),
        ("xczu7cg", "ultrascale+"),
        ("xck24", "ultrascale+"),
        ("xcvp1802", "versal"),
        ("10AS066N3F40E2SG", "arria10"),
        ("agfb014r24a", "agilex7"),
    ],
)
def test_part_numbers_tell_the_family(part, family):
    assert family_of_part(part) == family


def test_parts_of_other_makers_are_refused():
    with pytest.raises(InvalidInputError, match="lfe5u"):
        family_of_part("lfe5u-85f")


def test_devices_of_intel_fill_a_budget():
    budget = Budget.device("Stratix 10 GX 2800", 0.5)
    assert budget.family == "stratix10"
    assert budget.limits({})["bram18"] == 11_721 // 2
    assert find_family(budget.family).label("bram18") == "M20K"
    assert find_device("10ax115s2f45i1sg").dsp == 1518
