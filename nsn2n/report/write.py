# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Writes ``report.json``, for programs, and ``report.html``, for people, from collected data; optionally a viewer."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from nsn2n._aliases import Spacing
from nsn2n._version import __version__
from nsn2n.contrast_kept import CONTRASTS_SD, DIAMETERS_MM
from nsn2n.errors import NSN2NError
from nsn2n.modality import policy_of
from nsn2n.report.checks import check_rows, places_to_check, reason
from nsn2n.report.collect import REMOVED_SD, ReportData
from nsn2n.report.pictures import COLORS, Curve, colored, gray, line_chart
from nsn2n.report.viewer import viewer_html
from nsn2n.stack.parts import places_of

__all__ = ["SCHEMA_VERSION", "report_html", "report_json", "report_schema", "write_report"]

SCHEMA_VERSION = "2.3"
"""Version of report.json: the first number changes when a reader of the old format would fail."""

PICTURES_LEFT_OUT = "No pictures are shown: the slices have text in their pixels, which may identify the patient."

BEFORE, AFTER, REMOVED = "#7a828c", "#0b63b8", "#c8502b"


def write_report(
    folder: Path | str,
    data: ReportData,
    *,
    source: Mapping[str, Any] | None = None,
    derived: Mapping[str, Any] | None = None,
    pictures: bool = True,
    mode: int = 0o666,
) -> Path:
    """Write both files into a folder, which is created if absent; also ``viewer.html`` if the data have its volumes.

    Parameters
    ----------
    folder : path
    data : ReportData
    source, derived : mapping, optional
        Identifiers of the volumes, for example SeriesInstanceUID; plain values, no patient data.
    pictures : bool
        False if text in the voxels may identify the patient: one sentence replaces all pictures, and
        there is no viewer.
    mode : int
        Permissions of new files, subject to the umask.

    Returns
    -------
    Path
        The HTML file.

    Raises
    ------
    NSN2NError
        If the files cannot be written.
    """
    record, target = report_json(data, source=source, derived=derived, pictures=pictures), Path(folder)
    texts = {
        "report.json": json.dumps(record, indent=1, allow_nan=False) + "\n",
        "report.html": report_html(data, record),
    }
    if data.volumes is not None and pictures:
        texts["viewer.html"] = viewer_html(data, data.volumes, record)
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name, content in texts.items():
            _write_whole(target / name, content, mode)
    except OSError as error:
        raise NSN2NError(
            f"the folder of the report must be writable; got {error.strerror or type(error).__name__} at "
            f"{target}. Free some space, or turn reports off."
        ) from error
    return target / "report.html"


def _write_whole(file: Path, content: str, mode: int) -> None:
    """Write a temporary file next to the target, and rename it once all of it is on the disk."""
    beside = file.with_name(f".{file.name}.part")
    try:
        beside.unlink(missing_ok=True)  # an existing one would keep its mode
        with open(beside, "w", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, mode)) as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


def report_schema() -> dict[str, Any]:
    """Return the JSON Schema of report.json."""
    schema: dict[str, Any] = json.loads(files("nsn2n.report").joinpath("report.schema.json").read_text("utf-8"))
    return schema


def report_json(
    data: ReportData,
    *,
    source: Mapping[str, Any] | None = None,
    derived: Mapping[str, Any] | None = None,
    pictures: bool = True,
) -> dict[str, Any]:
    """Return what report.json holds: plain values, no pictures, and whether the page has pictures."""
    spectrum, made = data.spectrum, copy.deepcopy(data.record)
    return {
        "schema_version": SCHEMA_VERSION,
        "program": {"name": "nsn2n", "version": __version__},
        "versions": dict(data.versions),
        "source": dict(source or {}),
        "derived": dict(derived or {}),
        "pictures_left_out": None if pictures else PICTURES_LEFT_OUT,
        "shape_dhw": list(data.shape_dhw),
        "spacing_mm": _common_spacing(data),
        "parts": [
            {"slices": slices, "spacing_mm": None if spacing is None else list(spacing)}
            for slices, spacing in zip(data.parts, data.spacings_mm, strict=True)
        ],
        "seed": made["settings"]["seed"],
        "settings": made["settings"],
        "measured": made["measured"],
        "structure": made["structure"],
        "contrast_kept": made["contrast_kept"],
        "noise_sd_by_slice": {
            "before": _numbers(by_slice(data.noise_before)),
            "after": None if data.noise_after is None else _numbers(by_slice(data.noise_after)),
        },
        "noise_power_spectrum": {
            "frequency_per_mm": _numbers(spectrum.frequency_per_mm),
            "before": _numbers(spectrum.before),
            "removed": _numbers(spectrum.removed),
        },
        "loss": _numbers(data.loss),
    }


