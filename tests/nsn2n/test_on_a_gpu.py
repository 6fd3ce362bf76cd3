# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A volume in the memory of a GPU: what filters and measurements give there is what they give for arrays of NumPy.

The code for tensors runs in the host's memory too, so most of it is tried without a GPU.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from unittest import mock

import numpy as np
import pytest
import torch
from scipy import ndimage

import nsn2n
from nsn2n.arrays.either import copied, on_device, on_host
from nsn2n.arrays.planes import gaussian
from nsn2n.earlier_fits import levels_of
from nsn2n.filters import block_matching, block_stacks, cubes
from nsn2n.filters.aggregation import Aggregate
from nsn2n.filters.cube_filter import filter_cubes
from nsn2n.filters.edge_filter import filter_edges
from nsn2n.filters.group_filter import filter_groups
from nsn2n.filters.guided_nlm import coarse_mean, guided_mean, step_for
from nsn2n.filters.structure_recovery import StructureRecovery
from nsn2n.noise.correlation import slice_correlation
from nsn2n.noise.level import NoiseMap, measure_noise
from nsn2n.noise.no_signal import signal_shares
from nsn2n.noise.rician import channel_noise, without_bias
from nsn2n.noise.spectrum import noise_spectrum
from nsn2n.pipeline import measured_state
from nsn2n.probes import place_probes
from nsn2n.runtime.compute import Compute, choose_compute, reproducible
from nsn2n.settings import AverageSettings, EdgeSettings, MatchSettings, Settings
from nsn2n.simulated_copy import simulated_copy
from nsn2n.structure_check import check_structure
from nsn2n.training.slice_pairs import pairs_by_noise

SD = 10.0
SHAPE = (8, 90, 84)
NO_GPU = "PyTorch finds no GPU that it can use: TENSORS WERE TRIED IN THE HOST'S MEMORY ALONE"


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip(NO_GPU)
    with reproducible(0):
        yield torch.device(request.param)


def make_volume(shape=SHAPE, seed=0):
    """Truth with a bright and a dark structure, and the same under noise that is coarser than a pixel."""
    random = np.random.default_rng(seed)
    truth = ndimage.gaussian_filter(random.standard_normal(shape), (1.5, 6, 6))
    truth = (300 + 60 * truth / truth.std()).astype(np.float32)
    truth[2:6, 20:30, 20:24] += 120
    truth[:, 60:, 60:] -= 280
    noise = ndimage.gaussian_filter(random.standard_normal(shape), (0, 0.6, 0.6))
    return truth, (truth + SD * noise / noise.std()).astype(np.float32)


class Case:
    """A volume, what a fit could have made of it, its noise and its mask: arrays, and the same as tensors."""

    def __init__(self, device, masked):
        truth, self.noisy = make_volume()
        self.denoised = (truth + 0.3 * ndimage.gaussian_filter(self.noisy - truth, (0, 1, 1))).astype(np.float32)
        self.noisy[3, 40:44, 40:44] += 250  # a structure that a fit erased
        self.valid = None
        if masked:
            self.valid = np.ones(SHAPE, bool)
            self.valid[:, :20, :25] = False
            self.valid[2, 50:, 70:] = False
        self.noise = measure_noise(self.noisy, self.valid)
        self.there = Tensors(self, device)


class Tensors:
    """The same on a device."""

    def __init__(self, case, device):
        self.noisy, self.denoised = (on_device(copied(each), device) for each in (case.noisy, case.denoised))
        self.valid = None if case.valid is None else on_device(case.valid, device)
        self.noise = NoiseMap(case.noise.blocks, on_device(case.noise.sd, device), case.noise.median)


@pytest.fixture(params=[False, True], ids=["whole", "masked"])
def case(device, request):
    return Case(device, request.param)


def close(found, expected, share=1e-4):
    """Up to rounding, in units of the noise; a voxel at a threshold may fall on its other side."""
    difference = np.abs(on_host(found).astype(np.float64) - expected) / SD
    assert float(np.quantile(difference, 0.999)) < share
    assert float(difference.mean()) < share


def test_noise_is_measured_the_same_way(case):
    found = measure_noise(case.there.noisy, case.there.valid)
    assert isinstance(found.sd, torch.Tensor)
    assert found.median == pytest.approx(case.noise.median, rel=1e-5)
    np.testing.assert_allclose(found.blocks, case.noise.blocks, rtol=1e-4)
    close(found.sd, case.noise.sd)


