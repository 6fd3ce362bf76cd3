# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What the user is told, and never told."""

from __future__ import annotations

import logging
import warnings

from pydicom.dataelem import DataElement

from nsn2n.runtime.logs import ProgressLog, configure_logging


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
    caplog.set_level(logging.INFO, logger="nsn2n.runtime")
    now_s = [0.0]
    monkeypatch.setattr("nsn2n.runtime.logs.time.monotonic", lambda: now_s[0])
    progress = ProgressLog()

    for second in range(60):
        now_s[0] = float(second)
        progress(second / 60, 60.0 - second)

    assert [record.getMessage() for record in caplog.records] == [
        " 25 % denoised, about 45 s left",
        " 50 % denoised, about 30 s left",
        " 75 % denoised, about 15 s left",
    ]
