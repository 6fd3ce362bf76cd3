# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A folder with every kind of series, and small graphs around the operators."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from nsn2n.synthetic.dicom_series import write_synthetic_series

SMALL_FIT = {"fit": {"steps": 3, "crop_px": 16}, "network": {"channels": 4, "levels": 2}}


@pytest.fixture(scope="session")
def small_fit():
    """Settings with which a volume of some thousand voxels takes a fraction of a second."""
    return SMALL_FIT


@pytest.fixture(autouse=True)
def _quiet_holoscan(monkeypatch):
    monkeypatch.setenv("HOLOSCAN_LOG_LEVEL", "CRITICAL")
    monkeypatch.delenv("HOLOSCAN_CONFIG_PATH", raising=False)


def noisy_disk(seed: int, shape_dhw=(5, 24, 20)) -> np.ndarray:
    """A disk of 40 HU in air, off center so that no flip or swap of axes goes unseen; noise of 25 HU."""
    depth, height, width = shape_dhw
    y, x = np.mgrid[:height, :width]
    disk_hw = np.where((y - 0.4 * height) ** 2 + (x - 0.6 * width) ** 2 < (0.3 * width) ** 2, 40.0, -900.0)
    ramp_d = 20.0 * np.arange(depth)[:, None, None]
    return np.rint(disk_hw + ramp_d + np.random.default_rng(seed).normal(0, 25, shape_dhw))


@pytest.fixture(scope="session")
def volumes():
    """Values of the two series of `study` that are to be selected, by series number."""
    return {2: noisy_disk(2), 3: noisy_disk(3, (4, 16, 18))}


@pytest.fixture(scope="session")
def study(tmp_path_factory, volumes):
    """One study: a localizer (1), two volumes (2, 3), a secondary capture (4), a volume with too many gaps (5)."""
    folder = tmp_path_factory.mktemp("study")
    common = {"study_uid": "2.25.77", "seed": "operators"}
    one_slice = np.zeros((1, 16, 16))
    capture = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "Modality": "OT"}
    localizer = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    gap = {"ImagePositionPatient": lambda index: [0, 0, index + (index + 1) // 2]}
    write_synthetic_series(one_slice, folder / "a", series_number=1, overrides=localizer, **common)
    spacing = {"spacing_mm": (1.5, 0.75, 0.5), "origin_mm": (-10.0, 20.0, 30.0)}
    write_synthetic_series(volumes[2], folder / "b", series_number=2, **spacing, **common)
    write_synthetic_series(volumes[3], folder / "c", series_number=3, **common)
    write_synthetic_series(one_slice, folder / "d", series_number=4, overrides=capture, **common)
    write_synthetic_series(noisy_disk(5), folder / "e", series_number=5, overrides=gap, **common)
    return folder


@pytest.fixture
def run_graph():
    """Run a graph that a function makes: ``run_graph(lambda app: app.add_flow(...))``."""
    from monai.deploy.core import Application

    import nsn2n.operators  # noqa: F401 - makes Holoscan importable

    class GraphApp(Application):
        def __init__(self, build):
            self.build = build
            super().__init__([sys.executable, "test"])

        def compose(self):
            self.build(self)

    def run(build):
        GraphApp(build).run()

    return run


@pytest.fixture
def collect():
    """Class of a sink that keeps what it receives on port ``message`` in ``received``."""
    from monai.deploy.core import Operator

    import nsn2n.operators  # noqa: F401 - makes Holoscan importable

    class Collect(Operator):
        def __init__(self, *args, **kwargs):
            self.received = []
            super().__init__(*args, **kwargs)

        def setup(self, spec):
            spec.input("message")

        def compute(self, op_input, op_output, context):
            self.received.append(op_input.receive("message"))

    return Collect


@pytest.fixture
def emit():
    """Class of a source that sends each of ``messages`` on port ``message``."""
    from monai.deploy.core import Operator

    import nsn2n.operators  # noqa: F401 - makes Holoscan importable

    class Emit(Operator):
        def __init__(self, *args, messages, **kwargs):
            self.messages = list(messages)
            super().__init__(*args, **kwargs)

        def setup(self, spec):
            spec.output("message")

        def compute(self, op_input, op_output, context):
            op_output.emit(self.messages.pop(0), "message")
            if not self.messages:
                self.stop_execution()

    return Emit
