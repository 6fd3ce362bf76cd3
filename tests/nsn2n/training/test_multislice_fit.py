# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The second fit: what it is taught with, and that it learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from nsn2n.errors import VolumeError
from nsn2n.noise.level import NoiseMap
from nsn2n.runtime.compute import Compute, choose_compute, reproducible
from nsn2n.runtime.cpus import with_threads
from nsn2n.settings import FitSettings, NetworkSettings, RefitSettings, Settings
from nsn2n.training.multislice_fit import MultisliceFit, _CropSampler, _Volume
from nsn2n.training.parts import backward

SD = 3.0
SETTINGS = Settings(
    network=NetworkSettings(channels=8, levels=2),
    fit=FitSettings(crop_px=16, flips=False),
    refit=RefitSettings(steps=60, slices=3),
)


def noise_map(shape, sd=SD):
    return NoiseMap(np.full((shape[0], 1, 1), sd, np.float32), np.full(shape, sd, np.float32), sd)


def white(shape, seed=0):
    return np.random.default_rng(seed).normal(0, SD, shape).astype(np.float32)


def drawn(volume, settings=SETTINGS, count=20):
    sampler = _CropSampler(volume, settings, np.random.default_rng(0))
    return [sampler.draw() for _ in range(count)]


def test_the_noise_put_on_the_target_is_that_which_was_removed():
    target = np.zeros((6, 24, 24), np.float32)
    removed = white(target.shape)
    batches = drawn(_Volume(target + removed, target, noise_map(target.shape), None))
    seen = np.unique(np.abs(removed.astype(np.float32) / np.float32(SD)))
    used = torch.cat([batch.noised.flatten() for batch in batches]).abs().numpy()
    assert np.abs(seen[np.searchsorted(seen, used).clip(0, len(seen) - 1)] - used).max() < 1e-5
    assert all(batch.noised.shape == (SETTINGS.refit.crops_per_step, 3, 16, 16) for batch in batches)
    assert all(not batch.target.any() for batch in batches)


def test_noise_is_scaled_to_the_level_of_its_new_place():
    shape = (8, 24, 24)
    level = np.linspace(1, 4, 8, dtype=np.float32)[:, None, None] * np.ones(shape, np.float32)
    # The target of each slice tells which slice it is.
    target = np.cumsum(np.full(shape, 1000, np.float32), axis=0)
    noise = NoiseMap(level[:, :1, :1], level, 2.0)
    for batch in drawn(_Volume(target + level, target, noise, None)):
        on_top = (batch.noised[:, 1] - batch.target[:, 0]).abs() * 2.0
        slices = (batch.target[:, 0] * 2.0 / 1000).round().long() - 1
        expected = torch.from_numpy(level[:, 0, 0])[slices]
        np.testing.assert_allclose(on_top, expected, rtol=1e-2)


def test_noise_keeps_its_correlation_between_slices():
    shape = (12, 24, 24)
    removed = ndimage.uniform_filter1d(white(shape), 2, axis=0)
    volume = _Volume(removed, np.zeros(shape, np.float32), noise_map(shape), None)
    windows = torch.cat([batch.noised for batch in drawn(volume, count=60)])
    measured = np.corrcoef(windows[:, 0].flatten(), windows[:, 1].flatten())[0, 1]
    assert measured == pytest.approx(0.5, abs=0.1)


def test_invalid_voxels_do_not_teach():
    shape = (4, 16, 16)
    valid = np.ones(shape, bool)
    valid[:, 4] = False
    for batch in drawn(_Volume(white(shape), np.zeros(shape, np.float32), noise_map(shape), valid)):
        assert not batch.weight[:, :, 4].any()
        assert batch.weight[:, :, 5:].all()


def test_flips_turn_all_crops_of_a_batch_the_same_way():
    shape = (5, 16, 16)
    target = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    settings = replace(SETTINGS, fit=replace(SETTINGS.fit, flips=True))
    batches = drawn(_Volume(target, target, noise_map(shape), None), settings)
    assert all(torch.equal(batch.noised[:, 1:2], batch.target) for batch in batches)
    assert len({tuple(torch.sign(batch.target[0, 0, 1, 1] - batch.target[0, 0, 0, :2]).tolist()) for batch in batches})
    corners = {float(torch.argmin(batch.target[0, 0])) for batch in batches}
    assert corners == {0.0, 15.0, 240.0, 255.0}


