# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The node on this machine, without a container: an Orthanc is started, a noisy series sent, the denoised one fetched.

python deploy/orthanc/demo.py out/node-demo
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nsn2n.cli.demo import compare
from nsn2n.dicom.read.series_reader import read_series
from nsn2n.node.errors import OrthancUnavailableError
from nsn2n.node.orthanc_client import OrthancClient
from nsn2n.node.series_state import SeriesState
from nsn2n.synthetic.dicom_series import write_synthetic_series
from nsn2n.synthetic.phantom import make_phantom

SHAPE_DHW = (8, 192, 192)
LONGEST_S = 300


def main(output: Path) -> None:
    """Run the demonstration; `output` gets the series that was ``sent``, and the one that came ``back``."""
    program = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
    if not Path(program).exists() or shutil.which("storescu") is None:
        sys.exit("error: the demonstration needs Orthanc and dcmtk; on Debian: apt-get install orthanc dcmtk")
    for name in ("sent", "back"):
        shutil.rmtree(output / name, ignore_errors=True)
        (output / name).mkdir(parents=True)
    phantom = make_phantom(SHAPE_DHW, seed=0)
    sent = write_synthetic_series(
        phantom.noisy_dhw, output / "sent", spacing_mm=phantom.spacing_mm, series_description="Low-dose phantom"
    )
    http, dicom, listen = (_free_port() for _ in range(3))
    url = f"http://127.0.0.1:{http}"
    client = OrthancClient(url)
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "StorageDirectory": folder, "IndexDirectory": folder, "HttpPort": http, "DicomPort": dicom,
            "DicomAet": "NSN2N", "DicomCheckCalledAet": True, "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False, "DicomAlwaysAllowStore": True, "StableAge": 2, "Plugins": [],
        }  # fmt: skip
        (Path(folder) / "orthanc.json").write_text(json.dumps(settings))
        node = ["-m", "nsn2n", "node", "--orthanc", url, "--settle", "2", "--poll", "0.5", "--preset", "fast"]
        with (
            _running([program, f"{folder}/orthanc.json"], stderr=subprocess.DEVNULL),
            _running([sys.executable, *node, "--listen", f"127.0.0.1:{listen}"]),
        ):
            _until(lambda: _answers(client))
            subprocess.run(
                ["storescu", "-aec", "NSN2N", "+sd", "127.0.0.1", str(dicom), str(output / "sent")], check=True
            )
            state = _until(lambda: _settled(client))
            if not state.outputs:
                sys.exit(f"error: the series must be sent back; it is {state.state}: {state.reason}")
            (series_id,) = client.find_series(state.outputs[0].series)
            series = client.series(series_id)
            for place, instance in enumerate(series.instances if series else ()):
                client.fetch(instance, output / "back" / f"{place:04d}.dcm")
    back = read_series(sorted((output / "back").iterdir()), allow_own_output=True)
    before, after = (
        compare(volume, phantom).noise_sd_hu for volume in (read_series(sent).stack.values, back.stack.values)
    )
    print(f"sent  {len(sent)} slices, noise sd in soft tissue {before:.1f} HU: {output / 'sent'}")
    print(f"back  {len(back.files)} slices, noise sd in soft tissue {after:.1f} HU: {output / 'back'}")
    print(f"Orthanc's metadata of the source: {state.to_text()}")


@contextmanager
def _running(command: list[str], **more: Any) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, **more)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _until(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + LONGEST_S
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.2)
    sys.exit(f"error: the demonstration must end within {LONGEST_S} s; it did not. See the messages above.")


def _answers(client: OrthancClient) -> bool:
    try:
        client.check_access()
    except OrthancUnavailableError:
        return False
    return True


def _settled(client: OrthancClient) -> SeriesState | None:
    """Return the state of the source, once it is done."""
    for series in client.list_series(0, 10):
        metadata = client.metadata(series.id, 1024)
        state = None if metadata is None else SeriesState.from_text(metadata)
        if state is not None and state.state in ("done", "refused", "failed", "left alone"):
            return state
    return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