def test_the_correlation_of_slices_is_measured_the_same_way(case):
    shared = ndimage.convolve1d(np.random.default_rng(1).standard_normal((24, 96, 96)), [0.4, 1, 0.4], axis=0)
    volume = shared.astype(np.float32)
    expected = slice_correlation(volume)
    assert expected.nearest > 0.3
    assert slice_correlation(on_device(volume, case.there.noisy.device)) == pytest.approx(expected, abs=1e-4)


def test_the_spectrum_of_the_noise_is_measured_the_same_way(case):
    expected = noise_spectrum(case.noisy, case.noise.floored, 8)
    np.testing.assert_allclose(noise_spectrum(case.there.noisy, case.there.noise.floored, 8), expected, rtol=2e-3)


def test_neighbors_are_matched_the_same_way(case):
    settings = MatchSettings()
    expected = pairs_by_noise(case.noisy, case.noise, settings)
    found = pairs_by_noise(case.there.noisy, case.there.noise, settings)
    assert found.dtype == torch.bool
    assert (on_host(found) != expected).mean() < 1e-4


FILTERS = {
    "groups": lambda of: filter_groups(
        of.noisy, of.denoised, of.noise.floored, stacks=8, noise_factor=1.0, valid=of.valid, device=_device(of)
    ),
    "cubes": lambda of: filter_cubes(
        of.noisy, of.denoised, of.noise.floored,
        cubes=8, noise_factor=1.0, share=0.2, valid=of.valid, device=_device(of),
    ),
    "edges": lambda of: filter_edges(
        of.noisy, of.denoised, of.noise.floored, EdgeSettings(), valid=of.valid, device=_device(of)
    ),
    "guided mean": lambda of: guided_mean(
        of.noisy, of.denoised, of.noise.floored, AverageSettings(), valid=of.valid, device=_device(of)
    ),
    "coarse mean": lambda of: coarse_mean(
        of.denoised, of.noise.floored, 0.3, step_px=2, valid=of.valid, device=_device(of)
    ),
    "small structures": lambda of: _recovery(of).small_structures(of.denoised),
    "structures across": lambda of: _recovery(of).structures_across(of.denoised),
    "bounds": lambda of: _recovery(of).means_and_bounds(of.denoised),
}  # fmt: skip


def _device(of):
    return None if isinstance(of.noisy, np.ndarray) else of.noisy.device


def _recovery(of):
    return StructureRecovery(of.noisy, of.noise, Settings())


@pytest.mark.parametrize("of", FILTERS.values(), ids=FILTERS)
def test_a_filter_gives_the_same(case, of):
    before = case.denoised.copy()
    of(case)
    with ExitStack() as patches:
        for module in (block_matching, block_stacks, cubes):  # as on a GPU, also in the host's memory
            patches.enter_context(mock.patch.object(module, "Aggregate", partial(Aggregate, exact=True)))
        of(case.there)
    assert isinstance(case.there.denoised, torch.Tensor)
    inside = ... if case.valid is None else case.valid
    assert np.abs(case.denoised[inside] - before[inside]).max() > 0.5  # it does something here
    # Among equally similar blocks the order of additions decides.
    close(on_host(case.there.denoised)[inside], case.denoised[inside], share=2e-3)


def test_a_step_in_pixels_is_chosen_the_same_way(case):
    def removed(of):
        return [of.noisy[index] - of.denoised[index] for index in range(4)]

    sds = [[of.noise.floored(index) for index in range(4)] for of in (case, case.there)]
    assert step_for(removed(case), sds[0]) == step_for(removed(case.there), sds[1])


def test_what_was_removed_is_judged_the_same_way(case):
    expected, found = (
        check_structure(of.noisy, of.denoised, of.noise.sd, floor=of.noise.floor, valid=of.valid)
        for of in (case, case.there)
    )
    assert expected.findings
    assert [finding.index_zyx for finding in found.findings] == [finding.index_zyx for finding in expected.findings]
    assert found.verdict == expected.verdict
    for name in ("edges", "excess", "coherence"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-3, abs=1e-4)
    np.testing.assert_allclose(found.excess_hw, expected.excess_hw, rtol=1e-3, atol=1e-3)


