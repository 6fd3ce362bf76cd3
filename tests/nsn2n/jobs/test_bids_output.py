# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Derivatives in a BIDS dataset, judged by the BIDS validator, whose package brings the schema: it runs offline.

It finds no fault with the raw datasets either, so what it says of the derivatives is theirs.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from nsn2n import __version__, denoise
from nsn2n.errors import VolumeError
from nsn2n.jobs.bids_output import BidsOutput
from nsn2n.jobs.options import JobOptions
from nsn2n.jobs.volume_file_job import denoise_volume_file

BRIEF = {"fit": {"steps": 3, "crop_px": 16}, "network": {"channels": 4, "levels": 2}}
VALIDATOR = shutil.which("bids-validator-deno", path=str(Path(sys.executable).parent))

T1W, BOLD, DWI = (
    "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz",
    "sub-01/ses-a/func/sub-01_ses-a_task-rest_bold.nii.gz",
    "sub-01/ses-a/dwi/sub-01_ses-a_dwi.nii",
)


def run(stack, **more):
    return denoise(stack, config=BRIEF, device="cpu", **more)


def _write(file, content):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.fixture
def raw(tmp_path):
    """A dataset of one session: an image, a series over time with fields at two levels, and a diffusion series."""
    raw = tmp_path / "raw"
    _write(raw / "dataset_description.json", {"Name": "Wide study", "BIDSVersion": "1.8.0", "DatasetDOI": "doi:10.1/x"})
    _write(raw / "README", "Noise.")
    _write(raw / "participants.tsv", "participant_id\nsub-01\n")
    _write(raw / "task-rest_bold.json", {"TaskName": "rest", "RepetitionTime": 9.0})
    random = np.random.default_rng(4)
    for name, shape in ((T1W, (20, 22, 5)), (BOLD, (20, 22, 4, 3)), (DWI, (20, 22, 4, 2))):
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        image = nib.Nifti1Image(random.normal(300, 20, shape).astype(np.int16), np.diag([1.0, 1.0, 3.0, 1.0]))
        image.header.set_xyzt_units("mm", "sec")
        image.header["pixdim"][4] = 2.0
        nib.save(image, raw / name)
    _write(raw / BOLD.replace(".nii.gz", ".json"), {"RepetitionTime": 2.0, "B0FieldSource": "pepolar"})
    _write(raw / DWI.replace(".nii", ".bval"), "0 1000\n")
    _write(raw / DWI.replace(".nii", ".bvec"), "0 1\n0 0\n0 0\n")
    about = {"EchoTime": 0.003, "Manufacturer": "Ä", "IntendedFor": ["bids::x"], "SpatialReference": "bids::y"}
    _write(raw / T1W.replace(".nii.gz", ".json"), about)
    return raw


def _errors(dataset):
    """What the validator calls an error, as (code, file)."""
    if VALIDATOR is None:
        pytest.skip("the BIDS validator is not installed (PyPI: bids-validator-deno)")
    command = [VALIDATOR, "--format", "json", str(dataset)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    issues = json.loads(done.stdout)["issues"]["issues"]
    return {(one["code"], one.get("subCode"), one.get("location")) for one in issues if one["severity"] == "error"}


def test_a_dataset_of_derivatives_is_valid(raw):
    out = raw / "derivatives" / "nsn2n"
    options = JobOptions(bids=True, noise_map=True, residual=True)
    for name in (T1W, BOLD, DWI):
        denoise_volume_file(raw / name, out, options, denoise=run)

    assert sorted(path.name for path in (out / "sub-01" / "ses-a" / "anat").iterdir()) == [
        f"sub-01_ses-a_desc-{label}_T1w.{end}"
        for label in ("denoised", "noise", "residual")
        for end in ("json", "nii.gz")
    ]
    # By its name it holds for all three images.
    assert (out / DWI.replace(".nii", ".bval")).read_text() == "0 1000\n"
    assert nib.load(out / "sub-01/ses-a/func/sub-01_ses-a_task-rest_desc-denoised_bold.nii.gz").shape == (20, 22, 4, 3)
    assert _errors(raw) == set()
    assert _errors(out) == set()


def test_the_validator_would_see_what_is_wrong(raw):
    """The same datasets with a field or a label less."""
    out = raw / "derivatives" / "nsn2n"
    target = denoise_volume_file(raw / BOLD, out, JobOptions(bids=True), denoise=run)
    sidecar = target.with_name(target.name.replace(".nii.gz", ".json"))
    _write(sidecar, {name: value for name, value in _json(sidecar).items() if name != "SkullStripped"})

    assert {code for code, *_ in _errors(out)} == {"SIDECAR_KEY_REQUIRED"}


def _json(file):
    return json.loads(file.read_text("utf-8"))


def test_what_is_said_of_the_dataset_and_of_an_image(raw):
    out = raw / "derivatives" / "nsn2n"

    target = denoise_volume_file(raw / T1W, out, JobOptions(bids=True, seed=7), denoise=run)

    assert _json(out / "dataset_description.json") == {
        "Name": "Wide study, denoised by nsn2n",
        "BIDSVersion": "1.11.1",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "nsn2n", "Version": __version__}],
        "SourceDatasets": [{"URL": "../..", "DOI": "doi:10.1/x"}],
        "DatasetLinks": {"source": "../.."},
    }
    said = _json(target.with_name("sub-01_ses-a_desc-denoised_T1w.json"))
    assert said.pop("Description").startswith("NS-N2N denoising (self-supervised fit on this series alone)")
    assert said.pop("NSN2N")["structure"]["verdict"] == "pass"
    uri = f"bids:source:{T1W}"
    expected = {"EchoTime": 0.003, "Manufacturer": "Ä", "SkullStripped": False}
    assert said == {**expected, "Sources": [uri], "SpatialReference": uri}


