# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The written series against its source, validators, other readers and a DICOM node."""

from __future__ import annotations

import socket
import subprocess
import time
from collections import Counter

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.dataset import Dataset
from pydicom.pixels import apply_voi_lut, apply_windowing
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

import nsn2n.dicom.write.series_writer as writer_module
from nsn2n.dicom.read.series_reader import read_series
from nsn2n.dicom.selection.scan import scan_folder
from nsn2n.dicom.write.series_writer import WriteOptions, write_series
from nsn2n.errors import DicomError, VolumeError


def errors_of(messages: Counter[str]) -> Counter[str]:
    return Counter({line: count for line, count in messages.items() if line.startswith("Error")})


# --- the identity -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1},
        {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7},
        {"RescaleSlope": "0.37", "RescaleIntercept": "-3.1"},
        {"RescaleSlope": lambda index: f"{0.37 + index / 10:.2f}", "RescaleIntercept": "0"},
        {"PhotometricInterpretation": "MONOCHROME1"},
    ],
    ids=["plain", "signed", "8 bits", "slope", "slope per slice", "MONOCHROME1"],
)
def test_unchanged_volume_keeps_every_stored_bit(make_series, tmp_path, derivation, noise_dhw, modality, overrides):
    volume = np.abs(noise_dhw) if modality == "MR" else noise_dhw  # magnitudes
    files = make_series(volume[:, :5, :7], modality=modality, overrides=overrides)  # odd number of pixels
    series = read_series(files)
    written = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    for source, target in zip(series.files, written.files, strict=True):
        assert pydicom.dcmread(target).PixelData == pydicom.dcmread(source).PixelData
    assert (written.clipped_voxels, written.voxels_moved_off_padding) == (0, 0)


def test_an_acquired_perfusion_series_is_written_and_known_as_derived(make_series, tmp_path, derivation, noise_dhw):
    """DERIVED beside PERFUSION marks a map, but not in what this program wrote."""
    perfusion = {"ImageType": ["ORIGINAL", "PRIMARY", "PERFUSION", "NONE"]}
    series = read_series(make_series(np.abs(noise_dhw), modality="MR", overrides=perfusion))
    written = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    target = pydicom.dcmread(written.files[0])
    assert list(target.ImageType) == ["DERIVED", "PRIMARY", "PERFUSION", "NONE"]
    with pytest.raises(DicomError, match="this one was written by nsn2n"):
        read_series(written.files)


def test_changed_values_are_within_half_a_step(make_series, tmp_path, derivation):
    slope = 0.25
    files = make_series(overrides={"RescaleSlope": str(slope), "RescaleIntercept": "-1024", "BitsStored": 16,
                                   "HighBit": 15})  # fmt: skip
    series = read_series(files)
    wanted_dhw = series.stack.values + np.random.default_rng(1).normal(0, 20, series.stack.values.shape)
    written = write_series(wanted_dhw, series.files, tmp_path / "out", derivation)
    result_dhw = read_series(written.files, allow_own_output=True).stack.values
    inside = wanted_dhw >= -1024
    assert inside.any()
    assert np.abs(result_dhw - wanted_dhw)[inside].max() <= slope / 2 + 1e-3


# --- range and padding --------------------------------------------------------------------------------------


def test_values_beyond_the_stored_range_are_clipped_and_counted(make_series, tmp_path, derivation, caplog):
    series = read_series(make_series())
    changed_dhw = series.stack.values.copy()
    changed_dhw[0, 0, 0], changed_dhw[1, 2, 3], changed_dhw[4, 5, 7] = 5000.0, -2000.0, 3071.4
    written = write_series(changed_dhw, series.files, tmp_path / "out", derivation)
    result_dhw = read_series(written.files, allow_own_output=True).stack.values
    assert written.clipped_voxels == 2
    assert (result_dhw[0, 0, 0], result_dhw[1, 2, 3], result_dhw[4, 5, 7]) == (3071.0, -1024.0, 3071.0)
    assert "2 of 240 voxels (0.83 %) were clipped" in caplog.text


