# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Creates ``viewer.html``: source, result and what was removed, slice by slice, in one page that needs no network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import jinja2
import numpy as np

from nsn2n.modality import Modality, policy_of
from nsn2n.report.collect import REMOVED_SD, ReportData
from nsn2n.report.pictures import COLORS
from nsn2n.report.viewer_volumes import ViewerVolumes, block_map

__all__ = ["WINDOWS_HU", "viewer_html"]

WINDOWS_HU: Mapping[str, tuple[float, float]] = {
    "Brain": (0.0, 80.0),
    "Abdomen": (-160.0, 240.0),
    "Lung": (-1350.0, 150.0),
    "Bone": (-450.0, 1050.0),
}
"""Values shown as black and white in CT."""

_NIIVUE = "vendor/niivue-0.69.0.umd.js"


def viewer_html(data: ReportData, volumes: ViewerVolumes, record: Mapping[str, Any]) -> str:
    """Return the page; it needs no other file and makes no requests.

    Parameters
    ----------
    data : ReportData
    volumes : ViewerVolumes
        Volumes of the same series.
    record : mapping
        As returned by `nsn2n.report.write.report_json`.
    """
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_text), autoescape=True, undefined=jinja2.StrictUndefined
    )
    scripts, style = [_text(_NIIVUE), _text("viewer.js")], _text("viewer.css")
    kept = _kept_map(data, volumes)
    highest = float(np.percentile(data.noise_before, 99)) or 1.0
    noise = np.where(data.noise_before > 0, data.noise_before, np.nan)[list(volumes.slices)]
    maps = {"noise": block_map(noise, data.shape_dhw[1], volumes.pixel_mm, highest), **({"kept": kept} if kept else {})}
    parcels = {"before": volumes.before, "after": volumes.after, **maps}
    return environment.get_template("viewer.html.j2").render(
        record=record,
        label=_label(record),
        scripts=scripts,
        license=_text("vendor/LICENSE.niivue.txt"),
        style=style,
        policy=_content_security_policy(scripts, style),
        parcels={name: base64.b64encode(content).decode("ascii") for name, content in parcels.items()},
        windows=_windows(data, volumes),
        maps=[
            ("noise", "Noise", "0", f"{highest:.3g} {policy_of(data.modality).unit}"),
            *([("kept", "Contrast retention", "0", "100 %")] if kept else []),
        ],
        colors=", ".join(f"rgb({r:.0f} {g:.0f} {b:.0f})" for r, g, b in COLORS),
        unit=policy_of(data.modality).unit,
        step=volumes.step,
        removed_sd=REMOVED_SD,
        state={
            "shape": [len(volumes.slices), *data.shape_dhw[1:]],
            "slices": [index + 1 for index in volumes.slices],
            "of": data.shape_dhw[0],
            "unit": policy_of(data.modality).unit,
            "pixel_mm": volumes.pixel_mm,
            "windows": _windows(data, volumes),
            "removed": REMOVED_SD * _typical(data),
            "colors": COLORS.astype(int).tolist(),
            "kept": [volumes.slices.index(one["slice"]) for one in _measured_maps(data)],
            "places": [
                {"at": [volumes.slices.index(z), y, x], "excess": round(place["excess"], 1)}
                for place in record["structure"]["findings"]
                for z, y, x in [place["index_zyx"]]
            ],
        },
    )


def _text(name: str) -> str:
    return files("nsn2n.report").joinpath(name).read_text("utf-8")


def _content_security_policy(scripts: list[str], style: str) -> str:
    """Allow only these scripts, and load nothing: the pictures allowed are those embedded in NiiVue."""

    def allowed(content: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; script-src {' '.join(map(allowed, scripts))}; style-src {allowed(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _label(record: Mapping[str, Any]) -> str:
    """Modality and number of the new series, as far as they are known."""
    modality, number = record["source"].get("Modality"), record["derived"].get("SeriesNumber")
    return " ".join(str(word) for word in (modality, "series", number) if word is not None)


def _windows(data: ReportData, volumes: ViewerVolumes) -> dict[str, tuple[str, tuple[float, float]]]:
    """Return key and values of each window by its name; key 5 is the range of the values in all modalities."""
    known = WINDOWS_HU if data.modality == Modality.CT else {}
    return {**{name: (str(key), known[name]) for key, name in enumerate(known, 1)}, "Auto": ("5", volumes.auto_window)}


def _typical(data: ReportData) -> float:
    known = data.noise_before[data.noise_before > 0]
    return float(np.median(known)) if known.size else 1.0


def _measured_maps(data: ReportData) -> list[dict[str, Any]]:
    return list((data.record["contrast_kept"] or {"maps": []})["maps"])


def _kept_map(data: ReportData, volumes: ViewerVolumes) -> bytes | None:
    """Return the contrast retention of faint discs, in the slices where it was measured; None if in none."""
    measured = _measured_maps(data)
    if not measured:
        return None
    blocks = np.full((len(volumes.slices), *data.noise_before.shape[1:]), np.nan)
    for one in measured:
        blocks[volumes.slices.index(one["slice"])] = np.array(one["kept"], dtype=float)
    return block_map(blocks, data.shape_dhw[1], volumes.pixel_mm, 1.0)
