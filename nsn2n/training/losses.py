# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The terms of the NS-N2N loss, each a pure function. Source: Zhou et al., arXiv 2411.10831 ("the paper").

All tensors have shape (B, 1, H, W). Errors are divided by ``scale`` first: 1 in the paper, where
intensities are in [0, 1]; the local noise standard deviation in the other presets.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "independent_noise",
    "independent_targets",
    "interslice_continuity_loss",
    "prediction_loss",
    "reconstruction_loss",
    "regional_consistency_loss",
]


def _penalty(error: Tensor, huber_delta: float | None) -> Tensor:
    """Squared error, or twice the Huber loss, which equals it up to ``huber_delta`` and grows linearly beyond."""
    if huber_delta is None:
        return error.square()
    return 2.0 * F.huber_loss(error, torch.zeros_like(error), reduction="none", delta=huber_delta)


def _matched_mean(values: Tensor, matched: Tensor) -> Tensor:
    """Mean of ``values`` over the matched region W_i; 0 where nothing is matched."""
    return (values * matched).sum() / matched.sum().clamp_min(1.0)


def prediction_loss(
    denoised: Tensor,
    target: Tensor,
    weight: Tensor,
    *,
    scale: Tensor | float = 1.0,
    huber_delta: float | None = None,
) -> Tensor:
    """Half of L_recon of the paper: one slice against one target, ``mean_W (f(x) - y)^2``.

    Parameters and result are as in :func:`reconstruction_loss`.
    """
    return _matched_mean(_penalty((denoised - target) / scale, huber_delta), weight)


def independent_targets(noisy: Tensor, noisy_next: Tensor, correlation: float) -> tuple[Tensor, Tensor]:
    """Return two neighbors as each other's target, without their shared noise.

    Where both show the tissue s, with noise n and n' of equal variance and correlation r, the neighbor x' = s + n'
    becomes (x' - r x) / (1 - r): its mean is s, and its noise, (n' - r n) / (1 - r), is uncorrelated with n. A network
    that is to predict it from x learns nothing of n. Not in the paper, where r is 0.

    Parameters
    ----------
    noisy, noisy_next : Tensor, shape (B, 1, h, w)
    correlation : float
        0 <= r < 1.
    """
    if correlation == 0:
        return noisy, noisy_next
    share = 1 - correlation
    return (noisy - correlation * noisy_next) / share, (noisy_next - correlation * noisy) / share


def independent_noise(correlation: float) -> float:
    """Return the noise sd of such targets, in units of that of a slice."""
    return math.sqrt((1 + correlation) / (1 - correlation))


def reconstruction_loss(
    denoised: Tensor,
    denoised_next: Tensor,
    noisy: Tensor,
    noisy_next: Tensor,
    matched: Tensor,
    *,
    scale: Tensor | float = 1.0,
    huber_delta: float | None = None,
) -> Tensor:
    """L_recon of the paper: each denoised slice against its noisy neighbor, over the matched region.

    ``1/2 (mean_W (f(x_i) - x_{i+1})^2 + mean_W (f(x_{i+1}) - x_i)^2)``

    Parameters
    ----------
    denoised, denoised_next : Tensor, shape (B, 1, H, W)
        f(x_i) and f(x_{i+1}).
    noisy, noisy_next : Tensor, same shape
        x_i and x_{i+1}.
    matched : Tensor, same shape, 0 or 1
        The weight matrix W_i.
    scale : Tensor or float
        What errors are divided by, in the unit of the slices.
    huber_delta : float, optional
        Errors beyond it count linearly. None: squared, as in the paper.

    Returns
    -------
    Tensor, shape (), >= 0
    """
    forward = prediction_loss(denoised, noisy_next, matched, scale=scale, huber_delta=huber_delta)
    backward = prediction_loss(denoised_next, noisy, matched, scale=scale, huber_delta=huber_delta)
    return 0.5 * (forward + backward)


def regional_consistency_loss(
    denoised: Tensor,
    denoised_next: Tensor,
    matched: Tensor,
    *,
    scale: Tensor | float = 1.0,
    huber_delta: float | None = None,
) -> Tensor:
    """L_RC of the paper: matched regions of denoised neighbors agree, ``mean_W (f(x_i) - f(x_{i+1}))^2``.

    Parameters and result are as in :func:`reconstruction_loss`.
    """
    return _matched_mean(_penalty((denoised - denoised_next) / scale, huber_delta), matched)


def interslice_continuity_loss(
    denoised_mean: Tensor,
    denoised: Tensor,
    denoised_next: Tensor,
    *,
    scale: Tensor | float = 1.0,
    huber_delta: float | None = None,
) -> Tensor:
    """L_IC of the paper: the denoised mean of two neighbors is the mean of the denoised neighbors, over all pixels.

    ``mean (f((x_i + x_{i+1}) / 2) - (f(x_i) + f(x_{i+1})) / 2)^2``; ``denoised_mean`` is the first term. Parameters
    and result are as in :func:`reconstruction_loss`.
    """
    return _penalty((denoised_mean - 0.5 * (denoised + denoised_next)) / scale, huber_delta).mean()
