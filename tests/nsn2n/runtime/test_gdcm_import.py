# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A folder named dl, where the program is started, does no harm."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("gdcm")


@pytest.mark.parametrize("module", ["nsn2n.dicom.pixels.pixel_codecs", "nsn2n.operators"])
def test_a_folder_of_that_name_is_not_imported(tmp_path, module):
    (tmp_path / "dl").mkdir()
    alone = [sys.executable, "-c", "import pydicom.pixels"]
    assert subprocess.run(alone, cwd=tmp_path, capture_output=True, check=False).returncode != 0
    decoder = "from pydicom.pixels.decoders import JPEGLosslessSV1Decoder"
    code = f"import {module}; {decoder}; print(JPEGLosslessSV1Decoder.available_plugins)"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "gdcm" in result.stdout


def test_everybody_else_has_their_own_module(tmp_path):
    (tmp_path / "dl.py").write_text("LAYERS = 3\n")
    code = "import nsn2n.dicom.pixels.pixel_codecs, dl; print(dl.LAYERS)"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr) == ("3\n", "")
