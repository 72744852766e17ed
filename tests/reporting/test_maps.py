"""Maps of weights: a pixel a weight, or mean colors of many."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest

from fabricfit.reporting.figures import draw_map

BLUE, NEARLY_WHITE, ORANGE = (0x2F, 0x7E, 0xD8), (0xF1, 0xF3, 0xF5), (0xE8, 0xA3, 0x3D)


def open_map(codes, most):
    images = pytest.importorskip("PIL.Image")
    url = draw_map(codes, most)
    assert url.startswith("data:image/png;base64,")
    picture = images.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    return np.asarray(picture.convert("RGB")).astype(int)


def test_a_small_map_has_a_pixel_for_each_weight():
    codes = np.array([[0, 1, 2], [2, 1, 0]], np.int8)
    wanted = np.array([BLUE, NEARLY_WHITE, ORANGE])[codes]
    np.testing.assert_array_equal(open_map(codes, 8), wanted)


def test_pixels_of_a_large_map_have_mean_colors():
    codes = np.zeros((70, 40), np.int8)
    codes[:, ::2] = 1  # half of each neighbourhood
    codes[35:] = 2
    found = open_map(codes, 10)
    assert found.shape == (10, 10, 3)
    half = np.add(BLUE, NEARLY_WHITE) / 2
    assert np.abs(found[:5] - half).max() <= 2 and np.abs(found[5:] - ORANGE).max() <= 2


def test_large_maps_stay_small_files():
    codes = np.random.default_rng(0).integers(0, 3, (1000, 1000)).astype(np.int8)
    assert len(draw_map(codes)) < 120_000
