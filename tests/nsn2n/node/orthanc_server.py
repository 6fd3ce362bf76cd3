# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A real Orthanc for tests, on ports of its own that only this machine reaches."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from nsn2n.node.orthanc_client import OrthancClient

TIMEOUT_S = 90
INDEX = 1024


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def require_orthanc() -> str:
    """The path of Orthanc, or skip the test."""
    program = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
    if not Path(program).exists():
        pytest.skip("Orthanc is not installed (Debian package orthanc): NO NODE WAS TRIED")
    if shutil.which("storescu") is None:
        pytest.skip("dcmtk is not installed: NO NODE WAS TRIED")
    return program


def until(
    condition: Callable[[], Any], step: Callable[[], object] = lambda: time.sleep(0.05), timeout_s: float = TIMEOUT_S
) -> Any:
    """Take steps until a condition holds, and return what it gave."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        step()
    raise AssertionError("it did not come to pass")


class OrthancServer:
    """Orthanc with storage in a folder; further settings are those of its configuration file."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.http, self.dicom = folder, free_port(), free_port()
        self.settings = {
            "Name": "test", "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"),
            "HttpPort": self.http, "DicomPort": self.dicom, "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False, "DicomAet": "ORTHANC", "DicomAlwaysAllowStore": True, "StableAge": 1,
            "Plugins": [], "HttpsVerifyPeers": True, "DicomScuTimeout": 5, **settings,
        }  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None
        self.scheme = "https" if settings.get("SslEnabled") else "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.http}"

    def start(self) -> OrthancServer:
        file = self.folder / "orthanc.json"
        file.write_text(json.dumps(self.settings))
        with (self.folder / "orthanc.log").open("ab") as log:
            self.process = subprocess.Popen([require_orthanc(), str(file)], stdout=log, stderr=log)
        until(self._answers)
        return self

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "orthanc.log").read_text()
        for port in (self.http, self.dicom):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)):
                    return False
        return True

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=TIMEOUT_S)
            self.process = None

    def client(self, **more: Any) -> OrthancClient:
        return OrthancClient(self.url, **more)

    def get(self, path: str) -> Any:
        return requests.get(self.url + path, timeout=TIMEOUT_S).json()

    def send(self, *files: Path, aet: str = "ORTHANC") -> subprocess.CompletedProcess[str]:
        """Send files, or all of a folder, by C-STORE."""
        more = ["+sd", "+r"] if files[0].is_dir() else []
        command = ["storescu", "-aec", aet, *more, "127.0.0.1", str(self.dicom), *map(str, files)]
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)

    def series(self) -> dict[str, dict[str, Any]]:
        """All series by SeriesInstanceUID, each with its metadata in ``state`` and ``mark``."""
        found = {}
        for one in self.get("/series?expand"):
            metadata = self.get(f"/series/{one['ID']}/metadata?expand")
            one["state"] = json.loads(metadata.get(str(INDEX), "{}"))
            one["mark"] = json.loads(metadata.get(str(INDEX + 1), "{}"))
            found[one["MainDicomTags"]["SeriesInstanceUID"]] = one
        return found

    def sources(self) -> list[dict[str, Any]]:
        return [
            one for one in self.series().values() if one["MainDicomTags"].get("Manufacturer") != "The nsn2n authors"
        ]

    def outputs(self) -> list[dict[str, Any]]:
        return [
            one for one in self.series().values() if one["MainDicomTags"].get("Manufacturer") == "The nsn2n authors"
        ]

    def states(self) -> list[str]:
        return [one["state"].get("state", "") for one in self.sources()]

    def empty(self) -> None:
        for study in self.get("/studies"):
            requests.delete(f"{self.url}/studies/{study}", timeout=TIMEOUT_S).raise_for_status()
