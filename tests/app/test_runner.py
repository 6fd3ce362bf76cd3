# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The process: arguments in, exit code and one line for what went wrong out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pydicom
import pytest

from nsn2n._version import __version__
from nsn2n.app import main

ROOT = Path(__file__).resolve().parents[2]
SECRETS = ("Secretname", "SECRETID", "1970")


def _python(*arguments, cwd, **environment):
    """Run a command with this Python; its own files are not written."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def _series_numbers(folder):
    return sorted(pydicom.dcmread(next(series.iterdir())).SeriesNumber for series in folder.glob("2.25.*"))


def test_checkout_runs_and_one_bad_series_does_not_stop_the_others(study, tmp_path):
    """``python app``: two volumes are written, one is refused, a localizer and a capture are left alone."""
    output = tmp_path / "out"

    result = _python("app", "-i", study, "-o", output, cwd=ROOT)

    assert result.returncode == 3, result.stderr
    assert _series_numbers(output) == [1002, 1003]
    assert sorted(len(list(series.iterdir())) for series in output.glob("2.25.*")) == [4, 5]
    lines = result.stderr.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 2
    assert 'CT series 5 "number 5"' in errors[0]
    assert "missing slices" in errors[0]
    assert errors[1] == lines[-1]
    assert errors[1].startswith('error: 2 of 3 selected series written, 1 failed: CT series 5 "number 5" (')
    assert sum("left alone" in line for line in lines) == 2
    written = [line for line in lines if ": written as series " in line]
    assert len(written) == 2
    for line, series in zip(written, (2, 3), strict=True):
        assert f'CT series {series} "number {series}"' in line
        assert str(output) in line
    summaries = [line for line in lines if "NS-N2N denoising" in line]
    assert len(summaries) == 2
    for line, series in zip(summaries, (2, 3), strict=True):
        assert line.startswith(f'CT series {series} "number {series}" (')
        assert "median noise sd" in line
    assert not [secret for secret in SECRETS if secret in result.stdout + result.stderr]
    assert "Traceback" not in result.stderr
    assert "[warning]" not in result.stderr + result.stdout  # Holoscan's
    assert result.stdout == ""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """A function that runs the application on `study` with one more setting; gives exit code and messages."""

    def run_with(setting):
        file = tmp_path / "settings" / "app.yaml"
        file.write_text(file.read_text().replace("nsn2n: {", f"nsn2n: {{{setting}, "))
        code = main(["-i", str(tmp_path / "study"), "-o", str(tmp_path / "out")])
        return code, capsys.readouterr().err.splitlines()

    monkeypatch.setenv("HOLOSCAN_LOG_LEVEL", "CRITICAL")
    return run_with


@pytest.mark.parametrize(
    ("bad", "code", "written", "counts"),
    [
        (5, 3, [1002, 1003], "2 of 5 selected series written, 1 failed, 2 not tried"),
        (0, 1, [], "0 of 5 selected series written, 1 failed, 4 not tried"),
    ],
)
def test_strict_begins_no_series_after_one_has_failed(
    make_series, make_bad_series, run, tmp_path, bad, code, written, counts
):
    for number in (2, 3, 7, 8):
        make_series(number, slices=3)
    make_bad_series(bad)

    ended_with, lines = run("strict: true")

    assert ended_with == code
    assert _series_numbers(tmp_path / "out") == written
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 2
    assert f'CT series {bad} "number {bad}"' in errors[0]
    assert errors[1].startswith(f"error: {counts}: CT series {bad} ")
    assert (tmp_path / "out").exists() == bool(written)


def test_strict_changes_nothing_where_all_goes_well(make_series, run, tmp_path):
    for number in (2, 3):
        make_series(number, slices=3)

    code, lines = run("strict: true")

    assert (code, lines[-1]) == (0, "2 series written")
    assert _series_numbers(tmp_path / "out") == [1002, 1003]


@pytest.mark.parametrize(("setting", "code", "written"), [("false", 0, [1002, 1003]), ("true", 3, [1003])])
def test_a_series_with_gaps_is_taken_in_parts_or_refused(make_series, run, tmp_path, setting, code, written):
    make_series(2, slices=7)[3].unlink()
    make_series(3)

    ended_with, lines = run(f"refuse_gaps: {setting}")

    assert ended_with == code
    assert _series_numbers(tmp_path / "out") == written
    refusals = [line for line in lines if "Without refuse_gaps" in line]
    assert len(refusals) == (setting == "true")
    assert all('error: CT series 2 "number 2"' in line and "missing slices" in line for line in refusals)


def test_environment_gives_folders_and_total_failure_leaves_nothing(gap_study, tmp_path):
    """``python -m nsn2n.app``, as in a package: no folder is named but by variables."""
    output = tmp_path / "out"

    result = _python(
        "-m",
        "nsn2n.app",
        "-l",
        "ERROR",
        cwd=tmp_path,
        HOLOSCAN_INPUT_PATH=str(gap_study),
        HOLOSCAN_OUTPUT_PATH=str(output),
        HOLOSCAN_MODEL_PATH=str(ROOT / "models"),
        HOLOSCAN_WORKDIR=str(tmp_path),
    )

    assert result.returncode == 1, result.stderr
    reason, conclusion = result.stderr.splitlines()
    assert "missing slices" in reason
    assert conclusion.startswith('error: 0 of 1 selected series written, 1 failed: CT series 5 "number 5" (')
    assert not output.exists()


def test_copied_folder_starts_from_anywhere(tmp_path):
    """A package has the folder at /opt/holoscan/app and nsn2n on the path."""
    copy = shutil.copytree(ROOT / "app", tmp_path / "holoscan" / "app")

    result = _python(copy, "--version", cwd=tmp_path)

    assert (result.returncode, result.stdout) == (0, f"nsn2n {__version__}\n")


def test_help_and_refusals_need_no_heavy_library(tmp_path):
    code = (
        "import sys; from nsn2n.app import main; code = main(['-i', 'none']);"
        "heavy = {'torch', 'monai', 'holoscan', 'pydicom'} & set(sys.modules); sys.exit(f'{code} {heavy}')"
    )

    result = _python("-c", code, cwd=tmp_path)

    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("error: the input must be a folder with DICOM files; ")
    assert lines[1] == "1 set()"


def test_nothing_selected_is_one_line(localizer_study, tmp_path, capsys):
    code = main(["-i", str(localizer_study), "-o", str(tmp_path / "out"), "-l", "ERROR"])

    assert code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: at least one series of ")
    assert "a localizer" in line
    assert not (tmp_path / "out").exists()


def test_folder_without_dicom_is_one_line(tmp_path, capsys):
    (tmp_path / "in").mkdir()

    code = main(["-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "-l", "ERROR"])

    assert code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: no DICOM found in ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("level", ["ERROR", "DEBUG"])
def test_wrong_settings_are_one_line_and_debugging_shows_where(study, tmp_path, monkeypatch, capsys, level):
    file = tmp_path / "wrong.yaml"
    file.write_text("nsn2n: {presett: fast}")
    monkeypatch.setenv("HOLOSCAN_CONFIG_PATH", str(file))

    code = main(["-i", str(study), "-o", str(tmp_path / "out"), "-l", level])

    lines = capsys.readouterr().err.splitlines()
    assert code == 1
    assert lines[0].startswith("error: Setting 'nsn2n.presett' is unknown. Did you mean 'nsn2n.preset'?")
    assert (len(lines) > 1) == (level == "DEBUG")
