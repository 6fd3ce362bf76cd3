# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What is read of good, odd and broken series, and of those that the MONAI Deploy SDK gets wrong."""

from __future__ import annotations

import copy
import shutil

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

from nsn2n.dicom.read.series_reader import read_series
from nsn2n.dicom.read.slice_sorting import inspect_series
from nsn2n.dicom.selection.scan import scan_folder
from nsn2n.dicom.write.series_writer import write_series
from nsn2n.errors import DicomError


def delete(keyword):
    return lambda dataset: delattr(dataset, keyword)


def assign(keyword, value):
    return lambda dataset: setattr(dataset, keyword, value)


# --- what is read -------------------------------------------------------------------------------------------


def test_volume_holds_the_values_in_slice_order_whatever_the_file_order(make_series, noise_dhw):
    files = make_series(spacing_mm=(2.0, 0.4, 0.8), origin_mm=(1.0, 2.0, 3.0))
    series = read_series([files[index] for index in (3, 0, 4, 2, 1)])
    np.testing.assert_array_equal(series.stack.values, noise_dhw)
    assert series.stack.values.dtype == np.float32
    assert series.files == tuple(files)
    assert series.geometry.shape_dhw == (5, 6, 8)
    assert series.geometry.parts[0].spacing_mm == (2.0, 0.4, 0.8)
    assert series.geometry.parts[0].position_mm == (1.0, 2.0, 3.0)
    assert series.stack.mask is None
    assert (series.stack.modality, series.SeriesInstanceUID) == ("CT", series.headers[0].SeriesInstanceUID)
    assert series.stack.spacings_mm == series.geometry.spacings_mm == ((2.0, 0.4, 0.8),)
    assert (series.stack.parts, series.stack.shears_px) == ((5,), ((0.0, 0.0),))


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1)])
def test_volume_and_affine_agree_with_highdicom(make_series, orientation):
    files = make_series(orientation=orientation, spacing_mm=(2.5, 0.4, 0.8), origin_mm=(-12.5, 3.25, 700.0))
    series = read_series(files)
    oracle = highdicom.get_volume_from_series([pydicom.dcmread(file) for file in files])
    oracle_ijk = (
        oracle.array if oracle.affine[:3, 0] @ series.geometry.parts[0].slice_step_mm > 0 else oracle.array[::-1]
    )
    np.testing.assert_array_equal(series.stack.values, oracle_ijk)
    # highdicom's index order is (slice, row, column).
    spacing = np.linalg.norm(oracle.affine[:3, :3], axis=0)
    np.testing.assert_allclose(series.geometry.parts[0].spacing_mm, spacing)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("bits", [8, 16])
