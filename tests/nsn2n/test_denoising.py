# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""``denoise`` as its users meet it: noise goes, tissue stays, and what must not change does not."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

import nsn2n
from nsn2n.denoising import denoise
from nsn2n.errors import SettingsError, VolumeError
from nsn2n.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
SD = 20.0
SHAPE = (12, 96, 96)
BRIEF = {"fit": {"steps": 3, "crop_px": 16}, "network": {"channels": 4, "levels": 2}}
FAST = {"fit": {"steps": 80}, "contrast_kept": False}


def _brief(volume, **arguments):
    """Denoise with a fit of a moment, where only the mechanics matter."""
    return denoise(volume, **{"device": "cpu", "config": BRIEF, **arguments})


def _fast(volume, **config):
    return denoise(volume, preset="fast", device="cpu", config={**FAST, **config})


def _noise(shape=SHAPE, seed=0):
    return SD * np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def _ellipsoids():
    """A body with two inserts that shrink and lean along z."""
    z, y, x = np.indices(SHAPE, dtype=np.float32)
    volume = np.full(SHAPE, 1000, np.float32)
    for (cz, cy, cx), (a, b, c), lean, contrast in (
        ((6, 48, 48), (14, 40, 42), 0.0, 400),
        ((5, 35, 40), (6, 10, 12), 0.5, -200),
        ((7, 60, 60), (9, 9, 8), -0.4, 150),
    ):
        volume[((z - cz) / a) ** 2 + ((y - cy - lean * z) / b) ** 2 + ((x - cx) / c) ** 2 < 1] += contrast
    return volume


def _ramps():
    """Smooth gradients in the plane and along z."""
    z, y, x = np.indices(SHAPE, dtype=np.float32)
    return (100 * np.sin(x / 15 + z / 6) + 0.52 * y + 20 * z).astype(np.float32)


