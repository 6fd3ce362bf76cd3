# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from functools import partial

import numpy as np
import pydicom
import pytest
from pydicom.uid import RLELossless

from nsn2n import denoise
from nsn2n.dicom.read.series_reader import read_series
from nsn2n.errors import DicomError, NSN2NError
from nsn2n.jobs.dicom_job import denoise_folder
from nsn2n.jobs.options import OutputOptions

BRIEF = {"fit": {"steps": 3, "crop_px": 16}, "network": {"channels": 4, "levels": 2}}
run = partial(denoise, config=BRIEF, device="cpu")


@pytest.fixture
def volume_dhw():
    return np.rint(np.random.default_rng(5).normal(40, 20, (5, 18, 22)))


def test_the_series_holds_what_the_method_gives(make_series, volume_dhw, tmp_path):
    """Pixels of every slice, to the rounding of stored values, with padding left as it is."""
    volume_dhw[:, :3] = -1000
    padding = {"PixelPaddingValue": 24}  # stored value of -1000 HU
    files = make_series(volume_dhw, overrides=padding, spacing_mm=(2.0, 0.5, 0.75))
    kept = volume_dhw == -1000

    (outcome,) = denoise_folder(files[0].parent, tmp_path / "out", run)

    expected = run(volume_dhw, spacing_mm=(2.0, 0.5, 0.75), modality="CT", exclude=kept).volume
    derived = read_series(outcome.written.files, allow_own_output=True)
    np.testing.assert_array_equal(derived.volume_dhw[kept], -1000)
    np.testing.assert_allclose(derived.volume_dhw[~kept], expected[~kept], atol=0.5)
    assert outcome.error is None
    assert outcome.record.SeriesNumber == 1


def test_what_lies_beyond_a_gap_is_denoised_apart(make_series, volume_dhw, tmp_path):
    volume_dhw = np.concatenate([volume_dhw, volume_dhw[:3]])
    files = make_series(volume_dhw)
    files[4].unlink()

    (outcome,) = denoise_folder(files[0].parent, tmp_path / "out", run)

    derived = read_series(outcome.written.files, allow_own_output=True)
    for part in (slice(4), slice(5, 8)):
        expected = run(volume_dhw[part], modality="CT").volume
        here = part if part.start is None else slice(4, 7)
        np.testing.assert_allclose(derived.volume_dhw[here], expected, atol=0.5)
    assert "2 parts, each fitted alone" in derived.headers[0].DerivationDescription


def test_an_enhanced_image_becomes_one(make_enhanced, volume_dhw, tmp_path):
    file = make_enhanced(volume_dhw)

    (outcome,) = denoise_folder(file.parent, tmp_path / "out", run)

    expected = run(volume_dhw, modality="CT", spacing_mm=(1.0, 1.0, 1.0)).volume
    derived = read_series(outcome.written.files, allow_own_output=True)
    assert len(outcome.written.files) == 1
    np.testing.assert_allclose(derived.volume_dhw, expected, atol=0.5)


def test_series_numbers_are_new_in_the_study(make_series, volume_dhw, tmp_path):
    # 1001 is taken by a series that is not denoised, 1002 by the derived one of series 1.
    make_series(volume_dhw, series_number=1)
    make_series(volume_dhw, series_number=2)
    make_series(volume_dhw, series_number=1001, overrides={"ImageType": ["DERIVED", "SECONDARY"]})

    outcomes = denoise_folder(tmp_path / "in", tmp_path / "out", run)

    assert [outcome.written.SeriesNumber for outcome in outcomes] == [1002, 1003]
    assert len(list((tmp_path / "out").glob("2.25.*"))) == 2


def test_numbers_of_another_study_are_free(make_series, volume_dhw, tmp_path):
    make_series(volume_dhw, series_number=1)
    make_series(volume_dhw, series_number=1001, study_uid="2.25.1", overrides={"ImageType": ["DERIVED", "SECONDARY"]})

    (outcome,) = denoise_folder(tmp_path / "in", tmp_path / "out", run)

    assert outcome.written.SeriesNumber == 1001


