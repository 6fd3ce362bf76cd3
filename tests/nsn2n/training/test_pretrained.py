# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The weights that a fit starts from: they denoise, and only tensors of the expected names and shapes are taken."""

from __future__ import annotations

import pickle
from importlib import resources

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from nsn2n.errors import SettingsError
from nsn2n.settings import NetworkSettings, preset
from nsn2n.training.networks import ResidualUNet
from nsn2n.training.pretrained import START_FILE, START_SLICES, load_start, prefix_of, starts_from_bundle

BUNDLED = resources.files("nsn2n.bundle").joinpath(START_FILE)


def _network(slices=1):
    settings = NetworkSettings()
    return ResidualUNet(settings.channels, settings.levels, settings.detail_px, slices)


@pytest.fixture
def tensors():
    return load(BUNDLED.read_bytes())


@pytest.mark.parametrize("slices", START_SLICES)
def test_the_networks_that_start_from_the_bundle_denoise_what_they_never_saw(slices):
    network = _network(slices)
    load_start(network, slices)
    random = np.random.default_rng(3)
    y, x = np.mgrid[:96, :96]
    clean = (20.0 * (np.hypot(y - 50, x - 40) < 25) + 0.1 * y).astype(np.float32)
    noisy = clean + random.standard_normal((slices, 96, 96)).astype(np.float32)

    with torch.no_grad():
        denoised = network(torch.from_numpy(noisy)[None])[0, 0].numpy()

    assert np.std(denoised - clean) < 0.4


def test_the_file_is_small_and_holds_nothing_else(tensors):
    assert len(BUNDLED.read_bytes()) <= 2_000_000
    assert tensors.keys() == {
        prefix_of(count) + name for count in START_SLICES for name in _network(count).state_dict()
    }


def test_only_networks_of_the_default_size_start_from_it():
    assert starts_from_bundle(preset("default").network)
    assert starts_from_bundle(preset("fast").network)
    assert not starts_from_bundle(preset("paper").network)
    assert not starts_from_bundle(NetworkSettings(start="none"))
    assert not starts_from_bundle(NetworkSettings(channels=16))
    assert not starts_from_bundle(NetworkSettings(detail_px=4.0))


def _renamed(tensors):
    tensors["1-slice.head.0.scale"] = tensors.pop("1-slice.head.0.weight")


def _one_more(tensors):
    tensors["1-slice.hook"] = torch.zeros(1)


def _one_less(tensors):
    del tensors["1-slice.merge.0.0.bias"]


def _other_shape(tensors):
    tensors["1-slice.merge.0.0.bias"] = torch.zeros(31).half()


def _other_type(tensors):
    tensors["1-slice.merge.0.0.bias"] = tensors["1-slice.merge.0.0.bias"].float()


def _not_finite(tensors):
    tensors["1-slice.merge.0.0.bias"][3] = float("nan")


def _unknown_network(tensors):
    tensors["something.else"] = torch.zeros(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_renamed, "must hold the tensors 1-slice"),
        (_one_more, r"found .*hook"),
        (_one_less, "must hold the tensors 1-slice"),
        (_other_shape, r"1-slice.merge.0.0.bias as float16 of shape \(32,\); found float16 of shape \(31,\)"),
        (_other_type, r"found float32 of shape \(32,\)"),
        (_not_finite, "finite values in 1-slice.merge.0.0.bias"),
        (_unknown_network, r"found something\.else"),
    ],
)
def test_other_tensors_are_refused(tensors, change, message, tmp_path):
    file = tmp_path / "start.safetensors"
    change(tensors)
    file.write_bytes(save(tensors))
    network = _network()
    before = {name: value.clone() for name, value in network.state_dict().items()}

    with pytest.raises(SettingsError, match=message) as caught:
        load_start(network, 1, file)

    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)
    assert "set network.start to none" in str(caught.value)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "tensors in the safetensors format"),
        (b"\xff" * 100, "tensors in the safetensors format"),
        (pickle.dumps({"1-slice.head.0.weight": 1}), "tensors in the safetensors format"),
        (bytes(2_000_001), "at most 2000000 bytes; found 2000001"),
    ],
    ids=["empty", "garbage", "pickle", "large"],
)
def test_other_files_are_refused(content, message, tmp_path):
    file = tmp_path / "start.safetensors"
    file.write_bytes(content)

    with pytest.raises(SettingsError, match=message):
        load_start(_network(), 1, file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"absent\.safetensors must hold the weights to start from; found No such"):
        load_start(_network(), 1, tmp_path / "absent.safetensors")
