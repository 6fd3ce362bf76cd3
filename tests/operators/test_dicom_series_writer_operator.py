# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""An image becomes a series derived from the files that it names."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest

from nsn2n.dicom.read.series_reader import read_series
from nsn2n.errors import DicomError, VolumeError
from nsn2n.jobs.dicom_job import choose_series
from nsn2n.jobs.options import JobOptions
from nsn2n.operators import DICOMSeriesSelectionOperator, DICOMSeriesWriterOperator, VolumeLoaderOperator
from nsn2n.operators.dicom_series_selection_operator import study_selected_series
from nsn2n.operators.dicom_series_writer_operator import write_image
from nsn2n.operators.volume_loader_operator import load_image

# isort: split
# After the operators, which make Holoscan importable.
from monai.deploy.core import Image, Operator

RECORD = {"nsn2n": {"summary": "doubled, for a test"}}


@pytest.fixture
def images(study):
    """The two volumes of the study, ready to be written."""
    selection = choose_series(study)
    loaded = [load_image([study_selected_series(s, selection)]) for s in selection.selected[:2]]
    return [Image(image.asnumpy(), {**image.metadata(), **RECORD}) for image in loaded]


def test_written_series_holds_the_image_and_what_was_done(images, tmp_path):
    changed = images[0].asnumpy() + np.float32(5)

    written = write_image(Image(changed, images[0].metadata()), tmp_path / "out")

    np.testing.assert_array_equal(read_series(written.files, allow_own_output=True).stack.values, changed)
    dataset = pydicom.dcmread(written.files[0])
    assert dataset.DerivationDescription == "doubled, for a test"
    assert dataset.SeriesNumber == written.SeriesNumber == 1002
    assert dataset.SeriesDescription == "Synthetic phantom denoised"


def test_series_number_is_in_use_nowhere(images, tmp_path):
    options, numbers = JobOptions(series_number_offset=1), {8}

    # 2 + 1 is the other volume, 4 and 5 are there too; 6 is free, and then it is not.
    first = write_image(images[0], tmp_path / "first", options, series_numbers=numbers)
    second = write_image(images[1], tmp_path / "second", options, series_numbers=numbers)
    third = write_image(images[1], tmp_path / "third", options, series_numbers=numbers)

    assert (first.SeriesNumber, second.SeriesNumber, third.SeriesNumber) == (6, 7, 9)
    assert numbers == set(range(1, 10))


def test_removed_anatomy_is_not_written_unless_forced(images, tmp_path):
    metadata = images[0].metadata()
    structure = {"verdict": "fail", "excess": 9.0, "coherence": 2.0}
    image = Image(images[0].asnumpy(), {**metadata, "nsn2n": {**metadata["nsn2n"], "structure": structure}})

    with pytest.raises(VolumeError, match="structure check says fail"):
        write_image(image, tmp_path / "out")
    assert not (tmp_path / "out").exists()

    assert write_image(image, tmp_path / "out", JobOptions(force=True)).SeriesNumber == 1002


def test_numbers_of_what_lies_beside_a_series_are_in_use_too(images, tmp_path):
    numbers = set()

    written = write_image(images[0], tmp_path, JobOptions(parametric_map=True), series_numbers=numbers)

    there = sorted(pydicom.dcmread(next(folder.iterdir())).SeriesNumber for folder in tmp_path.glob("2.25.*"))
    assert there == [written.SeriesNumber, written.SeriesNumber + 1] == [1002, 1003]
    assert numbers == {1, 2, 3, 4, 5, 1002, 1003}


@pytest.mark.parametrize("key", ["source_files", "nsn2n"])
def test_image_that_does_not_say_enough_is_refused(images, tmp_path, key):
    metadata = {name: value for name, value in images[0].metadata().items() if name != key}

    with pytest.raises(DicomError, match=r"must have the metadata source_files and nsn2n"):
        write_image(Image(images[0].asnumpy(), metadata), tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_image_of_another_shape_is_refused(images, tmp_path):
    with pytest.raises(VolumeError, match="shape of its source series"):
        write_image(Image(images[0].asnumpy()[:, :-1], images[0].metadata()), tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_graph_writes_each_series_from_its_own_source(study, volumes, run_graph, collect, tmp_path):
    """A third operator of someone else, which adds 10, between loading and writing."""

    class AddTen(Operator):
        def setup(self, spec):
            spec.input("image")
            spec.output("image")

        def compute(self, op_input, op_output, context):
            image = op_input.receive("image")
            op_output.emit(Image(image.asnumpy() + np.float32(10), {**image.metadata(), **RECORD}), "image")

    operators = {}

    def build(app):
        selection = DICOMSeriesSelectionOperator(app, input_folder=study, name="selection")
        loader = VolumeLoaderOperator(app, on_error=lambda *_: None, name="loader")
        add_ten = AddTen(app, name="add_ten")
        writer = DICOMSeriesWriterOperator(
            app, output_folder=tmp_path / "out", options=JobOptions(series_number_offset=1), name="writer"
        )
        operators.update(writer=writer, sink=collect(app, name="sink"))
        app.add_flow(selection, loader, {(DICOMSeriesSelectionOperator.OUTPUT_SERIES,) * 2})
        app.add_flow(loader, add_ten, {("image", "image")})
        app.add_flow(add_ten, writer, {("image", "image")})
        app.add_flow(writer, operators["sink"], {(DICOMSeriesWriterOperator.OUTPUT_FOLDER, "message")})

    run_graph(build)

    written = operators["writer"].written
    assert operators["sink"].received == [series.folder for series in written]
    assert [series.SeriesNumber for series in written] == [6, 7]
    for series, number in zip(written, (2, 3), strict=True):
        read = read_series(series.files, allow_own_output=True)
        np.testing.assert_array_equal(read.stack.values, volumes[number] + 10)
        source = pydicom.dcmread(sorted((study / {2: "b", 3: "c"}[number]).iterdir())[0])
        reference = read.headers[0].SourceImageSequence[0]
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
