# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The files of a report: valid, complete, of nothing but themselves, and readable in a browser."""

from __future__ import annotations

import errno
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import numpy as np
import pypdf
import pytest
from PIL import Image

from nsn2n.errors import NSN2NError
from nsn2n.report import report_schema, write_report
from nsn2n.report.write import report_html, report_json
from tests.browser import CHROMIUM, Page

SOURCE = {"Modality": "CT", "SeriesInstanceUID": "2.25.1"}
DERIVED = {"SeriesInstanceUID": "2.25.2", "SeriesNumber": 1001}
ARTIFACTS = Path(__file__).resolve().parents[3] / "out" / "test-artifacts"


@pytest.fixture
def page(data, tmp_path):
    return write_report(tmp_path / "new" / "report", data, source=SOURCE, derived=DERIVED)


def test_json_keeps_its_schema(page):
    record = json.loads((page.parent / "report.json").read_text())

    jsonschema.Draft202012Validator.check_schema(report_schema())
    jsonschema.validate(record, report_schema(), jsonschema.Draft202012Validator)
    assert record["source"] == SOURCE
    assert record["derived"] == DERIVED
    assert record["structure"]["verdict"] == "pass"
    assert record["contrast_kept"]["discs"][0]["diameter_mm"] == 3
    assert record["schema_version"] == report_schema()["properties"]["schema_version"]["const"]
    assert len(record["noise_sd_by_slice"]["before"]) == record["shape_dhw"][0] == 7


@pytest.mark.parametrize(
    "spoil",
    [
        lambda record: record.pop("settings"),
        lambda record: record.update(patient="x"),
        lambda record: record["structure"].update(verdict="good"),
        lambda record: record["noise_sd_by_slice"]["before"].append(-1.0),
        lambda record: record.update(schema_version="1.0"),
    ],
)
def test_the_schema_refuses_what_is_wrong(data, spoil):
    record = report_json(data, source=SOURCE)
    spoil(record)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(record, report_schema(), jsonschema.Draft202012Validator)


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_page_needs_nothing_else(page):
    text = page.read_text(encoding="utf-8")
    parser = _Tags()
    parser.feed(text)

    assert not [tag for tag, _ in parser.tags if tag in ("script", "link", "iframe", "object")]
    references = [value for _, attrs in parser.tags for name, value in attrs.items() if name in ("src", "href")]
    assert references
    assert all(reference.startswith("data:image/png;base64,") for reference in references)
    assert "url(" not in text
    assert "http" not in re.sub(r"data:[^\"]*", "", text)
    assert len([tag for tag, _ in parser.tags if tag == "img"]) == 3 * 3 + 4
    assert len([tag for tag, _ in parser.tags if tag == "svg"]) == 3
    assert all(attrs.get("alt") for tag, attrs in parser.tags if tag == "img")


def test_page_says_what_was_done(page):
    text = re.sub(r"data:[^\"]*", "", page.read_text(encoding="utf-8"))
    for words in ("structure check: pass", "seed 0", "preset fast", "2.25.1", "2.25.2", "7 x 96 x 128", "match.rule"):
        assert words in text


def test_findings_and_verdict_are_shown(data):
    findings = [{"index_zyx": [3, 44, 55], "excess": -9.25, "size_px": 1.0}]
    unknown = {"edges": None, "detail": None}
    structure = {
        "verdict": "fail", **unknown, "contrast": 0.31, "excess": 9.25, "coherence": 1.2, "findings": findings
    }  # fmt: skip
    harmed = replace(data, record={**data.record, "structure": structure})

    text = report_html(harmed, report_json(harmed))

    assert 'class="badge big fail"' in text
    assert "too few edges to judge" in text
    assert "none distinguishable from noise" in text
    assert "31.0 %" in text
    assert "44, 55" in text
    assert "-9.2" in text
    assert "Places to look at" not in report_html(data, report_json(data))


def test_noise_that_slices_share_is_reported(data):
    measured = {**data.record["measured"], "slice_correlation": 0.234}
    shared = replace(data, record={**data.record, "measured": measured})

    assert "Neighbors share noise (correlation 0.23)" in report_html(shared, report_json(shared))
    assert "Neighbors share noise" not in report_html(data, report_json(data))


def test_the_grid_of_interpolated_slices_is_reported(data):
    measured = {**data.record["measured"], "acquired_rows": 256, "acquired_columns": 224}
    interpolated = replace(data, record={**data.record, "measured": measured})

    words = "denoised on a grid of 256 x 224 pixels"
    assert words in report_html(interpolated, report_json(interpolated))
    assert words.split(" of ")[0] not in report_html(data, report_json(data))


def test_texts_are_escaped(data):
    text = report_html(data, report_json(data, source={"name": "<script>alert(1)</script>"}))
    assert "<script>" not in text


