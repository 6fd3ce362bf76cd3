# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What peers are told about the noise, and that those of packages which are always here remove some of it."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from cases import make_case
from measures import measure
from peers import METHODS, PACKAGES, PEERS, TUNED, Job, noise_spectrum
from run import estimate_sigma
from scipy import ndimage


def test_spectrum_has_the_scale_and_the_shape_of_the_noise():
    white = np.random.default_rng(0).normal(0, 1, (8, 128, 96)).astype(np.float32)
    noise = ndimage.gaussian_filter(white, (0, 1, 1), mode="wrap")
    noise *= 3 / noise.std()
    found = noise_spectrum(noise, 3.0)
    true = np.square(np.abs(np.fft.fftn(noise)))
    assert found.mean() == pytest.approx(true.mean(), rel=1e-3)
    for ring in ((slice(None), slice(0, 8), slice(0, 6)), (slice(None), slice(60, 68), slice(44, 52))):
        assert found[ring].mean() / found.mean() == pytest.approx(true[ring].mean() / true.mean(), rel=0.3, abs=0.01)


def test_structure_that_stays_is_not_taken_for_noise():
    noise = np.random.default_rng(0).normal(0, 1, (8, 128, 96)).astype(np.float32)
    even = noise_spectrum(noise, 1.0)
    structured = noise.copy()
    structured[4:, 40:60, 40:60] += 500  # begins within the volume
    assert noise_spectrum(structured, 1.0) == pytest.approx(even, rel=0.2)


@pytest.mark.parametrize("method", ["nlm", "tv", "curvature-flow"])
@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_peers_remove_noise(method, modality):
    case = make_case("checkerboard", "tiny", 1)
    noisy = (case.noisy - case.truth).astype(np.float32)
    job = Job(noisy=noisy, sigma=20.0, spacing_mm=(1, 1, 1), modality=modality, seed=0, steps=1)
    output = METHODS[method]()(job)
    assert output.shape == noisy.shape
    assert output.std() < 0.7 * noisy.std()
    assert abs(output.mean() - noisy.mean()) < 0.5


def test_every_peer_has_a_package_and_every_setting_a_peer():
    assert set(PEERS) <= set(PACKAGES) == set(METHODS)
    assert set(TUNED) <= set(PEERS)
    assert all(set(settings) == {"MR", "CT"} for settings in TUNED.values())


def test_peers_are_not_needed_until_they_run():
    assert not {"ants", "bm4d", "careamics"} & set(sys.modules)


def test_identity_changes_nothing():
    case = make_case("text", "tiny", 1)
    sigma = estimate_sigma(case.noisy)
    job = Job(noisy=case.noisy, sigma=sigma, spacing_mm=case.spacing_mm, modality="CT", seed=0, steps=1)
    assert measure(case, METHODS["identity"]()(job))["change_max"] == 0
