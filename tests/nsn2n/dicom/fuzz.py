# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Damages DICOM files at random and sees what becomes of them: a series, or an error of one line, and nothing else.

    python -m tests.nsn2n.dicom.fuzz --seconds 600 --seed 1

runs for ten minutes from the seed on, and names each seed whose files did something else, took longer than 30 s or more
than 1 GB; `--seed N --seconds 0` runs that one again, with the traceback.
"""

from __future__ import annotations

import argparse
import logging
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
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
from tests.nsn2n.dicom.enhanced import enhance

SLICES, SIZE = 3, 32
MOST_SECONDS, MOST_BYTES = 30, 1 << 30
"""Of one damaged series; the bytes are beyond what the program needs at rest."""
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


def _flip(data: bytearray, pick: random.Random) -> None:
    data[pick.randrange(len(data))] ^= 1 << pick.randrange(8)


def _overwrite(data: bytearray, pick: random.Random) -> None:
    place, length = pick.randrange(len(data)), pick.choice((1, 2, 4, 8))
    value = pick.choice((b"\0", b"\xff", b"\x7f", b"\x80", b"\\", b"9", b"-", b" ", pick.randbytes(1)))
    data[place : place + length] = (value * length)[: len(data) - place]


def _delete(data: bytearray, pick: random.Random) -> None:
    place = pick.randrange(len(data))
    del data[place : place + pick.choice((1, 2, 8, 64, 1000))]


def _insert(data: bytearray, pick: random.Random) -> None:
    place = pick.randrange(len(data))
    data[place:place] = pick.randbytes(pick.choice((1, 2, 8, 64)))


def _repeat(data: bytearray, pick: random.Random) -> None:
    place = pick.randrange(len(data))
    data[place:place] = data[place : place + pick.choice((8, 64, 512))]


def _cut(data: bytearray, pick: random.Random) -> None:
    del data[pick.randrange(len(data)) :]


def _exchange(data: bytearray, pick: random.Random) -> None:
    """Give a length or a number inside the header another value that parsers stumble over."""
    place = pick.randrange(min(len(data), 3000))
    data[place : place + 4] = pick.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xfe\xff\0\xe0", b"SQ\0\0", b"UN\0\0"))


DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(_flip, _overwrite, _delete, _insert, _repeat, _cut, _exchange),
)


def damaged(data: bytes, pick: random.Random) -> bytes:
    """Return bytes with a few damages, most of them in the header."""
    changed = bytearray(data)
    for _ in range(pick.choice((1, 1, 2, 5))):
        if changed:
            pick.choice(DAMAGES)(changed, pick)
    return bytes(changed)


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


def bound_memory() -> None:
    """Let this process have no more memory than `MOST_BYTES` beyond what it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST_BYTES, hard))


def took_too_long(_signal: int, _frame: object) -> None:
    raise TimeoutError(f"more than {MOST_SECONDS} s")


def main(
    about: str | None = __doc__,
    make_corpus: Callable[[Path], list[Path]] = make_corpus,
    run_once: Callable[[list[Path], int, Path], str] = run_once,
) -> int:
    """Run until the time is over; the exit code is 1 if anything was found."""
    parser = argparse.ArgumentParser(description=(about or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    outcomes: dict[str, int] = {}
    found = 0
    with tempfile.TemporaryDirectory() as name:
        corpus = make_corpus(Path(name, "corpus"))
        bound_memory()
        signal.signal(signal.SIGALRM, took_too_long)
        seed, end = arguments.seed, time.monotonic() + arguments.seconds
        while True:
            signal.alarm(MOST_SECONDS)
            try:
                outcome = run_once(corpus, seed, Path(name, "work"))
            except Exception as error:
                outcome, found = "FOUND", found + 1
                print(f"seed {seed}: {type(error).__name__}: {error}", flush=True)
                if arguments.seconds == 0:
                    traceback.print_exc()
            signal.alarm(0)
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            seed += 1
            if time.monotonic() >= end:
                break
    print(f"seeds {arguments.seed} to {seed - 1}: {outcomes}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