def test_folder_that_cannot_be_written(data, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NSN2NError, match="folder of the report must be writable; got Not a directory"):
        write_report(tmp_path / "file" / "report", data)


def test_the_top_says_what_matters(data):
    """What was denoised, the verdict and its reason, where to look, what would survive, one picture; all else folds."""
    findings = [{"index_zyx": [z, 44, 55], "excess": 9.25, "size_px": 1.0} for z in (4, 3, 2, 1)]
    structure = {**data.record["structure"], "verdict": "fail", "excess": 9.25, "findings": findings}
    for shown, said, opened in (
        (data, ["What was removed looks like noise", "No single place stands out. Compare", "Slice 4 before"], 0),
        (
            replace(data, record={**data.record, "structure": structure}),
            ["may contain anatomy: small structures 9.2 sd", "slice 5, row 44, column 55", "1 more", "Slice 5 before"],
            1,
        ),
    ):
        text = re.sub(r"data:[^\"]*", "", report_html(shown, report_json(shown, derived=DERIVED)))
        top, *folded = text.split("<details")

        for words in ("CT volume (new series 1001): 7 x 96 x 128 voxels", "preset fast", "10 mm", *said):
            assert words in top, words
        assert top.count("<img ") == 3
        assert len(folded) == text.count("<summary>") == 6
        assert sum(part.startswith(" open") for part in folded) == opened
        assert "match.rule" in folded[-1]


@pytest.mark.parametrize(("name", "size"), [("desktop", (1200, 4000)), ("phone", (400, 3900))])
def test_a_browser_shows_it(page, name, size):
    text = page.read_text(encoding="utf-8")
    page = page.with_name("unfolded.html")
    page.write_text(text.replace("<details", "<details open"), encoding="utf-8")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no browser is installed (Debian package chromium): THE REPORT WAS NOT LOOKED AT")
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    picture = ARTIFACTS / f"report-{name}.png"
    picture.unlink(missing_ok=True)
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--screenshot={picture}"]
    window = [f"--user-data-dir={page.parent / 'profile'}", f"--window-size={size[0]},{size[1]}"]
    shot = subprocess.run(
        [chromium, *options, *window, page.as_uri()], capture_output=True, text=True, timeout=120, check=False
    )
    assert picture.is_file(), shot.stderr
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    assert pixels.shape == (size[1], size[0], 3)
    # The badge is green, the pictures are gray and the curves blue: all of them are there.
    green = (np.abs(pixels - (0x1A, 0x7F, 0x4B)).max(axis=2) < 12).sum()
    blue = (np.abs(pixels - (0x0B, 0x63, 0xB8)).max(axis=2) < 12).sum()
    dark = (pixels.max(axis=2) < 60).sum()
    assert green > 1000
    assert blue > 100
    assert dark > 2000


def test_print_has_all_that_is_folded(page, tmp_path):
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no browser is installed (Debian package chromium): THE REPORT WAS NOT PRINTED")
    target = tmp_path / "report.pdf"
    subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
         "--no-pdf-header-footer", f"--print-to-pdf={target}", page.as_uri()],
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    content = target.read_bytes()
    assert content.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 6
    # What is folded on the screen is on paper.
    text = "\n".join(sheet.extract_text() for sheet in pypdf.PdfReader(target).pages)
    for words in ("Coherence", "Bright and dark discs", "Same tissue", "Noise power spectrum", "2.25.1", "match.rule"):
        assert words in text, words
    assert len(re.findall(r"slice \d, removed", text)) == 3


@pytest.mark.skipif(CHROMIUM is None, reason="no browser is installed (Debian package chromium)")
def test_on_the_screen_details_are_folded_until_they_are_opened(page, tmp_path):
    shown = (
        "document.querySelector('.charts').checkVisibility({contentVisibilityAuto: true}) && document.body.scrollHeight"
    )
    with Page(tmp_path / "profile", page.as_uri(), (400, 800)) as browser:
        browser.wait_for("document.readyState === 'complete'")
        folded = browser.value("document.body.scrollHeight")
        assert not browser.value("document.querySelector('.charts').checkVisibility()")
        assert browser.value("document.documentElement.scrollWidth") <= 400  # nothing to scroll sideways on a phone
        browser.value("document.querySelectorAll('summary').forEach(one => one.click())")
        assert browser.wait_for(shown) > 1.5 * folded
        assert browser.value("document.documentElement.scrollWidth") <= 400
        assert not browser.told


def test_a_file_that_is_cut_short_never_has_its_name(data, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("nsn2n.report.write.os.fsync", full)

    with pytest.raises(NSN2NError, match="No space left on device"):
        write_report(tmp_path / "report", data)

    assert list((tmp_path / "report").iterdir()) == []
