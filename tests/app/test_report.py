# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What the user is told, and never told."""

from __future__ import annotations

import logging
import warnings

import pytest
from pydicom.dataelem import DataElement

from nsn2n.app.report import ProgressLog, RunReport, configure_logging
from nsn2n.errors import DicomError, NSN2NError


@pytest.mark.parametrize(("selected", "written", "code"), [(2, 2, 0), (3, 2, 3), (1, 0, 1)])
def test_exit_code_says_how_many_series_were_written(selected, written, code):
    report = RunReport()
    for number in range(selected - written):
        report.failed(f"CT series {number}", DicomError("no volume"))

    assert report.conclude(selected, written) == code
    assert len(report.failures) == selected - written


def test_a_series_without_outcome_is_an_error():
    with pytest.raises(NSN2NError, match="each of the 3 selected series must be written or refused; 2 were"):
        RunReport().conclude(3, 2)


def test_what_was_not_begun_has_no_outcome(caplog):
    report = RunReport()
    report.failed("CT series 2", DicomError("no volume"))

    assert report.conclude(4, 1, untried=2) == 3
    assert caplog.messages[-1] == "1 of 4 selected series written, 1 failed, 2 not tried: CT series 2"
    with pytest.raises(NSN2NError, match=r"each of the 3 selected series .* 1 were written and 1 refused"):
        report.conclude(4, 1, untried=1)


def test_levels_are_told_by_a_word_and_only_this_program_talks(capsys):
    configure_logging(None)

    logging.getLogger("nsn2n.anything").info("one series")
    logging.getLogger("nsn2n.anything").debug("not asked for")
    logging.getLogger("nsn2n.anything").warning("clipped")
    logging.getLogger("nsn2n.anything").error("no volume")
    logging.getLogger("other").info("not of interest")
    logging.info("a header")

    assert capsys.readouterr().err.splitlines() == ["one series", "warning: clipped", "error: no volume"]


def test_debugging_shows_no_more_of_other_libraries(capsys):
    configure_logging("DEBUG")

    logging.getLogger("nsn2n.anything").debug("details")
    logging.debug("a header")
    logging.info("a header")

    assert capsys.readouterr().err.splitlines() == ["details"]


def test_pydicom_never_quotes_values(capsys):
    with warnings.catch_warnings(record=True) as before:
        warnings.simplefilter("always")
        DataElement("PatientBirthDate", "DA", "1970-12-31")
    assert "1970-12-31" in str(before[0].message)

    with warnings.catch_warnings(record=True) as caught:
        configure_logging("DEBUG")
        DataElement("PatientBirthDate", "DA", "1970-12-31")

    assert not caught
    assert capsys.readouterr().err == ""


def test_progress_is_logged_now_and_then(caplog, monkeypatch):
    caplog.set_level(logging.INFO, logger="nsn2n.app")
    now_s = [0.0]
    monkeypatch.setattr("nsn2n.app.report.time.monotonic", lambda: now_s[0])
    progress = ProgressLog()

    for second in range(60):
        now_s[0] = float(second)
        progress(second / 60, 60.0 - second)

    assert [record.getMessage() for record in caplog.records] == [
        " 25 % denoised, about 45 s left",
        " 50 % denoised, about 30 s left",
        " 75 % denoised, about 15 s left",
    ]