@pytest.mark.parametrize(("clipped", "warned"), [(2, False), (3, True)])
def test_a_thousandth_of_the_voxels_may_be_clipped_without_a_warning(
    make_series, tmp_path, derivation, caplog, clipped, warned
):
    """As where the noise of a full scale goes beyond it: of 2000 voxels two, and one more."""
    series = read_series(make_series(np.full((4, 25, 20), 3071.0)))
    changed_dhw = series.stack.values - 1
    changed_dhw.flat[7 : 7 + clipped] = 3080.0
    written = write_series(changed_dhw, series.files, tmp_path / "out", derivation)
    assert written.clipped_voxels == clipped
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert any("were clipped to the range of BitsStored" in message for message in warnings) is warned


def test_padding_stays_and_no_processed_pixel_reads_as_padding(make_series, tmp_path, derivation, noise_dhw):
    noise_dhw[:, :2] = -1024.0  # stored 0
    files = make_series(noise_dhw, overrides={"PixelPaddingValue": 0})
    series = read_series(files)
    assert series.stack.mask is not None
    np.testing.assert_array_equal(~series.stack.mask, noise_dhw == -1024)
    changed_dhw = np.full_like(series.stack.values, -1024.0)
    changed_dhw[:, 0] = 77.0
    written = write_series(changed_dhw, series.files, tmp_path / "out", derivation)
    result = read_series(written.files, allow_own_output=True)
    np.testing.assert_array_equal(~result.stack.mask, ~series.stack.mask)
    np.testing.assert_array_equal(result.stack.values[series.stack.mask], -1023.0)
    assert written.voxels_moved_off_padding == np.count_nonzero(series.stack.mask)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(make_series, tmp_path, derivation, bad):
    series = read_series(make_series())
    broken_dhw = series.stack.values.copy()
    broken_dhw[3, 1, 1] = bad
    with pytest.raises(VolumeError, match="finite; got NaN or infinity in slice 3"):
        write_series(broken_dhw, series.files, tmp_path / "out", derivation)
    assert not (tmp_path / "out").exists()


# --- what does not fit --------------------------------------------------------------------------------------


def test_volume_of_another_shape_is_refused(make_series, tmp_path, derivation):
    series = read_series(make_series())
    with pytest.raises(VolumeError, match=r"got \(5, 8, 6\)"):
        write_series(series.stack.values.transpose(0, 2, 1), series.files, tmp_path / "out", derivation)
    with pytest.raises(VolumeError, match=r"= \(4, 6, 8\); got \(5, 6, 8\)"):
        write_series(series.stack.values, series.files[:4], tmp_path / "out", derivation)


def test_files_in_another_order_than_the_slices_are_refused(make_series, tmp_path, derivation):
    series = read_series(make_series())
    with pytest.raises(VolumeError, match="must come in slice order"):
        write_series(series.stack.values, series.files[::-1], tmp_path / "out", derivation)


def test_complex_volume_is_refused(make_series, tmp_path, derivation):
    series = read_series(make_series())
    with pytest.raises(VolumeError, match="real numbers; got complex128"):
        write_series(series.stack.values.astype(complex), series.files, tmp_path / "out", derivation)


# --- nothing is left behind ---------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_interrupted_write_leaves_nothing(make_series, tmp_path, derivation, monkeypatch, error):
    series = read_series(make_series())
    real, calls = writer_module.derive_dataset, []

    def stop_at_third(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise error
        return real(*arguments)

    monkeypatch.setattr(writer_module, "derive_dataset", stop_at_third)
    with pytest.raises(error):  # noqa: PT012
        write_series(series.stack.values, series.files, tmp_path / "out", derivation)
        pytest.fail("not interrupted")
    assert list((tmp_path / "out").iterdir()) == []


def test_full_disk_leaves_nothing(make_series, tmp_path, derivation):
    """A limit on the size of files makes the system refuse to write, as a full disk does."""
    resource = pytest.importorskip("resource", reason="file size limits are a Unix thing")
    signal = pytest.importorskip("signal")
    series = read_series(make_series(np.zeros((3, 64, 64))))
    previous = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, previous[1]))
        with pytest.raises(DicomError, match="must be writable and have free space; got File too large"):
            write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, previous)
        signal.signal(signal.SIGXFSZ, handler)
    assert list((tmp_path / "out").iterdir()) == []


