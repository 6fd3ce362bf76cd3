# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import io
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from nsn2n.report.pictures import COLORS, Curve, colored, gray, line_chart


def _pixels(uri):
    head, _, body = uri.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))


def test_gray_is_linear_in_the_window():
    image = np.array([[-500.0, -100.0, 0.0, 100.0, 500.0, np.nan]])
    np.testing.assert_array_equal(_pixels(gray(image, -100, 100)), [[0, 0, 128, 255, 255, 128]])


def test_colors_go_from_the_first_to_the_last():
    pixels = _pixels(colored(np.array([[0.0, 1.0]]), 0, 1, 4))
    assert pixels.shape == (4, 8, 3)
    np.testing.assert_array_equal(pixels[0, 0], COLORS[0])
    np.testing.assert_array_equal(pixels[3, 7], COLORS[-1])


def test_brightness_rises():
    brightness = COLORS @ (0.299, 0.587, 0.114)
    assert (np.diff(brightness) > 0).all()


def test_large_slices_are_reduced():
    assert _pixels(gray(np.zeros((1024, 512)), 0, 1)).shape == (512, 256)


def test_points_are_where_they_belong():
    svg = line_chart([Curve("a", [0, 10], [0, 4], "#123456")], x_label="x", y_label="y")

    root = ElementTree.fromstring(svg)
    (line,) = root.iter("polyline")
    (x0, y0), (x1, y1) = (map(float, point.split(",")) for point in line.get("points").split())
    assert x0 < x1
    assert y0 > y1
    assert {"0", "10", "4", "x", "y", "a"} <= {text.text for text in root.iter("text")}


@pytest.mark.parametrize(
    ("x", "y"), [([1], [2.0]), ([1, 2], [0.0, 0.0]), ([0, 1], [-3.0, 5e-9]), ([1, 2, 3], [1e9, 2e9, 1.5e9])]
)
def test_any_curve_is_a_picture(x, y):
    for from_zero in (True, False):
        ElementTree.fromstring(line_chart([Curve("a", x, y, "red")], x_label="x", y_label="y", y_from_zero=from_zero))


def test_no_points():
    assert "Too little data" in line_chart([Curve("a", [], [], "red")], x_label="x", y_label="y")
