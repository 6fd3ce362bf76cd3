# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The noise level comes back as it was put in, on volumes whose tissue changes from slice to slice."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from nsn2n.noise.blocks import BLOCK_PX
from nsn2n.noise.level import estimate_noise, measure_noise

SD = 20.0
SHAPE = (10, 144, 150)  # columns are no multiple of a block


def _tissue(shape=SHAPE):
    """Smooth gradients, and ellipsoids that shrink and lean along z; contrasts of 7 to 20 noise sd."""
    z, y, x = np.indices(shape, dtype=np.float32)
    depth, height, width = shape
    volume = 200 * np.sin(x / 40 + z / 15) + 100 * np.cos(y / 50)
    for center, axes, lean, contrast in (
        ((0.5, 0.5, 0.5), (1.2, 0.35, 0.38), 0.0, 400),
        ((0.4, 0.3, 0.4), (0.6, 0.10, 0.13), 0.5, -200),
        ((0.6, 0.7, 0.6), (0.8, 0.07, 0.08), -0.4, 150),
    ):
        cz, cy, cx = (part * size for part, size in zip(center, shape, strict=True))
        a, b, c = axes[0] * depth, axes[1] * height, axes[2] * width
        inside = ((z - cz) / a) ** 2 + ((y - cy - lean * z) / b) ** 2 + ((x - cx) / c) ** 2 < 1
        volume += contrast * inside
    return volume.astype(np.float32)


def _white(shape=SHAPE, seed=0):
    return SD * np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def _correlated(sigma_px, shape=SHAPE):
    noise = ndimage.gaussian_filter(_white(shape), (0, sigma_px, sigma_px))
    return noise * np.float32(SD / noise.std())


def test_white_noise_within_a_tenth_everywhere_and_on_the_median():
    blocks = estimate_noise(_tissue() + _white())

    assert blocks.shape == (10, 9, 10)
    assert blocks.dtype == np.float32
    assert np.median(blocks) == pytest.approx(SD, rel=0.1)
    assert np.percentile(blocks, 2) > 0.75 * SD
    assert np.percentile(blocks, 98) < 1.25 * SD


def test_white_noise_within_5_percent():
    assert np.median(estimate_noise(100 + _white())) == pytest.approx(SD, rel=0.05)


def test_slices_that_differ_nearly_everywhere_do_not_raise_correlated_noise():
    """As thick slices of a head do: only a strip of a sixth is even."""
    texture = ndimage.gaussian_filter(_white((12, 192, 192), seed=1), (0, 3, 3))
    texture *= 2 * SD / texture.std()
    texture[:, :, :32] = 0
    noise = _correlated(1.0, (12, 192, 192))

    assert np.median(estimate_noise(texture + noise)) == pytest.approx(SD, rel=0.15)


def test_correlated_noise_within_10_percent():
    assert np.median(estimate_noise(_tissue() + _correlated(1.0))) == pytest.approx(SD, rel=0.1)


@pytest.mark.parametrize("sigma_px", [0.6, 1.0])
def test_correlated_noise_within_20_percent(sigma_px):
    # Its second difference alone has a fifth (1 px) of the sd that the same noise, white, would have.
    assert np.median(estimate_noise(_tissue() + _correlated(sigma_px))) == pytest.approx(SD, rel=0.2)


def test_the_level_is_followed_over_the_slice():
    scale = np.where(np.arange(SHAPE[2]) < 80, 0.5, 1.0).astype(np.float32)

    blocks = estimate_noise(_tissue() + _white() * scale)

    # The border lies between the fifth and the sixth column of blocks; the median filter reaches one further.
    assert np.median(blocks[:, :, :4]) == pytest.approx(SD / 2, rel=0.15)
    assert np.median(blocks[:, :, 6:]) == pytest.approx(SD, rel=0.15)


def test_the_level_is_followed_along_z():
    scale = np.where(np.arange(24) < 12, 0.5, 1.0).astype(np.float32)[:, None, None]
    shape = (24, 96, 96)

    blocks = estimate_noise(_tissue(shape) + _white(shape) * scale)

    assert np.median(blocks[:8]) == pytest.approx(SD / 2, rel=0.15)
    assert np.median(blocks[16:]) == pytest.approx(SD, rel=0.15)


def test_rician_noise_at_high_signal():
    # Magnitude of a complex signal: at 50 sd and more the noise is normal with the sd of each channel.
    signal = _tissue() + 1500
    magnitude = np.hypot(signal + _white(seed=1), _white(seed=2))

    assert np.median(estimate_noise(magnitude)) == pytest.approx(SD, rel=0.1)


def test_tissue_without_noise_has_next_to_none():
    tissue = _tissue()

    assert estimate_noise(tissue).max() < 1e-3 * np.ptp(tissue)


def test_rounding_beside_smooth_structure_is_not_noise():
    # A second difference holds the rounding of float32 alone; the structure itself is a hundred thousand times more.
    z, y, x = np.indices(SHAPE, dtype=np.float32)
    ramps = (100 * np.sin(x / 15 + z / 6) + 0.52 * y + 20 * z + 1000).astype(np.float32)

    assert estimate_noise(ramps).max() < 3e-4 * np.ptp(ramps)