def test_output_folder_that_is_a_file_is_refused(make_series, tmp_path, derivation):
    series = read_series(make_series())
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(DicomError, match="output folder must be writable and have free space; got File exists"):
        write_series(series.stack.values, series.files, tmp_path / "out", derivation)


def test_output_folder_without_permission_is_refused(make_series, tmp_path, derivation, bound_by_permissions):
    series = read_series(make_series())
    (tmp_path / "out").mkdir(mode=0o500)
    with bound_by_permissions(), pytest.raises(DicomError, match="Permission denied"):
        write_series(series.stack.values, series.files, tmp_path / "out", derivation)


# --- what is written ----------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
def test_broken_patient_attributes_are_copied_without_a_word(make_series, tmp_path, derivation, caplog):
    files = make_series(overrides={"PatientBirthDate": "19700102", "PatientID": "SECRET"})
    for file in files:
        file.write_bytes(file.read_bytes().replace(b"19700102", b"SECRET**"))
    series = read_series(files)
    written = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    assert b"SECRET**" in written.files[0].read_bytes()
    assert "SECRET" not in caplog.text


def test_series_lies_in_a_folder_of_its_uid(make_series, tmp_path, derivation):
    series = read_series(make_series())
    first = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    second = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    assert first.folder == tmp_path / "out" / first.SeriesInstanceUID
    assert [file.name for file in first.files] == [f"IM{number:04d}.dcm" for number in range(1, 6)]
    assert sorted((tmp_path / "out").iterdir()) == sorted([first.folder, second.folder])
    assert len({pydicom.dcmread(file).SOPInstanceUID for file in (*first.files, *second.files)}) == 10


def test_taken_series_number_is_stepped_over(make_series, tmp_path, derivation):
    series = read_series(make_series(series_number=4))
    options = WriteOptions(taken_series_numbers=frozenset({1004, 1005}))
    written = write_series(series.stack.values, series.files, tmp_path / "out", derivation, options=options)
    assert written.SeriesNumber == 1006
    assert {record.SeriesNumber for record in scan_folder(tmp_path / "out").series} == {1006}


def test_own_output_is_not_denoised_again_unless_allowed(make_series, tmp_path, derivation):
    series = read_series(make_series())
    once = write_series(series.stack.values, series.files, tmp_path / "once", derivation)
    with pytest.raises(DicomError, match="must not be denoised already; this one was written by nsn2n"):
        write_series(series.stack.values, once.files, tmp_path / "twice", derivation)
    twice = write_series(
        series.stack.values,
        once.files,
        tmp_path / "twice",
        derivation,
        options=WriteOptions(allow_own_output=True),
    )
    assert twice.SeriesNumber == 2001


