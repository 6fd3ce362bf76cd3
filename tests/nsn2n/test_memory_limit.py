# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Runs whose volume exceeds their memory limit: the same bytes, with no volume in memory that cannot be reclaimed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from scipy import signal

from nsn2n import denoise
from nsn2n.errors import VolumeError
from nsn2n.runtime import memory, volumes
from nsn2n.runtime.volumes import current_room, memory_limit
from nsn2n.synthetic.dicom_series import write_synthetic_series

QUICK = {"fit": {"steps": 20}, "refit": {"steps": 20}}
FORMS = {
    "CT": {},
    "MR": {"modality": "MR"},
    "parts": {"parts": (5, 1, 6)},
    "tilted": {"shear_px": (0.6, 0.0)},
    "shared noise": {"shared": 0.6},
    "masked": {"masked": True},
    "interpolated": {"modality": "MR", "masked": True, "interpolated": True},
    "paper": {"preset": "paper"},
    "smooth": {"preset": "smooth", "strength": 0.7},
}


@pytest.fixture
def small_volumes(monkeypatch):
    """Volumes of any size are kept in files, and need little else, if there is a memory limit."""
    monkeypatch.setattr(volumes, "_LEAST_BYTES", 0)
    for name in ("FIT_BYTES", "THREAD_BYTES", "LIBRARY_BYTES", "SLICES_BYTES", "SLICES_THREAD_BYTES"):
        monkeypatch.setattr(memory, name, 1)
    monkeypatch.setattr(memory, "available_bytes", lambda: 200_000 if current_room() else 8 << 30)


def noisy_volume(shape, *, shared=0.0, masked=False, interpolated=False):
    random = np.random.default_rng(0)
    volume = np.full(shape, 500, np.float32)
    volume[:, shape[1] // 4 : shape[1] // 2, shape[2] // 4 : shape[2] // 2] = 700
    for index in range(len(volume)):
        volume[index] += random.normal(0, 20, shape[1:])
    volume[1:] = (volume[1:] + shared * volume[:-1]) / (1 + shared)
    for axis in (1, 2) if interpolated else ():
        volume = signal.resample(volume, 2 * shape[axis], axis=axis)
    if masked:
        volume[:, :20] = 0
        volume[:, 30:34, 30:34] = np.nan
    return volume


@pytest.mark.parametrize(
    "form", [pytest.param(form, marks=pytest.mark.slow if form == "paper" else ()) for form in FORMS]
)
def test_the_result_has_the_same_bytes(small_volumes, form):
    said = {"modality": "CT", "spacing_mm": (2.0, 1.0, 1.0), **FORMS[form]}
    made = {name: said.pop(name) for name in ("shared", "masked", "interpolated") if name in said}
    volume = noisy_volume((12, 64, 64), **made)
    settings = {"fit": {"steps": 20, "epochs": None}} if said.get("preset") == "paper" else QUICK

    def denoised(**memory_option):
        return denoise(volume, **said, config=settings, **memory_option)

    plain, limited = denoised(), denoised(memory="1G")
    assert bool(plain.measured.acquired_rows) == (form == "interpolated")
    assert (plain.measured.volumes_in_files, limited.measured.volumes_in_files) == (False, True)
    for field in ("volume", "noise_sd", "loss"):
        assert getattr(plain, field).tobytes() == getattr(limited, field).tobytes()
    assert plain.structure.record == limited.structure.record


def test_a_volume_with_room_stays_in_memory():
    result = denoise(noisy_volume((6, 32, 32)), config=QUICK, memory=64 << 30)
    assert not result.measured.volumes_in_files


def test_a_limit_that_is_too_low_for_any_volume_is_refused_in_one_line():
    with pytest.raises(VolumeError, match=r"\(6, 32, 32\) voxels need .* even if volumes are kept in files") as caught:
        denoise(noisy_volume((6, 32, 32)), memory="100M")
    assert "\n" not in str(caught.value)


def test_a_stack_read_within_a_limit_is_denoised_where_it_was_read(small_volumes):
    with memory_limit(1 << 30):
        assert memory.find_room(6 * 64 * 64) is None
        result = denoise(noisy_volume((6, 64, 64)), config=QUICK)
    assert result.measured.volumes_in_files


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_a_series_is_written_the_same_and_the_report_says_where_it_was_kept(nsn2n, small_volumes, tmp_path, modality):
    values = noisy_volume((8, 64, 64)) - 500 * (modality == "CT")
    write_synthetic_series(values, tmp_path / "in", modality=modality)
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(QUICK))
    pixels, reports = [], []
    for name, more in {"plain": [], "limited": ["--memory", "1G"]}.items():
        out = tmp_path / name
        assert nsn2n("denoise", tmp_path / "in", out, "--config", settings, "--force", *more).code == 0
        pixels.append([pydicom.dcmread(file).PixelData for file in sorted(out.glob("2.25.*/*.dcm"))])
        reports.append(next(out.glob("reports/*/report.json")))
    assert len(pixels[0]) == 8
    assert pixels[0] == pixels[1]
    assert [json.loads(file.read_text())["measured"]["volumes_in_files"] for file in reports] == [False, True]
    said = "volumes kept in temporary files"
    assert [said in file.with_name("report.html").read_text() for file in reports] == [False, True]