def test_discs_and_the_copy_are_placed_the_same_way(case):
    device = case.there.noisy.device
    expected, found = (
        place_probes(of.denoised, of.noise, of.valid, (2.0, 1.0, 1.0), air=None, seed=0) for of in (case, case.there)
    )
    assert found.place == expected.place
    assert [(disc.row, disc.column) for disc in found.discs] == [(disc.row, disc.column) for disc in expected.discs]
    assert expected.discs
    close(found.put_into(case.there.noisy[found.place]), expected.put_into(case.noisy[expected.place]))
    copies = [
        simulated_copy(of.noisy, of.denoised, of.noise, of.valid, seed=0, device=where)
        for of, where in ((case, None), (case.there, device))
    ]
    assert copies[0].place == copies[1].place
    close(copies[1].truth, copies[0].truth, share=1e-2)
    lost = [copy.detail_lost(of.denoised[copy.place]) for copy, of in zip(copies, (case, case.there), strict=True)]
    left = [copy.noise_left(of.denoised[copy.place]) for copy, of in zip(copies, (case, case.there), strict=True)]
    sized = [
        copy.sized_up(of.denoised[copy.place], where)
        for copy, of, where in zip(copies, (case, case.there), (None, device), strict=True)
    ]
    assert lost[1] == pytest.approx(lost[0], abs=2e-3)
    assert left[1] == pytest.approx(left[0], abs=2e-3)
    assert sized[1].certainty == pytest.approx(sized[0].certainty, abs=2e-3)
    blanks = [
        copy.without_detail(of.denoised[copy.place], 1) for copy, of in zip(sized, (case, case.there), strict=True)
    ]
    close(blanks[1].noisy, blanks[0].noisy, share=1e-2)
    compared = [
        copy.compared(of.noisy[copy.place], of.denoised[copy.place], [(blank, gaussian(blank.noisy, 1.0))])
        for copy, of, blank in zip(sized, (case, case.there), blanks, strict=True)
    ]
    assert compared[1].excess == pytest.approx(compared[0].excess, rel=1e-2)
    assert compared[1].share_of_fainter == pytest.approx(compared[0].share_of_fainter, abs=2e-2)
    homogeneous = [
        replace(copy, excess=1.0).detail_lost(of.denoised[copy.place])
        for copy, of in zip(compared, (case, case.there), strict=True)
    ]
    assert homogeneous[0] != pytest.approx(lost[0], abs=2e-3)
    assert homogeneous[1] == pytest.approx(homogeneous[0], abs=5e-3)


def test_the_mean_of_magnitudes_is_subtracted_the_same_way(case):
    removed = np.stack([np.full(case.noise.blocks.shape[1:], 0.9 * SD, np.float32)] * SHAPE[0])
    magnitudes = np.maximum(case.denoised - 180, 0)
    there = on_device(magnitudes, case.there.noisy.device)
    channels = [channel_noise(case.noise.blocks, volume, removed) for volume in (magnitudes, there)]
    np.testing.assert_allclose(channels[1].blocks, channels[0].blocks, rtol=1e-4)
    np.testing.assert_allclose(channels[1].without_signal, channels[0].without_signal, rtol=1e-4)
    assert channels[1].in_tissue == pytest.approx(channels[0].in_tissue)
    sd = np.full(SHAPE[1:], SD, np.float32)
    sd[:10] = 0
    sd_there = on_device(sd, there.device)
    close(without_bias(there[3], sd_there, 0.9 * sd_there), without_bias(magnitudes[3], sd, 0.9 * sd))
    shares = zip(signal_shares(there, lambda index: sd_there), signal_shares(magnitudes, lambda index: sd), strict=True)
    for found, expected in shares:
        np.testing.assert_allclose(on_host(found), expected, atol=1e-4)


def test_parts_are_compared_the_same_way(case):
    compute = choose_compute("cpu")
    state = measured_state(case.noisy, case.valid, None, Settings(), compute)
    there = replace(state, filled=on_device(state.filled, case.there.noisy.device))
    assert levels_of(there) == pytest.approx(levels_of(state), rel=1e-4)


@pytest.fixture
def held(device):
    """Runs hold their volume as a tensor, also in the host's memory."""
    with mock.patch.object(Compute, "holds", return_value=True):
        yield device.type


BRIEF = {"fit": {"steps": 40}, "refit": {"steps": 30}}
RUNS = {"modality": ["CT", "MR", "PT"], "preset": ["default", "smooth"]}