@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
def test_validators_have_nothing_new_to_say(
    make_series, tmp_path, derivation, dciodvfy_messages, find_program, modality
):
    series = read_series(make_series(modality=modality))
    written = write_series(series.stack.values + 1, series.files, tmp_path / "out", derivation)
    before, after = dciodvfy_messages(series.files), dciodvfy_messages(written.files)
    assert not errors_of(before)
    assert not after - before
    entities = subprocess.run(
        [find_program("dcentvfy"), *map(str, (*series.files, *written.files))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (entities.returncode, entities.stdout, entities.stderr) == (0, "", "")


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("signed", [False, True])
def test_windows_and_tables_show_the_new_series_as_they_did_the_source(
    make_series, edit_file, tmp_path, derivation, dciodvfy_messages, syntax, signed
):
    """They take values of the modality, which a new series has in the same unit."""
    table = Dataset()
    table.add_new("LUTDescriptor", "SS" if signed else "US", [256, -100 if signed else 100, 16])
    table.LUTExplanation = "brain"
    table.add_new("LUTData", "US", [value**2 for value in range(256)])

    def add(dataset):
        dataset.WindowCenter, dataset.WindowWidth = [40, 300], [400, 1500]
        dataset.WindowCenterWidthExplanation = ["BRAIN", "BONE"]
        dataset.VOILUTSequence = Sequence([table, table])
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset["PixelData"].VR = "OW"

    files = make_series(overrides={"PixelRepresentation": int(signed), "BitsStored": 16, "HighBit": 15})
    for file in files:
        edit_file(file, add)
    series = read_series(files)
    written = write_series(series.stack.values + 1, series.files, tmp_path / "out", derivation)

    source, derived = pydicom.dcmread(files[0]), pydicom.dcmread(written.files[0])
    assert (derived.WindowCenter, derived.WindowWidth) == ([40, 300], [400, 1500])
    values_hw = np.arange(-300, 300).reshape(20, 30)
    for index in (0, 1):
        shown, before = (apply_voi_lut(values_hw, dataset, index=index) for dataset in (derived, source))
        np.testing.assert_array_equal(shown, before)
        assert np.ptp(shown) > 0
        shown, before = (apply_windowing(values_hw, dataset, index=index) for dataset in (derived, source))
        np.testing.assert_array_equal(shown, before)
    new = errors_of(dciodvfy_messages(written.files)) - errors_of(dciodvfy_messages(files))
    assert new == Counter()


@pytest.mark.parametrize("name", ["S2020", "S2030"])
def test_real_series_gets_no_new_validator_message(ct_phantom_folder, tmp_path, derivation, dciodvfy_messages, name):
    (record,) = scan_folder(ct_phantom_folder / name).series
    series = read_series(record.files[1:7])
    written = write_series(series.stack.values, series.files, tmp_path, derivation)
    for source, target in zip(series.files, written.files, strict=True):
        assert pydicom.dcmread(target).PixelData == pydicom.dcmread(source).PixelData
    before, after = dciodvfy_messages(series.files[:3]), dciodvfy_messages(written.files[:3])
    assert not errors_of(before)
    assert not after - before


@pytest.mark.parametrize(
    "orientation",
    [(1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (0.6, 0.8, 0, 0, 0, -1)],
    ids=["ax", "sag", "obl"],
)
def test_simpleitk_opens_the_derived_series_with_the_geometry_of_the_source(
    make_series, tmp_path, derivation, orientation
):
    files = make_series(orientation=orientation, spacing_mm=(2.5, 0.4, 0.8), origin_mm=(-12.5, 3.25, 700.0))
    series = read_series(files)
    written = write_series(series.stack.values + 3, series.files, tmp_path / "out", derivation)
    image = SimpleITK.ReadImage([str(file) for file in written.files])
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), series.stack.values + 3)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    np.testing.assert_allclose(
        direction * np.array(image.GetSpacing()), series.geometry.parts[0].affine_lps[:3, :3], atol=1e-6
    )
    np.testing.assert_allclose(image.GetOrigin(), (-12.5, 3.25, 700.0), atol=1e-9)


def test_a_dicom_node_takes_the_derived_series(make_series, tmp_path, derivation, find_program):
    series = read_series(make_series())
    written = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    received = tmp_path / "received"
    received.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    with subprocess.Popen([find_program("storescp"), "-od", str(received), port]) as node:
        try:
            send = [find_program("storescu"), "127.0.0.1", port, *map(str, written.files)]
            for _attempt in range(50):  # until the node listens
                result = subprocess.run(send, capture_output=True, text=True, check=False)
                if result.returncode == 0:
                    break
                time.sleep(0.1)
        finally:
            node.terminate()
    assert result.returncode == 0, result.stderr
    arrived = sorted((pydicom.dcmread(path) for path in received.iterdir()), key=lambda d: d.InstanceNumber)
    assert [dataset.PixelData for dataset in arrived] == [pydicom.dcmread(f).PixelData for f in series.files]
    assert {dataset.SeriesInstanceUID for dataset in arrived} == {written.SeriesInstanceUID}
