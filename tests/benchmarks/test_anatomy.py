# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The cases of anatomy.py hold what they claim, and its methods get a fair chance."""

from __future__ import annotations

import anatomy
import body
import numpy as np
import pytest
from anatomy_cases import beside_bone, lost_of_anatomy, share_of
from anatomy_methods import GRIDS, TUNED, denoised, told_sigma
from anatomy_pictures import panels, save_panels
from pet import LESION_SD, pet
from PIL import Image
from scipy import ndimage
from textured_noise import kernel_noise
from vessels import draw_tree

SLICES = 1


@pytest.fixture(scope="module", params=[body.make_abdomen, body.make_chest])
def made(request):
    return request.param, request.param(SLICES, 1)


def test_a_body_comes_from_its_seed(made):
    make, first = made

    assert np.array_equal(make(SLICES, 1).truth, first.truth)
    assert not np.array_equal(make(SLICES, 3).truth, first.truth)


def test_a_body_is_within_bounds_and_not_flat(made):
    _, first = made
    low, high = body.HU_RANGE
    inner = ndimage.binary_erosion(first.inside, np.ones((1, 5, 5)))
    steps = np.abs(np.diff(first.truth, axis=2))[:, :, :-1][inner[:, :, :-2]]

    assert first.truth.shape == (SLICES, body.SIZE_PX, body.SIZE_PX)
    assert low <= first.truth.min() < -900
    assert 400 < first.truth.max() <= high
    assert 0.05 < first.inside.mean() < 0.5
    assert np.median(steps) > 0.5


def test_the_share_of_added_noise_does_not_depend_on_other_errors():
    random = np.random.default_rng(4)
    noise, own = random.normal(0, 6, (2, 4, 64, 64)).astype(np.float32)
    inside = np.ones(noise.shape, bool)

    assert share_of(noise, 0.4 * noise - own, inside) == pytest.approx(0.4, abs=0.05)
    assert share_of(noise, noise, inside) == pytest.approx(1)


def test_beside_bone_is_soft_tissue_at_some_pixels_from_it():
    truth = np.full((2, 32, 32), 40, np.float32)
    truth[0, :, :8] = 800
    truth[0, :, 10] = -900

    beside = beside_bone(truth)

    assert np.flatnonzero(beside[0, 16]).tolist() == [9, 11, 12]  # 2 to 5 px from the bone that ends at 7
    assert not beside[1].any()


def test_vessels_taper_and_branch():
    tree = draw_tree((24, 96, 96), (12.0, 48.0, 4.0), (0.0, 0.0, 1.0), 4.0, np.random.default_rng(0))
    areas = [int((tree[:, :, column] > 0.5).sum()) for column in range(96)]
    branches = [ndimage.label(tree[:, :, column] > 0.5)[1] for column in range(96)]

    assert 0 <= tree.min() < tree.max() == 1
    assert branches[6] == 1 < max(branches)
    assert areas[6] == pytest.approx(np.pi * 16, rel=0.3)


def test_noise_of_a_scan_is_no_anatomy():
    """A scan with noise of its own: what removes all noise loses nothing, a mean of 0 loses all."""
    shape = (8, 192, 192)
    frequency = np.hypot(np.fft.fftfreq(192)[:, None], np.fft.fftfreq(192))
    power = frequency * np.exp(-np.square(frequency / 0.22))
    white = np.random.default_rng(1).normal(size=shape)
    structure = ndimage.gaussian_filter(white, (0, 2.5, 2.5))
    structure = (4 * structure / structure.std()).astype(np.float32)
    own, added = kernel_noise(shape, 5.0, 2), kernel_noise(shape, 6.0, 3)
    scan, inside = structure + own, np.ones(shape, bool)

    def lost(result):
        return lost_of_anatomy(scan + added - result, scan, added, power, inside)

    assert lost(scan + added) == 0
    assert lost(structure) == pytest.approx(0, abs=12)
    assert lost(0 * scan) == pytest.approx(100, abs=12)


def test_lesions_of_pet_are_what_they_are_said_to_be():
    trial = pet(1, 4)
    figures = trial.measure(trial.noisy)

    assert [figures[f"kept {sd} sd"] for sd in LESION_SD] == pytest.approx([100] * len(LESION_SD), abs=15)
    assert min(volume.min() for volume in trial.noisy) == 0
    assert figures["detail %"] == 0


def test_each_case_has_tuned_settings_of_each_peer():
    needed = {"ct-faint-20"} | {
        name for name in anatomy.MAKERS if not name.startswith(("ct-lcd", "ct-ttf", "ct-faint"))
    }

    assert set(TUNED) == needed
    assert all(set(settings) == set(GRIDS) for settings in TUNED.values())
    for settings in TUNED.values():
        assert all(settings[method] in GRIDS[method] for method in GRIDS)


def test_peers_are_given_the_noise_of_soft_tissue():
    volume = 40 + kernel_noise((4, 128, 128), 14.0, 1)
    volume[:, :48] += 800
    volume[2:, :48] += 300

    assert told_sigma(volume, "CT") == pytest.approx(14, rel=0.15)


def test_pictures_show_source_result_truth_and_what_was_removed(tmp_path):
    trial = pet(1, 2)
    results = {"default": trial.truth, "gaussian": denoised(trial, "gaussian", 1)[0]}

    images = panels(trial, results, "default", "gaussian")
    save_panels(tmp_path / "folder" / "pet.png", images)

    assert list(images) == ["source", "default", "gaussian", "truth", "removed by default", "removed by gaussian"]
    assert np.array_equal(images["default"], images["truth"])
    assert not np.array_equal(images["source"], images["truth"])
    with Image.open(tmp_path / "folder" / "pet.png") as saved:
        assert saved.size[0] > 3 * trial.noisy[0].shape[2]