def test_a_volume_file_is_written_the_same(nsn2n, small_volumes, tmp_path):
    values = noisy_volume((8, 40, 48), masked=True)
    nib.save(nib.Nifti1Image(values.T, np.diag([1, 1, 2, 1])), tmp_path / "in.nii")
    inside = np.ones(values.T.shape, np.uint8)
    inside[:5] = 0
    nib.save(nib.Nifti1Image(inside, np.diag([1, 1, 2, 1])), tmp_path / "mask.nii")
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(QUICK))
    words = ["--config", settings, "--mask", tmp_path / "mask.nii", "--residual", "--noise-map", "--force"]
    names = ["a.nii", "a_residual.nii", "a_noise-sd.nii"]
    for folder, more in {"plain": [], "limited": ["--memory", "1G"]}.items():
        (tmp_path / folder).mkdir()
        assert nsn2n("denoise", tmp_path / "in.nii", tmp_path / folder / "a.nii", *words, *more).code == 0
    for name in names:
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "limited" / name).read_bytes()


def test_a_dry_run_says_that_a_limit_is_too_low(nsn2n, tmp_path):
    write_synthetic_series(noisy_volume((3, 16, 16)) - 500, tmp_path / "in")
    plan = nsn2n("denoise", tmp_path / "in", tmp_path / "out", "--dry-run", "--memory", "100M")
    assert plan.code == 1
    assert "even if volumes are kept in files" in plan.stdout
    wrong = nsn2n("denoise", tmp_path / "in", tmp_path / "out", "--memory", "8 gigs")
    assert wrong.code == 1
    assert "memory must be a size above 0, such as 8G or 900M; got '8 gigs'" in wrong.stderr


RUN = """
import resource, sys
import numpy as np
import nsn2n
from nsn2n.report import collect_report
from nsn2n.runtime import memory, volumes
from nsn2n.stack.slice_stack import SliceStack
from tests.nsn2n.test_memory_limit import QUICK, noisy_volume

modality, slices, room_bytes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

def denoised(volume):
    stack = SliceStack.of(volume, spacing_mm=(1.0, 1.0, 1.0), modality=modality)
    result = nsn2n.denoise(stack, config=QUICK, device="cpu")
    collect_report(stack, result)
    return result

denoised(noisy_volume((6, 64, 64)))  # loads the libraries
volume = noisy_volume((slices, 96, 96), masked=modality == "MR")
in_use = 1024 * memory._table(memory.PROC / "self" / "status")["VmData"]
resource.setrlimit(resource.RLIMIT_DATA, (in_use + room_bytes, in_use + room_bytes))
try:
    denoised(volume)
except (MemoryError, RuntimeError) as error:
    print("without:", type(error).__name__)
with volumes.memory_limit(1 << 40):
    volumes.keep_in_files(volumes.current_room(), 1)
    print("with:", denoised(volume).measured.volumes_in_files)
"""
"""Denoises within a limit of the system for memory that it cannot take back; mapped files do not count there."""


@pytest.mark.slow
@pytest.mark.parametrize(("modality", "slices", "room_mib"), [("CT", 1400, 110), ("MR", 600, 170)])
def test_no_array_of_the_size_of_the_volume_is_in_memory(modality, slices, room_mib):
    """In files CT needs up to 75 MiB, MR 114, of which the volume is no part; in memory 191 and 235 MiB."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, modality, str(slices), str(room_mib << 20)],
        cwd=Path(__file__).parents[2],
        # What is freed goes back to the system, so that the peak is that of what is held.
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "1048576"},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "without:" in done.stdout
    assert "with: True" in done.stdout
