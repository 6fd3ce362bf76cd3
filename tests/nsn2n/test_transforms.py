# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The transforms are tried within MONAI itself: its reader, `Compose` and `DataLoader`."""

from __future__ import annotations

import pickle
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import torch

import nsn2n
from nsn2n.errors import SettingsError, VolumeError

pytest.importorskip("nsn2n.transforms", reason="MONAI is not installed: nsn2n[monai]", exc_type=ImportError)

from monai.data import DataLoader, Dataset, MetaTensor, PersistentDataset, decollate_batch
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, Spacingd

from nsn2n.transforms import Denoise, Denoised

BRIEF = {"fit": {"steps": 3, "crop_px": 16}, "network": {"channels": 4, "levels": 2}}
VALUES = np.random.default_rng(3).normal(100, 10, (20, 24, 5)).astype(np.float32)
AFFINE = np.array([[-1.0, 0, 0, 9], [0, 1.5, 0, -8], [0, 0, 4.0, 7], [0, 0, 0, 1]])


@pytest.fixture
def file(tmp_path):
    nib.save(nib.Nifti1Image(VALUES, AFFINE), tmp_path / "t1.nii.gz")
    return tmp_path / "t1.nii.gz"


def _loading(*more):
    return Compose([LoadImaged("image"), EnsureChannelFirstd("image"), *more])


def test_it_is_what_denoise_makes_of_the_same_image(file):
    before = _loading()({"image": file})["image"]

    after = _loading(Denoised("image", "MR", seed=5, config=BRIEF, device="cpu"))({"image": file})["image"]

    expected = nsn2n.denoise(nib.load(file), modality="MR", seed=5, config=BRIEF, device="cpu")
    assert isinstance(after, MetaTensor)
    assert (after.shape, after.dtype) == ((1, 20, 24, 5), torch.float32)
    np.testing.assert_array_equal(after[0].numpy(), expected.image.get_fdata(dtype=np.float32))
    assert torch.equal(after.affine, before.affine)
    assert after.meta["filename_or_obj"] == before.meta["filename_or_obj"]
    assert after.meta["nsn2n"]["verdict"] == expected.structure.verdict
    assert "seed 5" in after.meta["nsn2n"]["summary"]
    assert "nsn2n" not in before.meta


def test_later_transforms_and_batches_take_it(file):
    denoised = Denoised(["image", "other"], config=BRIEF, device="cpu", allow_missing_keys=True)
    pipeline = _loading(denoised, Spacingd("image", (2.0, 3.0, 4.0)))
    loader = DataLoader(Dataset([{"image": file}] * 2, pipeline), batch_size=2, num_workers=0)

    (batch,) = loader

    images = decollate_batch(batch["image"])
    assert [image.shape for image in images] == [(1, 10, 12, 5)] * 2
    assert [image.meta["nsn2n"]["version"] for image in images] == [nsn2n.__version__] * 2


def test_results_are_kept_on_disk(file, tmp_path, monkeypatch):
    pipeline = _loading(Denoised("image", config=BRIEF, device="cpu"))
    first = PersistentDataset([{"image": str(file)}], pipeline, cache_dir=tmp_path / "cache")[0]["image"]
    monkeypatch.setattr("nsn2n.transforms.denoise_stack", None)

    again = PersistentDataset([{"image": str(file)}], pipeline, cache_dir=tmp_path / "cache")[0]["image"]

    assert torch.equal(again, first)


def test_each_channel_is_denoised_alone():
    first, second = VALUES, 7 * VALUES[::-1].copy()
    transform = Denoise(config=BRIEF, device="cpu")

    both = transform(np.stack([first, second]))

    assert type(both) is np.ndarray
    np.testing.assert_array_equal(both[1], transform(second[None])[0])
    assert both[0].std() < 0.8 * first.std()


@pytest.mark.parametrize(("axis", "order"), [(1, (0, 2, 1)), (-3, (0, 2, 1)), (2, (1, 2, 0)), (-1, (2, 1, 0))])
def test_slices_are_those_of_the_axis(axis, order):
    volume = np.random.default_rng(1).normal(100, 10, (6, 7, 8)).astype(np.float32)

    found = Denoise(slice_axis=axis, config=BRIEF, device="cpu")(torch.as_tensor(volume)[None])

    assert type(found) is torch.Tensor
    expected = nsn2n.denoise(volume.transpose(order), config=BRIEF, device="cpu").volume
    np.testing.assert_array_equal(found[0].numpy().transpose(order), expected)


@pytest.mark.parametrize("axis", [0, 4, -4, 1.5, "z"])
def test_an_axis_that_counts_no_slices_is_refused(axis):
    with pytest.raises(VolumeError, match="slice_axis must be a spatial axis"):
        Denoise(slice_axis=axis)


def test_an_axis_against_the_spacing_is_refused():
    image = MetaTensor(torch.as_tensor(VALUES)[None], affine=torch.as_tensor(AFFINE))
    with pytest.raises(
        VolumeError, match=r"along axis 1 the spacing is 1 mm, along axis 3 it is 4 mm. Pass slice_axis=3"
    ):
        Denoise(slice_axis=1, config=BRIEF)(image)


@pytest.mark.parametrize("shape", [(20, 24, 5), (1, 1, 20, 24, 5)])
def test_images_that_are_not_channel_first_are_refused(shape):
    with pytest.raises(VolumeError, match=r"must be of shape \(C, X, Y, Z\), channels first"):
        Denoise()(np.zeros(shape, np.float32))


def test_settings_are_checked_when_it_is_made():
    with pytest.raises(SettingsError, match=r"fit\.steps"):
        Denoised("image", config={"fit": {"steps": -1}})
    with pytest.raises(SettingsError, match="preset"):
        Denoise(preset="best")
    with pytest.raises(SettingsError, match="memory must be a size"):
        Denoised("image", memory="8 gigs")


def test_the_memory_limit_is_that_of_denoise():
    image = VALUES[None]
    limited = Denoise(config=BRIEF, device="cpu", memory="64G")

    np.testing.assert_array_equal(limited(image), Denoise(config=BRIEF, device="cpu")(image))
    with pytest.raises(VolumeError, match="memory"):
        Denoise(config=BRIEF, device="cpu", memory="100M")(image)


def test_it_survives_pickling():
    transform = Denoised("image", "CT", -1, preset="fast", config=BRIEF, device="cpu")
    image = {"image": VALUES[None]}

    again = pickle.loads(pickle.dumps(transform))

    np.testing.assert_array_equal(again(image)["image"], transform(image)["image"])


def test_removed_anatomy_is_said_in_the_log(caplog):
    harmful = {**BRIEF, "structure": {"excess_review": 0.01, "excess_fail": 0.01}}
    image = MetaTensor(torch.as_tensor(VALUES)[None], affine=torch.as_tensor(AFFINE))

    after = Denoise(config=harmful, device="cpu")(image)

    assert after.meta["nsn2n"]["verdict"] == "fail"
    assert "WARNING" in [record.levelname for record in caplog.records if "structure check fail" in record.message]


def test_without_monai_the_extra_is_named():
    code = "import sys; sys.modules['monai'] = None; import nsn2n.transforms"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert "ImportError: nsn2n.transforms needs MONAI" in run.stderr
    assert "pip install 'nsn2n[monai]'" in run.stderr
