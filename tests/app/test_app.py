# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The pipeline as an object, for programs that run it themselves."""

from __future__ import annotations

import sys

import numpy as np
import pydicom
import SimpleITK

from nsn2n.app.app import NSN2NApp
from nsn2n.app.arguments import parse_arguments
from nsn2n.app.settings import load_settings
from nsn2n.jobs.options import JobOptions
from nsn2n.jobs.outcomes import SOME_FAILED


def _run(study, output, options):
    arguments = parse_arguments(["-i", str(study), "-o", str(output), "-l", "ERROR"])
    app = NSN2NApp([sys.executable, "test"], arguments=arguments, job_options=options)
    app.run()
    return app


def _read(folder):
    return SimpleITK.ReadImage(sorted(str(path) for path in folder.iterdir()))


def test_new_series_lie_on_the_grid_of_their_sources(study, tmp_path, monkeypatch):
    monkeypatch.setenv("HOLOSCAN_LOG_LEVEL", "CRITICAL")
    options = load_settings(tmp_path / "settings" / "app.yaml")

    app = _run(study, tmp_path / "out", options)

    assert app.conclude() == SOME_FAILED
    assert len(app.outcomes.failures) == 1
    written = app.writer_operator.written
    assert [series.SeriesNumber for series in written] == [1002, 1003]
    for series, number in zip(written, (2, 3), strict=True):
        source, denoised = _read(study / f"series{number}"), _read(series.folder)
        for grid in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(denoised, grid)() == getattr(source, grid)()
        before, after = SimpleITK.GetArrayFromImage(source), SimpleITK.GetArrayFromImage(denoised)
        assert not np.array_equal(before, after)
        assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.99
        assert (tmp_path / "out" / "reports" / series.SeriesInstanceUID / "report.html").is_file()
    # Nothing half written is left beside them.
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_settings_reach_the_operators(study, tmp_path, monkeypatch):
    monkeypatch.setenv("HOLOSCAN_LOG_LEVEL", "CRITICAL")
    base = load_settings(tmp_path / "settings" / "app.yaml")
    uid = next(iter(_uids(study, 3)))
    options = JobOptions(
        preset=base.preset,
        config=base.config,
        seed=11,
        strength=0.25,
        series_uids=(uid,),
        series_description_suffix="clean",
        series_number_offset=20,
        research_mark=True,
        compression="jpeg-ls",
        report=False,
    )

    app = _run(study, tmp_path / "out", options)

    assert app.conclude() == 0
    (series,) = app.writer_operator.written
    assert not (tmp_path / "out" / "reports").exists()
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(series.files[0]))
    reader.ReadImageInformation()
    assert reader.GetMetaData("0020|0011").strip() == "23"
    assert reader.GetMetaData("0008|103e").strip() == "number 3 clean (research)"
    assert pydicom.dcmread(series.files[0]).file_meta.TransferSyntaxUID.name.startswith("JPEG-LS Lossless")
    assert "seed 11" in reader.GetMetaData("0008|2111")
    assert "blended, 0.25 denoised + 0.75 source" in reader.GetMetaData("0008|2111")


def _uids(study, number):
    return SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(str(study / f"series{number}"))
