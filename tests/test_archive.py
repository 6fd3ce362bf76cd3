# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Round trip through an archive: a study is sent, fetched, denoised, sent back, and shown as one study."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest

from nsn2n.app import main
from nsn2n.synthetic.dicom_series import write_synthetic_series
from tests.orthanc import DICOMWEB, STUDY_UID, run, running_archive


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with running_archive(tmp_path_factory.mktemp("archive")) as started:
        yield started


@pytest.fixture
def archive(running):
    """An archive without a study."""
    running.empty()
    return running


@pytest.fixture
def sent(archive, tmp_path):
    """The files of a leaning MR series, as they were sent."""
    volume = np.random.default_rng(0).normal(200, 20, (6, 64, 72))
    files = write_synthetic_series(
        volume, tmp_path / "sent", modality="MR", spacing_mm=(2.5, 0.75, 0.5), origin_mm=(-20, 10, 300.5),
        orientation=(0.6, 0.8, 0, 0, 0, -1), series_number=4, study_uid=STUDY_UID, seed="archive",
    )  # fmt: skip
    archive.send(tmp_path / "sent")
    return files


@pytest.fixture
def denoise(tmp_path, monkeypatch):
    """A function that runs the application in this process, as it takes long to start."""

    def run(source, output, more=""):
        settings = tmp_path / "app.yaml"
        brief = "config: {fit: {steps: 3, crop_px: 16}, network: {channels: 4, levels: 2}, refit: {steps: 3}}"
        settings.write_text(f"nsn2n:\n  {brief}\n{more}")
        monkeypatch.setenv("HOLOSCAN_CONFIG_PATH", str(settings))
        assert main(["-i", str(source), "-o", str(output)]) == 0

    return run


def _series(archive):
    """Series number to the tags of its instances, in slice order, of the one study."""
    (study,) = archive.get("/studies?expand")
    assert study["MainDicomTags"]["StudyInstanceUID"] == STUDY_UID
    series = {}
    for entry in archive.get(f"/studies/{study['ID']}/series"):
        tags = [archive.get(f"/instances/{instance}/simplified-tags") for instance in entry["Instances"]]
        series[int(tags[0]["SeriesNumber"])] = sorted(tags, key=lambda tag: int(tag["InstanceNumber"]))
    return series


@pytest.mark.parametrize("way", ["movescu", "getscu", "dicomweb"])
def test_derived_series_joins_its_source(archive, sent, denoise, tmp_path, way):
    if way == "dicomweb" and not DICOMWEB.exists():
        pytest.skip("Orthanc's DICOMweb is not installed (Debian package orthanc-dicomweb): IT WAS NOT TRIED")
    (tmp_path / "fetched").mkdir()
    getattr(archive, f"fetch_by_{way}")(tmp_path / "fetched")
    assert len(list((tmp_path / "fetched").iterdir())) == len(sent)

    denoise(tmp_path / "fetched", tmp_path / "out")
    (folder,) = (tmp_path / "out").glob("2.25.*")
    archive.send(folder)

    series = _series(archive)
    assert sorted(series) == [4, 1004]
    assert len(series[4]) == len(series[1004]) == len(sent)
    for source, derived in zip(series[4], series[1004], strict=True):
        for name in (
            "PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID", "ImagePositionPatient",
            "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "Rows", "Columns", "Modality",
        ):  # fmt: skip
            assert derived[name] == source[name], name
        assert derived["SourceImageSequence"][0]["ReferencedSOPInstanceUID"] == source["SOPInstanceUID"]
        assert derived["ImageType"].startswith("DERIVED\\PRIMARY")
    assert [pydicom.dcmread(file).SOPInstanceUID for file in sent] == [tag["SOPInstanceUID"] for tag in series[4]]


def test_compressed_series_map_and_report_are_taken_and_come_back(archive, sent, denoise, tmp_path):
    more = "  compression: jpeg-ls\n  parametric_map: true\n  structured_report: true\n"
    denoise(tmp_path / "sent", tmp_path / "out", more)
    for folder in (tmp_path / "out").glob("2.25.*"):
        syntax = pydicom.dcmread(next(folder.iterdir()), stop_before_pixels=True).file_meta.TransferSyntaxUID
        propose = ["-xt"] if syntax.is_compressed else ["-R"]
        run("storescu", *propose, "-aec", "ORTHANC", "+sd", "+r", "127.0.0.1", archive.dicom, folder)

    series = _series(archive)

    assert {number: tags[0]["Modality"] for number, tags in series.items()} == {
        4: "MR",
        1004: "MR",
        1005: "OT",
        1006: "SR",
    }
    assert len({tags[0]["SeriesInstanceUID"] for tags in series.values()}) == 4
    assert len(series[1004]) == len(sent)
