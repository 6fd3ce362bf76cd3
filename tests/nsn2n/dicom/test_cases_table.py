# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Bad and odd inputs, one after the other, and the test that holds what becomes of each.

Either it is handled right, or it is refused in one line that names file, tag, series and next step; it is never
silently wrong. Cases without a test of their own elsewhere are below.
"""

from __future__ import annotations

import ast
import logging
import os
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom
import pytest

from nsn2n import denoise
from nsn2n.dicom.read.series_reader import read_series
from nsn2n.dicom.selection.rules import default_rules, select_series
from nsn2n.dicom.selection.scan import scan_folder
from nsn2n.dicom.write.series_writer import write_series
from nsn2n.errors import DicomError
from nsn2n.jobs.dicom_job import denoise_folder

HERE = Path(__file__)
BRIEF = {"fit": {"steps": 3, "crop_px": 16}, "network": {"channels": 4, "levels": 2}}


class Case(NamedTuple):
    """An input, and the tests that hold it: functions of a module of ``tests/nsn2n``, or of this one.

    A name may say another module before a dot; before nothing but a dot it is this one.
    """

    sentence: str
    module: str
    tests: str


CASES = {
    1: Case("no folder, an empty one, a file", "test_scan", "test_folder_without_dicom_is_refused"),
    2: Case("files that are no DICOM", "", "test_case_02_files_that_are_no_dicom_are_counted_and_named"),
    3: Case("DICOM and other files", "test_scan",
            "test_what_is_no_image_is_listed_with_its_reason .test_case_03_what_is_no_image_is_reported_in_one_line"),
    4: Case("folders named as files, broken links, unreadable files",
            "test_scan", "test_what_is_no_image_is_listed_with_its_reason test_unreadable_file_is_listed "
            ".test_case_04_nothing_but_a_broken_link"),
    5: Case("preamble missing", "test_scan", "test_slice_without_its_prefix_is_never_passed_over"),
    6: Case("header cut", "test_scan",
            "test_file_cut_before_its_series_uid_is_never_passed_over .test_case_06_a_cut_header_fails_its_series"),
    7: Case("pixels cut, short, absent, with trailing bytes",
            "test_series_reader",
            "test_broken_slice_is_refused_with_file_tag_and_series test_small_irregularities_are_accepted"),
    8: Case("two series in the folder", "test_dicom_job",
            "test_series_numbers_are_new_in_the_study test_named_series_only .test_case_08_two_series_are_kept_apart"),
    9: Case("two patients or studies under one series UID",
            "test_series_reader", "test_broken_slice_is_refused_with_file_tag_and_series"),
    10: Case("two frames of reference", "test_series_reader", "test_broken_slice_is_refused_with_file_tag_and_series"),
    11: Case("a slice missing", "test_slice_sorting",
             "test_a_gap_is_warned_of_with_its_place test_gaps_are_refused_where_that_is_asked_for"),
    12: Case("SOPInstanceUID twice, same bytes", "test_series_reader", "test_copy_of_a_file_is_used_once"),
    13: Case("SOPInstanceUID twice, other pixels", "test_series_reader", "test_same_uid_with_other_content_is_refused"),
    14: Case("several slices at one position", "test_multivolume",
             "test_each_slice_goes_to_its_volume_and_back_to_its_place test_a_slice_too_few_is_refused "
             "test_volumes_that_nothing_tells_apart_are_refused"),
    15: Case("uneven spacing, overlap", "test_slice_sorting",
             "test_identity_keeps_pixels_and_places test_stacks_without_a_run_are_refused "
             "test_overlapping_slices_are_taken_and_remarked_on"),
    16: Case("positions off by 0.02 mm", "test_series_reader", "test_small_irregularities_are_accepted"),
    17: Case("gantry tilt", "test_slice_sorting",
             "test_tilt_is_logged_and_stays_in_the_affine test_identity_keeps_pixels_and_places"),
    18: Case("one slice turned", "test_series_reader", "test_broken_slice_is_refused_with_file_tag_and_series"),
    19: Case("directions that are none, or off by 1e-6", "test_series_reader",
             "test_broken_slice_is_refused_with_file_tag_and_series test_small_irregularities_are_accepted"),
    20: Case("position absent, empty, of two values", "test_series_reader",
             "test_broken_slice_is_refused_with_file_tag_and_series"),
    21: Case("PixelSpacing absent, text, NaN, zero, another one", "test_series_reader",
             "test_broken_slice_is_refused_with_file_tag_and_series test_broken_bytes_are_refused"),
    22: Case("pixels that are not square", "test_series_reader",
             "test_row_and_column_spacing_are_not_swapped test_volume_and_affine_agree_with_highdicom"),
    23: Case("slices of other sizes", "test_series_reader", "test_broken_slice_is_refused_with_file_tag_and_series"),
    24: Case("impossible pixel attributes", "", "test_case_24_impossible_pixel_attributes_are_refused"),
    25: Case("MONOCHROME1", "test_series_reader",
             "test_monochrome1_is_not_inverted .test_case_25_monochrome1_stays_so"),
    26: Case("slope zero, empty, absent; slope or intercept of each slice", "test_series_reader",
             "test_broken_slice_is_refused_with_file_tag_and_series test_mr_without_rescale_holds_stored_values "
             "test_blank_first_slice_does_not_truncate_fractions .test_case_26_each_slice_has_its_own_intercept"),
    27: Case("modality table", "test_series_reader", "test_broken_slice_is_refused_with_file_tag_and_series"),
    28: Case("PET, a slope for each slice, brighter neighbors", "test_pet",
             "test_each_slice_is_read_by_its_own_slope test_values_of_brighter_neighbors_get_a_new_slope"),
    29: Case("PET in counts, not corrected for decay", "test_pet", "test_counts_and_decay_are_warned_of_once"),
    30: Case("compressed", "test_pixel_codecs",
             "test_lossless_series_is_read_and_written_bit_for_bit test_loss_is_never_denied"),
    31: Case("a codec without decoder", "test_pixel_codecs",
             "test_every_decoder_is_installed test_lossy_jpeg_of_12_bits_is_refused_by_its_header "
             "test_a_missing_decoder_is_named_with_what_to_install"),
    32: Case("unknown transfer syntax", "test_series_reader", "test_broken_bytes_are_refused"),
    33: Case("localizer", "test_rules", "test_default_rules_take_acquired_volumes_only"),
    34: Case("captures, reports, segmentations", "", "test_case_34_objects_that_are_no_images_are_left_alone"),
    35: Case("MOSAIC, VFRAME", "test_image_kinds",
             "test_image_type_names_what_is_no_volume test_private_signs_of_phase_and_mosaic"),
    36: Case("derived maps, own output", "test_dicom_job",
             "test_the_output_of_a_run_is_left_alone_by_the_next "
             "test_image_kinds.test_image_type_names_what_is_no_volume "
             "test_rules.test_what_is_never_a_volume_is_left_alone_even_by_wide_rules"),
    37: Case("enhanced: groups or pixels of other frames", "test_functional_groups",
             "test_a_broken_image_is_refused_in_one_line test_phase_frames_beside_magnitude_are_refused"),
    38: Case("enhanced: several volumes", "test_functional_groups", "test_frames_of_several_volumes_are_split"),
    39: Case("overlay in unused bits", "test_series_reader", "test_overlay_bits_in_pixels_are_stripped_and_not_copied"),
    40: Case("padding", "test_series_writer",
             "test_padding_stays_and_no_processed_pixel_reads_as_padding .test_case_40_padding_teaches_nothing"),
    41: Case("values beyond the stored range", "test_series_writer",
             "test_values_beyond_the_stored_range_are_clipped_and_counted "
             "test_a_thousandth_of_the_voxels_may_be_clipped_without_a_warning"),
    42: Case("NaN or one value only from the method", "test_series_writer",
             "test_values_that_are_not_finite_are_refused .test_case_42_a_volume_of_one_value_is_written"),
    43: Case("a slice of zeros", "", "test_case_43_a_slice_of_zeros_is_kept_and_harms_no_other"),
    44: Case("one slice, two slices", "test_series_reader",
             "test_one_slice_and_no_slice_are_refused test_two_slices_are_a_volume"),
    45: Case("names in any character set", "test_derive", "test_bytes_of_a_name_stay_whatever_the_character_set"),
    46: Case("long descriptions, extreme numbers", "test_derive",
             "test_series_description_fits_64_characters test_series_number_is_free_and_within_its_range"),
    47: Case("big endian, implicit VR", "test_series_reader",
             "test_other_uncompressed_syntaxes_read_and_write_the_same"),
    48: Case("junk dates, missing UIDs", "test_derive",
             "test_junk_dates_are_copied .test_case_48_a_slice_without_uid_is_refused"),
    49: Case("private attributes, overlays, icon, signatures", "test_derive",
             "test_stale_and_private_attributes_go_on_all_levels test_overlay_with_its_own_data_stays"),
    50: Case("output there, not writable, full; killed midway", "test_series_writer",
             "test_interrupted_write_leaves_nothing test_full_disk_leaves_nothing "
             "test_output_folder_that_is_a_file_is_refused test_output_folder_without_permission_is_refused "
             "test_series_lies_in_a_folder_of_its_uid "
             "test_unfinished.test_folder_of_a_killed_process_is_removed_and_that_of_a_living_one_stays"),
    51: Case("very many slices, not enough memory", "test_series_reader",
             "test_volume_that_does_not_fit_into_memory_is_refused_before_it_is_read "
             ".test_case_51_very_many_slices_come_in_order"),
    52: Case("words of ImageType that mean something by their place", "test_image_kinds",
             "test_acquired_images_may_be_a_volume test_image_type_names_what_is_no_volume"),
    53: Case("MR with negative values: a field map beside its magnitude, an offset", "test_magnitudes",
             "test_a_field_map_beside_its_magnitude_is_refused test_unsigned_values_around_zero_are_signed_ones "
             "test_a_magnitude_with_an_offset_is_taken "
             "test_some_values_that_interpolation_left_below_zero_are_taken "
             "test_result.test_what_was_not_done_to_a_part_is_not_reported_for_it"),
    54: Case("no frame of reference, in all slices or in some", "test_series_reader",
             "test_a_series_without_frame_of_reference_is_taken_with_a_warning "
             "test_broken_slice_is_refused_with_file_tag_and_series "
             "test_companions.test_a_source_without_frame_of_reference_gets_a_report_and_no_map"),
    55: Case("b-values and directions in private attributes only", "test_diffusion",
             "test_private_values_become_the_standard_ones test_volumes_are_split_by_them "
             "test_a_direction_of_ge_whose_signs_are_not_known_stays_as_it_is "
             "test_numbers_of_ge_in_other_scans_are_no_b_values"),
    56: Case("private attributes that must stay, and others by the same number", "test_private_attributes",
             "test_in_a_derived_series_they_stay_on_their_level_only test_what_holds_something_else_goes "
             "test_pet.test_factors_of_counts_are_kept"),
    57: Case("packed files", "test_scan",
             "test_packed_files_are_named_with_what_to_do test_packed_files_that_hold_no_slices_are_no_dicom"),
}  # fmt: skip


def test_the_table_is_complete():
    assert list(CASES) == list(range(1, 58))


@pytest.mark.parametrize("number", CASES)
def test_each_case_is_held_by_a_test_that_is_there(number):
    case = CASES[number]
    for name in case.tests.split():
        module, dot, test = name.rpartition(".")
        assert test in functions_of(module if dot else case.module), name


def test_each_case_below_is_in_the_table():
    below = {name for name in functions_of("") if name.startswith("test_case_")}
    assert below == {
        name.removeprefix(".")
        for case in CASES.values()
        for name in case.tests.split()
        if name.startswith(".") or not case.module
    }


@cache
def functions_of(module):
    """Names of the functions of a module of ``tests/nsn2n``, or of this one."""
    (file,) = HERE.parents[1].rglob(f"{module}.py") if module else [HERE]
    return {node.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)}


def never(_stack, **_keywords):
    """No method: what is refused must be refused before it."""
    raise AssertionError("denoised")


def noise(depth):
    """So many slices of noise of 20 HU."""
    return np.rint(np.random.default_rng(depth).normal(40, 20, (depth, 24, 20)))


def refusal_of(files):
    with pytest.raises(DicomError) as caught:
        read_series(files)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_case_02_files_that_are_no_dicom_are_counted_and_named(tmp_path):
    (tmp_path / "a.txt").write_text("notes")
    (tmp_path / "b.dcm").touch()
    (tmp_path / "c.bin").write_bytes(os.urandom(3000))
    with pytest.raises(DicomError, match=r"3 entries, none a DICOM image \(a\.txt: .*; b\.dcm: .*; c\.bin: ") as caught:
        denoise_folder(tmp_path, tmp_path / "out", denoise=never)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_case_03_what_is_no_image_is_reported_in_one_line(make_series, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    folder = make_series(noise(4))[0].parent
    for name in ("notes.txt", ".DS_Store"):
        (folder / name).write_text("no image")
    (outcome,) = denoise_folder(folder, tmp_path / "out", denoise=partial(denoise, config=BRIEF, device="cpu"))
    assert len(outcome.written.files) == 4
    (line,) = [message for message in caplog.messages if "notes.txt" in message]
    assert "2 entries of" in line
    assert ".DS_Store: not DICOM" in line


def test_case_04_nothing_but_a_broken_link(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "slice.dcm").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DicomError, match=r"1 entries, none a DICOM image \(slice\.dcm: broken link\)"):
        scan_folder(tmp_path / "in")


@pytest.mark.parametrize("length", [200, 700])
def test_case_06_a_cut_header_fails_its_series(make_series, tmp_path, length):
    """Whether its series is known or not: the others are not written without it."""
    files = make_series(noise(5))
    files[2].write_bytes(files[2].read_bytes()[:length])
    try:
        (outcome,) = denoise_folder(files[0].parent, tmp_path / "out", denoise=never)
        message = str(outcome.error)
    except DicomError as error:
        message = str(error)
    assert str(files[2]) in message
    assert "\n" not in message
    assert not (tmp_path / "out").exists()


def test_case_08_two_series_are_kept_apart(make_series, tmp_path):
    """Files of both in one folder; with strength 0 each new series holds the pixels of its source."""
    sources = [make_series(noise(depth), series_number=depth) for depth in (3, 4)]
    unchanged = partial(denoise, config=BRIEF, strength=0, device="cpu")
    outcomes = denoise_folder(sources[0][0].parent, tmp_path / "out", denoise=unchanged)
    for files, outcome in zip(sources, outcomes, strict=True):
        assert [pydicom.dcmread(file).PixelData for file in outcome.written.files] == [
            pydicom.dcmread(file).PixelData for file in files
        ]
        assert outcome.written.SeriesNumber == 1000 + len(files)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("keyword", "value", "tag"),
    [
        ("Rows", 0, "(0028,0010)"),
        ("Columns", 0, "(0028,0011)"),
        ("BitsStored", 17, "(0028,0101)"),
        ("BitsStored", 0, "(0028,0101)"),
        ("HighBit", 15, "(0028,0102)"),
        ("BitsAllocated", 12, "(0028,0100)"),
        ("PixelRepresentation", 2, "(0028,0103)"),
        ("SamplesPerPixel", 3, "(0028,0002)"),
        ("PhotometricInterpretation", "PALETTE COLOR", "(0028,0004)"),
        ("PhotometricInterpretation", "RGB", "(0028,0004)"),
    ],
)
def test_case_24_impossible_pixel_attributes_are_refused(make_series, edit_file, keyword, value, tag):
    files = make_series()
    for file in files:
        edit_file(file, lambda dataset: setattr(dataset, keyword, value))
    message = refusal_of(files)
    assert message.startswith(f"{keyword} {tag} must be")
    assert f"got {value}" in message
    assert "series 2.25." in message
    assert "S0001_I0001.dcm" in message


def test_case_25_monochrome1_stays_so(make_series, noise_dhw, tmp_path, derivation):
    series = read_series(make_series(noise_dhw, overrides={"PhotometricInterpretation": "MONOCHROME1"}))
    written = write_series(series.stack.values + 1, series.files, tmp_path / "out", derivation)
    assert {pydicom.dcmread(file).PhotometricInterpretation for file in written.files} == {"MONOCHROME1"}
    np.testing.assert_array_equal(read_series(written.files, allow_own_output=True).stack.values, noise_dhw + 1)


def test_case_26_each_slice_has_its_own_intercept(make_series, noise_dhw, tmp_path, derivation):
    intercepts = {"RescaleIntercept": lambda index: str(-1024 - 10 * index)}
    files = make_series(noise_dhw, overrides=intercepts)
    series = read_series(files)
    np.testing.assert_array_equal(series.stack.values, noise_dhw)
    written = write_series(series.stack.values + 1, series.files, tmp_path / "out", derivation)
    derived = read_series(written.files, allow_own_output=True)
    np.testing.assert_array_equal(derived.stack.values, noise_dhw + 1)


@pytest.mark.parametrize(
    "sop_class",
    [
        "1.2.840.10008.5.1.4.1.1.7",  # secondary capture
        "1.2.840.10008.5.1.4.1.1.88.67",  # X-ray radiation dose report
        "1.2.840.10008.5.1.4.1.1.88.22",  # structured report
        "1.2.840.10008.5.1.4.1.1.11.1",  # presentation state
        "1.2.840.10008.5.1.4.1.1.481.3",  # RT structure set
        "1.2.840.10008.5.1.4.1.1.66.4",  # segmentation
    ],
)
def test_case_34_objects_that_are_no_images_are_left_alone(make_series, tmp_path, sop_class):
    make_series(series_number=1)
    make_series(series_number=2, overrides={"SOPClassUID": sop_class})
    selection = select_series(scan_folder(tmp_path / "in"), default_rules())
    assert [record.SeriesNumber for _, record in selection.selected] == [1]
    ((record, reason),) = selection.left_alone
    assert record.SeriesNumber == 2
    assert "which is no CT, MR or PET image" in reason
    for file in (tmp_path / "in").glob("S0001*"):
        file.unlink()
    with pytest.raises(DicomError, match=r"at least one series of .* must be suitable for denoising; none of 1 is"):
        denoise_folder(tmp_path / "in", tmp_path / "out", denoise=never)


def test_case_40_padding_teaches_nothing(make_series, tmp_path):
    """Whatever value marks it, the pixels beside it become the same, and it stays."""
    run = partial(denoise, config=BRIEF, device="cpu")
    derived = []
    for name, stored in (("low", 24), ("high", 4000)):
        volume_dhw = noise(5)
        volume_dhw[:, :3] = volume_dhw[2, :, 15:] = stored - 1024
        files = make_series(volume_dhw, folder=name, overrides={"PixelPaddingValue": stored})
        (outcome,) = denoise_folder(files[0].parent, tmp_path / "out" / name, denoise=run)
        derived.append(read_series(outcome.written.files, allow_own_output=True))
        assert (~derived[-1].stack.mask).sum() == 5 * 3 * 20 + 21 * 5
    real = derived[0].stack.mask
    np.testing.assert_array_equal(derived[1].stack.mask, real)
    np.testing.assert_array_equal(derived[0].stack.values[real], derived[1].stack.values[real])
    assert (derived[0].stack.values[real] != noise(5)[real]).any()


def test_case_42_a_volume_of_one_value_is_written(make_series, noise_dhw, tmp_path, derivation):
    series = read_series(make_series(noise_dhw))
    written = write_series(np.full_like(series.stack.values, 7), series.files, tmp_path / "out", derivation)
    np.testing.assert_array_equal(read_series(written.files, allow_own_output=True).stack.values, 7)


def test_case_43_a_slice_of_zeros_is_kept_and_harms_no_other(make_series, tmp_path, caplog):
    volume_dhw = noise(6)
    volume_dhw[0] = volume_dhw[3] = -1024  # stored zeros
    files = make_series(volume_dhw)
    with np.errstate(divide="raise", invalid="raise"):
        (outcome,) = denoise_folder(
            files[0].parent, tmp_path / "out", denoise=partial(denoise, config=BRIEF, device="cpu")
        )
    change = read_series(outcome.written.files, allow_own_output=True).stack.values - volume_dhw
    assert np.abs(change[[0, 3]]).max() <= 1
    # Of the others noise is taken, of sd 20, and no part of the zeros comes in.
    others = change[[1, 2, 4, 5]]
    assert others.any()
    assert np.abs(others.mean(axis=(1, 2))).max() < 1
    assert np.abs(others).max() < 100


def test_case_48_a_slice_without_uid_is_refused(make_series, edit_file):
    files = make_series()
    edit_file(files[2], lambda dataset: setattr(dataset, "SOPInstanceUID", ""))
    assert refusal_of(files).startswith("SOPInstanceUID (0008,0018) must have a value; got none")


def test_case_51_very_many_slices_come_in_order(make_series, tmp_path, derivation):
    volume_dhw = np.arange(1001 * 4).reshape(1001, 2, 2) % 4000 - 1000.0
    files = make_series(volume_dhw)
    (record,) = scan_folder(files[0].parent).series
    series = read_series(record.files[::-1])
    np.testing.assert_array_equal(series.stack.values, volume_dhw)
    assert list(series.files) == files
    written = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    assert [file.name for file in written.files[::999]] == ["IM0001.dcm", "IM1000.dcm"]
    assert pydicom.dcmread(written.files[-1]).PixelData == pydicom.dcmread(files[-1]).PixelData
