# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What the user is told, and never told."""

from __future__ import annotations

import logging
import warnings

import pytest
from pydicom.dataelem import DataElement

from nsn2n.errors import DicomError
from nsn2n.runtime.logs import ProgressLog, configure_logging


def test_levels_are_set_by_a_word_and_only_this_program_talks(capsys):
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


@pytest.fixture
def quoted():
    """A warning of pydicom that quotes a birth date."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        DataElement("PatientBirthDate", "DA", "1970-12-31")
    assert "1970-12-31" in str(caught[0].message)
    return caught[0]


def test_warnings_of_libraries_are_not_reported(capsys, quoted):
    configure_logging("DEBUG")

    warnings.showwarning(quoted.message, quoted.category, quoted.filename, quoted.lineno)

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["pydicom", "highdicom.base", "monai.deploy", "py.warnings"])
def test_no_library_can_make_itself_heard_again(capsys, name):
    """pydicom sets the level of its logger back when it is imported."""
    configure_logging("DEBUG")

    logging.getLogger(name).setLevel(logging.DEBUG)
    logging.getLogger(name).error("Secretname^Jane")

    assert capsys.readouterr().err == ""


def test_warnings_of_libraries_that_quote_nothing_are_reported(capsys):
    configure_logging(None)

    logging.getLogger("other").warning("slow")

    assert capsys.readouterr().err == "warning: slow\n"


def test_what_would_steer_a_terminal_is_shown_as_an_escape(capsys):
    configure_logging(None)

    logging.getLogger("nsn2n").error("no file %s", "a\n\x1b[31merror: forged\u202e")

    assert capsys.readouterr().err == "error: no file a\\n\\x1b[31merror: forged\\u202e\n"


def test_a_traceback_tells_messages_of_this_program_alone(capsys):
    configure_logging("DEBUG")
    try:
        try:
            raise ValueError("1970-12-31 is no date")
        except ValueError as error:
            raise DicomError("the series must have valid dates") from error
    except DicomError as error:
        logging.getLogger("nsn2n").error("refused", exc_info=error)
        text = capsys.readouterr().err

    assert "1970-12-31 is no date\n" not in text.replace('raise ValueError("1970-12-31 is no date")', "")
    assert "builtins.ValueError\n" in text
    assert "nsn2n.errors.DicomError: the series must have valid dates" in text
    assert text.index("ValueError\n") < text.index("DicomError: the")
    assert text.startswith("error: refused\nTraceback")


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
