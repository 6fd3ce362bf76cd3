# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Series numbers beside earlier runs, and beside runs at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pydicom

from nsn2n.dicom.read.series_reader import read_series
from nsn2n.dicom.selection.scan import scan_folder
from nsn2n.dicom.write.derivation import Derivation
from nsn2n.dicom.write.numbering import claimed_series, numbers_in
from nsn2n.dicom.write.series_writer import write_series

WRITE = """
import sys
from pathlib import Path
from nsn2n.dicom.write.derivation import Derivation
from nsn2n.dicom.read.series_reader import read_series
from nsn2n.dicom.write.series_writer import write_series
series = read_series(sorted(Path(sys.argv[1]).glob("*.dcm")))
for _ in range(4):
    write_series(series.stack.values, series.files, sys.argv[2], Derivation(description="d", software_version="1"))
"""


def test_second_series_of_a_study_gets_the_next_number(make_series, tmp_path, derivation):
    series = read_series(make_series(series_number=4))

    numbers = [
        write_series(series.stack.values, series.files, tmp_path / "out", derivation).SeriesNumber for _ in range(3)
    ]

    assert numbers == [1004, 1005, 1006]
    assert numbers_in(tmp_path / "out", series.StudyInstanceUID) == set(numbers)


def test_numbers_of_another_study_are_free(make_series, tmp_path, derivation):
    first = read_series(make_series())
    other = read_series(make_series(folder="other", study_uid="2.25.9"))

    numbers = [
        write_series(series.stack.values, series.files, tmp_path / "out", derivation).SeriesNumber
        for series in (first, other)
    ]

    assert numbers == [1001, 1001]


def test_a_number_at_work_is_taken(make_series, tmp_path, derivation):
    header = pydicom.dcmread(make_series()[0])
    with (
        claimed_series(tmp_path, header, derivation) as (first, one),
        claimed_series(tmp_path, header, derivation) as (second, two),
    ):
        assert (first.SeriesNumber, second.SeriesNumber) == (1001, 1002)
        assert one.is_dir()
        assert two.is_dir()
    with claimed_series(tmp_path, header, derivation) as (third, _):
        assert third.SeriesNumber == 1001


def test_names_that_tell_no_number_do_not_matter(make_series, tmp_path, derivation):
    header = pydicom.dcmread(make_series()[0])
    with claimed_series(tmp_path, header, derivation) as (first, folder):
        study = folder.name.split("_")[0]
        for name in (f"{study}_x_y", f"{study}__", f"{study}_1_2_zz", f"{study}_{'9' * 6000}"[:200] + "_ab"):
            (tmp_path / name).touch()
        os.mkfifo(tmp_path / ".nsn2n-pipe")
        with claimed_series(tmp_path, header, derivation) as (second, _):
            assert second.SeriesNumber == first.SeriesNumber + 1


def test_numbers_below_zero(make_series, tmp_path):
    header = pydicom.dcmread(make_series(series_number=-20)[0])
    derivation = Derivation(description="d", software_version="1", series_number_offset=1)
    with (
        claimed_series(tmp_path, header, derivation) as (first, _),
        claimed_series(tmp_path, header, derivation) as (second, _),
    ):
        assert (first.SeriesNumber, second.SeriesNumber) == (-19, -18)


def test_files_that_are_no_dicom_do_not_matter(tmp_path):
    for name in ("broken", "empty", ".hidden"):
        (tmp_path / name).mkdir()
    (tmp_path / "broken" / "IM0001.dcm").write_bytes(b"junk")
    (tmp_path / "file.dcm").write_bytes(b"junk")

    assert numbers_in(tmp_path, "2.25.1") == set()


def test_processes_at_once_get_different_numbers(make_series, tmp_path):
    files = make_series(np.zeros((3, 32, 32)), series_number=1)
    command = [sys.executable, "-c", WRITE, str(files[0].parent), str(tmp_path / "out")]

    running = [subprocess.Popen(command) for _ in range(3)]

    assert [process.wait(timeout=120) for process in running] == [0, 0, 0]
    written = scan_folder(tmp_path / "out").series
    assert Counter(record.SeriesNumber for record in written) == Counter(range(1001, 1013))
    assert {len(record.files) for record in written} == {3}
    assert not list((tmp_path / "out").glob(".*"))
