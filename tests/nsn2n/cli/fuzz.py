# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Gives files, folders and attributes odd names at random, and sees what the commands print of them.

    python -m tests.nsn2n.cli.fuzz --seconds 600

See :mod:`tests.fuzzing`. A run must end with an exit code of its own, print lines that are no more than text, and never
the patient's name, id or birth date.
"""

from __future__ import annotations

import io
import os
import random
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pydicom

from nsn2n.cli.main import main as command
from nsn2n.synthetic.dicom_series import write_synthetic_series
from tests.fuzzing import main

SECRETS = {"PatientName": "Zqxsecretname", "PatientID": "Zqxsecretid", "PatientBirthDate": "19470213"}
PIECES = (
    *(
        "a",
        "Ä",
        "ß",
        "日本",
        "\u202e",
        "\u2066",
        "\u0301",
        "\x1b[31m",
        "\x07",
        "\r",
        "\n",
        "\t",
        "\x7f",
        "\x85",
        "\u2028",
    ),
    *(
        " ",
        ".",
        "..",
        "-",
        "--force",
        "%s",
        "{0}",
        "$(id)",
        "`id`",
        "'",
        '"',
        "<b>",
        "&amp;",
        "\\",
        "[red]",
        "[/]",
        "*",
        "?",
    ),
    *("~", "CON", "|", ";", ":", "=", "\udcff", "\udc80", "x" * 120, ".dcm", ".nii", ".nii.gz", ".nsn2n-", ".tmp"),
)
TEXTS = ("SeriesDescription", "StudyDescription", "ProtocolName", "StudyID", "ImageComments", "Manufacturer")


def make_corpus(folder: Path) -> list[Path]:
    """Write a series of a patient whose attributes are known words."""
    volume_dhw = np.random.default_rng(0).integers(0, 2000, (3, 16, 16)).astype(float)
    for file in write_synthetic_series(volume_dhw, folder / "CT", seed="names"):
        dataset = pydicom.dcmread(file)
        for keyword, value in SECRETS.items():
            setattr(dataset, keyword, value)
        dataset.save_as(file)
    return [folder / "CT"]


def odd_name(pick: random.Random) -> bytes:
    """Return a file's name: bytes of any kind but a slash and zero."""
    name = "".join(pick.choices(PIECES, k=pick.choice((1, 2, 3, 6)))).encode("utf-8", "surrogateescape")
    name = (name + pick.randbytes(pick.choice((0, 0, 3)))).replace(b"/", b"_").replace(b"\0", b"_")[:250]
    return name if name not in (b".", b"..") else b"dots"


def run_once(corpus: list[Path], seed: int, work: Path) -> str:
    """Name a series, its files and its folders oddly, and run a command on them.

    Returns
    -------
    str
        The command and its exit code.

    Raises
    ------
    Exception
        Whatever leaves the command, and AssertionError where what it printed is not as promised.
    """
    pick = random.Random(seed)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    folder = Path(os.fsdecode(os.path.join(os.fsencode(work), odd_name(pick))))
    folder.mkdir()
    for number, source in enumerate(sorted(corpus[0].iterdir())):
        dataset = pydicom.dcmread(source)
        for keyword in TEXTS:
            text = "".join(pick.choices(PIECES, k=3)).encode("utf-8", "surrogateescape")
            dataset.add_new(pydicom.datadict.tag_for_keyword(keyword), "UN", text)  # type: ignore[arg-type]
        target = os.path.join(os.fsencode(folder), str(number).encode() + odd_name(pick))
        with open(target, "wb") as file:
            dataset.save_as(file)
    with open(os.path.join(os.fsencode(folder), b"z" + odd_name(pick)), "wb") as file:
        file.write(pick.randbytes(40))
    output = Path(os.fsdecode(os.path.join(os.fsencode(work), b"out" + odd_name(pick))))
    name, arguments = pick.choice(
        (
            ("info", ["info", str(folder)]),
            ("dry run", ["denoise", str(folder), str(output), "--dry-run"]),
            (
                "series",
                ["denoise", str(folder), str(output), "--dry-run", "--series", "".join(pick.choices(PIECES, k=3))],
            ),
            ("config", ["denoise", str(folder), str(output), "--config", str(output)]),
        )
    )
    code, printed = _run(arguments)
    assert code in (0, 1), code
    raw = [line for line in printed.split("\n") if not line.replace("\t", "").isprintable()]
    assert not raw, raw
    assert not [secret for secret in SECRETS.values() if secret in printed], printed
    assert "Traceback" not in printed, printed
    assert not output.exists()
    return f"{name} {code}"


def _run(arguments: list[str]) -> tuple[int, str]:
    """Run the command in this process; its exit code, and what it printed to both streams."""
    shown = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    before, sys.argv = sys.argv, ["nsn2n", *arguments]
    try:
        with redirect_stdout(shown), redirect_stderr(shown):
            command()
    except SystemExit as stopped:
        code = stopped.code
    finally:
        sys.argv = before
    shown.flush()
    return int(code or 0), shown.buffer.getvalue().decode()  # type: ignore[attr-defined]


if __name__ == "__main__":
    sys.exit(main(__doc__, make_corpus, run_once))
