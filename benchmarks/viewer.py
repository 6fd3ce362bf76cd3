# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Size of the viewer of a long series, and the time until a browser shows it.

    python benchmarks/viewer.py [--shape 40 512 512] [--repeats 3] [--keep FILE]

The series is the phantom of ``make demo`` at a quarter of the dose; the result is its truth with 30 % of the noise
remaining. Headless Chromium has no graphics card: NiiVue's shaders are compiled and run on the processor.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from run import machine

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nsn2n import SliceStack, denoise
from nsn2n.report import ReportData, collect_report
from nsn2n.report.viewer import viewer_html
from nsn2n.report.viewer_volumes import pack_volumes
from nsn2n.report.write import report_json
from nsn2n.synthetic.phantom import make_phantom
from tests.browser import CHROMIUM, Page

FIT = {"fit": {"steps": 3, "crop_px": 16}, "network": {"channels": 4, "levels": 2}}
NOISE_LEFT = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=[40, 512, 512])
    parser.add_argument("--repeats", type=int, default=3, help="of the start of the browser")
    parser.add_argument("--keep", type=Path, help="write the page here too")
    options = parser.parse_args()
    print(machine(1).replace(", 1 threads", ""))
    data, seconds = viewed(tuple(options.shape))
    text = viewer_html(data, data.volumes, report_json(data, source={"Modality": "CT"}))
    if options.keep is not None:
        options.keep.write_text(text, encoding="utf-8")
    columns = ("page, MB", "packed in, s", "first slice shown after, s", "all panes, s")
    table = Table(*columns, title=" x ".join(map(str, options.shape)))
    starts = [started(text) for _ in range(options.repeats)] if CHROMIUM else []
    shown = [f"{np.median(values) / 1000:.1f}" for values in zip(*starts, strict=True)] or ["no Chromium"] * 2
    table.add_row(f"{len(text.encode()) / 1e6:.1f}", f"{seconds:.1f}", *shown)
    Console(width=100).print(table)


def viewed(shape: tuple[int, int, int]) -> tuple[ReportData, float]:
    """Return the report data for a series of that shape, and the seconds that packing its volumes took."""
    phantom = make_phantom(shape, seed=0)
    noise = phantom.noisy_dhw - phantom.truth_dhw
    sd = float(noise[phantom.soft_tissue_mask].std())
    started_at = time.perf_counter()
    volumes = pack_volumes(phantom.noisy_dhw, phantom.truth_dhw + NOISE_LEFT * noise, sd, phantom.spacing_mm[1:])
    seconds = time.perf_counter() - started_at
    small = SliceStack.of(phantom.noisy_dhw[:3, :64, :64], modality="CT")
    data = collect_report(small, denoise(small, preset="fast", device="cpu", config=FIT))
    structure = {**data.record["structure"], "findings": []}
    blocks = (shape[0], -(-shape[1] // 16), -(-shape[2] // 16))
    return replace(
        data,
        shape_dhw=shape,
        noise_before=np.full(blocks, sd, np.float32),
        volumes=volumes,
        record={**data.record, "structure": structure, "contrast_kept": None},
    ), seconds


def started(text: str) -> tuple[float, float]:
    """Return the milliseconds from the start of navigation until the first and until the last pane is drawn."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        file = Path(folder) / "viewer.html"
        file.write_text(text, encoding="utf-8")
        with Page(Path(folder) / "profile", file.as_uri(), (1280, 800)) as page:
            page.wait_for("document.body && document.body.dataset.ready")
            return tuple(float(page.value(f"document.body.dataset.{name}")) for name in ("first", "ready"))


if __name__ == "__main__":
    main()