def _checkerboard():
    """Squares of 8 px that change their color with each slice."""
    z, y, x = np.indices(SHAPE)
    return (100.0 * ((y // 8 + x // 8 + z) % 2)).astype(np.float32)


def _marks():
    """Letters, each in one slice only."""
    generator = np.random.default_rng(3)
    volume = np.full(SHAPE, 50, np.float32)
    for slice_hw in volume:
        for row, column in generator.integers(4, 80, (6, 2)):
            slice_hw[row : row + 9, column : column + 2] = 300
            slice_hw[row : row + 2, column : column + 7] = 300
            slice_hw[row + 4, column : column + 5] = 300
    return volume


@pytest.fixture(scope="module")
def truth():
    return _ellipsoids()


@pytest.fixture(scope="module")
def noisy(truth):
    return truth + _noise()


@pytest.fixture(scope="module")
def denoised(noisy):
    return _fast(noisy)


def _rms(values):
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def test_the_public_name_is_this_function():
    assert nsn2n.denoise is denoise


@pytest.mark.slow
def test_noise_falls_to_half_and_less(truth, noisy, denoised):
    assert _rms(noisy - truth) == pytest.approx(SD, rel=0.01)
    assert _rms(denoised.volume - truth) < 0.5 * SD


def test_the_means_of_regions_stay(truth, noisy, denoised):
    # Air around the body and the body itself, tens of thousands of voxels each; the inserts, some thousands.
    for value, limit in ((1000, 0.1), (1400, 0.1), (1200, 0.4), (1550, 0.4)):
        region = truth == value
        assert region.sum() > 1000
        assert abs((denoised.volume - noisy)[region].mean()) < limit * SD, value


@pytest.mark.slow
def test_spots_in_one_slice_keep_their_contrast(noisy, denoised):
    # 24 discs of 5 px and 5 noise sd, brighter and darker by turns, each in one slice only and far from the others.
    generator = np.random.default_rng(4)
    rows, columns = np.indices(SHAPE[1:])
    spots, discs = np.zeros(SHAPE, np.float32), []
    for number in range(24):
        z, sign = 1 + number % 10, 1 - 2 * (number % 2)
        while True:
            row, column = generator.integers(8, 88, 2)
            if not spots[z][np.hypot(rows - row, columns - column) < 14].any():
                break
        disc = np.hypot(rows - row, columns - column) <= 2.5
        spots[z][disc] = sign * 5 * SD
        discs.append((z, disc, sign))

    difference = _fast(noisy + spots).volume - denoised.volume

    kept = [sign * difference[z][disc].mean() / (5 * SD) for z, disc, sign in discs]
    assert np.mean(kept) >= 0.75


def test_no_voxel_changes_beyond_the_limit(noisy, denoised):
    change = np.abs(denoised.volume - noisy)

    # Rounding of float32 at 1500 on top.
    assert (change <= 5.0 * denoised.noise_sd + 1e-3).all()

    tight = _brief(noisy, config={**BRIEF, "largest_change_sd": 0.01, "fit": {"steps": 20, "learning_rate": 0.1}})
    change = np.abs(tight.volume - noisy)
    assert (change <= 0.01 * tight.noise_sd + 1e-3).all()
    assert (change >= 0.01 * tight.noise_sd - 1e-3).any()


def test_the_noise_level_of_the_volume_is_reported(denoised):
    assert denoised.noise_sd.shape == SHAPE
    assert denoised.noise_sd.dtype == np.float32
    assert np.median(denoised.noise_sd) == pytest.approx(SD, rel=0.15)
    assert denoised.measured.noise_sd_median == pytest.approx(SD, rel=0.15)


def test_what_comes_back(noisy, denoised):
    assert denoised.volume.shape == SHAPE
    assert denoised.volume.dtype == np.float32
    assert denoised.loss.shape == (80,)
    assert denoised.loss.dtype == np.float32
    assert denoised.settings == Settings.from_mapping({"preset": "fast", **FAST})
    assert denoised.seed == denoised.settings.seed == 0
    assert 0.5 < denoised.measured.matched_fraction <= 1
    assert denoised.measured.steps == 80
    assert denoised.measured.rms_change == pytest.approx(_rms(denoised.volume - noisy), rel=1e-6)
    assert denoised.measured.final_loss == pytest.approx(denoised.loss[-50:].mean(), rel=1e-5)
    assert denoised.measured.compute in ("cpu float32", "cpu bfloat16")


def test_the_record_makes_the_round_trip_through_json(denoised):
    record = json.loads(json.dumps(denoised.record, allow_nan=False))

    assert record == denoised.record
    assert record["version"] == nsn2n.__version__
    assert Settings.from_mapping(record["settings"]) == denoised.settings


def test_the_summary_is_a_line_for_a_dicom_header(denoised):
    summary = denoised.summary()

    assert summary.isascii()
    assert summary.isprintable()
    assert len(summary) <= 400
    assert re.search(r"preset fast, seed 0, 80 steps on cpu", summary)


def test_the_same_seed_gives_the_same_voxels_and_another_does_not():
    volume = _noise((4, 40, 40))

    first, again, other = (_brief(volume, seed=seed) for seed in (3, 3, 4))

    np.testing.assert_array_equal(first.volume, again.volume)
    np.testing.assert_array_equal(first.loss, again.loss)
    assert not np.array_equal(first.volume, other.volume)
    assert other.record["settings"]["seed"] == 4


def test_the_seed_argument_wins_over_the_configuration():
    volume = _noise((3, 20, 20))

    assert _brief(volume, config={**BRIEF, "seed": 5}).seed == 5
    result = _brief(volume, config={**BRIEF, "seed": 5}, seed=np.int64(6))
    assert result.seed == 6
    json.dumps(result.record)


def test_the_callers_random_numbers_are_left_alone():
    def draw():
        return np.random.rand(3).tolist(), torch.rand(3).tolist()

    np.random.seed(1)
    torch.manual_seed(1)
    expected = draw()

    np.random.seed(1)
    torch.manual_seed(1)
    _brief(_noise((3, 20, 20)))

    assert draw() == expected


def test_the_callers_arrays_are_left_alone():
    volume = _noise((3, 20, 24))
    volume[1, 2, 3] = np.nan
    exclude = np.zeros(volume.shape, bool)
    exclude[0, :5] = True
    before, mask_before = volume.copy(), exclude.copy()

    result = _brief(volume, exclude=exclude)

    np.testing.assert_array_equal(volume, before)
    np.testing.assert_array_equal(exclude, mask_before)
    assert not np.shares_memory(result.volume, volume)


@pytest.mark.parametrize("dtype", ["i2", "u2", "i4", "f8", ">f4"])
def test_other_types_of_numbers_give_what_float32_gives(dtype):
    volume = np.rint(_noise((3, 20, 24)) + 500)

    result = _brief(volume.astype(dtype))

    assert result.volume.dtype == np.dtype("=f4")
    np.testing.assert_array_equal(result.volume, _brief(volume).volume)


def test_flipped_and_read_only_memory_is_taken():
    volume = _noise((4, 20, 24))
    locked = volume.copy()
    locked.flags.writeable = False

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(_brief(locked).volume, _brief(volume).volume)
        np.testing.assert_array_equal(_brief(volume[::-1]).volume, _brief(volume[::-1].copy()).volume)


def test_voxels_that_are_not_finite_come_back_where_they_were():
    volume = _noise((4, 40, 44))
    volume[1, 3, 4], volume[2, 0, 0], volume[0, 5], volume[3, 10:20, 30:] = np.nan, np.inf, -np.inf, np.nan

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = _brief(volume)

    finite = np.isfinite(volume)
    np.testing.assert_array_equal(result.volume[~finite], volume[~finite])
    assert np.isfinite(result.volume[finite]).all()
    assert not np.array_equal(result.volume[finite], volume[finite])
    assert np.isfinite(result.noise_sd).all()
    json.dumps(result.record, allow_nan=False)


def test_excluded_voxels_come_back_bit_by_bit_and_teach_nothing():
    volume = _noise((4, 40, 44))
    exclude = np.zeros(volume.shape, bool)
    exclude[:, :8] = exclude[2, 20:, 20:] = True
    other = volume.copy()
    other[exclude] = np.random.default_rng(9).uniform(-1e6, 1e6, exclude.sum()).astype(np.float32)

    result, with_other = (_brief(content, exclude=exclude) for content in (volume, other))

    np.testing.assert_array_equal(result.volume[exclude], volume[exclude])
    np.testing.assert_array_equal(with_other.volume[exclude], other[exclude])
    np.testing.assert_array_equal(with_other.volume[~exclude], result.volume[~exclude])
    assert not np.array_equal(result.volume[~exclude], volume[~exclude])


def test_pairs_with_an_excluded_voxel_are_not_matched():
    volume = _noise((4, 40, 44))
    exclude = np.zeros(volume.shape, bool)
    exclude[2] = exclude[:, :, :11] = True

    # Of three pairs one is left, of that three quarters; it is measured on what 60 steps drew.
    config = {**BRIEF, "fit": {"steps": 60, "crop_px": 40}}
    assert 0.1 < _brief(volume, exclude=exclude, config=config).measured.matched_fraction <= 0.25


@pytest.mark.slow
def test_the_local_mean_of_what_is_removed_is_restored(noisy):
    part = noisy[:5, 20:68, 20:68]
    config = {"fit": {"steps": 60, "crop_px": 32}}

    kept, moved = (
        ndimage.gaussian_filter(part - _fast(part, mean_px=mean_px, **config).volume, (0, 6, 6))
        for mean_px in (6.0, None)
    )

    # A mean of a mean is not quite that mean: some of it stays away.
    assert _rms(kept) < 0.7 * _rms(moved)


@pytest.mark.parametrize("value", [np.nan, 5.0])
def test_a_volume_of_which_nothing_counts_comes_back(value):
    volume = np.full((3, 20, 20), value, np.float32)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = _brief(volume, exclude=np.ones(volume.shape, bool))

    np.testing.assert_array_equal(result.volume, volume)
    json.dumps(result.record, allow_nan=False)


def test_a_constant_volume_comes_back(caplog):
    volume = np.full((4, 30, 30), -1024, np.float32)

    result = _brief(volume)

    np.testing.assert_array_equal(result.volume, volume)
    assert not np.shares_memory(result.volume, volume)
    assert len(result.loss) == 0
    assert "unchanged" in caplog.text
    assert result.summary()


def _all():
    """Whatever there is, rounded to float32."""
    return _ellipsoids() + _ramps() + _marks()


@pytest.mark.slow
@pytest.mark.parametrize("make", [_ellipsoids, _ramps, _checkerboard, _marks, _all])
def test_tissue_without_noise_comes_back(make):
    volume = make()

    result = denoise(volume, preset="fast", device="cpu", config={"fit": {"steps": 50}, "contrast_kept": False})

    # 60 dB: the error is a thousandth of the data range.
    assert _rms(result.volume - volume) <= 1e-3 * np.ptp(volume)


def test_the_unit_of_the_volume_does_not_matter(truth, noisy):
    part = (slice(0, 5), slice(20, 60), slice(20, 60))

    plain = _brief(noisy[part], config={**BRIEF, "fit": {"steps": 30, "crop_px": 16}})
    scaled = _brief(1000 * noisy[part] - 3e5, config={**BRIEF, "fit": {"steps": 30, "crop_px": 16}})

    removed = noisy[part] - plain.volume
    assert _rms(removed) > 0.1 * SD
    # What differs is rounding, in bfloat16 too.
    assert _rms((scaled.volume + 3e5) / 1000 - plain.volume) < 0.02 * _rms(removed)


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_the_number_of_threads_changes_no_bit(modality, monkeypatch):
    monkeypatch.setattr("nsn2n.runtime.compute.usable_cpus", lambda: 4)
    volume = np.abs(100 + _noise((6, 64, 64)))
    # In MR a second fit follows.
    config = {**BRIEF, "fit": {**BRIEF["fit"], "pairs_per_step": 4}, "refit": {"steps": 3, "crops_per_step": 4}}
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        try:
            results.append(_brief(volume, modality=modality, config=config))
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)

    assert [result.measured.threads for result in results] == [1, 2, 4]
    assert [bool(result.measured.refit_steps) for result in results] == [modality == "MR"] * 3
    assert len({result.volume.tobytes() for result in results}) == 1


def test_a_single_slice_is_refused():
    with pytest.raises(VolumeError, match=r"at least 2 slices .* got shape \(1, 20, 20\)"):
        _brief(_noise((1, 20, 20)))


@pytest.mark.parametrize("shape", [(2, 40, 40), (4, 20, 24), (5, 5, 7), (3, 16, 90)])
def test_few_and_small_slices(shape):
    volume = _noise(shape)

    # Crops of 64 px do not fit; the slice is taken whole.
    result = denoise(volume, preset="fast", device="cpu", config={"fit": {"steps": 20}})

    assert result.volume.shape == shape
    assert np.isfinite(result.volume).all()
    assert _rms(result.volume) < _rms(volume)


@pytest.mark.parametrize(
    "spacing_mm", [(1.0, 1.0), (1.0, 0.0, 1.0), (-2.0, 1.0, 1.0), (np.nan, 1.0, 1.0), (np.inf, 1.0, 1.0)]
)
def test_a_spacing_that_is_none_is_refused(spacing_mm):
    with pytest.raises(VolumeError, match="spacing_mm must be three positive numbers"):
        _brief(_noise((2, 16, 16)), spacing_mm=spacing_mm)


def test_an_unknown_modality_preset_device_or_setting_is_refused():
    volume = _noise((2, 16, 16))

    with pytest.raises(VolumeError, match="modality must be CT, MR, PT or None; got 'US'"):
        _brief(volume, modality="US")
    with pytest.raises(SettingsError, match="preset must be one of"):
        _brief(volume, preset="best")
    with pytest.raises(SettingsError, match="device must be one of"):
        _brief(volume, device="tpu")
    with pytest.raises(SettingsError, match="Did you mean 'fit'"):
        _brief(volume, config={"fits": {}})
    with pytest.raises(SettingsError, match=r"seed must be an integer .* got -1"):
        _brief(volume, seed=-1)


def test_far_slices_are_remarked_on_and_near_ones_are_not(caplog):
    caplog.set_level(logging.WARNING)

    _brief(_noise((2, 16, 16)), spacing_mm=(3.0, 0.5, 0.5), modality="CT")
    assert not caplog.text

    result = _brief(_noise((2, 16, 16)), spacing_mm=(5.0, 0.5, 0.5), modality="MR")
    assert "slices are 5 mm apart" in caplog.text
    assert result.measured.modality == "MR"


def test_the_preset_may_stand_in_the_configuration():
    result = _brief(_noise((2, 16, 16)), config={"preset": "fast", **BRIEF})

    assert result.settings == Settings.from_mapping({"preset": "fast", **BRIEF})


@pytest.mark.parametrize("constant", [False, True])
def test_progress_only_rises_and_ends_at_1(constant):
    volume = np.zeros((6, 24, 24)) if constant else _noise((6, 24, 24))
    calls = []

    _brief(volume, progress=lambda fraction, left: calls.append((fraction, left)))

    fractions = [fraction for fraction, _ in calls]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert all(0 <= fraction <= 1 and left >= 0 for fraction, left in calls)
    assert calls[-1] == (1.0, 0.0)
    assert len(calls) >= (1 if constant else 4)


@pytest.mark.parametrize("shape", [(4, 40, 44), (3, 12, 40)])
def test_the_paper_preset_from_end_to_end(shape):
    volume = _noise(shape)
    volume[0] = 30  # a slice without noise must not trouble the filter

    result = denoise(
        volume,
        preset="paper",
        device="cpu",
        config={"fit": {"epochs": 1, "crop_px": 32}, "network": {"channels": 8}},
    )

    assert np.isfinite(result.volume).all()
    assert not np.array_equal(result.volume, volume)
    assert result.measured.steps == 1
    assert np.isfinite(result.loss).all()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_a_large_volume():
    code = r"""
        import re
        from pathlib import Path
        import numpy as np
        from nsn2n.denoising import denoise

        def peak_bytes():
            # Not ru_maxrss, which a process takes over from the one that started it.
            peak_kib = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]
            return int(peak_kib) * 1024

        generator = np.random.default_rng(0)
        volume = np.empty((16, 512, 512), np.float32)
        for index, slice_hw in enumerate(volume):
            generator.standard_normal(dtype=np.float32, out=slice_hw)
            slice_hw += 5 * np.sin(np.arange(512, dtype=np.float32) / 80 + index / 100)
        before = peak_bytes()
        result = denoise(volume, preset="fast", device="cpu", config={"fit": {"steps": 5}})
        assert not np.array_equal(result.volume, volume)
        print(peak_bytes() - before, volume.nbytes)
    """

    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr
    needed, volume = map(int, finished.stdout.split())
    # Features of all slices at once, 32 channels, would be 32 volumes.
    assert needed <= 0.25e9 + 8 * volume


@pytest.mark.parametrize(("modality", "when", "steps"), [
    ("MR", "auto", 3), ("CT", "auto", 0), (None, "auto", 0), ("CT", "always", 3), ("MR", "never", 0),
])  # fmt: skip
def test_when_there_is_a_second_fit(modality, when, steps):
    volume = np.random.default_rng(0).normal(100, 5, (4, 24, 24))
    config = {"fit": {"steps": 3}, "network": {"channels": 4, "levels": 2}, "refit": {"when": when, "steps": 3}}
    result = denoise(volume, modality=modality, config=config)
    assert result.measured.refit_steps == steps


@pytest.mark.slow
def test_the_mean_of_noise_is_taken_out_of_mr_magnitudes_only():
    random = np.random.default_rng(0)
    noise = np.hypot(random.normal(0, 5, (6, 48, 48)), random.normal(0, 5, (6, 48, 48)))
    config = {"fit": {"steps": 60}, "refit": {"when": "never"}}
    results = {modality: denoise(noise, modality=modality, preset="fast", config=config) for modality in ("MR", "CT")}
    means = {modality: float(result.volume.mean()) for modality, result in results.items()}
    assert means["CT"] == pytest.approx(5 * np.sqrt(np.pi / 2), rel=0.03)
    assert means["MR"] < 0.5 * means["CT"]
    assert results["MR"].summary().endswith("mean of Rician noise subtracted")
    assert "Rician" not in results["CT"].summary()


def test_values_below_zero_are_no_magnitudes(caplog):
    volume = np.random.default_rng(0).normal(0, 5, (4, 32, 32))
    config = {"fit": {"steps": 20}, "refit": {"when": "never"}}
    result = denoise(volume, modality="MR", preset="fast", config=config)
    assert "negative values" in caplog.text
    assert abs(result.volume.mean() - volume.mean()) < 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "blur_px", "least", "noise_left"),
    [("default", 0, 0.84, 2.5), ("default", 0.7, 0.75, 5.0), ("smooth", 0, 0.95, 1.8), ("smooth", 0.7, 0.75, 1.8)],
)
def test_spots_of_one_slice_survive_in_even_tissue(preset, blur_px, least, noise_left):
    """Nothing but the spots differs from one even value: a fit alone erases them."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 1, (12, 96, 96)), (0, blur_px, blur_px))
    spots = np.zeros(noise.shape, bool)
    for z, y, x in [(z, y, x) for z in (3, 6, 9) for y in range(12, 90, 18) for x in range(12, 90, 18)]:
        spots[z, y - 1 : y + 2, x - 1 : x + 2] = True
    volume = (100 + 10 * noise / noise.std() + 50 * spots).astype(np.float32)
    config = {"fit": {"steps": 60, "stop_gain": None}, "contrast_kept": False}
    result = denoise(volume, preset=preset, modality="CT", config=config).volume - 100
    assert result[spots].mean() / 50 > least
    around = ~ndimage.binary_dilation(spots, np.ones((3, 5, 5)))
    assert result[around].std() < noise_left


@pytest.mark.parametrize("blur_px", [0.0, 0.7])
@pytest.mark.parametrize("outside", [40.0, -1000.0])
def test_noise_that_reconstruction_does_not_make_is_noise_in_ct_too(outside, blur_px):
    """White noise, also smoothed, in a cylinder: nothing is lost, as nothing is there."""
    rows, columns = np.mgrid[-1:1:128j, -1:1:128j]
    truth = np.where(np.hypot(rows, columns) < 0.8, 40.0, outside)
    noise = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(12, 128, 128)), (0, blur_px, blur_px))
    noisy = truth + 20 * noise / noise.std()

    result = denoise(noisy, modality="CT", spacing_mm=(2.0, 0.7, 0.7), device="cpu")

    inner = np.hypot(rows, columns) < 0.7
    assert result.structure.verdict == "pass"
    assert (result.measured.detail_lost or 0) < 0.1
    assert (result.volume - truth)[:, inner].std() < 7


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_strength_mixes_the_result_with_the_source(modality):
    random = np.random.default_rng(0)
    volume = np.hypot(100 + random.normal(0, 5, (4, 24, 24)), random.normal(0, 5, (4, 24, 24))).astype(np.float32)
    volume[0, 0, 0] = np.nan
    options = {"modality": modality, "config": {**BRIEF, "refit": {"steps": 3}}}
    whole, half, none = (_brief(volume, strength=strength, **options) for strength in (None, 0.5, 0))

    np.testing.assert_allclose(half.volume, (whole.volume + volume) / 2, rtol=1e-5)
    assert none.volume.tobytes() == volume.tobytes()
    assert _brief(volume, strength=1, **options).volume.tobytes() == whole.volume.tobytes()
    assert half.summary().endswith("; blended, 0.5 denoised + 0.5 source")
    assert "blended" not in whole.summary()
    assert half.record["settings"]["strength"] == 0.5
    assert half.measured.rms_change == pytest.approx(whole.measured.rms_change / 2, rel=1e-4)


@pytest.mark.parametrize("strength", [-0.5, 2, float("nan")])
def test_strength_beyond_its_ends_is_refused(strength):
    with pytest.raises(SettingsError, match=r"strength must be in 0\.\.1"):
        _brief(_noise((3, 16, 16)), strength=strength)


@pytest.mark.slow
def test_a_budget_ends_all_fits_early():
    volume = np.random.default_rng(0).normal(100, 10, (5, 32, 32)).astype(np.float32)
    config = {"fit": {"steps": 60, "crop_px": 16}, "refit": {"steps": 120, "renew_at": 0.5}}

    whole, brief = (
        denoise(volume, modality="MR", config={**config, **budget}).measured for budget in ({}, {"budget_s": 1e-3})
    )

    assert (whole.steps, whole.refit_steps) == (60, 120)
    assert (brief.steps, brief.refit_steps) == (20, 20 + 20)


def test_parts_share_a_budget_and_the_result_tells_the_whole():
    volume = np.random.default_rng(0).normal(100, 10, (5, 32, 32)).astype(np.float32)

    fit = {"steps": 60, "crop_px": 16, "reuse": False}
    result = denoise(volume, parts=(2, 3), config={"fit": fit, "budget_s": 1e-3})

    assert [measured.steps for _, measured in result.parts] == [20, 20]
    assert result.settings.budget_s == 1e-3


@pytest.mark.slow
def test_a_faint_structure_through_several_slices_survives():
    # A disc of 10 px in 5 slices, 1 noise sd above its surroundings: no single slice shows it for sure.
    random = np.random.default_rng(0)
    truth = np.zeros((12, 96, 96), np.float32)
    disc = np.hypot(*np.mgrid[-48:48, -48:48]) < 5
    truth[4:9, disc] = 10.0
    noisy = (truth + 10 * random.standard_normal(truth.shape)).astype(np.float32)

    kept = {}
    for preset, threshold in (("default", None), ("smooth", None), ("smooth", 2.0)):
        fit = {"steps": 60, "crop_px": 32, "stop_gain": None}
        config = {"excess_across_sd": threshold, "fit": fit, "contrast_kept": False}
        volume = denoise(noisy, modality="CT", preset=preset, config=config).volume
        around = np.hypot(*np.mgrid[-48:48, -48:48]) > 9
        kept[preset, threshold] = float(volume[4:9, disc].mean() - volume[4:9, around].mean()) / 10

    assert kept["default", None] > 0.7
    assert kept["smooth", 2.0] > 0.7
    assert kept["smooth", 2.0] > kept["smooth", None] + 0.03


ALL_FILTERS = {
    "fit": {"steps": 2, "crop_px": 16},
    "network": {"channels": 4, "levels": 2, "start": "none"},
    "refit": {"when": "always", "steps": 2},
    "edges": {"when": "always"},
    "average": {"coarse": "always"},
}


def _padding(shape):
    """Where nothing was measured: around a circle, a corner, whole slices, an edge, a hole and a single voxel."""
    y, x = np.indices(shape[1:])
    padding = np.zeros(shape, bool)
    padding[:] = np.hypot(y - shape[1] / 2, x - shape[2] / 2) > 0.48 * shape[1]
    padding[:, :12, :12] = True
    padding[[0, 3]] = True
    padding[2, 20:23, 20:23] = True
    padding[4, 25, 25] = True
    padding[5, 28:] = True
    return padding


@pytest.mark.parametrize("shear_px", [None, (1.4, 0.0)], ids=["upright", "tilted"])
@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
def test_no_filter_lets_padding_into_its_neighbors(modality, shear_px):
    shape = (7, 40, 40)
    padding = _padding(shape)
    noise = ndimage.gaussian_filter(_noise(shape), (0, 0.8, 0.8))  # with a coarse part
    stripes = 200 * (np.indices(shape)[2] // 10 % 2)
    results = []
    for value in (-2000, -3024, 30000):
        volume = np.where(padding, value, 500 + stripes + noise).astype(np.float32)
        result = denoise(
            volume, modality=modality, exclude=padding, shear_px=shear_px, device="cpu", config=ALL_FILTERS
        )
        np.testing.assert_array_equal(result.volume[padding], value)
        assert (result.volume != volume)[~padding].mean() > 0.5
        results.append(result)
    for other in results[1:]:
        np.testing.assert_array_equal(other.volume[~padding], results[0].volume[~padding])
        np.testing.assert_array_equal(other.noise_sd[~padding], results[0].noise_sd[~padding])
        assert other.structure.excess == results[0].structure.excess
