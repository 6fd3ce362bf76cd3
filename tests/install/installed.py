# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Tries the nsn2n that is installed for this Python, on any system. Run it in a copy of ``tests`` and pyproject.toml:

python tests/install/installed.py denoise
python tests/install/installed.py tests
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel
import numpy as np
import pydicom

from nsn2n.synthetic.dicom_series import write_synthetic_series

SETTINGS = "fit: {steps: 12, crop_px: 16}\nnetwork: {channels: 4, levels: 2}\n"

TESTS = (
    *("arrays", "noise", "stages", "training", "test_on_a_gpu.py"),
    *("dicom/read", "dicom/write/test_derive.py", "stack/test_parts.py"),
)
# The networks of MONAI come with an extra; how often the average of PyTorch itself reads its count differs.
NOT_OF_THE_BASE = "unet or paper or padding_leaves_slices or waits_for_no_gpu"


def denoise(folder: Path) -> None:
    """Denoise a DICOM series and a NIfTI file by the command line, and look at what is written."""
    volume = np.random.default_rng(0).normal(40, 25, (3, 32, 32)).astype(np.float32)
    write_synthetic_series(volume, folder / "study", seed="r")
    nibabel.save(nibabel.Nifti1Image(volume.T, np.diag([1.0, 1.0, 2.0, 1.0])), folder / "in.nii.gz")
    (folder / "brief.yaml").write_text(SETTINGS, encoding="utf-8")

    def nsn2n(*arguments: str) -> str:
        command = [sys.executable, "-m", "nsn2n", "denoise", *arguments, "--config", "brief.yaml"]
        return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout

    new = folder / nsn2n("study", "out", "--compress", "jpeg-ls").strip()
    files = sorted(new.glob("*.dcm"))
    stack = np.stack([pydicom.dcmread(file).pixel_array for file in files])
    assert stack.shape == volume.shape
    report = json.loads((folder / "out" / "reports" / new.name / "report.json").read_text(encoding="utf-8"))
    assert report["structure"]["verdict"] in ("pass", "review")

    nsn2n("in.nii.gz", "out.nii.gz", "--modality", "CT")
    values = nibabel.load(folder / "out.nii.gz").get_fdata().T
    assert values.std() < 0.95 * volume.std()
    assert abs(values.mean() - volume.mean()) < 1


def main() -> int:
    """Do what is asked for."""
    if sys.argv[1:] == ["denoise"]:
        with tempfile.TemporaryDirectory() as folder:
            denoise(Path(folder))
        return 0
    tests = [f"tests/nsn2n/{name}" for name in TESTS]
    options = ("-q", "-p", "no:cacheprovider", "-m", "not slow", "-k", f"not ({NOT_OF_THE_BASE})")
    return subprocess.run([sys.executable, "-m", "pytest", *options, *tests], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
