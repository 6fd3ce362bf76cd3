# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from nsn2n.batch.ledger import DONE, FAILED, RUNNING, WAITING, Row
from nsn2n.batch.status import summary, worst_first, write_status
from nsn2n.errors import NSN2NError


def _row(uid, state, verdict="", **more):
    told = dict.fromkeys(Row.__annotations__, "")
    told |= {"number": 3, "tries": 1, "seconds": None, "peak_bytes": None, "estimated_bytes": 1}
    return Row(**{**told, "series_uid": uid, "state": state, "verdict": verdict, **more})


ROWS = [
    _row("pass", DONE, "pass", report="1/2/reports/3/report.html", seconds=2.25, peak_bytes=300 << 20),
    _row("waits", WAITING),
    _row("none", DONE),
    _row("bad", FAILED, error="a <b>line</b>, and more", verdict="fail"),
    _row("review", DONE, "review", remarks="clipped"),
    _row("runs", RUNNING, "fail"),
    _row("fails", DONE, "fail"),
    _row("bad2", FAILED),
]
ORDER = ["bad", "bad2", "fails", "review", "runs", "waits", "none", "pass"]


def test_worst_comes_first():
    assert [row.series_uid for row in worst_first(ROWS)] == ORDER


def test_summary_counts_states_and_verdicts():
    assert summary(ROWS) == (
        "8 series: 4 done, 2 failed, 1 running, 1 waiting; structure check: 1 pass, 1 review, 1 fail"
    )
    assert summary([]) == "0 series: 0 done, 0 failed, 0 running, 0 waiting"


def test_csv_has_every_column(tmp_path):
    table, _ = write_status(tmp_path, ROWS)

    with table.open(newline="") as stream:
        read = list(csv.DictReader(stream))
    assert [row["series_uid"] for row in read] == ORDER
    assert read[0]["error"] == "a <b>line</b>, and more"
    assert read[-1]["seconds"] == "2.25"
    assert set(read[0]) == set(Row.__annotations__)


class _Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.links, self.tags = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name == "href"]


def test_page_links_to_reports_and_runs_nothing(tmp_path):
    _, page = write_status(tmp_path, ROWS)
    text = page.read_text()

    read = _Page(text)
    assert read.links == ["1/2/reports/3/report.html"]
    assert read.tags.count("tr") == 1 + len(ROWS)
    assert "script" not in read.tags
    assert "b" not in read.tags  # what an error quotes is text
    places = [text.index(f"{uid}</td>") for uid in ("bad2", "fails", "review", "runs")]
    assert places == sorted(places)


def test_files_are_replaced_and_nothing_else_is_left(tmp_path):
    write_status(tmp_path, ROWS)
    write_status(tmp_path, ROWS[:1])

    assert sorted(path.name for path in tmp_path.iterdir()) == ["status.csv", "status.html"]
    assert "1 series" in (tmp_path / "status.html").read_text()


def test_folder_that_is_gone_is_one_line(tmp_path):
    with pytest.raises(NSN2NError, match="folder of a run must be writable"):
        write_status(tmp_path / "absent", ROWS)


def test_browser_shows_the_page(tmp_path):
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed: THE PAGE WAS NOT SHOWN")
    _, page = write_status(tmp_path, ROWS)

    shown = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    cells = re.findall(r"<td[^>]*>(.*?)</td>", shown, flags=re.DOTALL)

    assert len(cells) == 8 * len(ROWS)
    assert "300" in cells[-3]
