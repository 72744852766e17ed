"""The description of a layer: its fields, and the historical key of what hls4ml says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fabricfit.description import LayerAttributes, hls4mlAttributes

HLS = hls4mlAttributes(16, 8, "io_parallel", "Resource", "fixed<8,2>", "fixed<16,6>", 4)
OTHER = replace(HLS, reuse_factor=2)


def dense(**fields):
    return LayerAttributes("fc", object, ["x"], (16, 8), (16,), (8,), **fields)


@pytest.mark.parametrize("way", ["constructor", "update_args", "key", "field"])
def test_the_historical_key_is_the_field(way):
    layer = dense(args={"hls4ml_attributes": HLS}) if way == "constructor" else dense()
    if way == "update_args":
        layer.update_args({"hls4ml_attributes": HLS})
    elif way == "key":
        layer.args["hls4ml_attributes"] = HLS
    elif way == "field":
        layer.hls4ml = HLS
    assert layer.hls4ml is HLS
    assert layer.args["hls4ml_attributes"] is HLS
    assert layer == dense(args={"hls4ml_attributes": HLS})


def test_without_a_configuration_there_is_no_key():
    layer = dense(args={"hls4ml_attributes": HLS, "mine": 1})
    layer.hls4ml = None
    assert layer.hls4ml is None
    assert layer.args == {"mine": 1}


def test_a_copy_with_another_configuration_leaves_the_first_as_it_is():
    layer = dense(args={"hls4ml_attributes": HLS, "mine": 1})
    other = layer.with_hls4ml(OTHER)
    assert (layer.hls4ml, other.hls4ml) == (HLS, OTHER)
    assert other.args["mine"] == 1


def test_a_replaced_dictionary_is_what_counts():
    layer = replace(dense(args={"hls4ml_attributes": HLS}), args={"hls4ml_attributes": OTHER})
    assert layer.hls4ml is OTHER


def test_what_shapes_do_not_tell_is_stated():
    step = dense(known_positions=5, known_convolution=True)
    assert (step.positions, step.is_convolution) == (5, True)
    assert (dense().positions, dense().is_convolution) == (1, False)


def test_a_table_is_not_multiplied_by():
    assert dense().multiplies
    assert not dense(looks_up=True).multiplies


def test_one_of_several_kernels_knows_its_layer():
    assert dense().layer_name == "fc"
    assert dense(kernel_of="lstm").layer_name == "lstm"


def test_a_smaller_kernel_is_applied_as_often():
    image = LayerAttributes("conv", object, [], (3, 3, 4, 8), (8, 8, 4), (6, 6, 8))
    image.hls4ml = replace(HLS, n_in=36)
    smaller = image.resized(18, 4)
    assert (smaller.matrix_shape, smaller.positions) == ((18, 4), 36)
    assert smaller.is_convolution
    assert (smaller.hls4ml.n_in, smaller.hls4ml.n_out) == (18, 4)
    assert (image.hls4ml.n_in, image.hls4ml.n_out) == (36, 8)