def test_fields_of_files_above_are_inherited(raw):
    target = denoise_volume_file(raw / BOLD, raw / "derivatives" / "x", JobOptions(bids=True), denoise=run)

    said = _json(target.with_name(target.name.replace(".nii.gz", ".json")))
    assert (said["TaskName"], said["RepetitionTime"]) == ("rest", 2.0)
    assert "B0FieldSource" not in said


def test_derivatives_of_derivatives(raw, tmp_path):
    out = raw / "derivatives" / "nsn2n"
    first = denoise_volume_file(raw / T1W, out, JobOptions(bids=True), denoise=run)

    second = denoise_volume_file(first, tmp_path / "two steps", JobOptions(bids=True), denoise=run)

    assert second.name == "sub-01_ses-a_desc-denoisedDenoised_T1w.nii.gz"
    uri = "bids:source:sub-01/ses-a/anat/sub-01_ses-a_desc-denoised_T1w.nii.gz"
    said = _json(second.with_name(second.name.replace(".nii.gz", ".json")))
    assert said["Sources"] == [uri]
    assert said["SkullStripped"] is False  # as the first one says
    links = _json(tmp_path / "two steps" / "dataset_description.json")["DatasetLinks"]
    assert links == {"source": "../raw/derivatives/nsn2n"}
    assert _errors(tmp_path / "two steps") == set()


def test_a_description_that_is_there_stays_as_it_is(raw):
    out = raw / "derivatives" / "nsn2n"
    denoise_volume_file(raw / T1W, out, JobOptions(bids=True), denoise=run)
    file = out / "dataset_description.json"
    _write(file, {**_json(file), "DatasetLinks": {"of%20mine": "../../"}, "License": "CC0"})
    before = file.read_bytes()

    target = denoise_volume_file(raw / DWI, out, JobOptions(bids=True), denoise=run)

    assert file.read_bytes() == before
    assert _json(target.with_suffix(".json"))["Sources"] == [f"bids:of%20mine:{DWI}"]


@pytest.mark.parametrize(
    ("description", "match"),
    [
        ({"GeneratedBy": [{"Name": "fMRIPrep"}]}, r"GeneratedBy of .* names fMRIPrep\. Choose another folder"),
        ({"Name": "raw"}, "names no program"),
        ({"GeneratedBy": "nsn2n"}, "names no program"),
        ({"GeneratedBy": [{"Name": "nsn2n"}], "DatasetLinks": {"source": "../other"}}, "has no link to it"),
        ({"GeneratedBy": [{"Name": "nsn2n"}]}, "has no link to it"),
        ("{", "must be a readable JSON file"),
        ("[]", "must hold a JSON object; it holds a list"),
    ],
)
def test_datasets_of_others_are_left_alone(raw, description, match):
    out = raw / "derivatives" / "x"
    _write(out / "dataset_description.json", description)
    before = (out / "dataset_description.json").read_bytes()

    with pytest.raises(VolumeError, match=match):
        denoise_volume_file(raw / T1W, out, JobOptions(bids=True), denoise=run)

    assert [path.name for path in out.iterdir()] == ["dataset_description.json"]
    assert (out / "dataset_description.json").read_bytes() == before


