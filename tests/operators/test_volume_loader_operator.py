# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A selected series becomes one volume with right geometry, or is refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pydicom
import pytest
import SimpleITK

from nsn2n.errors import DicomError
from nsn2n.jobs.dicom_job import choose_series
from nsn2n.jobs.options import JobOptions
from nsn2n.operators import DICOMSeriesSelectionOperator, NSN2NDenoiseOperator, VolumeLoaderOperator
from nsn2n.operators.dicom_series_selection_operator import study_selected_series
from nsn2n.operators.nsn2n_denoise_operator import denoise_image
from nsn2n.operators.volume_loader_operator import load_image
from nsn2n.synthetic.dicom_series import write_synthetic_series

# isort: split
# After the operators, which make Holoscan importable.
from monai.deploy.conditions import CountCondition
from monai.deploy.core import Fragment
from monai.deploy.operators.dicom_data_loader_operator import DICOMDataLoaderOperator
from monai.deploy.operators.dicom_series_selector_operator import DICOMSeriesSelectorOperator

pytestmark = pytest.mark.filterwarnings("ignore:The 'warn' function is deprecated:DeprecationWarning")  # SDK

RULES = '{"selections": [{"name": "second", "conditions": {"SeriesNumber": 2}}]}'


def _from_sdk(folder, *, rules=None, all_matched=False):
    """The message of the SDK's selector that follows the SDK's loader."""
    studies = DICOMDataLoaderOperator(Fragment()).load_data_to_studies(folder)
    return DICOMSeriesSelectorOperator(Fragment()).filter(rules, studies, all_matched)


def _from_us(folder):
    selection = choose_series(folder)
    return [study_selected_series(selection.selected[0], selection)]


@pytest.mark.parametrize("message", [_from_sdk, _from_us])
def test_values_and_geometry_agree_with_simpleitk(study, volumes, message):
    image = load_image(message(study / "b"))

    oracle = SimpleITK.ReadImage(sorted(str(path) for path in (study / "b").iterdir()))
    assert image.asnumpy().dtype == np.float32
    np.testing.assert_array_equal(image.asnumpy(), SimpleITK.GetArrayFromImage(oracle))
    np.testing.assert_array_equal(image.asnumpy(), volumes[2])
    metadata = image.metadata()
    spacing_xyz = [metadata[f"{axis}_pixel_spacing"] for axis in ("col", "row", "depth")]
    np.testing.assert_allclose(spacing_xyz, oracle.GetSpacing(), rtol=1e-12)
    # Center of an arbitrary voxel, in the patient coordinate system; RAS against LPS.
    index_xyz = (7, 5, 3)
    lps = oracle.TransformIndexToPhysicalPoint(index_xyz)
    np.testing.assert_allclose((metadata["dicom_affine_transform"] @ (*index_xyz, 1))[:3], lps, rtol=1e-12)
    np.testing.assert_allclose((metadata["affine"] @ (*index_xyz, 1))[:3], np.multiply(lps, (-1, -1, 1)), rtol=1e-12)
    assert metadata["space"] == "RAS"
    assert len(metadata["source_files"]) == len(image.asnumpy())


def test_series_numbers_in_use_travel_with_the_image(study):
    selection = choose_series(study)

    ours = load_image([study_selected_series(selection.selected[0], selection)])
    theirs = load_image(_from_sdk(study, rules=json.loads(RULES)))

    for image in (ours, theirs):
        assert image.metadata()["series_numbers_in_study"] == [1, 2, 3, 4, 5]


def test_padding_is_marked(tmp_path):
    volume = np.full((3, 8, 8), 50.0)
    volume[:, :2] = -1000
    padded = {"PixelPaddingValue": 24}  # -1000 HU less the intercept of -1024 HU
    write_synthetic_series(volume, tmp_path, overrides=padded)

    image = load_image(_from_us(tmp_path))

    stack = image.metadata()["slice_stack"]
    np.testing.assert_array_equal(~stack.mask, volume == -1000)
    assert stack.values is image.asnumpy()


def test_without_padding_there_is_no_mask(study):
    assert load_image(_from_us(study / "b")).metadata()["slice_stack"].mask is None


def test_a_series_with_a_gap_comes_in_parts_unless_that_is_refused(study, tmp_path, small_fit):
    folder = shutil.copytree(study / "b", tmp_path / "series")
    sorted(folder.iterdir())[3].unlink()

    image = load_image(_from_us(folder))

    stack = image.metadata()["slice_stack"]
    assert stack.parts == (3, 1)
    assert stack.spacings_mm == ((1.5, 0.75, 0.5), (3.0, 0.75, 0.5))
    denoised = denoise_image(image, JobOptions(preset="fast", config=small_fit))
    np.testing.assert_array_equal(denoised.asnumpy()[3], image.asnumpy()[3])
    assert "2 parts, each fitted alone (1 slices without neighbor unchanged)" in denoised.metadata()["nsn2n"]["summary"]
    with pytest.raises(DicomError, match="missing slices"):
        load_image(_from_us(folder), refuse_gaps=True)


def test_slices_that_the_sdk_drops_are_missed(tmp_path):
    """The SDK's loader keeps one of two slices at one position: here two acquisitions of the same slices."""
    twice = {
        "AcquisitionNumber": lambda index: 1 + index // 3,
        "ImagePositionPatient": lambda index: [0, 0, index % 3],
    }
    write_synthetic_series(np.zeros((6, 8, 8)), tmp_path, overrides=twice)
    message = _from_sdk(tmp_path)
    assert len(message[0].selected_series[0].series.get_sop_instances()) == 3

    with pytest.raises(DicomError, match=r"must come with all its slices; 3 of 6 were dropped") as caught:
        load_image(message)

    assert "\n" not in str(caught.value)


