# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A real archive, Orthanc, for tests of what is sent and fetched."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.policy import HTTP
from pathlib import Path

import pytest

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
        run("storescu", "-aec", "ORTHANC", "+sd", "+r", "127.0.0.1", self.dicom, folder)

    def fetch_by_movescu(self, target):
        run(
            "movescu", "-S", "-aet", "RECEIVER", "-aem", "RECEIVER", "-aec", "ORTHANC", "+P", self.receiver,
            "-od", target,
            "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={STUDY_UID}", "127.0.0.1", self.dicom,
        )  # fmt: skip

    def fetch_by_getscu(self, target):
        run(
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


def run(name, *arguments):
    result = subprocess.run(
        [shutil.which(name), *map(str, arguments)], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert result.returncode == 0, result.stderr


@contextmanager
def running_archive(folder: Path) -> Iterator[Archive]:
    """Run one with its files in a folder; the test is skipped where there is none."""
    if shutil.which("Orthanc") is None and not Path("/usr/sbin/Orthanc").exists():
        pytest.skip("Orthanc is not installed (Debian packages orthanc, orthanc-dicomweb): NO ARCHIVE WAS TRIED")
    if shutil.which("getscu") is None:
        pytest.skip("dcmtk is not installed: NO ARCHIVE WAS TRIED")
    started = Archive(folder)
    try:
        started.wait()
        yield started
    finally:
        started.process.terminate()
        started.process.wait(timeout=TIMEOUT_S)
