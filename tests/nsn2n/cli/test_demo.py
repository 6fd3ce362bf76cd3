# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib import image as mpimg

from nsn2n.cli.demo import compare, run_demo
from nsn2n.dicom.read.series_reader import read_series
from nsn2n.errors import NSN2NError
from nsn2n.synthetic.phantom import make_phantom

SHAPE = (6, 96, 80)
CONFIG = {"fit": {"steps": 60}, "network": {"channels": 8, "levels": 2}}


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(SHAPE)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """One run of the application for all tests that look at its result."""
    folder = tmp_path_factory.mktemp("demo")
    return folder, run_demo(folder, shape_dhw=SHAPE, config=CONFIG)


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")  # no error: infinitely many dB
def test_truth_is_perfect(phantom):
    quality = compare(phantom.truth_dhw, phantom)

    assert quality.psnr_db == math.inf
    assert quality.ssim == pytest.approx(1.0)


def test_psnr_of_a_known_error(phantom):
    """An error of 4 HU everywhere within a window of 400 HU: 20 log10(400 / 4) = 40 dB; and no noise."""
    flat = replace(phantom, truth_dhw=np.full(SHAPE, 40, np.float32))

    quality = compare(np.full(SHAPE, 44, np.float32), flat)

    assert quality.psnr_db == pytest.approx(40.0, abs=1e-3)
    assert quality.noise_sd_hu == 0.0


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_errors_outside_of_the_window_do_not_count(phantom):
    air = phantom.truth_dhw < -200
    assert air.any()

    quality = compare(np.where(air, phantom.truth_dhw - 500, phantom.truth_dhw), phantom)

    assert quality.psnr_db == math.inf


def test_noise_sd_is_that_of_the_soft_tissue(phantom):
    """sd of 3 with the sample's own error: sd / sqrt(2 n)."""
    noisy = phantom.truth_dhw + np.random.default_rng(0).normal(0, 3, SHAPE).astype(np.float32)
    count = int(phantom.soft_tissue_mask.sum())

    quality = compare(np.where(phantom.soft_tissue_mask, noisy, 1e4), phantom)

    assert quality.noise_sd_hu == pytest.approx(3, abs=5 * 3 / math.sqrt(2 * count))


@pytest.mark.slow
def test_the_result_is_better_than_the_input(demo, phantom):
    _, result = demo

    # What comes from the files is what was made, but for the rounding to whole HU.
    made = compare(phantom.noisy_dhw, phantom)
    assert result.before.psnr_db == pytest.approx(made.psnr_db, abs=0.05)
    assert result.before.noise_sd_hu == pytest.approx(made.noise_sd_hu, rel=0.01)
    assert result.after.noise_sd_hu < 0.9 * result.before.noise_sd_hu
    assert result.after.psnr_db > result.before.psnr_db + 1
    assert result.after.ssim > result.before.ssim
    assert 0 < result.seconds < 300
    assert result.peak_memory_mib > 100


def test_files_of_a_demonstration(demo):
    folder, result = demo

    (derived,) = (folder / "denoised").glob("2.25.*")
    series = read_series(sorted(derived.glob("*.dcm")), allow_own_output=True)
    assert series.geometry.shape_dhw == SHAPE
    assert len(list((folder / "input").glob("*.dcm"))) == SHAPE[0]
    picture = mpimg.imread(result.picture)
    assert picture.shape[1] > picture.shape[0] > 100
    assert np.ptp(picture[..., :3]) > 0.9


def test_the_table_tells_what_was_measured(demo):
    _, result = demo

    text = str(result)

    assert re.search(
        rf"noise sd in soft tissue, HU +{result.before.noise_sd_hu:.1f} +{result.after.noise_sd_hu:.1f}\n", text
    )
    assert re.search(r"PSNR in -160\.\.240 HU, dB +[\d.]+ +[\d.]+\n", text)
    assert "6 x 96 x 80 voxels" in text
    assert str(result.picture) in text


def test_a_folder_with_other_things_is_left_as_it_is(tmp_path):
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "precious.dcm").write_bytes(b"1")

    with pytest.raises(NSN2NError, match="holds something else"):
        run_demo(tmp_path, shape_dhw=SHAPE)

    assert [path.name for path in tmp_path.rglob("*")] == ["input", "precious.dcm"]


def test_a_failing_application_is_an_error_and_an_earlier_demonstration_is_replaced(demo, tmp_path, capfd):
    """A folder of an earlier run: its results go, a file that the demonstration did not make stays."""
    run_settings = tmp_path / "nsn2n-demo.yaml"
    run_settings.write_text("")
    for name in ("input", "denoised"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "old.dcm").touch()
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(NSN2NError, match="exit code 0; got 1"):
        run_demo(tmp_path, shape_dhw=SHAPE, config={"fit": {"steps": 0}})

    assert "fit.steps must be >= 1" in capfd.readouterr().err
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert not list(tmp_path.rglob("old.dcm"))
