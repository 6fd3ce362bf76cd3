# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The viewer as a browser shows it: its pixels, its keys, and that it asks for nothing and complains of nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nsn2n.report import collect_report, write_report
from nsn2n.report.viewer import viewer_html
from nsn2n.report.viewer_volumes import pack_volumes
from nsn2n.report.write import report_json
from tests.browser import CHROMIUM, Page

ARTIFACTS = Path(__file__).resolve().parents[3] / "out" / "test-artifacts"
FINDINGS = [
    {"index_zyx": [5, 40, 70], "excess": -9.25, "size_px": 1.0},
    {"index_zyx": [1, 80, 20], "excess": 8.0, "size_px": 2.0},
]
SOURCE, DERIVED = {"Modality": "CT", "SeriesInstanceUID": "2.25.1"}, {"SeriesNumber": 1001}


@pytest.fixture(scope="module")
def viewed(stack, result):
    """The data of the report, two places that are named, and a map of what is kept in slice 4.

    After it 30 % of the noise are left: the brief fit of these tests removes next to nothing.
    """
    data = collect_report(stack, result, viewer=True)
    truth = np.where(np.hypot(*(np.mgrid[:96, :128] - np.array([40, 70])[:, None, None])) < 25, 100, 0)
    after = (truth + 0.3 * (stack.values - truth)).astype(np.float32)
    kept = {"discs": data.record["contrast_kept"]["discs"],
            "maps": [{"slice": 3, "block_px": 16, "kept": [[0.5] * 8] * 5 + [[None] * 8]}]}  # fmt: skip
    structure = {**data.record["structure"], "verdict": "review", "findings": FINDINGS}
    volumes = pack_volumes(stack.values, after, 20.0, stack.pixel_spacing_mm)
    return replace(data, volumes=volumes, record={**data.record, "structure": structure, "contrast_kept": kept})


@pytest.fixture(scope="module")
def file(viewed, tmp_path_factory):
    page = write_report(tmp_path_factory.mktemp("viewer"), viewed, source=SOURCE, derived=DERIVED)
    return page.with_name("viewer.html")


def _open(file, tmp_path, size):
    if CHROMIUM is None:
        pytest.skip("no browser is installed (Debian package chromium): THE VIEWER WAS NOT LOOKED AT")
    return Page(tmp_path / "profile", file.as_uri(), size)


def _pane(page, name):
    """The pixels of a pane, shape (rows, columns, 3), without its caption."""
    left, top, right, bottom = page.box(f"#pane-{name}")
    return page.picture()[top + 30 : bottom, left:right]


def _status(page):
    return page.value("document.getElementById('status').textContent").replace("\u2212", "-")


def _in_silence(page, file):
    """Nothing was fetched but the page and pictures that are in it, and nothing came to the console."""
    assert [address for address in page.requests if not address.startswith("data:")] == [file.as_uri()]
    assert page.told == []


def test_desktop(file, tmp_path):
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    with _open(file, tmp_path, (1200, 800)) as page:
        page.wait_for("document.body && document.body.dataset.ready")
        page.picture(ARTIFACTS / "viewer-desktop.png")
        assert _status(page) == "Slice 4 of 7 · window -160 to 240 HU"

        # The disc of 100 HU in water: brighter by 100 / 400 of the range, where it lies in the slice.
        before, after, removed = (_pane(page, name) for name in ("before", "after", "removed"))
        left, top, right, bottom = page.box("#pane-before")
        mm = min((right - left) / 64, (bottom - top) / 96)  # px for each mm; the slice is 64 mm wide and 96 mm high

        def around(pixels, row, column, radius=6):
            x = (right - left) / 2 + ((column + 0.5) * 0.5 - 32) * mm
            y = (bottom - top) / 2 + ((row + 0.5) - 48) * mm - 30
            rows, columns = (slice(round(at - radius * mm), round(at + radius * mm)) for at in (y, x))
            return pixels[rows, columns, 0]

        assert around(after, 40, 70).mean() == pytest.approx(255 * 260 / 400, abs=8)
        assert around(after, 82, 100).mean() == pytest.approx(255 * 160 / 400, abs=8)
        assert around(after, 82, 100).std() == pytest.approx(0.3 * around(before, 82, 100).std(), rel=0.15)
        assert around(removed, 40, 70).mean() == pytest.approx(127, abs=6)
        assert around(removed, 40, 70).std() > 10

        page.press("ArrowDown")
        assert _status(page).startswith("Slice 5 of 7")
        assert np.abs(_pane(page, "before") - before).max() > 40
        page.press("ArrowUp")
        assert np.abs(_pane(page, "before") - before).max() < 3
        page.press("Home")
        page.press("ArrowUp")
        assert _status(page).startswith("Slice 1 of 7")

        for key, limits in {"1": "0 to 80", "3": "-1350 to 150", "4": "-450 to 1050", "2": "-160 to 240"}.items():
            page.press(key)
            assert f"window {limits} HU" in _status(page)
        page.press("5")
        automatic = _status(page)
        page.drag((200, 400), (260, 400))
        assert _status(page) != automatic
        page.press("2")

        page.press("n")
        assert _status(page) == "Slice 6 of 7 · window -160 to 240 HU · place 1 of 2: -9.2 noise sd removed"
        cyan = (np.abs(_pane(page, "after") - (77, 217, 255)).max(axis=2) < 25).sum()
        assert cyan > 200
        page.press("p")
        assert "Slice 2 of 7" in _status(page)
        assert "place 2 of 2" in _status(page)

        page.press("m")
        page.wait_for("document.body.dataset.map === 'noise'")
        assert _colored(_pane(page, "after")) > 0.5
        page.press("m")  # goes to the slice in which it was measured
        page.wait_for("document.body.dataset.map === 'kept'")
        assert _status(page).startswith("Slice 4 of 7")
        assert 0.4 < _colored(_pane(page, "after")) < 0.9
        page.press("m")
        page.wait_for("document.body.dataset.map === ''")
        assert _colored(_pane(page, "after")) == 0

        for key, view in {"b": "before", "a": "after", "r": "removed", "s": "swipe", "v": "side"}.items():
            page.press(key)
            assert page.value("document.body.dataset.view") == view
            assert page.value(f"document.querySelector('button[data-view={view}]').ariaPressed") == "true"
        _in_silence(page, file)


