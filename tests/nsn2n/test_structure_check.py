# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Noise passes, anatomy does not."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from nsn2n.errors import SettingsError, VolumeError
from nsn2n.noise.level import measure_noise
from nsn2n.settings import StructureSettings
from nsn2n.stack.acquired_grid import AcquiredGrid
from nsn2n.stack.shear import Layout
from nsn2n.structure_check import (
    Finding,
    StructureCheck,
    check_structure,
    joined_structure,
    moved_to_slices,
    moved_to_stored,
    raise_on_failed_check,
)

SD = 20.0


@pytest.fixture(scope="module")
def anatomy():
    """Even regions with sharp edges, which move a little from slice to slice."""
    z, y, x = np.indices((8, 128, 128))
    volume = np.zeros(z.shape, np.float32)
    for row, column, radius, value in ((64, 64, 55, 400), (50, 50, 15, -300), (80, 75, 20, 250), (45, 85, 9, 500)):
        volume[np.hypot(y - row - 0.3 * z, x - column) < radius] += value
    return volume


def _noise(blur_px, seed=0):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(0, 1, (8, 128, 128)), (0, blur_px, blur_px))
    return (SD * noise / noise.std()).astype(np.float32)


def _check(noisy, denoised, **options):
    noise = measure_noise(noisy)
    return check_structure(noisy, denoised, noise.sd, floor=noise.floor, **options)


@pytest.mark.parametrize("blur_px", [0, 0.8])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_noise_is_noise(anatomy, blur_px, seed, share):
    noise = _noise(blur_px, seed)
    check = _check(anatomy + noise, anatomy + (1 - share) * noise)

    assert check.verdict == "pass", check
    assert check.findings == ()
    assert abs(check.edges) < 0.03


@pytest.mark.parametrize("blur_px", [0, 0.8])
def test_local_means_of_noise_are_no_larger_at_the_border(blur_px):
    noise = np.concatenate([_noise(blur_px, seed)[:, :64, :64] for seed in range(40)])

    excess = check_structure(noise, np.zeros_like(noise), np.full_like(noise, SD)).excess_hw

    # Of the largest of 320 values in each pixel.
    border = np.concatenate([excess[0], excess[-1], excess[:, 0], excess[:, -1]])
    assert border.mean() == pytest.approx(excess[16:48, 16:48].mean(), rel=0.1)


@pytest.mark.parametrize("sigma_px", [0.7, 1.0, 1.5])
def test_blurred_edges_fail(anatomy, sigma_px):
    noisy = anatomy + _noise(0)
    assert _check(noisy, ndimage.gaussian_filter(noisy, (0, sigma_px, sigma_px))).verdict == "fail"


def test_the_share_of_the_edges_is_the_one_that_was_removed(anatomy):
    detail = anatomy - ndimage.gaussian_filter(anatomy, (0, 1, 1))
    still = np.repeat(anatomy[:1], 8, axis=0)
    detail = np.repeat(detail[:1], 8, axis=0)

    check = _check(still + _noise(0), still - 0.5 * detail)

    # Of the edges that neighbors show, whose noise counts as edge too: a little less than the half.
    assert check.edges == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(("depth", "sign"), [(1, 1), (3, -1)])
def test_an_erased_lesion_is_found_where_it_was(anatomy, depth, sign):
    noise = _noise(0)
    lesion = np.zeros_like(anatomy)
    lesion[4 : 4 + depth, 63:66, 31:34] = sign * 5 * SD

    check = _check(anatomy + noise + lesion, anatomy)

    assert check.verdict == "fail"
    assert len(check.findings) == depth
    assert {found.index_zyx[0] for found in check.findings} == set(range(4, 4 + depth))
    for found in check.findings:
        assert abs(found.index_zyx[1] - 64) <= 1
        assert abs(found.index_zyx[2] - 32) <= 1
        assert np.sign(found.excess) == sign
    assert np.unravel_index(check.excess_hw.argmax(), check.excess_hw.shape) == pytest.approx((64, 32), abs=1)


def test_a_region_that_was_moved_is_not_coherent_with_noise(anatomy):
    noisy = anatomy + _noise(0)
    denoised = anatomy.copy()
    denoised[:, 20:70, 20:70] -= SD / 2

    assert _check(noisy, denoised).coherence > 1.1
    assert _check(noisy, denoised).verdict != "pass"


def test_noise_that_is_stronger_in_a_corner_is_noise(anatomy):
    """Within a block of the noise estimate, which is a median and does not see it."""
    noise = _noise(0.8)
    noise[:, 100:111, 20:31] *= 2

    assert _check(anatomy + noise, anatomy).verdict == "pass"


def test_voxels_that_do_not_count_do_not(anatomy):
    noise = _noise(0)
    valid = np.ones(anatomy.shape, bool)
    valid[:, :, :20] = False
    denoised = anatomy.copy()
    denoised[~valid] += 1000

    assert _check(anatomy + noise, denoised).verdict == "fail"
    assert _check(anatomy + noise, denoised, valid=valid).verdict == "pass"


@pytest.mark.parametrize("shape", [(2, 8, 8), (3, 40, 20)])
@pytest.mark.filterwarnings("error")
def test_small_and_noiseless_volumes(shape):
    volume = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    flat = np.zeros(shape, np.float32)

    assert _check(volume, np.zeros_like(volume)).edges is None
    assert check_structure(flat, flat, flat).verdict == "pass"