@pytest.mark.parametrize(
    ("output", "match"),
    [(".", "must not be the dataset of the input"), ("x.nii.gz", "must be a folder for derivatives")],
)
def test_an_output_that_is_no_place_for_derivatives(raw, output, match):
    with pytest.raises(VolumeError, match=match):
        BidsOutput.of(raw / T1W, raw / output)


def test_a_derivative_that_is_there_is_not_overwritten(raw):
    out = raw / "derivatives" / "nsn2n"
    sidecar = out / "sub-01/ses-a/anat/sub-01_ses-a_desc-denoised_T1w.json"
    _write(sidecar, "{}")
    with pytest.raises(VolumeError, match=r"must be a new file; .*json is an existing file"):
        denoise_volume_file(raw / T1W, out, JobOptions(bids=True), denoise=run)
    assert not (out / "dataset_description.json").exists()


def test_a_sidecar_that_is_no_json_is_said_before_anything_is_written(raw):
    _write(raw / T1W.replace(".nii.gz", ".json"), '{"EchoTime": NaN}')
    with pytest.raises(VolumeError, match=r"T1w\.json must be a readable JSON file; got ValueError"):
        denoise_volume_file(raw / T1W, raw / "derivatives" / "nsn2n", JobOptions(bids=True), denoise=run)
    assert not (raw / "derivatives").exists()


def test_gradients_of_another_run_stay(raw):
    out = raw / "derivatives" / "nsn2n"
    _write(out / DWI.replace(".nii", ".bval"), "0 1000\n")
    _write(out / DWI.replace(".nii", ".bvec"), "1 0\n0 0\n0 0\n")
    with pytest.raises(VolumeError, match=r"must be a new file; .*dwi\.bvec is an existing file"):
        denoise_volume_file(raw / DWI, out, JobOptions(bids=True), denoise=run)
    assert not list(out.rglob("*.nii"))


def test_gradients_of_a_derivative_have_its_name(raw, tmp_path):
    first = raw / DWI.replace("_dwi", "_desc-moved_dwi")
    for end in (".nii", ".bval", ".bvec"):
        (raw / DWI).with_suffix(end).rename(first.with_suffix(end))

    target = denoise_volume_file(first, tmp_path / "out", JobOptions(bids=True), denoise=run)

    assert target.name == "sub-01_ses-a_desc-movedDenoised_dwi.nii"
    assert target.with_suffix(".bvec").read_text() == "0 1\n0 0\n0 0\n"


def test_gradients_that_were_not_fetched_are_not_left_out(raw):
    file = raw / DWI.replace(".nii", ".bvec")
    file.unlink()
    file.symlink_to("../../../.git/annex/objects/absent")
    with pytest.raises(VolumeError, match=r"gradients of the input must be readable; got No such file .*dwi\.bvec"):
        denoise_volume_file(raw / DWI, raw / "derivatives" / "nsn2n", JobOptions(bids=True), denoise=run)
    assert not (raw / "derivatives").exists()


@pytest.mark.parametrize("inside", [True, False])
def test_a_mask_of_the_dataset_is_one_of_the_sources(raw, tmp_path, inside):
    name = "sub-01/ses-a/anat/sub-01_ses-a_desc-brain_mask.nii"
    mask = raw / name if inside else tmp_path / "mask.nii"
    nib.save(nib.Nifti1Image(np.ones((20, 22, 5), np.uint8), nib.load(raw / T1W).affine), mask)

    options = JobOptions(bids=True, mask=mask)
    target = denoise_volume_file(raw / T1W, raw / "derivatives" / "nsn2n", options, denoise=run)

    said = _json(target.with_name(target.name.replace(".nii.gz", ".json")))
    assert said["Sources"] == [f"bids:source:{T1W}", *([f"bids:source:{name}"] if inside else [])]


def test_a_dataset_that_another_began_meanwhile_stays_as_it_is(raw):
    file = raw / "derivatives" / "x" / "dataset_description.json"

    def run_beside_another(stack, **more):
        _write(file, {"GeneratedBy": [{"Name": "fMRIPrep"}]})
        return run(stack, **more)

    with pytest.raises(VolumeError, match="names fMRIPrep"):
        denoise_volume_file(raw / T1W, file.parent, JobOptions(bids=True), denoise=run_beside_another)

    assert _json(file) == {"GeneratedBy": [{"Name": "fMRIPrep"}]}
    assert not list(file.parent.rglob("*.nii.gz"))