def test_one_failure_among_others(make_series, volume_dhw, tmp_path, caplog):
    files = make_series(volume_dhw, series_number=1)
    files[1].unlink()
    files[4].unlink()
    make_series(volume_dhw, series_number=2)

    failed, written = denoise_folder(tmp_path / "in", tmp_path / "out", run)

    assert isinstance(failed.error, DicomError)
    assert failed.written is None
    assert written.error is None
    assert list((tmp_path / "out").glob("2.25.*")) == [written.written.folder]
    (line,) = [entry.getMessage() for entry in caplog.records if entry.levelname == "ERROR"]
    assert line == f"{failed.record.label}: {failed.error}"


def test_a_failure_of_the_method_is_one_of_the_series(make_series, volume_dhw, tmp_path):
    files = make_series(volume_dhw)

    (outcome,) = denoise_folder(files[0].parent, tmp_path / "out", partial(denoise, device="abacus"))

    assert isinstance(outcome.error, NSN2NError)
    assert not (tmp_path / "out").exists()


def test_named_series_only(make_series, volume_dhw, tmp_path):
    make_series(volume_dhw, series_number=1)
    uid = read_series(make_series(volume_dhw, folder="in2", series_number=2)).SeriesInstanceUID
    (tmp_path / "in2").rename(tmp_path / "in" / "sub")

    (outcome,) = denoise_folder(tmp_path / "in", tmp_path / "out", run, series_uids=[uid])

    assert outcome.record.SeriesInstanceUID == uid


def test_progress_names_the_series(make_series, volume_dhw, tmp_path):
    files = make_series(volume_dhw)
    seen = []

    denoise_folder(
        files[0].parent, tmp_path / "out", run, progress=lambda record, *rest: seen.append((record.SeriesNumber, *rest))
    )

    assert seen[-1] == (1, 1.0, 0.0)


def test_the_output_is_looked_at_before_the_method_starts(make_series, volume_dhw, tmp_path):
    files = make_series(volume_dhw)
    (tmp_path / "out").touch()

    def never(*_args, **_keywords):
        raise AssertionError("denoised, though the result has no place")

    with pytest.raises(NSN2NError, match="out is a file"):
        denoise_folder(files[0].parent, tmp_path / "out", never)


def test_nothing_selected(make_series, volume_dhw, tmp_path):
    files = make_series(volume_dhw, overrides={"ImageType": ["DERIVED", "SECONDARY"]})

    with pytest.raises(DicomError, match="none of 1 is"):
        denoise_folder(files[0].parent, tmp_path / "out", run)


def test_the_output_of_a_run_is_left_alone_by_the_next(make_series, volume_dhw, tmp_path):
    files = make_series(volume_dhw)

    first = denoise_folder(files[0].parent, files[0].parent, run)
    second = denoise_folder(files[0].parent, files[0].parent, run)

    assert [len(first), len(second)] == [1, 1]
    assert first[0].record.SeriesInstanceUID == second[0].record.SeriesInstanceUID
    assert [first[0].written.SeriesNumber, second[0].written.SeriesNumber] == [1001, 1002]


def test_strict_leaves_the_rest_untried(make_series, volume_dhw, tmp_path):
    make_series(volume_dhw, series_number=1)[2].unlink()
    make_series(volume_dhw, series_number=2)

    failed, untried = denoise_folder(tmp_path / "in", tmp_path / "out", run, strict=True)

    assert isinstance(failed.error, DicomError)
    assert (untried.written, untried.error) == (None, None)
    assert not (tmp_path / "out").exists()


def test_a_lack_of_memory_fails_one_series(make_series, volume_dhw, tmp_path):
    make_series(volume_dhw, series_number=1)
    make_series(volume_dhw[:4], series_number=2)

    def denoise_small(volume, **keywords):
        if len(volume) == 5:
            np.empty(2**60, np.uint8)
        return run(volume, **keywords)

    failed, written = denoise_folder(tmp_path / "in", tmp_path / "out", denoise_small)

    assert "memory enough" in str(failed.error)
    assert written.written is not None


def test_options_reach_the_series(make_series, volume_dhw, tmp_path):
    files = make_series(volume_dhw)
    options = OutputOptions(series_number_offset=5, compression="rle")

    (outcome,) = denoise_folder(files[0].parent, tmp_path / "out", run, options=options)

    assert outcome.written.SeriesNumber == 6
    assert pydicom.dcmread(outcome.written.files[0]).file_meta.TransferSyntaxUID == RLELossless