def test_a_copy_of_a_file_is_no_missing_slice(study, tmp_path):
    folder = shutil.copytree(study / "b", tmp_path / "series")
    path = sorted(folder.iterdir())[0]
    shutil.copy(path, folder / "copy.dcm")

    assert load_image(_from_sdk(folder)).asnumpy().shape == (5, 24, 20)


def test_files_read_from_memory_are_refused(study):
    message = _from_sdk(study / "b")
    for sop in message[0].selected_series[0].series.get_sop_instances():
        sop.get_native_sop_instance().filename = None

    with pytest.raises(DicomError, match="must have the name of its file"):
        load_image(message)


@pytest.mark.parametrize("all_matched", [True, False])
def test_several_series_or_none_in_a_message_are_refused(study, all_matched):
    condition = "^CT$" if all_matched else "^PT$"
    rules = {"selections": [{"name": "all", "conditions": {"Modality": condition}}]}

    with pytest.raises(DicomError, match=f"must hold one series; got {4 if all_matched else 0}"):
        load_image(_from_sdk(study, rules=rules, all_matched=all_matched))


def test_graph_of_sdk_operators_and_ours(study, volumes, small_fit, run_graph, collect):
    sinks = {}

    def build(app):
        reader = DICOMDataLoaderOperator(app, CountCondition(app, 1), input_folder=study, name="reader")
        selector = DICOMSeriesSelectorOperator(app, rules=RULES, name="selector")
        loader = VolumeLoaderOperator(app, name="loader")
        denoiser = NSN2NDenoiseOperator(app, preset="fast", config=small_fit, name="denoiser")
        sinks.update(noisy=collect(app, name="noisy"), denoised=collect(app, name="denoised"))
        app.add_flow(reader, selector, {("dicom_study_list", "dicom_study_list")})
        app.add_flow(selector, loader, {("study_selected_series_list", VolumeLoaderOperator.INPUT_SERIES)})
        app.add_flow(loader, denoiser, {(VolumeLoaderOperator.OUTPUT_IMAGE, "image")})
        app.add_flow(loader, sinks["noisy"], {(VolumeLoaderOperator.OUTPUT_IMAGE, "message")})
        app.add_flow(denoiser, sinks["denoised"], {("image", "message")})

    run_graph(build)

    (noisy,), (denoised,) = sinks["noisy"].received, sinks["denoised"].received
    np.testing.assert_array_equal(noisy.asnumpy(), volumes[2])
    assert denoised.asnumpy().dtype == np.float32
    assert denoised.asnumpy().shape == volumes[2].shape
    # Still this volume, in HU and in the same orientation: the tissue stands out by 940 HU.
    assert np.corrcoef(denoised.asnumpy().ravel(), volumes[2].ravel())[0, 1] > 0.99
    np.testing.assert_array_equal(denoised.metadata()["affine"], noisy.metadata()["affine"])
    assert noisy.metadata()["selection_name"] == "second"


def test_refused_series_is_handed_on_and_the_next_one_comes(study, run_graph, collect):
    failures, sinks = [], []

    def build(app):
        selection = DICOMSeriesSelectionOperator(app, input_folder=study, name="selection")
        loader = VolumeLoaderOperator(
            app, on_error=lambda label, error: failures.append((label, str(error))), name="loader"
        )
        sinks.append(collect(app, name="sink"))
        app.add_flow(selection, loader, {(DICOMSeriesSelectionOperator.OUTPUT_SERIES,) * 2})
        app.add_flow(loader, sinks[0], {(VolumeLoaderOperator.OUTPUT_IMAGE, "message")})

    run_graph(build)

    assert [image.metadata()["SeriesNumber"] for image in sinks[0].received] == [2, 3]
    ((label, message),) = failures
    assert label.startswith('CT series 5 "Synthetic phantom" (2.25.')
    assert "missing slices" in message


def test_a_memory_limit_applies_while_a_series_is_read(study, run_graph, collect):
    failures = []

    def build(app):
        selection = DICOMSeriesSelectionOperator(app, input_folder=study, name="selection")
        loader = VolumeLoaderOperator(
            app, memory="50M", on_error=lambda label, error: failures.append(str(error)), name="loader"
        )
        app.add_flow(selection, loader, {(DICOMSeriesSelectionOperator.OUTPUT_SERIES,) * 2})
        app.add_flow(loader, collect(app, name="sink"), {(VolumeLoaderOperator.OUTPUT_IMAGE, "message")})

    run_graph(build)

    assert len(failures) == 3
    assert sum("even if volumes are kept in files" in failure for failure in failures) == 2  # one has missing slices


def test_without_a_handler_the_refusal_ends_the_graph(study, run_graph, collect):
    uid = pydicom.dcmread(next((study / "e").iterdir()), stop_before_pixels=True).SeriesInstanceUID

    def build(app):
        selection = DICOMSeriesSelectionOperator(app, input_folder=study, series_uids=[uid], name="selection")
        loader = VolumeLoaderOperator(app, name="loader")
        app.add_flow(selection, loader, {(DICOMSeriesSelectionOperator.OUTPUT_SERIES,) * 2})
        app.add_flow(loader, collect(app, name="sink"), {(VolumeLoaderOperator.OUTPUT_IMAGE, "message")})

    with pytest.raises(DicomError, match="missing slices"):
        run_graph(build)