@pytest.mark.slow
@pytest.mark.parametrize("modality", RUNS["modality"])
@pytest.mark.parametrize("preset", RUNS["preset"])
def test_a_run_removes_as_much_noise(modality, preset, held):
    truth, noisy = make_volume((6, 96, 96))
    inside = np.zeros(noisy.shape, bool)
    inside[:, 12:] = True
    options = {
        "modality": modality,
        "preset": preset,
        "spacing_mm": (2.0, 0.7, 0.7),
        "exclude": ~inside,
        "config": BRIEF,
    }
    found = nsn2n.denoise(noisy, device=held, **options)
    again = nsn2n.denoise(noisy, device=held, **options)
    with mock.patch.object(Compute, "holds", return_value=False):
        expected = nsn2n.denoise(noisy, device="cpu", **options)

    assert found.volume.tobytes() == again.volume.tobytes()
    assert np.array_equal(found.volume[~inside], noisy[~inside])
    errors = [float(np.square(result.volume - truth)[inside].mean()) for result in (found, expected)]
    assert abs(10 * np.log10(errors[0] / errors[1])) < 0.5  # after so few steps, rounding makes a difference
    np.testing.assert_allclose(found.noise_sd, expected.noise_sd, rtol=1e-3)
    assert found.structure.verdict == expected.structure.verdict
    assert found.measured.noise_left == pytest.approx(expected.measured.noise_left, abs=0.05)
    assert found.contrast.cells
    assert expected.contrast.cells


def test_the_preset_of_the_paper_runs_too(held):
    truth, noisy = make_volume((4, 40, 40))
    config = {"fit": {"epochs": None, "steps": 4}, "network": {"channels": 4}}
    options = {"preset": "paper", "config": config, "strength": 0.5, "exclude": truth > 400}
    found = nsn2n.denoise(noisy, device=held, **options)
    with mock.patch.object(Compute, "holds", return_value=False):
        expected = nsn2n.denoise(noisy, device="cpu", **options)
    assert np.array_equal(found.volume[truth > 400], noisy[truth > 400])
    assert np.abs(found.volume - noisy)[truth <= 400].max() > 0
    close(found.volume, expected.volume, share=0.1)


@pytest.mark.parametrize("modality", RUNS["modality"])
def test_a_volume_is_copied_to_the_gpu_once_and_its_result_back(modality, held, monkeypatch):
    """Whatever is as large as a slice: beside the volume and the result, a few sample slices at most."""
    _, noisy = make_volume((60, 64, 64))
    copied_voxels = Counter()
    to_host = torch.Tensor.cpu
    to_device = torch.as_tensor

    def counted_to_host(self, *arguments, **options):
        copied_voxels["to host"] += self.numel()
        return to_host(self, *arguments, **options)

    def counted_to_device(values, *arguments, **options):
        if not isinstance(values, torch.Tensor):
            copied_voxels["to device"] += np.size(values)
        return to_device(values, *arguments, **options)

    monkeypatch.setattr(torch.Tensor, "cpu", counted_to_host)
    monkeypatch.setattr(torch, "as_tensor", counted_to_device)
    nsn2n.denoise(noisy, modality=modality, device=held, config=BRIEF)

    assert 2 <= copied_voxels["to host"] / noisy.size < 3  # the result and its noise
    assert 1 <= copied_voxels["to device"] / noisy.size < 2.5


def test_a_volume_that_has_no_room_stays_in_the_memory_of_the_host(monkeypatch):
    compute = Compute(torch.device("cuda"), bfloat16=True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (16 * 2**30, 80 * 2**30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 2**30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 0)
    assert compute.holds(300 * 512 * 512)
    assert not compute.holds(2000 * 512 * 512)
    assert not choose_compute("cpu").holds(2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_GPU)
@pytest.mark.parametrize("modality", RUNS["modality"])
def test_slices_of_a_volume_in_the_memory_of_the_host_are_copied_one_by_one(modality):
    truth, noisy = make_volume((6, 96, 96))
    whole = nsn2n.denoise(noisy, modality=modality, device="cuda")
    with mock.patch.object(Compute, "holds", return_value=False):
        by_slices = nsn2n.denoise(noisy, modality=modality, device="cuda")
    errors = [float(np.square(result.volume - truth).mean()) for result in (whole, by_slices)]
    assert abs(10 * np.log10(errors[0] / errors[1])) < 0.2