def _common_spacing(data: ReportData) -> list[float] | None:
    """Return the spacing of all parts; None if they differ, or it is not known."""
    spacing, *others = dict.fromkeys(data.spacings_mm)
    return None if others or spacing is None else list(spacing)


def by_slice(blocks_dhw: NDArray[np.floating]) -> NDArray[np.float64]:
    """Median noise sd of each slice over the blocks that have noise, shape (D,)."""
    return np.array([np.median(blocks[blocks > 0]) if (blocks > 0).any() else 0.0 for blocks in blocks_dhw])


def _numbers(values: NDArray[np.floating]) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def report_html(data: ReportData, record: Mapping[str, Any]) -> str:
    """Return the page; it needs no other file, no network and no script."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: files("nsn2n.report").joinpath(name).read_text("utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["median"] = np.median
    structure = data.record["structure"]
    checks = check_rows(structure, data.record["settings"]["structure"])
    unit = policy_of(data.modality).unit
    row_mm, column_mm = pixel_spacing_mm(data) or (1.0, 1.0)
    shows = record["pictures_left_out"] is None
    places = zip(places_of(data.parts), data.spacings_mm, strict=True)
    return environment.get_template("report.html.j2").render(
        record=record,
        window=data.window,
        unit=unit,
        what=_what(data, record),
        parts=[(place.start + 1, place.stop, _spacing_text(spacing)) for place, spacing in places],
        removed_sd=REMOVED_SD,
        slices=_first_to_look_at(data, structure["findings"]) if shows else [],
        aspect=data.shape_dhw[2] * column_mm / (data.shape_dhw[1] * row_mm),
        maps=_maps(data) if shows else [],
        charts=_charts(data, unit),
        checks=checks,
        reason=reason(structure["verdict"], checks),
        look_at=places_to_check(structure["findings"]),
        contrasts_sd=CONTRASTS_SD,
        kept=_kept_by_size(data.record) if data.record["contrast_kept"] else [],
        colors=", ".join(f"rgb({r:.0f} {g:.0f} {b:.0f})" for r, g, b in COLORS),
        settings=list(_flat(data.record["settings"])),
    )


def pixel_spacing_mm(data: ReportData) -> tuple[float, float] | None:
    """Return the (row, column) spacing, which all parts share; None if it is not known."""
    known = next((spacing for spacing in data.spacings_mm if spacing is not None), None)
    return None if known is None else known[1:]


def _what(data: ReportData, record: Mapping[str, Any]) -> str:
    """Name the volume: modality, number of the new series, size, spacing."""
    name = "Volume" if data.modality is None else f"{data.modality.value} volume"
    number = record["derived"].get("SeriesNumber")
    spacing = "; ".join(dict.fromkeys(map(_spacing_text, data.spacings_mm)))
    return (
        f"{name}{'' if number is None else f' (new series {number})'}: {' x '.join(map(str, data.shape_dhw))} voxels "
        f"(slices, rows, columns) of {spacing}"
    )


def _spacing_text(spacing: Spacing | None) -> str:
    return "unknown spacing" if spacing is None else f"{' x '.join(f'{step:.4g}' for step in spacing)} mm"


def _first_to_look_at(data: ReportData, findings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the slices to show; first the one with the worst place, otherwise the one in the middle."""
    low, high = data.window
    first = findings[0]["index_zyx"][0] if findings else data.shape_dhw[0] // 2
    nearest = min(data.slices, key=lambda shown: abs(shown.index - first))
    return [
        {
            "number": shown.index + 1,
            "before": gray(shown.before, low, high),
            "after": gray(shown.after, low, high),
            "removed": gray(shown.removed_sd, -REMOVED_SD, REMOVED_SD),
        }
        for shown in (nearest, *(shown for shown in data.slices if shown is not nearest))
    ]


