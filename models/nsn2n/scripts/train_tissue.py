# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Trains the network of five slices for CT further, on faint tissue under noise as reconstruction from projections
makes it, and writes ``models/tissue.safetensors``.

    python models/nsn2n/scripts/train_tissue.py [--steps N] [--volumes N] [--output FILE]

It starts from ``models/start.safetensors``. Half an hour on one core (``OMP_NUM_THREADS=1``). The same seed, machine
and number of threads give the same file.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from safetensors.torch import save_file
from synthetic_volumes import reconstruction_noise, tissue_volume
from torch import Tensor, nn
from train_start import BATCH, CROP_PX, SCALES

from nsn2n.runtime.compute import choose_compute, reproducible
from nsn2n.settings import FitSettings, preset
from nsn2n.training.fitting import optimize
from nsn2n.training.inference import denoise_slices
from nsn2n.training.losses import prediction_loss
from nsn2n.training.networks import ResidualUNet
from nsn2n.training.parts import Part
from nsn2n.training.pretrained import TISSUE_FILE, TISSUE_SLICES, load_start, prefix_of

SEED = 7
LEARNING_RATE = 1.5e-3
NOISE_SD = (0.85, 1.15)
"""The noise's level is estimated, in some volumes too low."""
END_SHARE = 0.12
"""How often the window lies at an end of the series, where the last slice stands for those that are missing."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--volumes", type=int, default=1500)
    parser.add_argument("--output", type=Path, default=Path(__file__).resolve().parents[1] / TISSUE_FILE)
    options = parser.parse_args()
    random = np.random.default_rng(SEED)
    volumes = [tissue_volume(random) for _ in track(range(options.volumes), "volumes")]
    with reproducible(0):
        network = trained(volumes, options.steps, random)
    prefix = prefix_of(TISSUE_SLICES)
    tensors = {prefix + name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, options.output)
    print(f"{options.output}: {options.output.stat().st_size / 1e3:.0f} kB")


def trained(volumes: list[np.ndarray], steps: int, random: np.random.Generator) -> ResidualUNet:
    """Train the network to find the middle one of its slices without its noise."""
    shape, compute = preset("default").network, choose_compute("cpu")
    network = ResidualUNet(shape.channels, shape.levels, shape.detail_px, TISSUE_SLICES)
    load_start(network, TISSUE_SLICES)
    network.to(memory_format=torch.channels_last)

    def loss(step: int, so_far: nn.Module) -> list[Part]:
        noisy, clean = draw(volumes, random)

        def of_batch() -> Tensor:
            denoised = denoise_slices(network, noisy, compute)
            return prediction_loss(denoised, clean, torch.ones_like(clean), huber_delta=2.0)

        return [of_batch]

    with_steps = FitSettings(steps=steps, learning_rate=LEARNING_RATE, schedule="one-cycle", stop_gain=None)
    history = optimize(network, loss, steps, with_steps)
    print(f"loss {np.mean(history[-min(500, steps) :]):.4f}")
    return network


def draw(volumes: list[np.ndarray], random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Draw crops with noise, shape (B, slices, h, w), and their middle slices without, shape (B, 1, h, w)."""
    noisy, clean = [], []
    for _ in range(BATCH):
        volume = volumes[random.integers(len(volumes))]
        depth, height, width = volume.shape
        first = random.integers(depth - TISSUE_SLICES + 1)
        row, column = random.integers(height - CROP_PX + 1), random.integers(width - CROP_PX + 1)
        crop = volume[first : first + TISSUE_SLICES, row : row + CROP_PX, column : column + CROP_PX]
        if random.random() < 0.5:
            crop = crop.swapaxes(1, 2)
        crop = crop[:: random.choice((-1, 1)), :: random.choice((-1, 1))]
        crop = crop * random.choice((-1, 1)) * math.exp(random.uniform(*np.log(SCALES)))
        seen = crop + random.uniform(*NOISE_SD) * reconstruction_noise(random, crop.shape)
        if random.random() < END_SHARE:
            missing = random.integers(1, TISSUE_SLICES // 2 + 1)
            seen[:missing] = seen[missing]
            if random.random() < 0.5:
                seen, crop = seen[::-1], crop[::-1]
        noisy.append(seen)
        clean.append(crop[TISSUE_SLICES // 2 : TISSUE_SLICES // 2 + 1])
    return torch.from_numpy(np.stack(noisy).astype(np.float32)), torch.from_numpy(np.stack(clean).astype(np.float32))


if __name__ == "__main__":
    main()
