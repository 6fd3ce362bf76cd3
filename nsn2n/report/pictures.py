# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures for a self-contained page: PNG for arrays, SVG for curves, both as text to embed in HTML."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["COLORS", "Curve", "colored", "gray", "line_chart"]

LARGEST_PX = 512
"""Longer edges are reduced to this, which keeps the page at a few megabytes."""

COLORS = np.array(
    [(13, 8, 60), (72, 15, 110), (140, 35, 105), (205, 70, 70), (245, 130, 35), (252, 200, 80), (252, 250, 200)], float
)
"""From low to high; brightness increases monotonically, so it is also legible in print."""


def gray(image_hw: NDArray[np.floating], low: float, high: float) -> str:
    """A slice as a PNG data URI; black at `low` and below, white at `high` and above."""
    return _png(_bytes(image_hw, low, high))


def colored(image_hw: NDArray[np.floating], low: float, high: float, edge_px: int = 1) -> str:
    """A map as a PNG data URI in `COLORS`; each value becomes a square of `edge_px` pixels."""
    places = _bytes(image_hw, low, high).astype(float) / 255 * (len(COLORS) - 1)
    channels = [np.interp(places, np.arange(len(COLORS)), COLORS[:, channel]) for channel in range(3)]
    rgb = np.stack(channels, axis=-1).astype(np.uint8)
    return _png(rgb.repeat(edge_px, axis=0).repeat(edge_px, axis=1))


def _bytes(image_hw: NDArray[np.floating], low: float, high: float) -> NDArray[np.uint8]:
    scaled = (np.nan_to_num(np.asarray(image_hw, dtype=np.float64)) - low) / max(high - low, 1e-12)
    return np.rint(255 * np.clip(scaled, 0, 1)).astype(np.uint8)


def _png(pixels: NDArray[np.uint8]) -> str:
    picture = Image.fromarray(pixels)
    if max(picture.size) > LARGEST_PX:
        picture.thumbnail((LARGEST_PX, LARGEST_PX), Image.Resampling.BOX)
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


@dataclass(frozen=True)
class Curve:
    """One line of a chart."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    color: str


WIDTH, HEIGHT = 520, 250
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 30, 42


def line_chart(curves: Sequence[Curve], *, x_label: str, y_label: str, y_from_zero: bool = True) -> str:
    """Draw curves as inline SVG, with axes, grid and a legend."""
    points = [(x, y) for curve in curves for x, y in zip(curve.x, curve.y, strict=True)]
    if not points:
        return '<p class="note">Too little data for this curve.</p>'
    x_low, x_high = min(x for x, _ in points), max(x for x, _ in points)
    y_low, y_high = min(y for _, y in points), max(y for _, y in points)
    x_high = x_high if x_high > x_low else x_low + 1
    y_low = 0.0 if y_from_zero else y_low
    y_high = y_high if y_high > y_low else y_low + 1
    y_ticks, x_ticks = _ticks(y_low, y_high, 5), _ticks(x_low, x_high, 6)
    y_high = max(y_high, y_ticks[-1])

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        return across, HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{y_label} over {x_label}">']
    for tick in y_ticks:
        _, y = place(x_low, tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in x_ticks:
        x, _ = place(tick, y_low)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{tick:g}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle" class="label">{x_label}</text>')
    parts.append(f'<text x="{LEFT - 50}" y="14" class="label">{y_label}</text>')
    parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>')
    legend = WIDTH - RIGHT - sum(24 + 7 * len(curve.name) for curve in curves)
    for curve in curves:
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in (place(x, y) for x, y in zip(curve.x, curve.y, strict=True)))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{curve.color}" stroke-width="2"/>')
        parts.append(f'<rect x="{legend}" y="6" width="12" height="4" fill="{curve.color}"/>')
        parts.append(f'<text x="{legend + 16}" y="13">{curve.name}</text>')
        legend += 24 + 7 * len(curve.name)
    return "".join([*parts, "</svg>"])


def _ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers from `low` to `high`."""
    raw = (high - low) / about
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)]