def test_record_and_summary_are_plain(anatomy):
    noisy = anatomy + _noise(0)
    check = _check(noisy, ndimage.gaussian_filter(noisy, (0, 1, 1)))

    assert json.loads(json.dumps(check.record)) == check.record
    assert check.record["verdict"] == "fail"
    assert len(check.record["findings"]) == 20
    assert check.summary().startswith("structure check fail (")
    assert check.summary().isascii()


def test_limits_decide(anatomy):
    noise = _noise(0)
    found = _check(anatomy + noise, anatomy)
    strict = StructureSettings(excess_review=found.excess * 0.9)
    stricter = StructureSettings(excess_review=found.excess * 0.5, excess_fail=found.excess * 0.9)

    assert _check(anatomy + noise, anatomy, settings=strict).verdict == "review"
    assert _check(anatomy + noise, anatomy, settings=stricter).verdict == "fail"
    with pytest.raises(SettingsError, match=r"structure\.excess_review must be > 0 and <= structure\.excess_fail"):
        StructureSettings(excess_review=9.0)


@pytest.mark.parametrize(("lost", "verdict"), [(0.3, "pass"), (0.45, "review"), (0.6, "fail")])
def test_where_noise_hides_the_detail_faint_discs_are_judged(anatomy, lost, verdict):
    noisy = anatomy + _noise(0)

    check = _check(noisy, anatomy, contrast_lost=lost)
    assert (check.verdict, check.contrast, check.detail) == (verdict, lost, None)
    assert f"faint detail hidden by noise, {lost:.0%} of the contrast of faint discs" in check.summary()

    assert "faint detail not measured, largest" in _check(noisy, anatomy).summary()


@pytest.mark.parametrize(("lost", "verdict"), [(0.2, "pass"), (0.45, "pass"), (0.6, "review"), (1.0, "review")])
def test_where_detail_is_known_lost_discs_are_to_be_looked_at(anatomy, lost, verdict):
    check = _check(anatomy + _noise(0), anatomy, contrast_lost=lost, detail_lost=0.05)

    assert (check.verdict, check.contrast) == (verdict, lost)
    assert f"5% of the faint detail, {lost:.0%} of the contrast of faint discs" in check.summary()


def test_a_failure_is_refused_unless_forced():
    failed = {"verdict": "fail", "excess": 9.0, "coherence": 1.0}
    with pytest.raises(VolumeError, match="structure check says fail") as caught:
        raise_on_failed_check(failed)

    assert "\n" not in str(caught.value)
    raise_on_failed_check(failed, force=True)
    raise_on_failed_check({**failed, "verdict": "review"})
    with pytest.raises(VolumeError, match="60% of the contrast of faint discs lost"):
        raise_on_failed_check({**failed, "contrast": 0.6})
    raise_on_failed_check({})


def test_parts_are_as_bad_as_the_worst_of_them():
    def check(verdict, edges, excess, *findings):
        return StructureCheck(
            verdict=verdict, edges=edges, excess=excess, coherence=excess / 10, findings=findings,
            excess_hw=np.full((2, 2), excess, np.float32),
        )  # fmt: skip

    parts = [
        (0, check("pass", None, 2.0)),
        (5, check("fail", 0.2, 9.0, Finding((1, 0, 1), -9.0, 2.0))),
        (9, check("review", 0.3, 7.0, Finding((0, 1, 1), 7.0, 1.0))),
    ]

    joined = joined_structure(parts)

    assert (joined.verdict, joined.edges, joined.excess, joined.coherence) == ("fail", 0.3, 9.0, 0.9)
    assert [finding.index_zyx for finding in joined.findings] == [(6, 0, 1), (9, 1, 1)]
    assert (joined.excess_hw == 9).all()
    assert joined_structure(parts[:1]).edges is None
    of_discs = [
        (start, replace(part, contrast=lost)) for (start, part), lost in zip(parts, (0.1, None, 0.4), strict=True)
    ]
    assert joined_structure(of_discs).contrast == 0.4


def _found_once(index_zyx, size_px, excess_hw):
    return StructureCheck(
        verdict="review",
        edges=None,
        excess=9.0,
        coherence=0.5,
        findings=(Finding(index_zyx, 9.0, size_px),),
        excess_hw=excess_hw,
    )


def test_what_was_found_on_the_canvas_is_said_of_the_slices():
    layout = Layout((3, 6, 8), (2.0, -1.0))  # slice z lies 2 z rows down and 2 - z columns to the right
    excess_hw = np.zeros(layout.shape_dhw[1:], np.float32)
    excess_hw[5, 4] = 9.0
    found = _found_once((1, 5, 4), 2.0, excess_hw)

    moved = moved_to_slices(found, layout)

    assert [finding.index_zyx for finding in moved.findings] == [(1, 3, 3)]
    assert np.argwhere(moved.excess_hw == 9.0).tolist() == [[1, 4], [3, 3], [5, 2]]
    assert moved.excess_hw.shape == (6, 8)


def test_what_was_found_on_the_acquired_grid_is_said_of_the_stored_slices():
    excess_hw = np.zeros((6, 8), np.float32)
    excess_hw[5, 4] = 9.0
    found = _found_once((1, 5, 4), 1.5, excess_hw)

    moved = moved_to_stored(found, AcquiredGrid((6, 8), (12, 16)))

    assert moved.findings == (Finding((1, 10, 8), 9.0, 3.0),)
    assert moved.excess_hw.shape == (12, 16)
    assert moved.excess_hw[10, 8] == 9.0
