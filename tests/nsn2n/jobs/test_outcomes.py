# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""An error of one series goes to the handler, or on; the exit code says how many there were."""

from __future__ import annotations

import logging

import pytest

from nsn2n.errors import DicomError, NSN2NError, VolumeError
from nsn2n.jobs.outcomes import ALL_FAILED, SOME_FAILED, JobOutcomes, conclude, series_errors, warned

# --- series_errors ------------------------------------------------------------------------------------------


def test_handler_gets_label_and_error_and_the_rest_of_the_block_is_skipped():
    seen, emitted = [], []
    error = DicomError("a slice is missing")

    with series_errors("CT series 2", lambda *arguments: seen.append(arguments)):
        raise error
        emitted.append("image")

    assert seen == [("CT series 2", error)]
    assert emitted == []


def test_without_a_handler_the_error_passes():
    with pytest.raises(VolumeError, match="no volume"), series_errors("CT series 2", None):
        raise VolumeError("no volume")


def test_a_fault_of_the_program_is_one_of_the_series_and_tells_only_its_kind():
    seen = []

    with series_errors("CT series 2", lambda *arguments: seen.append(arguments)):
        raise KeyError("Secretname")

    ((label, error),) = seen
    assert label == "CT series 2"
    assert "got KeyError" in str(error)
    assert "Secretname" not in str(error)
    assert isinstance(error.__cause__, KeyError)


def test_a_fault_of_the_program_passes_without_a_handler():
    with pytest.raises(KeyError, match="typo"), series_errors("CT series 2", None):
        raise KeyError("typo")


@pytest.mark.parametrize("error", [DicomError("no room."), KeyError("Secretname"), MemoryError()])
def test_what_comes_beside_a_complete_series_may_fail(caplog, error):
    with warned("PM0001.dcm"):
        raise error

    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "The denoised series is complete; PM0001.dcm was not written." in record.getMessage()
    assert "Secretname" not in record.getMessage()


def test_a_lack_of_memory_is_an_error_of_the_series():
    seen = []

    with series_errors("CT series 2", lambda *arguments: seen.append(arguments)):
        raise MemoryError

    ((label, error),) = seen
    assert label == "CT series 2"
    assert isinstance(error, NSN2NError)
    assert "enough memory for a whole volume" in str(error)


# --- JobOutcomes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("strict", "goes_on"), [(False, True), (True, False)])
def test_a_failure_is_noted_and_logged_and_ends_a_strict_run(caplog, strict, goes_on):
    outcomes = JobOutcomes(strict=strict)
    assert outcomes.should_continue()

    outcomes.failed("CT series 2", DicomError("no volume"))

    assert outcomes.failures == ["CT series 2"]
    assert [(entry.levelname, entry.getMessage()) for entry in caplog.records] == [("ERROR", "CT series 2: no volume")]
    assert outcomes.should_continue() is goes_on


@pytest.mark.parametrize(("level", "told"), [(logging.INFO, False), (logging.DEBUG, True)])
def test_where_an_error_arose_is_reported_only_where_details_are_asked_for(caplog, level, told):
    caplog.set_level(level, logger="nsn2n")

    JobOutcomes().failed("CT series 2", DicomError("no volume"))

    (entry,) = caplog.records
    assert bool(entry.exc_info) is told


# --- conclude -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("selected", "written", "code"), [(2, 2, 0), (3, 2, SOME_FAILED), (1, 0, ALL_FAILED)])
def test_exit_code_says_how_many_series_were_written(selected, written, code):
    outcomes = JobOutcomes()
    for number in range(selected - written):
        outcomes.failed(f"CT series {number}", DicomError("no volume"))

    assert conclude(selected, written, outcomes.failures) == code
    assert len(outcomes.failures) == selected - written


def test_exit_codes_are_those_of_the_documentation():
    assert (ALL_FAILED, SOME_FAILED) == (1, 3)


def test_the_number_of_new_series_is_reported_where_all_went_well(caplog):
    caplog.set_level(logging.INFO, logger="nsn2n")

    assert conclude(2, 2, []) == 0

    assert [(entry.levelname, entry.getMessage()) for entry in caplog.records] == [("INFO", "2 series written")]


def test_a_series_without_outcome_is_an_error():
    with pytest.raises(NSN2NError, match="each of the 3 selected series must be written or refused; 2 were"):
        conclude(3, 2, [])


def test_what_was_not_begun_has_no_outcome(caplog):
    failures = ["CT series 2"]

    assert conclude(4, 1, failures, untried=2) == SOME_FAILED
    assert caplog.messages[-1] == "1 of 4 selected series written, 1 failed, 2 not tried: CT series 2"
    with pytest.raises(NSN2NError, match=r"each of the 3 selected series .* 1 were written and 1 refused"):
        conclude(4, 1, failures, untried=1)
