# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Damages DICOM files at random and sees what becomes of them: a series, or an error of one line, and nothing else.

    python -m tests.nsn2n.dicom.fuzz --seconds 600

See :mod:`tests.fuzzing`.
"""

from __future__ import annotations

import random
import shutil
import sys
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from nsn2n.dicom.read.series_reader import read_series
from nsn2n.dicom.selection.rules import default_rules, select_series
from nsn2n.dicom.selection.scan import scan_folder
from nsn2n.dicom.write.derivation import Derivation
from nsn2n.dicom.write.series_writer import write_series
from nsn2n.errors import NSN2NError
from nsn2n.synthetic.dicom_series import write_synthetic_series
from tests.fuzzing import damaged, main
from tests.nsn2n.dicom.enhanced import enhance

SLICES, SIZE = 3, 32
DERIVATION = Derivation(description="fuzz", software_version="1")


def make_corpus(folder: Path) -> list[Path]:
    """Write small valid series, one to a folder: each modality, compressed ones, and enhanced images."""
    volume_dhw = np.random.default_rng(0).integers(0, 3000, (SLICES, SIZE, SIZE)).astype(float)
    made = []
    for modality in ("CT", "MR", "PT"):
        files = write_synthetic_series(volume_dhw, folder / modality, modality=modality, seed="fuzz")  # type: ignore[arg-type]
        enhance(files, folder / f"enhanced {modality}" / "image.dcm")
        made += [folder / modality, folder / f"enhanced {modality}"]
    for name, syntax in (("RLE", RLELossless), ("JPEG-LS", JPEGLSLossless), ("JPEG 2000", JPEG2000Lossless)):
        for source in (folder / "CT", folder / "enhanced CT"):
            target = folder / f"{source.name} {name}"
            shutil.copytree(source, target)
            for file in target.iterdir():
                dataset = pydicom.dcmread(file)
                dataset.compress(syntax, generate_instance_uid=False)
                dataset.save_as(file)
            made.append(target)
    return made


def run_once(corpus: list[Path], seed: int, work: Path) -> str:
    """Damage one file of a series, and do with the folder what the program does.

    Returns
    -------
    str
        ``written`` or the name of the step that refused it.

    Raises
    ------
    Exception
        Whatever is no `NSN2NError`, and AssertionError if such an error is not one line, or left something behind.
    """
    pick = random.Random(seed)
    folder, output = work / "in", work / "out"
    for path in (folder, output):
        shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(pick.choice(corpus), folder)
    victim = pick.choice(sorted(folder.iterdir()))
    victim.write_bytes(damaged(victim.read_bytes(), pick))
    step = "scan"
    try:
        scan = scan_folder(folder)
        select_series(scan, default_rules())
        for record in scan.series:
            step = "read"
            series = read_series(record.files)
            step = "write"
            write_series(series.stack.values + 1, series.files, output, DERIVATION)
    except NSN2NError as error:
        message = str(error)
        assert message.isprintable(), message
        assert not output.exists() or not [path for path in output.iterdir() if path.name.startswith(".")]
        return step
    return "written"


if __name__ == "__main__":
    sys.exit(main(__doc__, make_corpus, run_once))
