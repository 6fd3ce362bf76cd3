# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Side-by-side pictures of a trial of anatomy.py in a clinical window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from trial import Trial

__all__ = ["panels", "save_panels"]

Volume = NDArray[np.float32]
Gray = NDArray[np.uint8]

REMOVED_SD = 3.0
"""Pictures of the removed signal range from black to white over this many standard deviations on either side of 0."""
LABEL_PX, GAP_PX, ACROSS = 14, 2, 3
JPEG_QUALITY = 80


def panels(trial: Trial, results: Mapping[str, Sequence[Volume]], ours: str, peer: str | None) -> dict[str, Gray]:
    """Return source, ours, best peer, truth and what each method removed, as gray values keyed by label."""
    view = trial.view
    source, truth = trial.noisy[view.volume], trial.truth[view.volume]
    shown = {"source": source, ours: results[ours][view.volume]}
    if peer is not None:
        shown[peer] = results[peer][view.volume]
    found = {label: _gray(volume, trial, view.window) for label, volume in shown.items()}
    found["truth"] = _gray(truth, trial, view.window)
    spread = REMOVED_SD * float((source - shown[ours])[view.index, view.rows, view.columns].std()) or 1.0
    for label in [ours] if peer is None else [ours, peer]:
        found[f"removed by {label}"] = _gray(source - shown[label], trial, (-spread, spread))
    return found


def _gray(volume: Volume, trial: Trial, window: tuple[float, float]) -> Gray:
    low, high = window
    image = volume[trial.view.index, trial.view.rows, trial.view.columns]
    return np.asarray(np.clip((image - low) / (high - low) * 255, 0, 255).round(), dtype=np.uint8)


def save_panels(path: Path, images: Mapping[str, Gray], scale: int = 2) -> None:
    """Write one picture of all images, three in a row, each labeled above: PNG or, with the suffix .jpg, JPEG."""
    height, width = (size * scale for size in next(iter(images.values())).shape)
    rows = -(-len(images) // ACROSS)
    sheet = Image.new("L", (ACROSS * (width + GAP_PX), rows * (height + LABEL_PX)), 0)
    draw = ImageDraw.Draw(sheet)
    for number, (label, image) in enumerate(images.items()):
        left, top = number % ACROSS * (width + GAP_PX), number // ACROSS * (height + LABEL_PX)
        draw.text((left + 3, top + 1), label, fill=255)
        sheet.paste(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC), (left, top + LABEL_PX))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True, **({"quality": JPEG_QUALITY} if path.suffix == ".jpg" else {}))
