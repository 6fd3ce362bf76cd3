# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Series are chosen from headers and sent one by one, in the SDK's form."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from nsn2n.errors import DicomError
from nsn2n.jobs.dicom_job import choose_series
from nsn2n.operators import DICOMSeriesSelectionOperator
from nsn2n.operators.dicom_series_selection_operator import study_selected_series
from nsn2n.synthetic.dicom_series import write_synthetic_series

# isort: split
# After the operators, which make Holoscan importable.
from monai.deploy.conditions import CountCondition
from monai.deploy.core import Fragment
from monai.deploy.operators.dicom_data_loader_operator import DICOMDataLoaderOperator
from monai.deploy.operators.dicom_series_to_volume_operator import DICOMSeriesToVolumeOperator

SELECTION_PORT = DICOMSeriesSelectionOperator.OUTPUT_SERIES


def test_message_describes_the_series_as_the_sdk_loader_does(study):
    selection = choose_series(study)
    (ours,) = [s for s in selection.selected if s.record.SeriesNumber == 2]
    message = study_selected_series(ours, selection)
    (theirs,) = DICOMDataLoaderOperator(Fragment()).load_data_to_studies(study / "b")
    (their_series,) = theirs.get_all_series()

    (selected,) = message.selected_series

    assert selected.selection_name == "CT volume"
    for keyword in ("StudyInstanceUID", "StudyID", "StudyDate", "StudyTime", "StudyDescription"):
        assert getattr(message.study, keyword) == getattr(theirs, keyword)
    for keyword in (
        *("SeriesInstanceUID", "SeriesDate", "SeriesTime", "Modality", "SeriesDescription", "SeriesNumber"),
        *("PatientPosition", "row_pixel_spacing", "col_pixel_spacing", "row_direction_cosine"),
    ):
        assert getattr(selected.series, keyword) == getattr(their_series, keyword), keyword
    assert selected.series.BodyPartExamined == "HEAD"
    files = {Path(sop.get_native_sop_instance().filename) for sop in selected.series.get_sop_instances()}
    assert files == set((study / "b").iterdir()) == {Path(f) for f in selected.metadata()["source_files"]}
    assert selected.metadata()["series_numbers_in_study"] == [1, 2, 3, 4, 5]


def test_pixels_are_read_on_access_only(tmp_path):
    path = write_synthetic_series(np.zeros((2, 64, 64)), tmp_path)[0]
    selection = choose_series(tmp_path)
    (selected,) = study_selected_series(selection.selected[0], selection).selected_series
    (sop,) = [s for s in selected.series.get_sop_instances() if s["InstanceNumber"].value == 1]
    stamp = path.stat()

    # What is in the file at the time of the access counts.
    content = bytearray(path.read_bytes())
    content[-2:] = (7).to_bytes(2, "little")
    path.write_bytes(content)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))

    assert sop.get_pixel_array()[-1, -1] == 7


def test_sdk_volume_operator_follows_and_gets_one_series_at_a_time(study, volumes, run_graph, collect):
    uids = [s.record.SeriesInstanceUID for s in choose_series(study).selected][:2]
    sinks = []

    def build(app):
        selection = DICOMSeriesSelectionOperator(app, input_folder=study, series_uids=uids, name="selection")
        volume = DICOMSeriesToVolumeOperator(app, name="volume")
        sinks.append(collect(app, name="sink"))
        app.add_flow(selection, volume, {(SELECTION_PORT, "study_selected_series_list")})
        app.add_flow(volume, sinks[0], {("image", "message")})

    run_graph(build)

    images = sinks[0].received
    assert [image.metadata()["SeriesNumber"] for image in images] == [2, 3]
    for image, subfolder in zip(images, ("b", "c"), strict=True):
        np.testing.assert_array_equal(image.asnumpy(), volumes[image.metadata()["SeriesNumber"]])
        names = sorted(str(path) for path in (study / subfolder).iterdir())
        np.testing.assert_array_equal(image.asnumpy(), SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(names)))


def test_nothing_more_is_sent_once_it_should_not_continue(study, run_graph, collect, caplog):
    made = []

    def build(app):
        sink = collect(app, name="sink")
        selection = DICOMSeriesSelectionOperator(
            app, input_folder=study, should_continue=lambda: len(sink.received) < 2, name="selection"
        )
        made.extend((selection, sink))
        app.add_flow(selection, sink, {(SELECTION_PORT, "message")})

    run_graph(build)

    selection, sink = made
    assert [message.selected_series[0].series.SeriesNumber for (message,) in sink.received] == [2, 3]
    assert selection.untried == 1
    assert not caplog.records


def test_input_port_names_the_folder(study, run_graph, emit, collect):
    sinks = []

    def build(app):
        source = emit(app, messages=[str(study / "b")], name="source")
        selection = DICOMSeriesSelectionOperator(app, name="selection")
        sinks.append(collect(app, name="sink"))
        app.add_flow(source, selection, {("message", DICOMSeriesSelectionOperator.INPUT_FOLDER)})
        app.add_flow(selection, sinks[0], {(SELECTION_PORT, "message")})

    run_graph(build)

    ((message,),) = sinks[0].received
    assert [selected.series.SeriesNumber for selected in message.selected_series] == [2]


def test_series_that_a_count_condition_cuts_off_are_reported(study, run_graph, collect, caplog):
    def build(app):
        selection = DICOMSeriesSelectionOperator(app, CountCondition(app, 1), input_folder=study, name="selection")
        app.add_flow(selection, collect(app, name="sink"), {(SELECTION_PORT, "message")})

    run_graph(build)

    assert "before 2 of the selected series were sent" in caplog.text


def test_error_leaves_run_as_it_is(tmp_path, run_graph, collect):
    def build(app):
        selection = DICOMSeriesSelectionOperator(app, input_folder=tmp_path / "none", name="selection")
        app.add_flow(selection, collect(app, name="sink"), {(SELECTION_PORT, "message")})

    with pytest.raises(DicomError, match="does not exist"):
        run_graph(build)


def test_rules_are_those_that_were_given(study, run_graph, collect):
    sinks = []

    def build(app):
        rules = '{"selections": [{"name": "third", "conditions": {"SeriesNumber": 3}}]}'
        selection = DICOMSeriesSelectionOperator(app, input_folder=study, rules=rules, name="selection")
        sinks.append(collect(app, name="sink"))
        app.add_flow(selection, sinks[0], {(SELECTION_PORT, "message")})

    run_graph(build)

    ((message,),) = sinks[0].received
    assert [(one.selection_name, one.series.SeriesNumber) for one in message.selected_series] == [("third", 3)]


def test_neither_argument_nor_port_names_a_folder(run_graph, collect):
    def build(app):
        selection = DICOMSeriesSelectionOperator(app, name="selection")
        app.add_flow(selection, collect(app, name="sink"), {(SELECTION_PORT, "message")})

    with pytest.raises(DicomError, match="needs a folder; got none"):
        run_graph(build)
