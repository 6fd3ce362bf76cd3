# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import json
import logging
import stat
from datetime import datetime
from functools import partial

import numpy as np
import pydicom
import pytest
from pydicom.uid import RLELossless

from nsn2n import SliceStack, denoise
from nsn2n.dicom.read.series_reader import read_series
from nsn2n.dicom.selection.rules import load_rules
from nsn2n.errors import DicomError, NSN2NError, SettingsError, VolumeError
from nsn2n.jobs.dicom_job import (
    choose_series,
    denoise_folder,
    denoise_series,
    load_series,
    series_numbers_by_study,
    write_denoised,
)
from nsn2n.jobs.options import JobOptions
from nsn2n.report import ReportData

BRIEF = {"fit": {"steps": 3, "crop_px": 16}, "network": {"channels": 4, "levels": 2}}
run = partial(denoise, config=BRIEF, device="cpu")


@pytest.fixture
def volume_dhw():
    return np.rint(np.random.default_rng(5).normal(40, 20, (5, 18, 22)))


# --- choose_series ------------------------------------------------------------------------------------------

THIRD = '{"selections": [{"name": "third", "conditions": {"SeriesNumber": 3}}]}'


@pytest.fixture
def study(make_series, volume_dhw, tmp_path):
    """A localizer (1), two volumes (2, 3), a secondary capture (4)."""
    make_series(volume_dhw[:1], series_number=1, overrides={"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]})
    make_series(volume_dhw, series_number=2)
    make_series(volume_dhw, series_number=3)
    capture = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "Modality": "OT"}
    make_series(volume_dhw[:1], series_number=4, overrides=capture)
    return tmp_path / "in"


def numbers_of(selection):
    return [selected.record.SeriesNumber for selected in selection.selected]


def test_others_are_left_alone_with_one_line_each(study, caplog):
    caplog.set_level(logging.INFO, logger="nsn2n.jobs")

    selection = choose_series(study)

    assert numbers_of(selection) == [2, 3]
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert "CT series 1" in lines[0]
    assert "localizer" in lines[0]
    assert "OT series 4" in lines[1]
    assert "NSN2N^PHANTOM" not in caplog.text


def test_rules_may_be_text_or_a_file_or_read_already(study, tmp_path):
    file = tmp_path / "rules.json"
    file.write_text(THIRD)

    for rules in (THIRD, file, load_rules(file)):
        assert numbers_of(choose_series(study, rules)) == [3]


def test_named_series_are_taken_instead_of_rules(study):
    uid = choose_series(study).selected[1].record.SeriesInstanceUID

    assert numbers_of(choose_series(study, series_uids=[uid])) == [3]


def test_nothing_selected_says_what_was_found_and_why(study):
    rules = '{"selections": [{"name": "PET", "conditions": {"Modality": "^PT$"}}]}'

    message = (
        r"at least one series of .* must be suitable for denoising; none of 4 is \(.*CT series 2 .*or adapt the rules\."
    )
    with pytest.raises(DicomError, match=message) as caught:
        choose_series(study, rules)

    assert "\n" not in str(caught.value)


def test_missing_folder_and_bad_rules_are_refused(study, tmp_path):
    with pytest.raises(DicomError, match="does not exist"):
        choose_series(tmp_path / "none")
    with pytest.raises(DicomError, match="needs a folder"):
        choose_series(None)
    with pytest.raises(SettingsError, match="must be JSON"):
        choose_series(study, "{")


def test_real_study_gives_its_three_volumes(ct_phantom_folder):
    selection = choose_series(ct_phantom_folder)

    found = {s.record.files[0].relative_to(ct_phantom_folder).parts[0]: len(s.record.files) for s in selection.selected}
    assert found == {"S2010": 28, "S2020": 40, "S2030": 40}


def test_numbers_in_use_are_those_of_all_series_of_a_study(study, make_series, volume_dhw):
    make_series(volume_dhw, series_number=7, study_uid="2.25.1")
    make_series(volume_dhw, series_number=8, study_uid="2.25.1", overrides={"SeriesNumber": None})

    numbers = series_numbers_by_study(choose_series(study))

    assert sorted(numbers.values(), key=len) == [{7}, {1, 2, 3, 4}]


# --- the other steps ----------------------------------------------------------------------------------------


def test_a_series_is_loaded_whatever_its_paths_are(make_series, volume_dhw):
    files = make_series(np.concatenate([volume_dhw, volume_dhw[:2]]))
    files.pop(3)

    assert load_series([str(file) for file in files]).stack.parts == (3, 3)
    with pytest.raises(DicomError, match="missing slices"):
        load_series(files, refuse_gaps=True)


def test_what_a_report_shows_is_collected_where_it_is_asked_for(volume_dhw, caplog):
    caplog.set_level(logging.INFO, logger="nsn2n.jobs")
    stack = SliceStack.of(volume_dhw, modality="CT")
    seen = []

    plain = denoise_series(stack, run, "CT series 2", report=False, progress=lambda *told: seen.append(told))
    reported = denoise_series(stack, run, "CT series 2", report=True)

    expected = run(volume_dhw, modality="CT")
    np.testing.assert_array_equal(plain.values, expected.volume)
    assert plain.report is None
    assert isinstance(reported.report, ReportData)
    assert plain.record["summary"] == expected.summary()
    assert {**plain.record["settings"]} == expected.record["settings"]
    assert f"CT series 2: {expected.summary()}" in caplog.messages
    assert seen[-1] == (1.0, 0.0)


def test_what_was_denoised_is_written_with_its_summary_and_its_numbers_are_in_use(make_series, volume_dhw, tmp_path):
    series = load_series(make_series(volume_dhw))
    numbers = {1, 1001}
    options = JobOptions(parametric_map=True)

    written = write_denoised(
        series.stack.values + 1,
        {"summary": "one more"},
        series.files,
        tmp_path / "out",
        options,
        numbers,
        "CT series 1",
    )

    assert written.SeriesNumber == 1002
    assert numbers == {1, 1001, 1002, 1003}
    derived = read_series(written.files, allow_own_output=True)
    np.testing.assert_array_equal(derived.stack.values, volume_dhw + 1)
    assert derived.headers[0].DerivationDescription == "one more"


def test_removed_anatomy_is_written_only_where_it_is_forced(make_series, volume_dhw, tmp_path):
    series = load_series(make_series(volume_dhw))
    record = {"summary": "smoothed", "structure": {"verdict": "fail", "excess": 9.0, "coherence": 2.0}}

    def write(options):
        return write_denoised(
            series.stack.values, record, series.files, tmp_path / "out", options, set(), "CT series 1"
        )

    with pytest.raises(VolumeError, match="structure check says fail"):
        write(JobOptions())
    assert not (tmp_path / "out").exists()
    assert write(JobOptions(force=True)).SeriesNumber == 1001


# --- denoise_folder -----------------------------------------------------------------------------------------


def test_the_series_holds_what_the_method_gives(make_series, volume_dhw, tmp_path):
    """Pixels of every slice, to the rounding of stored values, with padding left as it is."""
    volume_dhw[:, :3] = -1000
    padding = {"PixelPaddingValue": 24}  # stored value of -1000 HU
    files = make_series(volume_dhw, overrides=padding, spacing_mm=(2.0, 0.5, 0.75))
    kept = volume_dhw == -1000

    (outcome,) = denoise_folder(files[0].parent, tmp_path / "out", denoise=run)

    expected = run(volume_dhw, spacing_mm=(2.0, 0.5, 0.75), modality="CT", exclude=kept).volume
    derived = read_series(outcome.written.files, allow_own_output=True)
    np.testing.assert_array_equal(derived.stack.values[kept], -1000)
    np.testing.assert_allclose(derived.stack.values[~kept], expected[~kept], atol=0.5)
    assert outcome.error is None
    assert outcome.record.SeriesNumber == 1


def test_what_lies_beyond_a_gap_is_denoised_apart(make_series, volume_dhw, tmp_path):
    volume_dhw = np.concatenate([volume_dhw, volume_dhw[:3]])
    files = make_series(volume_dhw)
    files[4].unlink()
    # Parts of the same noise would share a fit.
    fit_alone = partial(denoise, config={**BRIEF, "fit": {**BRIEF["fit"], "reuse": False}}, device="cpu")

    (outcome,) = denoise_folder(files[0].parent, tmp_path / "out", denoise=fit_alone)

    derived = read_series(outcome.written.files, allow_own_output=True)
    for part in (slice(4), slice(5, 8)):
        expected = fit_alone(volume_dhw[part], modality="CT").volume
        here = part if part.start is None else slice(4, 7)
        np.testing.assert_allclose(derived.stack.values[here], expected, atol=0.5)
    assert "2 parts, each fitted alone" in derived.headers[0].DerivationDescription


def test_an_enhanced_image_becomes_one(make_enhanced, volume_dhw, tmp_path):
    file = make_enhanced(volume_dhw)

    (outcome,) = denoise_folder(file.parent, tmp_path / "out", denoise=run)

    expected = run(volume_dhw, modality="CT", spacing_mm=(1.0, 1.0, 1.0)).volume
    derived = read_series(outcome.written.files, allow_own_output=True)
    assert len(outcome.written.files) == 1
    np.testing.assert_allclose(derived.stack.values, expected, atol=0.5)


def test_series_numbers_are_new_in_the_study(make_series, volume_dhw, tmp_path):
    # 1001 is taken by a series that is not denoised, 1002 by the derived one of series 1.
    make_series(volume_dhw, series_number=1)
    make_series(volume_dhw, series_number=2)
    make_series(volume_dhw, series_number=1001, overrides={"ImageType": ["DERIVED", "SECONDARY"]})

    outcomes = denoise_folder(tmp_path / "in", tmp_path / "out", denoise=run)

    assert [outcome.written.SeriesNumber for outcome in outcomes] == [1002, 1003]
    assert len(list((tmp_path / "out").glob("2.25.*"))) == 2


def test_numbers_of_another_study_are_free(make_series, volume_dhw, tmp_path):
    make_series(volume_dhw, series_number=1)
    make_series(volume_dhw, series_number=1001, study_uid="2.25.1", overrides={"ImageType": ["DERIVED", "SECONDARY"]})

    (outcome,) = denoise_folder(tmp_path / "in", tmp_path / "out", denoise=run)

    assert outcome.written.SeriesNumber == 1001


def test_one_failure_among_others(make_series, volume_dhw, tmp_path, caplog):
    files = make_series(volume_dhw, series_number=1)
    files[1].unlink()
    files[4].unlink()
    make_series(volume_dhw, series_number=2)

    failed, written = denoise_folder(tmp_path / "in", tmp_path / "out", denoise=run)

    assert isinstance(failed.error, DicomError)
    assert failed.written is None
    assert written.error is None
    assert list((tmp_path / "out").glob("2.25.*")) == [written.written.folder]
    (line,) = [entry.getMessage() for entry in caplog.records if entry.levelname == "ERROR"]
    assert line == f"{failed.record.label}: {failed.error}"


def test_a_failure_of_the_method_is_one_of_the_series(make_series, volume_dhw, tmp_path):
    files = make_series(volume_dhw)

    (outcome,) = denoise_folder(files[0].parent, tmp_path / "out", denoise=partial(denoise, device="abacus"))

    assert isinstance(outcome.error, NSN2NError)
    assert not (tmp_path / "out").exists()


def test_named_series_only(make_series, volume_dhw, tmp_path):
    make_series(volume_dhw, series_number=1)
    uid = read_series(make_series(volume_dhw, folder="in2", series_number=2)).SeriesInstanceUID
    (tmp_path / "in2").rename(tmp_path / "in" / "sub")

    (outcome,) = denoise_folder(tmp_path / "in", tmp_path / "out", JobOptions(series_uids=(uid,)), denoise=run)

    assert outcome.record.SeriesInstanceUID == uid


def test_progress_names_the_series(make_series, volume_dhw, tmp_path):
    files = make_series(volume_dhw)
    seen = []

    denoise_folder(
        files[0].parent,
        tmp_path / "out",
        denoise=run,
        progress=lambda record, *rest: seen.append((record.SeriesNumber, *rest)),
    )

    assert seen[-1] == (1, 1.0, 0.0)


def test_the_output_is_looked_at_before_the_method_starts(make_series, volume_dhw, tmp_path):
    files = make_series(volume_dhw)
    (tmp_path / "out").touch()

    def never(*_args, **_keywords):
        raise AssertionError("denoised, though the result has no place")

    with pytest.raises(NSN2NError, match="out is a file"):
        denoise_folder(files[0].parent, tmp_path / "out", denoise=never)


def test_nothing_selected(make_series, volume_dhw, tmp_path):
    files = make_series(volume_dhw, overrides={"ImageType": ["DERIVED", "SECONDARY"]})

    with pytest.raises(DicomError, match=r"none of 1 is \(.*left alone.*\)\. Name one by its UID, or adapt the rules"):
        denoise_folder(files[0].parent, tmp_path / "out", denoise=run)


def test_the_output_of_a_run_is_left_alone_by_the_next(make_series, volume_dhw, tmp_path):
    files = make_series(volume_dhw)

    first = denoise_folder(files[0].parent, files[0].parent, denoise=run)
    second = denoise_folder(files[0].parent, files[0].parent, denoise=run)

    assert [len(first), len(second)] == [1, 1]
    assert first[0].record.SeriesInstanceUID == second[0].record.SeriesInstanceUID
    assert [first[0].written.SeriesNumber, second[0].written.SeriesNumber] == [1001, 1002]


def test_strict_leaves_the_rest_untried(make_series, volume_dhw, tmp_path):
    make_series(volume_dhw, series_number=1)[2].unlink()
    make_series(volume_dhw, series_number=2)

    failed, untried = denoise_folder(tmp_path / "in", tmp_path / "out", JobOptions(strict=True), denoise=run)

    assert isinstance(failed.error, DicomError)
    assert (untried.written, untried.error) == (None, None)
    assert not (tmp_path / "out").exists()


def test_a_lack_of_memory_fails_one_series(make_series, volume_dhw, tmp_path):
    make_series(volume_dhw, series_number=1)
    make_series(volume_dhw[:4], series_number=2)

    def denoise_small(stack, **keywords):
        if stack.shape_dhw[0] == 5:
            np.empty(2**60, np.uint8)
        return run(stack, **keywords)

    failed, written = denoise_folder(tmp_path / "in", tmp_path / "out", denoise=denoise_small)

    assert "enough memory" in str(failed.error)
    assert written.written is not None


def test_options_reach_the_series(make_series, volume_dhw, tmp_path):
    files = make_series(volume_dhw)
    options = JobOptions(series_number_offset=5, compression="rle")

    (outcome,) = denoise_folder(files[0].parent, tmp_path / "out", options, denoise=run)

    assert outcome.written.SeriesNumber == 6
    assert pydicom.dcmread(outcome.written.files[0]).file_meta.TransferSyntaxUID == RLELossless


def test_the_method_is_that_of_the_options(make_series, volume_dhw, tmp_path):
    files = make_series(volume_dhw, spacing_mm=(2.0, 0.5, 0.75))
    options = JobOptions(preset="fast", config=BRIEF, seed=7, strength=0.5, device="cpu", report=False)

    (outcome,) = denoise_folder(files[0].parent, tmp_path / "out", options)

    expected = denoise(
        volume_dhw, spacing_mm=(2.0, 0.5, 0.75), modality="CT", preset="fast", config=BRIEF, seed=7, strength=0.5,
        device="cpu",
    )  # fmt: skip
    derived = read_series(outcome.written.files, allow_own_output=True)
    np.testing.assert_allclose(derived.stack.values, expected.volume, atol=0.5)
    said = derived.headers[0].DerivationDescription
    assert "preset fast, seed 7" in said
    assert "blended, 0.5 denoised + 0.5 source" in said


def test_rules_of_the_options_count_unless_others_are_given(study, tmp_path):
    (tmp_path / "rules.json").write_text(THIRD)
    options = JobOptions(selection_rules=tmp_path / "rules.json", report=False)
    second = THIRD.replace("3", "2")

    by_options = denoise_folder(study, tmp_path / "out", options, denoise=run)
    by_argument = denoise_folder(study, tmp_path / "out", options, denoise=run, rules=second)

    assert [outcome.record.SeriesNumber for outcome in (*by_options, *by_argument)] == [3, 2]


def test_what_lies_beside_a_series_takes_no_number_of_the_next(study, tmp_path):
    options = JobOptions(parametric_map=True, report=False)

    outcomes = denoise_folder(study, tmp_path / "out", options, denoise=run)

    assert [outcome.written.SeriesNumber for outcome in outcomes] == [1002, 1004]
    there = sorted(pydicom.dcmread(next(folder.iterdir())).SeriesNumber for folder in (tmp_path / "out").iterdir())
    assert there == [1002, 1003, 1004, 1005]


def test_gaps_are_refused_where_the_options_say_so(make_series, volume_dhw, tmp_path):
    files = make_series(np.concatenate([volume_dhw, volume_dhw[:2]]))
    files[3].unlink()

    (outcome,) = denoise_folder(files[0].parent, tmp_path / "out", JobOptions(refuse_gaps=True), denoise=run)

    assert "missing slices (1 missing" in str(outcome.error)
    assert not (tmp_path / "out").exists()


def test_a_clock_that_goes_back_makes_no_duration_negative_and_no_date_invalid(
    make_series, volume_dhw, tmp_path, monkeypatch
):
    """As it does when a machine gets its time from the network, between two runs or in the middle of one."""
    seconds = itertools.count(1.7e9, -3600)

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.fromtimestamp(next(seconds), tz)

    monkeypatch.setattr("time.time", lambda: next(seconds))
    monkeypatch.setattr("nsn2n.dicom.write.derive.datetime", Clock)
    folder = make_series(volume_dhw)[0].parent
    written, told = [], []
    for _ in range(2):
        (outcome,) = denoise_folder(
            folder, tmp_path / "out", denoise=run, progress=lambda record, done, left_s: told.append((done, left_s))
        )
        written.append(outcome.written)
        made = tmp_path / "out" / "reports" / outcome.written.SeriesInstanceUID / "report.json"
        assert json.loads(made.read_text())["measured"]["seconds"] > 0

    assert [series.SeriesNumber for series in written] == [1001, 1002]
    assert all(0 <= done <= 1 and left_s >= 0 for done, left_s in told)
    for series in written:
        header = pydicom.dcmread(series.files[0])
        for name in ("Series", "Content", "InstanceCreation"):
            datetime.strptime(header[f"{name}Date"].value + header[f"{name}Time"].value, "%Y%m%d%H%M%S.%f")


def _modes(paths):
    return {stat.S_IMODE(path.stat().st_mode) for path in paths}


@pytest.mark.parametrize(("mode", "folder_mode"), [(0o600, 0o700), (0o400, 0o700), (0o644, 0o755)])
def test_all_that_is_written_is_as_closed_as_its_source(make_series, tmp_path, umask, mode, folder_mode):
    files = make_series(np.rint(np.random.default_rng(5).normal(140, 20, (5, 48, 40))))
    for file in files:
        file.chmod(0o644)
    files[2].chmod(mode)

    (outcome,) = denoise_folder(
        files[0].parent, tmp_path / "out", JobOptions(parametric_map=True, structured_report=True), denoise=run
    )

    new = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(new) == len(outcome.written.files) + 4  # map, measurements, and a report of two files
    assert _modes(new) == {mode}
    assert _modes({path.parent for path in new if path.suffix == ".dcm"}) == {folder_mode}
