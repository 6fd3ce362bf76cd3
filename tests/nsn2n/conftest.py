# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The command line in this process, settings for a fit of a moment, small synthetic series and ways to spoil their
files, and validators as oracles."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from nsn2n.dicom.write.derivation import Derivation
from nsn2n.synthetic.dicom_series import write_synthetic_series
from tests.nsn2n.dicom.enhanced import EditFrame, enhance


class Finished(NamedTuple):
    """What a command left."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture
def brief_config(tmp_path: Path) -> Path:
    """A settings file for a fit of a moment."""
    file = tmp_path / "brief.yaml"
    file.write_text("fit: {steps: 12, crop_px: 16}\nnetwork: {channels: 4, levels: 2}\n")
    return file


@pytest.fixture
def nsn2n(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """Run ``nsn2n`` with arguments."""
    from nsn2n.cli.main import main

    def run(*arguments: object) -> Finished:
        monkeypatch.setattr(sys, "argv", ["nsn2n", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        output = capsys.readouterr()
        return Finished(int(stopped.value.code or 0), output.out, output.err)

    return run


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    """The usual one, whoever runs the tests; sets another one until the test ends."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


CHECKOUT = Path(__file__).parents[2]

Edit = Callable[[Dataset], object]


@pytest.fixture
def noise_dhw() -> NDArray[np.float64]:
    """A volume of whole HU in which each voxel tells its place: no two slices, rows or columns are alike."""
    return np.random.default_rng(7).integers(-900, 2900, size=(5, 6, 8)).astype(float)


@pytest.fixture
def make_series(tmp_path: Path, noise_dhw: NDArray[np.float64]) -> Callable[..., list[Path]]:
    """Write a synthetic series into a new folder; keyword arguments as for `write_synthetic_series`."""

    def make(volume_dhw: NDArray[Any] | None = None, folder: str = "in", **options: Any) -> list[Path]:
        volume = noise_dhw if volume_dhw is None else volume_dhw
        return write_synthetic_series(volume, tmp_path / folder, **{"seed": "test", **options})

    return make


@pytest.fixture
def make_enhanced(tmp_path: Path, make_series: Callable[..., list[Path]]) -> Callable[..., Path]:
    """Write one enhanced image; keyword arguments as for `write_synthetic_series` and `enhance`."""
    made = itertools.count()

    def make(
        volume_dhw: NDArray[Any] | None = None,
        *,
        edit_frame: EditFrame | None = None,
        edit: Edit | None = None,
        **options: Any,
    ) -> Path:
        number = next(made)
        files = make_series(volume_dhw, folder=f"frames{number}", **options)
        return enhance(files, tmp_path / f"enhanced{number}" / "image.dcm", edit_frame=edit_frame, edit=edit)

    return make


@pytest.fixture
def edit_file() -> Callable[[Path, Edit], None]:
    """Read a file, let a function change its dataset, and save it in its place."""

    def edit(path: Path, change: Edit) -> None:
        dataset = pydicom.dcmread(path)
        change(dataset)
        dataset.save_as(path)

    return edit


@pytest.fixture
def patch_bytes() -> Callable[[Path, bytes, bytes], None]:
    """Replace bytes that occur once in a file by as many others."""

    def patch(path: Path, old: bytes, new: bytes) -> None:
        content = path.read_bytes()
        assert content.count(old) == 1
        assert len(old) == len(new)
        path.write_bytes(content.replace(old, new))

    return patch


@pytest.fixture
def derivation() -> Derivation:
    """What a test says of its derived series."""
    return Derivation(description="NS-N2N test", software_version="0.0.1")


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed (Debian packages dicom3tools and dcmtk)")
    return path


@pytest.fixture
def find_program() -> Callable[[str], str]:
    """Path of a program; the test is skipped where it is not installed."""
    return _program


@pytest.fixture
def dciodvfy_messages() -> Callable[[Sequence[Path]], Counter[str]]:
    """All errors and warnings that dciodvfy has about files, with how often each comes."""

    def messages(files: Sequence[Path]) -> Counter[str]:
        found: Counter[str] = Counter()
        for file in files:
            result = subprocess.run(
                [_program("dciodvfy"), "-new", str(file)], capture_output=True, text=True, check=False
            )
            lines = (result.stdout + result.stderr).splitlines()
            found.update(line for line in lines if line.startswith(("Error", "Warning")))
        return found

    return messages


@pytest.fixture(scope="session")
def ct_phantom_folder() -> Path:
    """The CT phantom study of the developers' data folder, which is not part of the project."""
    data = Path(os.environ.get("NSN2N_TEST_DATA", CHECKOUT.parent / "shared" / "data"))
    folder = data / "ct-phantom-study"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set NSN2N_TEST_DATA to the folder that holds ct-phantom-study")
    return folder