def _colored(pixels):
    """Part of the pixels with a slice in them that have a color."""
    there = pixels.max(axis=2) > 20
    return float(((np.ptp(pixels, axis=2) > 20) & there).sum() / there.sum())


def test_phone(file, tmp_path):
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    with _open(file, tmp_path, (390, 844)) as page:
        page.wait_for("document.body && document.body.dataset.ready")
        page.settle()
        page.picture(ARTIFACTS / "viewer-phone.png")
        assert page.value("document.documentElement.scrollWidth") <= 390
        assert page.value("[...document.querySelectorAll('button')].every(b => b.getBoundingClientRect().right <= 390)")

        left, top, right, bottom = page.box("#panes")
        middle, width = (top + bottom) / 2, right - left
        swiped = []
        for start, end in ((0.5, 0.995), (0.995, 0.005)):
            page.drag((left + start * width, middle), (left + end * width, middle))
            swiped.append(page.picture()[top + 40 : bottom - 10, left + 24 : right - 24, 0])
        assert int(page.value("document.getElementById('divider').ariaValueNow")) < 5
        # Before everywhere, then after everywhere.
        rows = slice(swiped[0].shape[0] // 3, 2 * swiped[0].shape[0] // 3)
        before, after = (np.diff(pixels[rows, 40:120], axis=1).std() for pixels in swiped)
        assert after < 0.85 * before
        _in_silence(page, file)


def test_without_webgl_it_says_so(file, tmp_path):
    with _open(file, tmp_path, (800, 600)) as page:
        page.wait_for("document.body && document.body.dataset.ready")
        page.call("Page.addScriptToEvaluateOnNewDocument", source="HTMLCanvasElement.prototype.getContext = () => null")
        page.call("Page.reload")
        page.wait_for("document.body && /WebGL 2/.test(document.getElementById('message')?.textContent)")


def test_nothing_runs_that_was_not_meant_to(file):
    text = file.read_text(encoding="utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1].replace("&#39;", "'")

    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert policy.count("sha256-") == 3
    assert len(re.findall(r"<script>", text)) == 2
    assert not re.search(r"<(?:link|iframe|object|img)\b| on\w+=| src=| style=", text.split("<script>")[0])


def test_texts_are_escaped(viewed):
    text = viewer_html(viewed, viewed.volumes, report_json(viewed, source={"Modality": "</title><script>alert(1)"}))

    assert "<script>alert" not in text


def test_windows_of_hounsfield_units_are_for_ct_alone(viewed):
    record = report_json(viewed, source={"Modality": "MR"})

    text = viewer_html(replace(viewed, modality=None), viewed.volumes, record)

    assert re.findall(r'data-window="(\w+)" aria-keyshortcuts="(\d)"', text) == [("Auto", "5")]


def test_no_viewer_unless_it_is_asked_for_and_none_of_text_in_the_pixels(data, viewed, tmp_path):
    write_report(tmp_path / "plain", data)
    write_report(tmp_path / "text", viewed, pictures=False)

    assert not list(tmp_path.glob("*/viewer.html"))


def test_long_series_say_which_slices_are_shown(viewed):
    few = replace(viewed.volumes, slices=(1, 3, 5))

    text = viewer_html(viewed, few, report_json(viewed))

    assert "The series has\n      7 slices, of which 3 are in this page." in text
