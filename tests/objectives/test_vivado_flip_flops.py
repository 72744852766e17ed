"""Flip-flops that hold weights and results."""

from __future__ import annotations

import logging

import pytest

from fabricfit.objectives.vivado_objectives import VivadoFFEstimator
from tests.objectives.test_vivado_objectives import chosen, layer


@pytest.mark.parametrize(
    ("strategy", "io_type", "structure", "resources", "savings"),
    [
        ("Latency", "io_stream", "unstructured", 1024 * 16, 16),
        ("Latency", "io_parallel", "unstructured", 1024 * 16 + 64 * 12, 16),
        ("Resource", "io_parallel", "structured", 64 * 12, 12),
        ("ResourceUnrolled", "io_parallel", "structured", 64 * 12, 12),
        ("distributed_arithmetic", "io_parallel", "structured", 64 * 12, 12),
    ],
)
def test_flip_flops_hold_weights_or_results(strategy, io_type, structure, resources, savings):
    attributes = chosen(VivadoFFEstimator, layer(strategy=strategy, io_type=io_type))
    assert attributes.optimization_attributes.structure_type.value == structure
    assert VivadoFFEstimator.layer_resources(attributes) == [resources]
    assert VivadoFFEstimator.layer_savings(attributes) == [savings]
    assert VivadoFFEstimator.layer_utilization(attributes, 3) == [resources - 3 * savings]


@pytest.mark.parametrize("strategy", ["Resource", "ResourceUnrolled", "distributed_arithmetic"])
def test_streams_keep_nothing_in_flip_flops(strategy):
    attributes = layer(strategy=strategy, io_type="io_stream")
    assert VivadoFFEstimator.is_layer_optimizable(attributes) == (False, None)
    assert VivadoFFEstimator.layer_resources(attributes) == [0]
    assert "io_stream" in VivadoFFEstimator.reason(attributes)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"structure_type": "structured"}, 16 * 16 + 12),
        ({"structure_type": "pattern", "pattern_offset": 256, "consecutive_patterns": 2}, 8 * 16),
        ({"structure_type": "block", "block_shape": (4, 2)}, 8 * 16),
    ],
)
def test_flip_flops_of_other_groups(options, expected):
    attributes = chosen(VivadoFFEstimator, layer(strategy="Latency"), **options)
    assert VivadoFFEstimator.layer_savings(attributes) == [expected]


def test_a_filter_has_results_at_every_position():
    kernel = layer((3, 3, 2, 4), reuse_factor=18, output_shape=(6, 6, 4))
    attributes = chosen(VivadoFFEstimator, kernel)
    assert VivadoFFEstimator.layer_resources(attributes) == [6 * 6 * 4 * 12]
    assert VivadoFFEstimator.layer_savings(attributes) == [6 * 6 * 12]


def test_groups_that_save_no_flip_flops_are_told(caplog):
    attributes = chosen(VivadoFFEstimator, layer(), structure_type="unstructured")
    with caplog.at_level(logging.WARNING, logger="fabricfit"):
        assert VivadoFFEstimator.layer_savings(attributes) == [0]
    assert "no flip-flops without work" in caplog.text
