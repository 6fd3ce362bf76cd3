# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The training of the bundled weights, for a moment: it gives files that load, the same each time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nsn2n.settings import NetworkSettings
from nsn2n.training.networks import ResidualUNet
from nsn2n.training.pretrained import START_SLICES, TISSUE_SLICES, load_start

SCRIPTS = Path(__file__).resolve().parents[2] / "models" / "nsn2n" / "scripts"


def _train(output, script="train_start.py"):
    options = ["--steps", "3", "--volumes", "2", "--output", output]
    subprocess.run([sys.executable, SCRIPTS / script, *options], check=True, capture_output=True)
    return output.read_bytes()


@pytest.mark.slow
def test_the_script_writes_weights_that_load_and_the_same_each_time(tmp_path):
    first, second = (_train(tmp_path / name) for name in ("a.safetensors", "b.safetensors"))

    assert first == second
    settings = NetworkSettings()
    for slices in START_SLICES:
        network = ResidualUNet(settings.channels, settings.levels, settings.detail_px, slices)
        load_start(network, slices, tmp_path / "a.safetensors")


@pytest.mark.slow
def test_the_script_for_tissue_goes_on_from_the_weights_to_start_from(tmp_path):
    _train(tmp_path / "a.safetensors", "train_tissue.py")

    settings = NetworkSettings()
    start, further = (
        ResidualUNet(settings.channels, settings.levels, settings.detail_px, TISSUE_SLICES) for _ in range(2)
    )
    load_start(start, TISSUE_SLICES)
    load_start(further, TISSUE_SLICES, tmp_path / "a.safetensors")
    changes = [(one - other).abs().max() for one, other in zip(start.parameters(), further.parameters(), strict=True)]
    assert 0 < max(changes) < 0.1


@pytest.fixture
def synthetic(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import synthetic_volumes

    return synthetic_volumes


def test_noise_has_unit_variance_and_slices_of_their_own(synthetic):
    random = np.random.default_rng(0)

    for white_share in 6 * (0.0, 0.5):
        noise = synthetic.random_noise(random, (5, 96, 96), white_share)
        assert noise.dtype == np.float32
        assert np.std(noise) == pytest.approx(1, abs=0.1)
        assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.3


@pytest.mark.parametrize("kind", ["random_volume", "tissue_volume"])
def test_volumes_are_finite_and_differ(synthetic, kind):
    random = np.random.default_rng(0)

    volumes = [getattr(synthetic, kind)(random) for _ in range(4)]

    assert all(volume.shape == synthetic.SHAPE and volume.dtype == np.float32 for volume in volumes)
    assert all(np.isfinite(volume).all() and np.std(volume) > 0.05 for volume in volumes)
    assert not np.array_equal(volumes[0], volumes[1])


def test_noise_of_reconstruction_has_unit_variance_and_slices_of_their_own(synthetic):
    random = np.random.default_rng(0)

    for _ in range(12):
        noise = synthetic.reconstruction_noise(random, (5, 96, 96))
        assert noise.dtype == np.float32
        assert np.std(noise) == pytest.approx(1, abs=0.1)
        assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.3


def test_noise_is_white_as_often_as_asked(synthetic):
    """White noise has no correlation from pixel to pixel; the other kinds have."""

    def is_white():
        noise = synthetic.random_noise(random, (1, 96, 96), 0.7)[0]
        return abs(np.corrcoef(noise[1:].ravel(), noise[:-1].ravel())[0, 1]) < 0.03

    random = np.random.default_rng(0)
    assert np.mean([is_white() for _ in range(200)]) == pytest.approx(0.7, abs=0.1)
