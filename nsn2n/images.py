# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Images of nibabel and SimpleITK as volumes, and volumes as images of the same kind.

Neither package is imported here: a caller who passes such an image has imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsn2n._aliases import Float32Array, Spacing
from nsn2n.errors import VolumeError
from nsn2n.stack.slice_axis import slices_first

__all__ = ["ImageVolume", "volume_of_image"]


@dataclass(frozen=True, eq=False)
class ImageVolume:
    """What an image holds, slices first."""

    values: NDArray[Any]
    """Shape (D, H, W)."""
    spacing_mm: Spacing
    like: Callable[[Float32Array], Any]
    """Creates an image of the same kind, geometry and header, as float32, from a volume of that shape."""


def volume_of_image(image: object) -> ImageVolume | None:
    """Return what an image of nibabel or SimpleITK holds; None if it is neither.

    Raises
    ------
    VolumeError
        If it is not one volume of gray values.
    """
    nibabel, itk = sys.modules.get("nibabel"), sys.modules.get("SimpleITK")
    if nibabel is not None and isinstance(image, nibabel.spatialimages.SpatialImage):
        return _of_nibabel(image, nibabel)
    if itk is not None and isinstance(image, itk.Image):
        return _of_itk(image, itk)
    return None


def _of_nibabel(image: Any, nibabel: Any) -> ImageVolume:
    values = np.asanyarray(image.dataobj)
    _require_volume(values.shape, values.dtype)
    axes = slices_first(spacing := [float(one) for one in nibabel.affines.voxel_sizes(image.affine)])

    def like(volume_dhw: Float32Array) -> Any:
        header = image.header.copy()
        header.set_data_dtype(np.float32)
        return type(image)(_in_axes(volume_dhw, axes), image.affine, header)

    return ImageVolume(values.transpose(axes), _spacing(spacing, axes), like)


def _of_itk(image: Any, itk: Any) -> ImageVolume:
    values = itk.GetArrayFromImage(image).T  # the first axis of the image is the last one of its array
    _require_volume(image.GetSize(), values.dtype, image.GetNumberOfComponentsPerPixel())
    axes = slices_first(spacing := list(image.GetSpacing()))

    def like(volume_dhw: Float32Array) -> Any:
        made = itk.GetImageFromArray(np.ascontiguousarray(_in_axes(volume_dhw, axes).T))
        made.CopyInformation(image)
        for key in image.GetMetaDataKeys():
            made.SetMetaData(key, image.GetMetaData(key))
        return made

    return ImageVolume(values.transpose(axes), _spacing(spacing, axes), like)


def _require_volume(shape: tuple[int, ...], dtype: np.dtype[Any], channels: int = 1) -> None:
    if len(shape) != 3 or channels != 1 or dtype.kind not in "iuf":
        raise VolumeError(
            f"an image must hold one volume of real numbers; its shape is {shape}, with {channels} numbers of type "
            f"{dtype} at each voxel. Pass one volume."
        )


def _in_axes(volume_dhw: Float32Array, axes: tuple[int, int, int]) -> Float32Array:
    placed: Float32Array = volume_dhw.transpose(np.argsort(axes))
    return placed


def _spacing(spacing: list[float], axes: tuple[int, int, int]) -> Spacing:
    d, h, w = axes
    return spacing[d], spacing[h], spacing[w]