@pytest.mark.slow
def test_learns_to_remove_noise_of_several_slices():
    truth = np.zeros((8, 32, 32), np.float32)
    truth[:, 8:20, 10:24] = 20 * SD
    noisy = truth + white(truth.shape)
    with reproducible(0):
        second = MultisliceFit(SD, SETTINGS, choose_compute("cpu"))
        assert second.fit(noisy, truth, noise_map(truth.shape), 400) == 400
        result = second.denoise(noisy, noise_map(noisy.shape), with_rotation=True)
    assert (result - truth).std() < 0.5 * SD


def test_goes_on_with_another_target():
    truth = np.zeros((6, 32, 32), np.float32)
    truth[:, 8:20, 10:24] = 20 * SD
    noisy = truth + white(truth.shape)
    blurred = ndimage.gaussian_filter(truth, (0, 2, 2))
    with reproducible(0):
        second = MultisliceFit(SD, SETTINGS, choose_compute("cpu"))
        second.fit(noisy, truth, noise_map(truth.shape), 100)
        first = second.denoise(noisy, noise_map(noisy.shape), with_rotation=False)
        second.fit(noisy, blurred, noise_map(truth.shape), 100)
        then = second.denoise(noisy, noise_map(noisy.shape), with_rotation=False)
    assert np.abs(first - truth).mean() < 0.5 * np.abs(first - blurred).mean()
    assert np.abs(then - blurred).mean() < np.abs(first - blurred).mean()


@pytest.mark.parametrize("shape", [(2, 5, 40), (3, 8, 8)])
@pytest.mark.parametrize("turned", [False, True])
def test_volumes_smaller_than_crop_and_window(shape, turned):
    settings = replace(SETTINGS, refit=RefitSettings(slices=5))
    noisy = white(shape)
    fitted, applied = [], []
    with reproducible(0):
        second = MultisliceFit(SD, settings, choose_compute("cpu"))
        assert second.fit(noisy, 0 * noisy, noise_map(shape), 2, progress=fitted.append) == 2
        result = second.denoise(noisy, noise_map(shape), with_rotation=turned, progress=applied.append)
    assert result.shape == shape
    assert np.isfinite(result).all()
    assert fitted == [0.5, 1]
    assert applied == pytest.approx([(index + 1) / shape[0] for index in range(shape[0])])


@pytest.mark.parametrize("valid", [(0.9, 0.2, 0.0), (1.0, 1.0, 1.0)])
def test_the_gradients_of_the_crops_add_up_to_those_of_the_batch(valid):
    shape = (6, 24, 24)
    settings = replace(SETTINGS, refit=RefitSettings(slices=3, crops_per_step=3))
    batch = drawn(_Volume(white(shape), np.zeros(shape, np.float32), noise_map(shape), None), settings, 1)[0]
    torch.manual_seed(0)
    weight = torch.rand(batch.weight.shape) < torch.tensor(valid)[:, None, None, None]
    batch = replace(batch, weight=weight.float())
    second = MultisliceFit(SD, settings, Compute(torch.device("cpu"), False))
    parameters = list(second._network.parameters())
    with torch.no_grad():
        for parameter in parameters:
            parameter += 0.1 * torch.randn(parameter.shape)
    whole = backward(parameters, [lambda: second._loss(batch)])
    expected = torch.cat([parameter.grad.flatten() for parameter in parameters])

    crops = [lambda crop=crop: second._loss(crop) for crop in batch.crops()]
    loss = backward(parameters, crops)
    gradients = torch.cat([parameter.grad.flatten() for parameter in parameters])

    assert len(crops) == 3
    assert expected.any()
    torch.testing.assert_close(loss, whole, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradients, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_the_number_of_threads_changes_no_bit():
    shape = (4, 24, 24)
    noisy = white(shape)
    settings = replace(SETTINGS, refit=RefitSettings(slices=3, crops_per_step=5))
    found = []
    for threads in (1, 2, 4):
        with reproducible(0), with_threads(threads):
            second = MultisliceFit(SD, settings, choose_compute("cpu"))
            second.fit(noisy, 0 * noisy, noise_map(shape), 5)
        found.append(list(second._network.state_dict().values()))

    for other in found[1:]:
        assert all(torch.equal(mine, first) for mine, first in zip(other, found[0], strict=True))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_loss_that_is_not_finite_stops_the_fit(threads):
    shape = (3, 16, 16)
    noisy = white(shape)
    noisy[1, 4, 4] = np.inf
    with reproducible(0), with_threads(threads), pytest.raises(VolumeError, match=r"got (nan|inf) at step 1 of 30\. "):
        MultisliceFit(SD, SETTINGS, choose_compute("cpu")).fit(noisy, np.zeros(shape, np.float32), noise_map(shape), 30)
