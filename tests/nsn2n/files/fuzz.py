# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Damages NIfTI files at random and sees what becomes of them: a volume, or an error of one line, and nothing else.

    python -m tests.nsn2n.files.fuzz --seconds 600

See :mod:`tests.fuzzing`.
"""

from __future__ import annotations

import gzip
import random
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np

from nsn2n.errors import NSN2NError
from nsn2n.files.nifti import read_nifti, write_nifti
from tests.fuzzing import DAMAGES, main

Damage = Callable[[bytearray, random.Random], None]

INTEGERS = (0, 1, 2, 3, 5, 7, 8, 16, 255, 32767, 65535, -1, -2, -32768, 1 << 30, -(1 << 31), (1 << 31) - 1, (1 << 62))
REALS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e-30, 1e30, 3e38, float("inf"), float("-inf"), float("nan"), 351.0, 352.5, 1e9)


def make_corpus(folder: Path) -> list[Path]:
    """Write small valid files of each version, byte order, compression and kind of numbers, with extensions."""
    folder.mkdir(parents=True)
    pick = np.random.default_rng(0)
    made = []
    for number, dtype in enumerate(("u1", "i2", "u4", "i8", "f4", "f8")):
        for kind in (nib.Nifti1Image, nib.Nifti2Image):
            shape = (5, 6, 4, 3) if number % 2 else (5, 6, 4)
            header = kind.header_class(endianness="<>"[number % 3 == 2])
            header.set_data_dtype(dtype)
            stored = pick.integers(0, 200, shape).astype(dtype)
            image = kind(stored, np.diag([1.0, 1.0, 2.5, 1.0]), header)
            image.header.set_xyzt_units("mm", "sec")
            if number % 2:
                image.header["scl_slope"], image.header["scl_inter"] = 0.5, -100.0
                image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"an extension"))
                image.header.extensions.append(nib.nifti1.Nifti1Extension(4, b"<xml/>" * 9))
            for suffix in (".nii", ".nii.gz"):
                path = folder / f"{dtype}-{kind.__name__}{suffix}"
                nib.save(image, path)
                made.append(path)
    return made


def _number(data: bytearray, pick: random.Random) -> None:
    """Give a field of the header a number that parsers stumble over."""
    kind = pick.choice("hiqfd")
    value = pick.choice(REALS if kind in "fd" else INTEGERS)
    limit = 1 << (8 * struct.calcsize(kind) - 1)
    if kind in "hiq":
        value = max(-limit, min(limit - 1, value))
    try:
        written = struct.pack(pick.choice("<>") + kind, value)
    except OverflowError:  # no such float32
        return
    step = pick.choice((2, 4))
    place = pick.randrange(0, min(len(data), 640), step)
    data[place : place + len(written)] = written[: len(data) - place]


def damaged(data: bytes, zipped: bool, pick: random.Random) -> bytes:
    """Return a file with a few damages, most of them in the header; of a compressed one mostly before compression."""
    inside = zipped and pick.random() < 0.8
    changed = bytearray(gzip.decompress(data) if inside else data)
    for _ in range(pick.choice((1, 1, 2, 5))):
        if changed:
            pick.choice((*DAMAGES, *(_number,) * 10))(changed, pick)
    return gzip.compress(bytes(changed), mtime=0) if inside else bytes(changed)


def run_once(corpus: list[Path], seed: int, work: Path) -> str:
    """Damage a file, and do with it what the program does.

    Returns
    -------
    str
        ``written`` or the name of the step that refused it.

    Raises
    ------
    Exception
        Whatever is no `NSN2NError`, and AssertionError if such an error is not one line that names the file, or left
        something behind.
    """
    pick = random.Random(seed)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    victim = pick.choice(corpus)
    source, target = work / victim.name, work / f"new-{victim.name}"
    source.write_bytes(damaged(victim.read_bytes(), source.suffix == ".gz", pick))
    step = "read"
    try:
        volume = read_nifti(source)
        step = "write"
        write_nifti(target, volume.stack.values + np.float32(1), volume)
    except NSN2NError as error:
        message = str(error)
        assert message.isprintable(), message
        assert source.name in message, message
        assert sorted(work.iterdir()) == [source]
        return step
    assert read_nifti(target).stack.values.shape == volume.stack.values.shape
    return "written"


if __name__ == "__main__":
    sys.exit(main(__doc__, make_corpus, run_once))
