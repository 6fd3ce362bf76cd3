# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The measures of the benchmarks, on arrays whose answer is known."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def measures():
    spec = importlib.util.spec_from_file_location("measures", BENCHMARKS / "measures.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["measures"] = module
    spec.loader.exec_module(module)
    return module


def test_psnr_of_a_constant_error(measures):
    truth = np.zeros((2, 4, 4), np.float32)
    assert measures.psnr(truth + 0.1, truth) == pytest.approx(20)
    where = np.zeros(truth.shape, bool)
    where[0] = True
    assert measures.psnr(truth + np.array([0.01, 1], np.float32)[:, None, None], truth, where) == pytest.approx(40)


@pytest.mark.parametrize(("diameter", "pixels"), [(3, 9), (5, 21)])
def test_disc_has_the_pixels_within_its_radius(measures, diameter, pixels):
    assert len(measures.disc(diameter)) == pixels


def test_contrast_kept_of_known_outputs(measures):
    tissue = np.ones((20, 80, 80), bool)
    spots = measures.place_spots(tissue, 3, count=20)
    assert {spot.sign for spot in spots} == {-1, 1}
    plain = np.zeros(tissue.shape, np.float32)
    added = measures.add_spots(plain, spots, 5.0)
    assert np.count_nonzero(added) == 20 * 9
    assert measures.contrast_kept(added, plain, spots, 5.0) == pytest.approx(1)
    assert measures.contrast_kept(0.5 * added, plain, spots, 5.0) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="room for 5000 spots"):
        measures.place_spots(tissue, 3, count=5000)


def test_rods_noise_and_edges_of_a_disc_in_air(measures):
    rows, columns = np.mgrid[:128, :128]
    inside = np.hypot(rows - 64, columns - 64) < 30
    smooth = np.where(inside, 100.0, -1000.0).astype(np.float32)[None].repeat(3, axis=0)
    rods = measures.find_rods(smooth)
    assert len(rods.interiors) == len(rods.rims) == 3
    noisy = smooth + np.random.default_rng(0).normal(0, 10, smooth.shape).astype(np.float32)
    sd, mean = measures.rod_noise(noisy, rods)
    assert sd == pytest.approx(10, rel=0.05)
    assert mean == pytest.approx(100, abs=1)
    sharp = measures.edge_steepness(smooth, rods)
    assert 0.3 * 1100 < sharp <= 1100
    assert measures.edge_steepness(0.5 * smooth, rods) == pytest.approx(0.5 * sharp)


def test_the_command_names_its_cases():
    result = subprocess.run(
        [sys.executable, BENCHMARKS / "run.py", "--help"], capture_output=True, text=True, check=True
    )
    assert "phantom,mr,ct" in result.stdout
