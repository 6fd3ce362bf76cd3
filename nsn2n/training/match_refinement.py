# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The second comparison of neighbors: where two slices agree after denoising, they show the same tissue.

A noisy difference close to 0 is also a sign that the noise of both slices happens to agree, and a fit on such voxels
learns to keep noise. The denoised difference holds little noise, so it selects by tissue.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from nsn2n.runtime.compute import Compute
from nsn2n.settings import MatchSettings
from nsn2n.training.inference import denoise_slices
from nsn2n.training.networks import gaussian_kernel, gaussian_mean

__all__ = ["MatchRefinement"]


class MatchRefinement:
    """Compares crops of neighbors using a copy of the current network.

    Crops are compared when they are drawn: a fit uses a small part of a large volume.

    Parameters
    ----------
    network : Module
    settings : MatchSettings
    compute : Compute
    """

    def __init__(self, network: nn.Module, settings: MatchSettings, compute: Compute) -> None:
        self._network = copy.deepcopy(network).eval()
        self._threshold_sd = settings.refine_threshold_sd
        self._compute = compute
        sigma_px = settings.refine_smoothing_px
        self._kernel = gaussian_kernel(sigma_px).to(compute.device) if sigma_px > 0 else None

    @torch.no_grad()
    def __call__(self, noisy: Tensor, noisy_next: Tensor, sd: Tensor | None, sd_next: Tensor | None) -> Tensor:
        """Return where neighbors show the same tissue.

        Parameters
        ----------
        noisy, noisy_next : Tensor, shape (B, 1, h, w), float32
            Crops at the same place of two slices, in network units.
        sd, sd_next : Tensor of the same shape, or None
            Their noise standard deviation, in network units; None: 1.

        Returns
        -------
        Tensor, same shape, bool
            True where the denoised difference, smoothed a little, is within the threshold, in noise sd of one slice.
        """
        sds = None if sd is None or sd_next is None else torch.cat([sd, sd_next])
        pair = denoise_slices(self._network, torch.cat([noisy, noisy_next]), self._compute, sds)
        current, following = pair.chunk(2)
        difference = following - current
        if sd is not None and sd_next is not None:
            difference = difference / (0.5 * (sd.square() + sd_next.square())).sqrt()
        if self._kernel is not None:
            difference = gaussian_mean(difference, self._kernel)
        return difference.abs() <= self._threshold_sd
