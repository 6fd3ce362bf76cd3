# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Trains the networks that the fits start from, on random volumes only, and writes ``models/start.safetensors``.

    python models/nsn2n/scripts/train_start.py [--steps N] [--volumes N] [--output FILE]

About an hour on one core (``OMP_NUM_THREADS=1``). The same seed, machine and number of threads give the same file.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from safetensors.torch import save_file
from synthetic_volumes import random_noise, random_volume
from torch import Tensor, nn

from nsn2n.runtime.compute import choose_compute, reproducible
from nsn2n.settings import FitSettings, preset
from nsn2n.training.fitting import optimize
from nsn2n.training.inference import denoise_slices
from nsn2n.training.losses import prediction_loss
from nsn2n.training.networks import ResidualUNet
from nsn2n.training.parts import Part
from nsn2n.training.pretrained import START_FILE, START_SLICES, prefix_of

SEED = 0
BATCH = 8
CROP_PX = 64
LEARNING_RATE = 2e-3
NOISE_SD = (0.85, 1.05)
"""The noise's level is estimated, in most volumes a little too high."""
WHITE_SHARE = {1: 0.55, 5: 0.8}
"""Probability of white noise, for each number of slices: five are used in MR, whose noise mostly is white."""
SCALES = (0.4, 1.6)
"""Contrasts are multiplied by a factor of this range at each draw, as augmentation."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=22000, help="of each network")
    parser.add_argument("--volumes", type=int, default=2000)
    parser.add_argument("--output", type=Path, default=Path(__file__).resolve().parents[1] / START_FILE)
    options = parser.parse_args()
    random = np.random.default_rng(SEED)
    volumes = [random_volume(random) for _ in track(range(options.volumes), "volumes")]
    tensors: dict[str, Tensor] = {}
    for slices in START_SLICES:
        with reproducible(SEED):
            network = trained(volumes, slices, options.steps)
        tensors |= {
            prefix_of(slices) + name: tensor.half().contiguous() for name, tensor in network.state_dict().items()
        }
    options.output.parent.mkdir(exist_ok=True)
    save_file(tensors, options.output)
    print(f"{options.output}: {options.output.stat().st_size / 1e3:.0f} kB")


def trained(volumes: list[np.ndarray], slices: int, steps: int) -> ResidualUNet:
    """Train a network with this many input slices to recover the middle one without its noise."""
    settings = preset("default")
    compute = choose_compute("cpu")
    shape = settings.network
    network = ResidualUNet(shape.channels, shape.levels, shape.detail_px, slices)
    network.to(memory_format=torch.channels_last)
    random = np.random.default_rng(SEED)

    def loss(step: int, so_far: nn.Module) -> list[Part]:
        noisy, clean = draw(volumes, slices, random)

        def of_batch() -> Tensor:
            denoised = denoise_slices(network, noisy, compute)
            return prediction_loss(denoised, clean, torch.ones_like(clean), huber_delta=settings.loss.huber_delta)

        return [of_batch]

    with_steps = FitSettings(steps=steps, learning_rate=LEARNING_RATE, schedule="one-cycle", stop_gain=None)
    history = optimize(network, loss, steps, with_steps)
    print(f"{slices} slices: loss {np.mean(history[-min(500, steps) :]):.4f}")
    return network


def draw(volumes: list[np.ndarray], slices: int, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Draw crops with noise, shape (B, slices, h, w), and their middle slices without, shape (B, 1, h, w)."""
    noisy, clean = [], []
    for _ in range(BATCH):
        volume = volumes[random.integers(len(volumes))]
        depth, height, width = volume.shape
        first = random.integers(depth - slices + 1)
        row, column = random.integers(height - CROP_PX + 1), random.integers(width - CROP_PX + 1)
        crop = volume[first : first + slices, row : row + CROP_PX, column : column + CROP_PX]
        if random.random() < 0.5:
            crop = crop.swapaxes(1, 2)
        crop = crop[:: random.choice((-1, 1)), :: random.choice((-1, 1))]
        crop = crop * random.choice((-1, 1)) * math.exp(random.uniform(*np.log(SCALES)))
        noisy.append(crop + random.uniform(*NOISE_SD) * random_noise(random, crop.shape, WHITE_SHARE[slices]))
        clean.append(crop[slices // 2 : slices // 2 + 1])
    return torch.from_numpy(np.stack(noisy).astype(np.float32)), torch.from_numpy(np.stack(clean).astype(np.float32))


if __name__ == "__main__":
    main()
