# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The viewers of an output folder are found, printed and opened."""

from __future__ import annotations

import logging
import webbrowser

import pytest
from typer.testing import CliRunner

from nsn2n.cli.main import app
from nsn2n.cli.view import find_viewers, open_viewers
from nsn2n.errors import NSN2NError


def _report(folder, uid, *names):
    place = folder / "reports" / uid
    place.mkdir(parents=True)
    for name in names:
        (place / name).touch()
    return place


@pytest.fixture
def output(tmp_path):
    _report(tmp_path, "2.25.2", "report.html", "viewer.html")
    _report(tmp_path, "2.25.1", "report.html", "viewer.html")
    _report(tmp_path, "2.25.3", "report.html")
    return tmp_path


def test_viewers_are_found_and_what_lacks_one_is_reported(output, caplog):
    viewers = find_viewers(output)

    assert [viewer.parent.name for viewer in viewers] == ["2.25.1", "2.25.2"]
    assert "series 2.25.3 has no viewer.html. Denoise it again with --viewer" in caplog.text


def test_reports_alone_say_how_to_get_one(tmp_path):
    _report(tmp_path, "2.25.3", "report.html")

    with pytest.raises(NSN2NError, match=r"has 1 reports without one\. Denoise it again with --viewer"):
        find_viewers(tmp_path)


def test_no_output_folder(tmp_path):
    with pytest.raises(NSN2NError, match="there is no folder"):
        find_viewers(tmp_path / "none")
    with pytest.raises(NSN2NError, match="has no folder reports of a run"):
        find_viewers(tmp_path)


def test_each_is_opened(output, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)

    open_viewers(find_viewers(output))

    assert opened == [f"{(output / 'reports' / uid / 'viewer.html').as_uri()}" for uid in ("2.25.1", "2.25.2")]


def test_no_browser_is_reported(output, monkeypatch, caplog):
    monkeypatch.setattr(webbrowser, "open", lambda address: False)

    with caplog.at_level(logging.WARNING):
        open_viewers(find_viewers(output)[:1])

    assert "no browser could be started" in caplog.text


def test_command_prints_them_and_opens_none(output, monkeypatch):
    monkeypatch.setattr(webbrowser, "open", lambda address: pytest.fail("a browser was started"))

    result = CliRunner().invoke(app, ["view", str(output), "--no-browser"])

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [str(output / "reports" / uid / "viewer.html") for uid in ("2.25.1", "2.25.2")]
    assert CliRunner().invoke(app, ["view", str(output / "none")]).exit_code == 1