def _maps(data: ReportData) -> list[dict[str, Any]]:
    middle = data.middle
    highest = float(np.percentile(data.noise_before[middle], 99)) or 1.0
    limit = float(data.record["settings"]["structure"]["excess_fail"])
    matched, compared = data.matched_hw, data.compared_hw
    share = f"{matched[compared].mean():.0%}" if compared.any() else "not compared"
    return [
        {
            "title": f"Noise before, slice {middle + 1}",
            "picture": colored(data.noise_before[middle], 0, highest, 8),
            "low": "0", "high": f"{highest:.3g}", "scale": "colors",
        },
        {
            "title": f"Same tissue in slices {middle + 1} and {middle + 2}: {share}",
            "picture": gray(matched.astype(float), 0, 1),
            "low": "differs", "high": "matched", "scale": "gray",
        },
        {
            "title": "Structure in what was removed, maximum over the slices",
            "picture": colored(data.excess_hw, 0, limit),
            "low": "0", "high": f"{limit:g} sd and more", "scale": "colors",
        },
        *(
            {
                "title": f"Contrast retention of a disc of 5 mm and 1 noise sd, slice {of_part['slice'] + 1}",
                "picture": colored(np.array(of_part["kept"], dtype=float), 0, 1, 8),
                "low": "0", "high": "100 %", "scale": "colors",
            }
            for of_part in (data.record["contrast_kept"] or {"maps": []})["maps"][:1]
        ),
    ]  # fmt: skip


def _charts(data: ReportData, unit: str) -> list[dict[str, str]]:
    spectrum, numbers = data.spectrum, range(1, data.shape_dhw[0] + 1)
    pixel = "px" if pixel_spacing_mm(data) is None else "mm"
    frequency = spectrum.frequency_per_mm.tolist()
    noise = [Curve("before", numbers, by_slice(data.noise_before).tolist(), BEFORE)]
    if data.noise_after is not None:
        noise.append(Curve("after", numbers, by_slice(data.noise_after).tolist(), AFTER))
    steps = [(index + 0.5) * data.steps / max(len(data.loss), 1) for index in range(len(data.loss))]
    return [
        {
            "title": "Noise by slice",
            "svg": line_chart(
                noise, x_label="slice", y_label=f"noise sd, {unit}",
            ),
        },
        {
            "title": "Noise power spectrum",
            "svg": line_chart(
                [
                    Curve("before", frequency, spectrum.before.tolist(), BEFORE),
                    Curve("removed", frequency, spectrum.removed.tolist(), REMOVED),
                ],
                x_label=f"spatial frequency, 1/{pixel}", y_label=f"power, {unit}² {pixel}²",
            ),
        },
        {
            "title": "Loss of the fit",
            "svg": line_chart(
                [Curve("loss", steps, data.loss.tolist(), AFTER)], x_label="step", y_label="loss", y_from_zero=False
            ),
        },
    ]  # fmt: skip


def _kept_by_size(record: Mapping[str, Any]) -> list[tuple[float, list[str]]]:
    """Return a row for each diameter: the contrast retention of discs of each contrast."""
    kept = {(cell["diameter_mm"], cell["contrast_sd"]): cell for cell in record["contrast_kept"]["discs"]}
    return [
        (
            diameter,
            [
                "no space" if cell is None else f"{max(cell['kept'], 0):.0%}"
                for cell in (kept.get((diameter, contrast)) for contrast in CONTRASTS_SD)
            ],
        )
        for diameter in DIAMETERS_MM
    ]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Yield names and values of all settings, nested ones by their path."""
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", "none" if value is None else str(value)))
    return rows