def test_other_uncompressed_syntaxes_read_and_write_the_same(
    make_series, tmp_path, derivation, noise_dhw, syntax, bits
):
    overrides = {"PixelPaddingValue": 3, "BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1}
    plain = make_series(np.abs(noise_dhw) % 200, modality="MR", overrides=overrides)
    expected = read_series(plain)
    other = [tmp_path / f"{index}.dcm" for index in range(len(plain))]
    for source, target in zip(plain, other, strict=True):
        dataset = pydicom.dcmread(source)
        rebuilt = Dataset()
        rebuilt.file_meta = dataset.file_meta
        rebuilt.update({element.tag: element for element in dataset})
        rebuilt.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian and bits == 16:
            rebuilt.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
        rebuilt.save_as(target, enforce_file_format=True)
    series = read_series(other)
    np.testing.assert_array_equal(series.stack.values, expected.stack.values)
    written = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    for source, target in zip(plain, written.files, strict=True):
        assert pydicom.dcmread(target).PixelData == pydicom.dcmread(source).PixelData
        assert pydicom.dcmread(target).PixelPaddingValue == 3
        assert pydicom.dcmread(target).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


@pytest.mark.parametrize(
    ("overrides", "stored"),
    [
        ({"PixelRepresentation": 1, "PixelPaddingValue": -2000}, -2000),
        ({"PixelRepresentation": 1, "PixelPaddingValue": -2000, "PixelPaddingRangeLimit": -1995}, -1997),
        ({"PixelPaddingValue": 0}, 0),
    ],
)
def test_padding_is_recognized_by_a_mask_and_keeps_its_value(make_series, noise_dhw, overrides, stored):
    noise_dhw[2, :3] = stored
    noise_dhw[noise_dhw == 0] = stored
    overrides = {"BitsStored": 16, "HighBit": 15, "RescaleIntercept": "0", **overrides}
    if not overrides.get("PixelRepresentation"):
        noise_dhw = np.abs(noise_dhw)
    series = read_series(make_series(noise_dhw, overrides=overrides))
    np.testing.assert_array_equal(~series.stack.mask, noise_dhw == stored)
    np.testing.assert_array_equal(series.stack.values, noise_dhw)


def test_padding_value_written_with_the_other_sign_is_understood(make_series, noise_dhw, patch_bytes):
    noise_dhw[0, 0] = -2000
    overrides = {"BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1, "RescaleIntercept": "0",
                 "PixelPaddingValue": -2000}  # fmt: skip
    files = make_series(noise_dhw, overrides=overrides)
    for file in files:  # VR SS becomes US: 63536 instead of -2000, as GE scanners write it
        patch_bytes(file, b"\x28\x00\x20\x01SS", b"\x28\x00\x20\x01US")
    assert pydicom.dcmread(files[0]).PixelPaddingValue == 63536
    np.testing.assert_array_equal(~read_series(files).stack.mask, noise_dhw == -2000)


def test_overlay_bits_in_pixels_are_stripped_and_not_copied(
    make_series, tmp_path, derivation, noise_dhw, edit_file, caplog
):
    files = make_series()

    def embed(dataset):
        stored = np.frombuffer(dataset.PixelData, "<u2") | np.uint16(1 << 12)
        dataset.PixelData = stored.tobytes()
        dataset.add_new((0x6000, 0x0010), "US", 6)
        dataset.add_new((0x6000, 0x0011), "US", 8)
        dataset.add_new((0x6000, 0x0100), "US", 16)
        dataset.add_new((0x6000, 0x0102), "US", 12)

    for file in files:
        edit_file(file, embed)
    series = read_series(files)
    np.testing.assert_array_equal(series.stack.values, noise_dhw)
    assert "5 slices hold an overlay in unused bits" in caplog.text
    written = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    derived = pydicom.dcmread(written.files[0])
    assert np.frombuffer(derived.PixelData, "<u2").max() < 4096
    assert (0x6000, 0x0102) not in derived


# --- odd input that is taken --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "change"),
    [
        (1, lambda d: setattr(d, "ImagePositionPatient", [0, 0, 1.02])),
        (1, lambda d: setattr(d, "ImageOrientationPatient", [1, 1e-6, 0, 0, 1, 0])),
        (2, lambda d: setattr(d, "PixelData", d.PixelData + bytes(40))),
        (2, lambda d: setattr(d, "PixelSpacing", ["1.00000001", "1"])),
        (3, lambda d: d.add_new((0x0009, 0x0010), "LO", "SOME MAKER")),
    ],
    ids=["position jitter", "orientation jitter", "bytes after pixels", "rounded spacing", "private tag"],
)
def test_small_irregularities_are_accepted(make_series, noise_dhw, edit_file, index, change):
    files = make_series()
    edit_file(files[index], change)
    np.testing.assert_array_equal(read_series(files).stack.values, noise_dhw)


def test_copy_of_a_file_is_used_once(make_series, noise_dhw, caplog):
    files = make_series()
    twin = files[2].with_name("copy.dcm")
    shutil.copy(files[2], twin)
    series = read_series([*files, twin])
    np.testing.assert_array_equal(series.stack.values, noise_dhw)
    assert "is a copy of" in caplog.text


def test_two_slices_are_a_volume(make_series, noise_dhw):
    np.testing.assert_array_equal(read_series(make_series(noise_dhw[:2])).stack.values, noise_dhw[:2])


def test_slice_of_zeros_is_kept(make_series, noise_dhw):
    noise_dhw[0] = noise_dhw[3] = 0
    np.testing.assert_array_equal(read_series(make_series(noise_dhw)).stack.values, noise_dhw)


def test_mr_without_rescale_holds_stored_values(make_series, noise_dhw):
    series = read_series(make_series(np.abs(noise_dhw), modality="MR"))
    assert "RescaleSlope" not in series.headers[0]
    np.testing.assert_array_equal(series.stack.values, np.abs(noise_dhw))


def test_monochrome1_is_not_inverted(make_series, noise_dhw):
    files = make_series(overrides={"PhotometricInterpretation": "MONOCHROME1"})
    np.testing.assert_array_equal(read_series(files).stack.values, noise_dhw)


