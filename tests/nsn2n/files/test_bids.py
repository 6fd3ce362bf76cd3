# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import PurePosixPath

import pytest

from nsn2n.errors import VolumeError
from nsn2n.files.bids import BidsFile


@pytest.fixture
def dataset(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset_description.json").write_text("{}")
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("path", "derivative"),
    [
        ("sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_desc-denoised_T1w.nii.gz"),
        ("sub-x/ses-2/pet/sub-x_ses-2_trc-FDG_pet.nii", "sub-x/ses-2/pet/sub-x_ses-2_trc-FDG_desc-denoised_pet.nii"),
        ("sub-01/func/sub-01_task-a_part-mag_bold.nii", "sub-01/func/sub-01_task-a_part-mag_desc-denoised_bold.nii"),
        ("sub-01/anat/sub-01_desc-preproc_T2w.nii.gz", "sub-01/anat/sub-01_desc-preprocDenoised_T2w.nii.gz"),
    ],
)
def test_names_of_derivatives(dataset, path, derivative):
    file = BidsFile.of(dataset / path)

    assert (file.dataset, file.path) == (dataset, PurePosixPath(path))
    assert file.derivative("denoised") == PurePosixPath(derivative)


@pytest.mark.parametrize(
    "name",
    ["t1.nii.gz", "sub-01_T1w.mgz", "sub-01_T1w.nii.gz.bak", "sub-01.nii", "sub-01_run_T1w.nii", "sub-01_T1-w.nii",
     "ses-1_sub-01_T1w.nii", "sub-01_run-1_run-2_T1w.nii", "sub-_T1w.nii", "sub-01_desc-a.b_T1w.nii"],
)  # fmt: skip
def test_names_that_are_not_of_bids_are_refused(dataset, name):
    with pytest.raises(VolumeError, match="with --bids the input must have a BIDS name") as caught:
        BidsFile.of(dataset / "sub-01" / "anat" / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("folder", ["sub-02/anat", "anat", "sub-01", "sub-01/ses-1/anat", "."])
def test_a_folder_that_does_not_fit_the_name_is_refused(dataset, folder):
    with pytest.raises(VolumeError, match=r"in the folder that its name requires, sub-01/DATATYPE/sub-01_T1w\.nii"):
        BidsFile.of(dataset / folder / "sub-01_T1w.nii")


def test_an_image_outside_of_a_dataset_is_refused(tmp_path):
    with pytest.raises(VolumeError, match=r"must be in a BIDS dataset; .* has no dataset_description\.json"):
        BidsFile.of(tmp_path / "sub-01" / "anat" / "sub-01_T1w.nii")


@pytest.mark.parametrize(
    "end", ["part-phase_bold", "part-real_bold", "phasediff", "fieldmap", "desc-brain_mask", "dseg"]
)
def test_what_is_no_magnitude_is_refused(dataset, end):
    with pytest.raises(VolumeError, match="must hold intensities or magnitudes; by its name"):
        BidsFile.of(dataset / "sub-01" / "func" / f"sub-01_{end}.nii")


def test_the_link_of_an_annexed_file_is_the_file(dataset):
    content = dataset / ".git" / "annex" / "objects" / "MD5E-s1.nii.gz"
    content.parent.mkdir(parents=True)
    content.write_bytes(b"x")
    link = dataset / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    link.parent.mkdir(parents=True)
    link.symlink_to(content)

    assert BidsFile.of(link).dataset == dataset


def test_fields_are_inherited_from_above(dataset):
    fields = {
        "T1w.json": {"a": 1, "b": 1, "c": 1, "d": 1},
        "T2w.json": {"wrong": 1},
        "acq-x_T1w.json": {"b": 2},
        "acq-y_T1w.json": {"wrong": 1},
        "sub-01/sub-01_T1w.json": {"c": 3},
        "sub-01/anat/sub-01_acq-x_T1w.json": {"d": 4},
        "sub-01/anat/sub-01_acq-x_run-1_T1w.json": {"wrong": 1},
    }
    for name, content in fields.items():
        (dataset / name).parent.mkdir(parents=True, exist_ok=True)
        (dataset / name).write_text(json.dumps(content))

    image = BidsFile.of(dataset / "sub-01" / "anat" / "sub-01_acq-x_T1w.nii.gz")

    assert image.metadata() == {"a": 1, "b": 2, "c": 3, "d": 4}


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"\xff", "UnicodeDecodeError"), (b"{", "JSONDecodeError"), (b"[" * 99999, "RecursionError")],
)
def test_fields_that_cannot_be_read(dataset, content, reason):
    (dataset / "T1w.json").write_bytes(content)
    with pytest.raises(VolumeError, match=f"T1w.json must be a readable JSON file; got {reason}"):
        BidsFile.of(dataset / "sub-01" / "anat" / "sub-01_T1w.nii").metadata()
