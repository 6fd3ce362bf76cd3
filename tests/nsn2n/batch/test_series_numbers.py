# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np

from nsn2n.batch.series_list import SeriesList
from nsn2n.batch.series_numbers import taken_numbers
from nsn2n.batch.task import FoundSeries, RemoteSeries
from nsn2n.dicom.write.derivation import Derivation
from nsn2n.dicom.write.derive import new_series
from nsn2n.jobs.options import JobOptions
from nsn2n.synthetic.dicom_series import write_synthetic_series


def _list(numbers, study="1.2"):
    found = SeriesList(numbers={study: {number for number in numbers if number is not None}})
    for index, number in enumerate(numbers):
        uid = f"{study}.{index}"
        found.series.append(FoundSeries(study, uid, "CT", number, 1, RemoteSeries("http://h", study, uid)))
    return found


def _given(found, options, tmp_path):
    """The number that each series gets from the job, told what is taken."""
    import pydicom

    taken = taken_numbers(found, options)
    (file,) = write_synthetic_series(np.zeros((1, 8, 8)), tmp_path, seed="n")
    header = pydicom.dcmread(Path(file))
    given = []
    for series in found.series:
        header.SeriesNumber = series.SeriesNumber
        derivation = Derivation(description="-", software_version="1", series_number_offset=1000)
        given.append(new_series(header, derivation, taken[series.SeriesInstanceUID]).SeriesNumber)
    return given


def test_numbers_are_those_of_one_run_after_another(tmp_path):
    assert _given(_list([1, 2, 5]), JobOptions(), tmp_path) == [1001, 1002, 1005]


def test_no_two_series_get_one_number(tmp_path):
    """Two of one number, one without, and one that has the number that another would get."""
    assert _given(_list([3, 3, 1003, None, None]), JobOptions(), tmp_path) == [1004, 1005, 2003, 1000, 1001]


def test_what_is_written_beside_a_series_has_numbers_too(tmp_path):
    options = JobOptions(parametric_map=True, structured_report=True)
    taken = taken_numbers(_list([1, 2]), options)

    assert _given(_list([1, 2]), options, tmp_path) == [1001, 1005]
    assert taken["1.2.0"] == {1, 2, 1005, 1006, 1007, 1008}
    assert taken["1.2.1"] == {1, 2, 1001, 1002, 1003, 1004}


def test_studies_have_numbers_of_their_own(tmp_path):
    found = _list([1, 1])
    other = _list([1], study="1.3")
    found.series += other.series
    found.numbers |= other.numbers

    assert _given(found, JobOptions(), tmp_path) == [1001, 1002, 1001]
