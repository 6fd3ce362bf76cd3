# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Round trip through an archive: a study is sent, fetched, denoised, sent back, and shown as one study."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from email import message_from_bytes
from email.policy import HTTP
from pathlib import Path

import numpy as np
import pydicom
import pytest

from nsn2n.app import main
from nsn2n.synthetic.dicom_series import write_synthetic_series

DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
STUDY_UID = "2.25.4711"
TIMEOUT_S = 120


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Archive:
    """Orthanc on ports of its own, reached from this machine only."""

    def __init__(self, folder):
        self.http, self.dicom, self.receiver = _free_port(), _free_port(), _free_port()
        settings = {
            "Name": "test", "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"),
            "HttpPort": self.http, "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
            "DicomPort": self.dicom, "DicomAet": "ORTHANC", "DicomCheckCalledAet": False,
            "DicomAlwaysAllowStore": True, "DicomAlwaysAllowFind": True, "DicomAlwaysAllowGet": True,
            "DicomAlwaysAllowMove": True, "DicomModalities": {"receiver": ["RECEIVER", "127.0.0.1", self.receiver]},
            "Plugins": [str(DICOMWEB)] if DICOMWEB.exists() else [],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }  # fmt: skip
        (folder / "orthanc.json").write_text(json.dumps(settings))
        self.log = folder / "orthanc.log"
        program = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
        with self.log.open("w") as log:
            self.process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)

    def wait(self):
        """Until it answers."""
        for _ in range(TIMEOUT_S * 10):
            try:
                return self.get("/system")
            except (urllib.error.URLError, ConnectionError):
                assert self.process.poll() is None, self.log.read_text()
                time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=TIMEOUT_S) as answer:
            return json.load(answer)

    def empty(self):
        for study in self.get("/studies"):
            request = urllib.request.Request(f"http://127.0.0.1:{self.http}/studies/{study}", method="DELETE")
            urllib.request.urlopen(request, timeout=TIMEOUT_S).close()
        assert self.get("/instances") == []

    def send(self, folder):
        _run("storescu", "-aec", "ORTHANC", "+sd", "+r", "127.0.0.1", self.dicom, folder)

    def fetch_by_movescu(self, target):
        _run(
            "movescu", "-S", "-aet", "RECEIVER", "-aem", "RECEIVER", "-aec", "ORTHANC", "+P", self.receiver,
            "-od", target,
            "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={STUDY_UID}", "127.0.0.1", self.dicom,
        )  # fmt: skip

    def fetch_by_getscu(self, target):
        _run(
            "getscu", "-S", "-aec", "ORTHANC", "-od", target,
            "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={STUDY_UID}", "127.0.0.1", self.dicom,
        )  # fmt: skip

    def fetch_by_dicomweb(self, target):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http}/dicom-web/studies/{STUDY_UID}",
            headers={"Accept": 'multipart/related; type="application/dicom"'},
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
            parts = message_from_bytes(head + answer.read(), policy=HTTP).get_payload()
        for index, part in enumerate(parts):
            (target / f"{index}.dcm").write_bytes(part.get_payload(decode=True))


def _run(name, *arguments):
    result = subprocess.run(
        [shutil.which(name), *map(str, arguments)], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def running_archive(tmp_path_factory):
    if shutil.which("Orthanc") is None and not Path("/usr/sbin/Orthanc").exists():
        pytest.skip("Orthanc is not installed (Debian packages orthanc, orthanc-dicomweb): NO ARCHIVE WAS TRIED")
    if shutil.which("getscu") is None:
        pytest.skip("dcmtk is not installed: NO ARCHIVE WAS TRIED")
    started = Archive(tmp_path_factory.mktemp("archive"))
    try:
        started.wait()
        yield started
    finally:
        started.process.terminate()
        started.process.wait(timeout=TIMEOUT_S)


@pytest.fixture
def archive(running_archive):
    """An archive without a study."""
    running_archive.empty()
    return running_archive


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
        _run("storescu", *propose, "-aec", "ORTHANC", "+sd", "+r", "127.0.0.1", archive.dicom, folder)

    series = _series(archive)

    assert {number: tags[0]["Modality"] for number, tags in series.items()} == {
        4: "MR",
        1004: "MR",
        1005: "OT",
        1006: "SR",
    }
    assert len({tags[0]["SeriesInstanceUID"] for tags in series.values()}) == 4
    assert len(series[1004]) == len(sent)
