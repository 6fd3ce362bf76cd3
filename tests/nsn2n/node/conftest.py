# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A real Orthanc, small series that are sent to it, and workers of this process that tests take steps with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nsn2n.jobs.options import JobOptions
from nsn2n.node.health import Health
from nsn2n.node.options import NodeOptions
from nsn2n.node.worker import Worker
from nsn2n.synthetic.dicom_series import write_synthetic_series
from tests.nsn2n.node.orthanc_server import OrthancServer

BRIEF = {
    "fit": {"steps": 2, "crop_px": 16},
    "network": {"channels": 4, "levels": 1},
    "refit": {"steps": 2},
    "preset": "fast",
}


@pytest.fixture(scope="module")
def running_orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancServer]:
    server = OrthancServer(tmp_path_factory.mktemp("orthanc"))
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def orthanc(running_orthanc: OrthancServer) -> OrthancServer:
    """An Orthanc without a series."""
    running_orthanc.empty()
    return running_orthanc


@pytest.fixture
def make_series(tmp_path: Path) -> Callable[..., list[Path]]:
    """A function that writes a CT series, a study of its own unless told otherwise, and returns its files."""

    def make(name: str = "a", slices: int = 3, px: int = 24, **more: Any) -> list[Path]:
        seed = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)
        volume = np.random.default_rng(seed).normal(40, 20, (slices, px, px))
        given = {"seed": name, "spacing_mm": (2.0, 1.0, 1.0), **more}
        return write_synthetic_series(volume, tmp_path / "made" / name, **given)

    return make


@pytest.fixture
def make_worker(tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """A function that makes a worker; keywords are fields of `NodeOptions`, ``job`` of `JobOptions`."""
    made = []

    def make(server: OrthancServer, job: dict[str, Any] | None = None, **given: Any) -> Worker:
        brisk = {"settle_s": 1.0, "poll_s": 0.1, "retry_wait_s": 0.2, "work_folder": tmp_path / "work"}
        node = NodeOptions.from_mapping({"orthanc": server.url, **brisk, **given})
        options = JobOptions.from_mapping({"config": BRIEF, "report": False, **(job or {})})
        made.append(Worker(server.client(), node, options, Health()))
        return made[-1]

    yield make
    for worker in made:
        worker.close()
