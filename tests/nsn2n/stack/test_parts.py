# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A volume in parts: each is denoised as if it were alone."""

from __future__ import annotations

import json
import logging
from functools import partial

import numpy as np
import pytest

from nsn2n import denoise
from nsn2n.errors import VolumeError
from nsn2n.stack.parts import checked_parts, for_each_part

BRIEF = {"fit": {"steps": 3, "crop_px": 16}, "network": {"channels": 4, "levels": 2}}
run = partial(denoise, config=BRIEF, device="cpu", seed=5)


@pytest.fixture
def volume_dhw():
    """Two parts of other noise, and a slice between them."""
    noise = np.random.default_rng(3).normal(0, 1, (12, 24, 20)).astype(np.float32)
    noise[:5] *= 20
    noise[6:] *= 5
    return 100 + noise


def test_each_part_is_what_it_would_be_alone(volume_dhw):
    exclude = np.zeros(volume_dhw.shape, bool)
    exclude[:, :4] = True
    result = run(volume_dhw, parts=(5, 1, 6), exclude=exclude, modality="CT")
    first, last = (run(volume_dhw[part], exclude=exclude[part], modality="CT") for part in (slice(5), slice(6, 12)))
    np.testing.assert_array_equal(result.volume, np.concatenate([first.volume, volume_dhw[5:6], last.volume]))
    np.testing.assert_array_equal(result.noise_sd[:5], first.noise_sd)
    np.testing.assert_array_equal(result.noise_sd[6:], last.noise_sd)
    assert not result.noise_sd[5].any()
    np.testing.assert_array_equal(result.loss, np.concatenate([first.loss, last.loss]))
    assert [slices for slices, _ in result.parts] == [5, 6]
    for (_, measured), alone in zip(result.parts, (first, last), strict=True):
        assert measured.noise_sd_median == alone.measured.noise_sd_median


@pytest.mark.parametrize("parts", [None, (12,), [12]])
def test_one_part_is_no_part(volume_dhw, parts):
    result = run(volume_dhw, parts=parts)
    np.testing.assert_array_equal(result.volume, run(volume_dhw).volume)
    assert result.parts == ()
    assert "parts" not in result.summary()
    assert "parts" not in result.record


def test_the_record_tells_of_all_parts_and_of_each(volume_dhw):
    result = run(volume_dhw, parts=(5, 1, 6))
    assert json.loads(json.dumps(result.record)) == result.record
    measured, parts = result.record["measured"], result.record["parts"]
    assert (measured["parts"], measured["slices_alone"], len(parts)) == (3, 1, 2)
    assert measured["noise_sd_median"] == parts[1]["noise_sd_median"] < parts[0]["noise_sd_median"] / 3
    changes = [part["rms_change"] for part in parts]
    assert measured["rms_change"] == pytest.approx(np.sqrt((5 * changes[0] ** 2 + 6 * changes[1] ** 2) / 11))
    fractions = [part["matched_fraction"] for part in parts]
    assert measured["matched_fraction"] == pytest.approx((5 * fractions[0] + 6 * fractions[1]) / 11)
    assert measured["steps"] == 3
    assert result.summary().endswith("; 3 parts, each fitted alone (1 slices without neighbor unchanged)")
    assert result.summary().isascii()


def test_a_slice_alone_is_warned_of(volume_dhw, caplog):
    run(volume_dhw, parts=(11, 1))
    assert "1 of 12 slices have no neighbor" in caplog.text
    caplog.clear()
    run(volume_dhw, parts=(6, 6))
    assert "have no neighbor" not in caplog.text


def test_progress_rises_over_all_parts(volume_dhw):
    seen = []
    run(volume_dhw, parts=(5, 1, 6), progress=lambda fraction, left: seen.append((fraction, left)))
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert seen[-1] == (1.0, 0.0)
    assert any(0.4 < fraction < 0.5 for fraction in fractions)
    assert all(left >= 0 for _, left in seen)


@pytest.mark.parametrize("parts", [(5, 6), (12, 0), (13, -1), (6.0, 6.0), (), [1] * 12])
def test_parts_that_are_none_are_refused(volume_dhw, parts):
    with pytest.raises(VolumeError, match="part"):
        run(volume_dhw, parts=parts)


def test_each_part_has_its_spacing(volume_dhw, caplog):
    caplog.set_level(logging.WARNING)
    run(volume_dhw, parts=(6, 6), spacing_mm=[(1.0, 1.0, 1.0), (7.0, 1.0, 1.0)])
    assert "slices are 7 mm apart" in caplog.text
    assert "slices are 1 mm apart" not in caplog.text
    caplog.clear()
    run(volume_dhw, parts=(4, 4, 4), spacing_mm=(7.0, 1.0, 1.0))
    assert caplog.text.count("slices are 7 mm apart") == 1
    with pytest.raises(VolumeError, match="for each of 2 parts; got 3"):
        run(volume_dhw, parts=(6, 6), spacing_mm=[(1.0, 1.0, 1.0)] * 3)


def test_a_mask_of_another_shape_is_refused(volume_dhw):
    with pytest.raises(VolumeError, match="exclude must have the volume's shape"):
        run(volume_dhw, parts=(6, 6), exclude=np.zeros((12, 24, 19), bool))


def test_helpers_take_what_most_callers_have():
    assert checked_parts(None, 7) == (7,)
    assert checked_parts(np.array([3, 4]), 7) == (3, 4)
    assert for_each_part("x", None, 3, 2) == (None, None)
    assert for_each_part("x", (1.0, 2.0, 3.0), 3, 2) == ((1.0, 2.0, 3.0),) * 2
    assert for_each_part("x", [(1.0, 2.0, 3.0)], 3, 1) == ((1.0, 2.0, 3.0),)
