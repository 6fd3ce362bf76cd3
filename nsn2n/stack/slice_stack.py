# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The one value for a volume: its voxels, and all that is known about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from nsn2n._aliases import BoolArray, Float32Array, Shear, Spacing
from nsn2n.errors import VolumeError
from nsn2n.modality import Modality, modality_of
from nsn2n.runtime.volumes import new_volume
from nsn2n.stack.parts import checked_parts, for_each_part, places_of
from nsn2n.stack.validation import checked_mask, checked_values

__all__ = ["SliceStack"]

_NO_SHEAR: Shear = (0.0, 0.0)


@dataclass(frozen=True, eq=False, kw_only=True)
class SliceStack:
    """Parallel slices in order, checked once; readers create it, ``denoise`` takes it, operators pass it on.

    `SliceStack.of` creates one from what most callers have.

    Raises
    ------
    VolumeError
        If the values cannot be denoised (:func:`nsn2n.stack.validation.checked_values`), or the other fields do
        not fit them.
    """

    values: Float32Array = field(repr=False)
    """Shape (D, H, W), float32, in the unit of the modality (HU in CT)."""
    mask: BoolArray | None = field(default=None, repr=False)
    """Shape (D, H, W): voxels that hold a measurement, which are finite and not padding; None: all."""
    parts: tuple[int, ...] = ()
    """Slices of each evenly spaced part, in order; slices of two parts are not neighbors. One part unless given."""
    spacings_mm: tuple[Spacing | None, ...] = ()
    """(slice, row, column) spacing of each part; None where it is not known."""
    shears_px: tuple[Shear, ...] = ()
    """Of each part: (rows, columns) by which each slice is displaced in its plane relative to the one before."""
    modality: Modality | None = None
    """None where it is not known."""

    def __post_init__(self) -> None:
        """Check the fields against each other; absent ones are filled in."""
        values = checked_values(self.values)
        parts = checked_parts(self.parts or None, len(values))
        fill = {
            "values": values,
            "mask": checked_mask(values, self.mask),
            "parts": parts,
            "spacings_mm": tuple(map(_checked_spacing, self.spacings_mm or (None,) * len(parts))),
            "shears_px": tuple((float(rows), float(columns)) for rows, columns in self.shears_px)
            or (_NO_SHEAR,) * len(parts),
            "modality": modality_of(self.modality),
        }
        for name in ("spacings_mm", "shears_px"):
            if len(fill[name]) != len(parts):  # type: ignore[arg-type]
                raise VolumeError(f"{name} must be one for each of {len(parts)} parts; got {fill[name]!r}.")
        for name, value in fill.items():
            object.__setattr__(self, name, value)

    @classmethod
    def of(
        cls,
        values: ArrayLike,
        *,
        spacing_mm: Spacing | Sequence[Spacing] | None = None,
        modality: Modality | str | None = None,
        exclude: ArrayLike | None = None,
        parts: Sequence[int] | None = None,
        shear_px: Shear | Sequence[Shear] | None = None,
    ) -> SliceStack:
        """Create a stack from an array of real numbers; parameters are those of `nsn2n.denoise`."""
        array = checked_values(values)
        counts = checked_parts(parts, len(array))
        shears = for_each_part("shear_px", shear_px, 2, len(counts))
        mask = None
        if exclude is not None:
            excluded = np.asarray(exclude, dtype=bool)
            if excluded.shape != array.shape:
                raise VolumeError(f"exclude must have the volume's shape {array.shape}; got {excluded.shape}.")
            mask = np.logical_not(excluded, out=new_volume(excluded.shape, bool))
        return cls(
            values=array,
            mask=mask,
            parts=counts,
            spacings_mm=for_each_part("spacing_mm", spacing_mm, 3, len(counts)),
            shears_px=tuple(_NO_SHEAR if shear is None else shear for shear in shears),
            modality=modality_of(modality),
        )

    @property
    def shape_dhw(self) -> tuple[int, int, int]:
        """(slices, rows, columns)."""
        depth, height, width = self.values.shape
        return depth, height, width

    @property
    def pixel_spacing_mm(self) -> tuple[float, float] | None:
        """(row, column) spacing, which all parts share; None where it is not known."""
        known = next((spacing for spacing in self.spacings_mm if spacing is not None), None)
        return None if known is None else known[1:]

    @property
    def places(self) -> tuple[slice, ...]:
        """The slices that each part takes."""
        return tuple(places_of(self.parts))

    def with_values(self, values: ArrayLike) -> SliceStack:
        """Return a stack of other values on the same grid; voxels without a measurement stay so.

        Raises
        ------
        VolumeError
            If their shape differs.
        """
        array = checked_values(values)
        if array.shape != self.values.shape:
            raise VolumeError(
                f"values must have the shape of the stack that they replace, {self.values.shape}; got {array.shape}. "
                "Create a new stack for a cropped or resampled volume."
            )
        return replace(self, values=array)

    def split(self) -> Iterator[SliceStack | None]:
        """Yield each part as a separate stack; None for a single slice, which is not a volume."""
        if len(self.parts) == 1:
            yield self
            return
        for place, count, spacing, shear in zip(self.places, self.parts, self.spacings_mm, self.shears_px, strict=True):
            if count == 1:
                yield None
                continue
            yield SliceStack(
                values=self.values[place],
                mask=None if self.mask is None else self.mask[place],
                spacings_mm=(spacing,),
                shears_px=(shear,),
                modality=self.modality,
            )


def _checked_spacing(spacing: Sequence[float] | None) -> Spacing | None:
    if spacing is None:
        return None
    if len(spacing) != 3 or not all(np.isfinite(value) and value > 0 for value in spacing):
        raise VolumeError(f"spacing_mm must be three positive numbers (slice, row, column); got {spacing!r}.")
    between_slices, between_rows, between_columns = (float(value) for value in spacing)
    return between_slices, between_rows, between_columns