def test_junk_dates_and_names_do_not_matter(make_series, noise_dhw, patch_bytes):
    files = make_series(overrides={"StudyDate": "20260102"})
    for file in files:
        patch_bytes(file, b"20260102", b"********")
        patch_bytes(file, b"NSN2N^PHANTOM", "M\u00fcller^Vornam".encode("latin-1"))
    np.testing.assert_array_equal(read_series(files).stack.values, noise_dhw)


# --- input that is refused ----------------------------------------------------------------------------------

REFUSED = {
    "no position": (delete("ImagePositionPatient"), r"ImagePositionPatient \(0020,0032\) must hold 3 finite"),
    "empty position": (assign("ImagePositionPatient", None), r"must hold 3 finite numbers; got no value"),
    "short position": (assign("ImagePositionPatient", [1, 2]), r"must hold 3 finite numbers; got 1\.?0?\\2"),
    "no orientation": (
        delete("ImageOrientationPatient"),
        r"ImageOrientationPatient \(0020,0037\) must hold 6",
    ),
    "zero orientation": (assign("ImageOrientationPatient", [0] * 6), r"\(0020,0037\).* perpendicular unit"),
    "long orientation": (
        assign("ImageOrientationPatient", [2, 0, 0, 0, 1, 0]),
        r"two perpendicular unit vectors",
    ),
    "other orientation": (
        assign("ImageOrientationPatient", [0.99897, 0.04536, 0, -0.04536, 0.99897, 0]),
        r"more than one orientation \(up to 2\.6 degrees apart\)",
    ),
    "no spacing": (
        delete("PixelSpacing"),
        r"PixelSpacing \(0028,0030\) must hold 2 .*; got no such attribute",
    ),
    "zero spacing": (
        assign("PixelSpacing", [0, 1]),
        r"PixelSpacing \(0028,0030\) must be two distances from 1e-05 to 10000 mm; got 0",
    ),
    "other spacing": (
        assign("PixelSpacing", [1, 1.1]),
        r"\(0028,0030\) must .* \(1 x 1\.1 mm and 1 x 1 mm\)",
    ),
    "Rows": (
        lambda d: (assign("Rows", 3)(d), assign("PixelData", d.PixelData[:48])(d)),
        r"Rows .*; got 3 here, 6",
    ),
    "HighBit": (assign("HighBit", 15), r"HighBit \(0028,0102\) must be BitsStored - 1 = 11; got 15"),
    "BitsStored": (assign("BitsStored", 4), r"BitsStored \(0028,0101\) must be in 8\.\.16; got 4"),
    "BitsAllocated": (assign("BitsAllocated", 32), r"BitsAllocated \(0028,0100\) must be 8 or 16; got 32"),
    "signedness": (
        assign("PixelRepresentation", 1),
        r"PixelRepresentation \(0028,0103\) must be the same in all",
    ),
    "color": (assign("SamplesPerPixel", 3), r"SamplesPerPixel \(0028,0002\) must be 1 \(no color\); got 3"),
    "RGB": (assign("PhotometricInterpretation", "RGB"), r"\(0028,0004\) must be grayscale; got RGB"),
    "slope 0": (assign("RescaleSlope", 0), r"RescaleSlope \(0028,1053\) must not be 0"),
    "empty slope": (assign("RescaleSlope", None), r"RescaleSlope \(0028,1053\) must hold 1 .*; got no value"),
    "no slope": (delete("RescaleSlope"), r"RescaleSlope \(0028,1053\) .*; got no such attribute"),
    "modality LUT": (
        assign("ModalityLUTSequence", Sequence([Dataset()])),
        r"ModalityLUTSequence \(0028,3000\) must be absent",
    ),
    "frames": (assign("NumberOfFrames", 2), r"NumberOfFrames \(0028,0008\) must be absent or 1; got 2"),
    "no instance UID": (
        delete("SOPInstanceUID"),
        r"SOPInstanceUID \(0008,0018\) must have a value; got none",
    ),
    "no frame of reference in one slice": (
        delete("FrameOfReferenceUID"),
        r"FrameOfReferenceUID \(0020,0052\) must be the same in all slices of a series; got none here, 2\.25\.",
    ),
    "other frame of reference": (
        assign("FrameOfReferenceUID", "1.2.3"),
        r"\(0020,0052\) must be the same in all",
    ),
    "other study": (assign("StudyInstanceUID", "1.2.3"), r"StudyInstanceUID \(0020,000D\) must be the same"),
    "other patient": (
        assign("PatientID", "SECRET"),
        r"PatientID \(0010,0020\) must be the same .* two patients",
    ),
    "localizer": (assign("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]), r"has LOCALIZER: a localizer"),
    "phase": (assign("ImageType", ["ORIGINAL", "PRIMARY", "P", "ND"]), r"has P: a phase image"),
    "legacy PET": (
        assign("SOPClassUID", "1.2.840.10008.5.1.4.1.1.128.1"),
        r"got Legacy Converted Enhanced PET .* not supported",
    ),
    "color MR": (assign("SOPClassUID", "1.2.840.10008.5.1.4.1.1.4.3"), r"got Enhanced MR Color .* not supported"),
    "enhanced without frames": (
        assign("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2.1"),
        r"NumberOfFrames \(0028,0008\) must hold 1",
    ),
    "SC": (
        assign("SOPClassUID", "1.2.840.10008.5.1.4.1.1.7"),
        r"Secondary Capture .* no CT, MR or PET image",
    ),
    "short pixels": (lambda d: setattr(d, "PixelData", d.PixelData[:90]), r"must hold 96 bytes .*; got 90 "),
    "no pixels": (
        delete("PixelData"),
        r"PixelData \(7FE0,0010\) must hold 96 bytes for 6 x 8 pixels; got 0 ",
    ),
    "two frames of pixels": (
        lambda d: setattr(d, "PixelData", d.PixelData * 3),
        r"must hold 96 bytes .*; got 288",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_broken_slice_is_refused_with_file_tag_and_series(make_series, edit_file, name):
    change, message = REFUSED[name]
    files = make_series()
    uid = pydicom.dcmread(files[0]).SeriesInstanceUID
    edit_file(files[3], change)
    with pytest.raises(DicomError, match=message) as caught:
        read_series(files)
    text = str(caught.value)
    assert "\n" not in text
    assert str(files[3]) in text
    assert uid in text
    assert "SECRET" not in text
    assert "PHANTOM" not in text


@pytest.mark.parametrize("uid", [None, ""])
@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
def test_a_series_without_frame_of_reference_is_taken_with_a_warning(
    make_series, tmp_path, derivation, dciodvfy_messages, caplog, modality, uid
):
    """Some de-identification removes it. Nothing is put in its place: it would tie the series to others, or part it."""
    files = make_series(modality=modality, overrides={"FrameOfReferenceUID": uid, "StudyTime": ""})
    series = read_series(files)
    (warning,) = series.warnings
    assert warning.startswith("FrameOfReferenceUID (0020,0052) is missing in all slices: ")
    assert warning in caplog.text
    written = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    for source, target in zip(map(pydicom.dcmread, files), map(pydicom.dcmread, written.files), strict=True):
        assert target.get("FrameOfReferenceUID") == source.get("FrameOfReferenceUID")
        assert target.PixelData == source.PixelData
    added = dciodvfy_messages(written.files) - dciodvfy_messages(files)
    assert not [line for line in added if line.startswith("Error")]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            b"0.500\\0.500 ",
            b"abc         ",
            r"PixelSpacing \(0028,0030\) must hold 2 finite numbers; got abc",
        ),
        (
            b"0.500\\0.500 ",
            b"nan\\nan     ",
            r"PixelSpacing \(0028,0030\) must hold 2 finite numbers; got nan",
        ),
        (
            b"1.2.840.10008.1.2.1\0",
            b"1.2.840.10008.9.9.9\0",
            r"\(0002,0010\) must be one that can be decoded; got .*9\.9\.9",
        ),
    ],
    ids=["text", "NaN", "unknown transfer syntax"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_broken_bytes_are_refused(make_series, patch_bytes, old, new, message):
    files = make_series(overrides={"PixelSpacing": ["0.500", "0.500"]})
    patch_bytes(files[1], old, new)
    with pytest.raises(DicomError, match=message) as caught:
        read_series(files)
    assert str(files[1]) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("modality", "said"), [("US", "US"), ("OT", "OT"), ("", "no value")])
def test_a_modality_that_cannot_be_denoised_is_refused(make_series, modality, said):
    """Of a CT image class, so that nothing but the attribute tells."""
    files = make_series(overrides={"Modality": modality})
    message = rf"Modality \(0008,0060\) must be one of CT, MR, PT; got {said}.* series 2\.25\."
    with pytest.raises(DicomError, match=message) as caught:
        read_series(files)
    assert str(files[0]) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", [400, 700, 1000])
def test_cut_file_is_refused(make_series, length):
    files = make_series()
    files[2].write_bytes(files[2].read_bytes()[:length])
    with pytest.raises(DicomError, match="S0001_I0003"):
        read_series(files)


def test_one_slice_and_no_slice_are_refused(make_series, noise_dhw):
    with pytest.raises(DicomError, match=r"a single slice \(1 slice\).*Choose a series of at least 2 slices"):
        read_series(make_series(noise_dhw[:1]))
    with pytest.raises(DicomError, match="must have files; got none"):
        read_series([])


def test_same_uid_with_other_content_is_refused(make_series, edit_file):
    files = make_series()
    twin = files[2].with_name("twin.dcm")
    shutil.copy(files[2], twin)
    edit_file(twin, lambda d: setattr(d, "PixelData", bytes(96)))
    with pytest.raises(DicomError, match=r"SOPInstanceUID \(0008,0018\) must be different in each file"):
        read_series([*files, twin])


def test_second_slice_at_a_position_is_refused_not_dropped(make_series, edit_file):
    files = make_series()
    twin = files[2].with_name("twin.dcm")
    shutil.copy(files[2], twin)
    edit_file(twin, lambda d: setattr(d, "SOPInstanceUID", generate_uid()))
    with pytest.raises(DicomError, match=r"6 slices at 5 positions, 1 at one and 2 at another"):
        read_series([*files, twin])


def test_volume_that_does_not_fit_into_memory_is_refused_before_it_is_read(make_series, monkeypatch):
    files = make_series()
    monkeypatch.setattr("nsn2n.runtime.memory.available_bytes", lambda: 100 << 20)
    with pytest.raises(
        DicomError, match=r"must fit into memory; \(5, 6, 8\) voxels need 0\.\d GiB, 0\.1 GiB are"
    ) as caught:
        inspect_series(files)
    assert "\n" not in str(caught.value)
    monkeypatch.setattr("nsn2n.runtime.memory.available_bytes", lambda: 1 << 30)
    assert inspect_series(files).shape_dhw == (5, 6, 8)


def test_an_enhanced_image_needs_memory_even_if_its_volume_is_kept_in_files(make_series, make_enhanced, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "nsn2n.dicom.read.slice_sorting.find_room",
        lambda *_, of_slice, beside_files: asked.append((of_slice, beside_files)),
    )
    inspect_series(make_series())
    inspect_series([make_enhanced()])
    assert asked == [(6 * 8, 0), (6 * 8, 8 * 5 * 6 * 8)]


def test_inspection_finds_the_geometry_that_reading_finds(make_series):
    files = make_series()
    assert inspect_series(files) == read_series(files).geometry


# --- what the MONAI Deploy SDK gets wrong without an error --------------------------------------------------


def test_first_slice_does_not_decide_the_type_of_the_others(make_series, noise_dhw):
    noise_dhw[0] = np.abs(noise_dhw[0]) + 1  # the SDK: all positive, so uint16, and -900 wraps to 64636
    np.testing.assert_array_equal(read_series(make_series(noise_dhw)).stack.values, noise_dhw)


def test_blank_first_slice_does_not_truncate_fractions(make_series):
    stored = np.random.default_rng(3).integers(0, 4000, (4, 5, 6)).astype(float)
    stored[0] = 0  # the SDK: whole numbers, so int16
    slopes = [0.37, 0.4, 0.43, 0.46]
    volume_dhw = stored * np.array(slopes)[:, None, None]
    files = make_series(
        volume_dhw,
        modality="MR",
        overrides={"RescaleSlope": lambda i: str(slopes[i]), "RescaleIntercept": "0"},
    )
    np.testing.assert_allclose(read_series(files).stack.values, volume_dhw, rtol=1e-6)


def test_row_and_column_spacing_are_not_swapped(make_series):
    affine = read_series(make_series(spacing_mm=(1.0, 0.4, 0.8))).geometry.parts[0].affine_lps
    np.testing.assert_allclose(np.diag(affine), [0.8, 0.4, 1.0, 1.0])  # column index steps 0.8 mm


def test_real_series_agrees_with_highdicom(ct_phantom_folder):
    (record,) = scan_folder(ct_phantom_folder / "S2010").series
    series = read_series(record.files)
    oracle = highdicom.get_volume_from_series([pydicom.dcmread(file) for file in record.files])
    step = 1 if oracle.affine[2, 0] > 0 else -1
    np.testing.assert_array_equal(series.stack.values, oracle.array[::step])
    assert series.geometry.parts[0].spacing_mm == pytest.approx(oracle.spacing)
    assert copy.copy(series.geometry) == inspect_series(record.files)
