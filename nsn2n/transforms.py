# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Denoising as a transform of MONAI, on arrays (`Denoise`) and on dictionaries (`Denoised`).

This module needs MONAI, which the extra ``nsn2n[monai]`` installs; nothing else imports it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from contextlib import suppress
from typing import Any, Literal

import numpy as np
import torch

from nsn2n._aliases import Spacing
from nsn2n._version import __version__
from nsn2n.denoising import denoise_stack, resolve_settings
from nsn2n.errors import NSN2NError, VolumeError
from nsn2n.modality import Modality
from nsn2n.result import DenoiseResult
from nsn2n.runtime.cudart import preload_cudart
from nsn2n.runtime.sizes import size_in_bytes
from nsn2n.runtime.volumes import memory_limit
from nsn2n.stack.slice_axis import slices_along
from nsn2n.stack.slice_stack import SliceStack

try:
    with suppress(NSN2NError):  # if it is missing but needed, the import below reports it
        preload_cudart()  # `import monai` imports Holoscan if it is installed
    from monai.config import KeysCollection, NdarrayOrTensor
    from monai.data.meta_tensor import MetaTensor
    from monai.data.utils import affine_to_spacing
    from monai.transforms.transform import MapTransform, Transform
    from monai.utils.enums import TransformBackends
    from monai.utils.type_conversion import convert_data_type, convert_to_dst_type
except ImportError as error:
    raise ImportError(
        f"nsn2n.transforms needs MONAI, which cannot be imported ({type(error).__name__}). "
        "Run: pip install 'nsn2n[monai]'."
    ) from error

__all__ = ["Denoise", "Denoised"]

_LARGEST_RATIO = 2.0
"""Pixels may be slightly larger than the slice spacing (thin CT slices), but hardly by this factor."""

_WORST_LAST = ("pass", "review", "fail")


class Denoise(Transform):
    """Denoise an image, each channel with a network fitted to that channel alone.

    Parameters
    ----------
    modality : {"CT", "MR", "PT"}, optional
        As for `nsn2n.denoise`: MR values are treated as magnitudes.
    slice_axis : int
        Which axis of the channel-first array (C, X, Y, Z) counts the slices: 1 to 3, or -3 to -1. The default is the
        last one, where MONAI's readers leave the slices of most files.
    preset, seed, strength, device, memory, config
        As for `nsn2n.denoise`; what is returned is in memory whole.

    Raises
    ------
    SettingsError
        If a setting is unknown or out of bounds, or the memory limit is not a size.
    VolumeError
        If `slice_axis` is not a spatial axis.
    """

    backend = [TransformBackends.NUMPY]  # noqa: RUF012 - MONAI's own declaration

    def __init__(
        self,
        modality: Modality | Literal["CT", "MR", "PT"] | None = None,
        slice_axis: int = -1,
        *,
        preset: str = "default",
        seed: int | None = None,
        strength: float | None = None,
        device: str = "auto",
        memory: str | int | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        axis = slice_axis % 4 if slice_axis in range(-3, 4) else 0
        if axis == 0:
            raise VolumeError(
                f"slice_axis must be a spatial axis of a (C, X, Y, Z) array, 1 to 3 or -3 to -1; got {slice_axis!r}. "
                "Axis 0 is the channel axis."
            )
        self.modality = modality
        self.slice_axis = axis
        self.settings = resolve_settings(preset, seed, strength, config)
        self.device = device
        self.memory_bytes = None if memory is None else size_in_bytes(memory)

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Denoise an array of shape (C, X, Y, Z); the affine of a MetaTensor gives its spacing.

        Returns
        -------
        ndarray, Tensor or MetaTensor, as `img`
            Of the same shape, in float32. A MetaTensor keeps affine, meta and applied operations;
            ``meta["nsn2n"]`` has the version, the verdict of the structure check (the worst of the channels) and a
            summary of each channel, in one string.

        Raises
        ------
        VolumeError
            If it is not channel-first, its slices cannot be along `slice_axis`, or a channel cannot be denoised.
        """
        values = convert_data_type(img, np.ndarray)[0]
        if values.ndim != 4:
            raise VolumeError(
                f"the image must be of shape (C, X, Y, Z), channels first; got {tuple(values.shape)}. "
                "Put EnsureChannelFirst before Denoise."
            )
        spacing = _spacing_of(img, self.slice_axis)
        axes = d, h, w = slices_along(self.slice_axis - 1)
        spacing_dhw = None if spacing is None else (spacing[d], spacing[h], spacing[w])
        results = [self._denoised(channel.transpose(axes), spacing_dhw) for channel in values]
        placed = np.stack([result.volume.transpose(np.argsort(axes)) for result in results])
        denoised = convert_to_dst_type(placed, img, dtype=torch.float32 if torch.is_tensor(img) else np.float32)[0]
        if isinstance(denoised, MetaTensor):
            denoised.meta["nsn2n"] = {
                "version": __version__,
                "verdict": max((result.structure.verdict for result in results), key=_WORST_LAST.index),
                "summary": "\n".join(result.summary() for result in results),
            }
        return denoised

    def _denoised(self, volume_dhw: np.ndarray[Any, Any], spacing_mm: Spacing | None) -> DenoiseResult:
        stack = SliceStack.of(volume_dhw, spacing_mm=spacing_mm, modality=self.modality)
        with memory_limit(self.memory_bytes):
            return denoise_stack(stack, self.settings, device=self.device)


class Denoised(MapTransform):
    """`Denoise` for dictionaries: the images of some keys, each separately.

    Parameters
    ----------
    keys : str or sequence of str
        Of the images, which are channel-first: put it after ``LoadImaged`` and ``EnsureChannelFirstd``.
    modality, slice_axis, preset, seed, strength, device, memory, config
        As of `Denoise`.
    allow_missing_keys : bool
        Leave out keys that the dictionary does not have, instead of failing.

    Raises
    ------
    SettingsError, VolumeError
        As of `Denoise`.
    """

    backend = Denoise.backend

    def __init__(
        self,
        keys: KeysCollection,
        modality: Modality | Literal["CT", "MR", "PT"] | None = None,
        slice_axis: int = -1,
        *,
        preset: str = "default",
        seed: int | None = None,
        strength: float | None = None,
        device: str = "auto",
        memory: str | int | None = None,
        config: Mapping[str, Any] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.denoise = Denoise(
            modality,
            slice_axis,
            preset=preset,
            seed=seed,
            strength=strength,
            device=device,
            memory=memory,
            config=config,
        )

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the dictionary with the images of the keys denoised; errors as of `Denoise`."""
        denoised = dict(data)
        for key in self.key_iterator(denoised):
            denoised[key] = self.denoise(denoised[key])
        return denoised


def _spacing_of(img: NdarrayOrTensor, slice_axis: int) -> Spacing | None:
    """Spacing of the spatial axes in mm, which only a MetaTensor has."""
    if not isinstance(img, MetaTensor):
        return None
    x, y, z = (float(one) for one in affine_to_spacing(img.affine, r=3))
    spacing = (x, y, z)
    widest = max(range(3), key=spacing.__getitem__)
    if spacing[widest] >= _LARGEST_RATIO * spacing[slice_axis - 1]:
        raise VolumeError(
            f"slice_axis must be the slice axis; along axis {slice_axis} the spacing is "
            f"{spacing[slice_axis - 1]:.4g} mm, along axis {widest + 1} it is {spacing[widest]:.4g} mm. "
            f"Pass slice_axis={widest + 1}."
        )
    return spacing