def test_equal_slices_have_none():
    assert not estimate_noise(np.repeat(_tissue()[:1], 4, axis=0)).any()


def test_the_unit_of_the_volume_carries_over():
    volume = _tissue() + _white()

    np.testing.assert_allclose(estimate_noise(np.float32(1000) * volume), 1000 * estimate_noise(volume), rtol=1e-4)


def test_excluded_voxels_do_not_count():
    volume = _tissue() + _white()
    valid = np.ones(SHAPE, bool)
    valid[:, :40] = False
    padded = np.where(valid, volume, -2000).astype(np.float32)
    padded[::2][~valid[::2]] = 5000  # far beyond the noise, changing with each slice

    blocks = estimate_noise(padded, valid)

    # Second differences look one pixel into the padding; blocks 3 and on are beyond the reach of it.
    assert np.median(blocks[:, 4:]) == pytest.approx(SD, rel=0.12)
    assert np.isfinite(blocks).all()


def test_a_slice_that_is_excluded_whole_leaves_the_others_alone():
    volume = _tissue() + _white()
    valid = np.ones(SHAPE, bool)
    valid[[0, 1, 5]] = False
    volume[~valid] *= 1000

    blocks = estimate_noise(volume, valid)

    assert np.isfinite(blocks).all()
    # Neither pair of an excluded slice counts, whichever of the two it is.
    assert not blocks[0].any()
    assert np.median(blocks[7:]) == pytest.approx(SD, rel=0.12)


def test_everything_excluded_is_no_noise():
    assert not estimate_noise(_white((3, 20, 20)), np.zeros((3, 20, 20), bool)).any()


@pytest.mark.parametrize(
    "shape",
    [(2, 64, 64), (3, 50, 70), (6, 17, 15), (12, 7, 9), (4, 1, 40)],
    ids=lambda shape: "x".join(map(str, shape)),
)
def test_any_size(shape):
    blocks = estimate_noise(_white(shape))

    assert blocks.shape == (shape[0], -(-shape[1] // BLOCK_PX), -(-shape[2] // BLOCK_PX))
    assert np.isfinite(blocks).all()
    if min(shape[1:]) > 1:
        # The fewer the pixels, the coarser the estimate; with a single row there is no second difference.
        assert np.median(blocks) == pytest.approx(SD, rel=0.35)


def test_noise_that_the_range_cuts_off_says_nothing_of_noise_elsewhere():
    # Smooth noise, so that its gain matters; air at the left, a body at the right, stored as CT is: from -1024 on.
    random = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(random.standard_normal((8, 128, 128)), (0, 0.8, 0.8))
    noise *= 30 / noise.std()
    body = np.zeros(noise.shape)
    body[:, :, 64:] = 40
    body[:, :, :64] = -1015
    stored = np.clip(np.rint(body + noise), -1024, 3071).astype(np.float32)

    blocks = estimate_noise(stored)

    assert np.median(blocks[:, :, 5:]) == pytest.approx(30, rel=0.15)


def test_clipped_blocks_count_where_there_are_no_others():
    random = np.random.default_rng(0)
    stored = np.maximum(random.normal(0, 10, (6, 64, 64)), 0).astype(np.float32)

    assert np.median(estimate_noise(stored)) > 1


def test_a_body_in_air_without_noise_has_its_level_up_to_its_rim():
    """As in PET, where a body is a few blocks wide."""
    noisy, body = _body_in_quiet_air()

    noise = measure_noise(noisy, quiet_air=True)

    inner = ndimage.binary_erosion(body, np.ones((1, 5, 5)))
    assert noise.median == pytest.approx(SD, rel=0.1)
    assert np.median(noise.sd[inner]) == pytest.approx(SD, rel=0.1)
    assert np.percentile(noise.sd[inner], 2) > 0.75 * SD
    away = ~ndimage.binary_dilation(body, np.ones((1, 9, 9)))
    assert np.percentile(noise.sd[away], 98) < 0.1 * SD


def test_excluded_voxels_count_in_neither_part():
    noisy, body = _body_in_quiet_air()
    valid = np.ones(noisy.shape, bool)
    valid[:, :, :20] = False
    noisy[::2][~valid[::2]] = 5000

    noise = measure_noise(noisy, valid, quiet_air=True)

    inner = ndimage.binary_erosion(body & valid, np.ones((1, 11, 11)))
    assert np.median(noise.sd[inner]) == pytest.approx(SD, rel=0.15)


def test_the_air_of_one_level_with_the_body_is_measured_with_it():
    noisy = _tissue() + _white()

    np.testing.assert_array_equal(measure_noise(noisy, quiet_air=True).blocks, estimate_noise(noisy))


def _body_in_quiet_air():
    """A disc of 40 px radius with noise, in air with a hundredth of it."""
    shape = (8, 112, 112)
    rows, columns = np.ogrid[-56:56, -56:56]
    body = np.broadcast_to(np.hypot(rows, columns) < 40, shape)
    return (_correlated(0.8, shape) * np.where(body, 1.0, 0.01) + 100 * body).astype(np.float32), body
