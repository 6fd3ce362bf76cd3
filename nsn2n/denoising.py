# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""``denoise``: one volume in, one denoised volume out.

The method (:mod:`nsn2n.pipeline`) handles one stack of aligned neighbors. Parts, which are denoised separately, and
slices displaced by a tilted gantry are handled here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nsn2n._aliases import BoolArray, Float32Array, Progress, Shear, Spacing
from nsn2n.arrays.either import contiguous, copied, on_host
from nsn2n.contrast_kept import ContrastKept
from nsn2n.earlier_fits import EarlierFits
from nsn2n.errors import VolumeError
from nsn2n.images import ImageVolume, volume_of_image
from nsn2n.interpolated_slices import interpolated_slices
from nsn2n.measurements import merged
from nsn2n.modality import Modality, policy_of
from nsn2n.pipeline import run_pipeline
from nsn2n.result import DenoiseResult
from nsn2n.runtime.compute import Compute, choose_compute
from nsn2n.runtime.memory import find_room
from nsn2n.runtime.sizes import size_in_bytes
from nsn2n.runtime.volumes import current_room, memory_limit, new_volume
from nsn2n.settings import Settings
from nsn2n.settings import preset as preset_settings
from nsn2n.stack.background import box_around, without_background
from nsn2n.stack.shear import Layout, layout_of
from nsn2n.stack.slice_stack import SliceStack
from nsn2n.stages import PipelineState
from nsn2n.stages.clock import Clock, Cost
from nsn2n.structure_check import StructureCheck, joined_structure, moved_to_slices, moved_to_volume

__all__ = ["denoise", "denoise_stack", "resolve_settings"]

logger = logging.getLogger(__name__)

_Run = Callable[[Float32Array, BoolArray | None], DenoiseResult]

_SLICES_PER_FIT = 20.0
"""A fit takes about as long as applying it to this many slices; for the progress bar."""

_FAR_MM = 4.0
"""Slice spacing beyond which the benefit decreases (Cho and Yoo, arXiv 2606.23200)."""


def denoise(
    volume: ArrayLike | SliceStack,
    *,
    spacing_mm: Spacing | Sequence[Spacing] | None = None,
    modality: Modality | Literal["CT", "MR", "PT"] | None = None,
    preset: str = "default",
    seed: int | None = None,
    strength: float | None = None,
    device: str = "auto",
    memory: str | int | None = None,
    config: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    exclude: ArrayLike | None = None,
    parts: Sequence[int] | None = None,
    shear_px: Shear | Sequence[Shear] | None = None,
) -> DenoiseResult:
    """Denoise a volume with a network fitted to this volume alone (NS-N2N).

    Parameters
    ----------
    volume : array_like, shape (D, H, W), real numbers; SliceStack; or an image of nibabel or SimpleITK
        D parallel slices, at least 2, in any unit. Voxels that are not finite are returned unchanged. Values are
        converted to float32: those so far from zero that this would round their noise away are refused; subtract an
        offset first. A stack already contains what ``spacing_mm``, ``modality``, ``exclude``, ``parts`` and
        ``shear_px`` specify for an array. An image contains its spacing; its slices are along the axis with the largest
        one, and the result has an image of the same kind, with its geometry and header (``result.image``).
    spacing_mm : tuple of 3 floats, optional
        (slice, row, column) spacing in mm; a large slice spacing is logged. One for all parts, or one for each.
    modality : {"CT", "MR", "PT"}, optional
        Stored in the record; its policy (:mod:`nsn2n.modality`) decides settings that are ``auto``. MR values are
        treated as magnitudes, and the mean of their noise is subtracted (``rician`` in the settings).
    preset : {"default", "smooth", "fast", "paper"}
        The settings to start from.
    seed : int, optional
        0 or more; by default the settings', which is 0.
    strength : float, optional
        Fraction of the noise to remove, 0 (none) to 1; by default the settings', which is 1.
    device : {"auto", "cpu", "cuda"}
    memory : str or int, optional
        Memory that the process may take, with what it holds already: bytes, or a text such as ``8G`` or ``900M``
        (powers of 1024). If the volume needs more, arrays of its size are kept in unnamed files in the folder for
        temporary files (``TMPDIR``), those of the result too. The result is the same, bit for bit.
    config : mapping, optional
        Settings that differ from the preset's, as for :meth:`Settings.from_mapping`.
    progress : callable, optional
        Called with (fraction done, seconds left).
    exclude : array_like, shape (D, H, W), bool, optional
        Voxels that hold no measurement, such as padding: they are returned unchanged and not used in the fit.
    parts : sequence of int, optional
        Slices of each part, in order, if the volume is not one stack of neighbors: each part is denoised separately,
        and a part of a single slice is not changed.
    shear_px : tuple of 2 floats, optional
        (rows, columns) by which each slice is displaced in its plane relative to the one before, as by a tilted gantry;
        slices are aligned by whole pixels while they are denoised. One for all parts, or one
        for each.

    Returns
    -------
    DenoiseResult

    Raises
    ------
    VolumeError
        If the volume cannot be denoised (see :class:`nsn2n.SliceStack`), or a stack is combined with arguments that it
        already contains.
    SettingsError
        If a setting, the preset or the device is unknown or out of bounds, or the memory limit is not a size.
    NSN2NError
        If there is no space for temporary files.

    Notes
    -----
    Source: Zhou et al., arXiv 2411.10831. The preset ``paper`` is that method; ``default`` differs as
    described field by field in :mod:`nsn2n.settings`.
    """
    said: dict[str, Any] = {
        "spacing_mm": spacing_mm, "modality": modality, "exclude": exclude, "parts": parts, "shear_px": shear_px,
    }  # fmt: skip
    with memory_limit(None if memory is None else size_in_bytes(memory)):
        image = volume_of_image(volume)
        stack = _stack_of(volume, image, said)
        settings = resolve_settings(preset, seed, strength, config)
        result = denoise_stack(stack, settings, device=device, progress=progress)
        return result if image is None else replace(result, image=image.like(result.volume))


def _stack_of(volume: ArrayLike | SliceStack, image: ImageVolume | None, said: dict[str, Any]) -> SliceStack:
    """Return the stack that :func:`denoise` got, or make it of an array or image and what is ``said`` of it."""
    if isinstance(volume, SliceStack):
        twice = [name for name, value in said.items() if value is not None]
        if twice:
            raise VolumeError(
                f"a SliceStack must be passed without what it contains; got {', '.join(twice)} too. Leave that out."
            )
        return volume
    if image is not None:
        if said["spacing_mm"] is not None:
            raise VolumeError(
                "an image must be passed without spacing_mm, which it contains; got both. Leave spacing_mm out."
            )
        said = {**said, "spacing_mm": image.spacing_mm}
    values = np.asarray(volume if image is None else image.values)
    _require_room(values)
    return SliceStack.of(values, **said)


def denoise_stack(
    stack: SliceStack, settings: Settings, *, device: str = "auto", progress: Progress | None = None
) -> DenoiseResult:
    """Denoise a stack with settings, within the memory limit that applies here; otherwise like :func:`denoise`."""
    _require_room(stack.values, max(stack.parts))
    compute = choose_compute(device)
    of_neighbors = (spacing for count, spacing in zip(stack.parts, stack.spacings_mm, strict=True) if count > 1)
    for spacing in dict.fromkeys(of_neighbors):
        if spacing is not None and spacing[0] > _FAR_MM:
            logger.warning(
                "slices are %.3g mm apart: neighbors further than %.3g mm show different tissue, and less noise is "
                "removed", spacing[0], _FAR_MM,
            )  # fmt: skip
    if len(stack.parts) == 1:
        return _denoise_part(stack, _run(stack, settings, compute, progress))
    return _denoise_parts(stack, settings, compute, progress)


def _require_room(values_dhw: NDArray[Any], largest_part: int | None = None) -> None:
    """Decide where volumes are kept, if there is a memory limit and that is not decided yet.

    Parameters
    ----------
    values_dhw : ndarray
        The volume, which is in memory already.
    largest_part : int, optional
        Slices of its largest part; all by default.

    Raises
    ------
    VolumeError
        If the limit leaves too little memory even with the volumes in files.
    """
    if current_room() is None or not values_dhw.size:
        return
    held = values_dhw.nbytes if values_dhw.dtype == np.float32 else 0
    of_slice = values_dhw[0].size
    part = None if largest_part is None else largest_part * of_slice
    shortage = find_room(values_dhw.size, part, of_slice=of_slice, beside=-held)
    if shortage is not None:
        raise VolumeError(
            f"the volume must fit into memory; its {values_dhw.shape} voxels {shortage.found}. {shortage.advice}"
        )


def _denoise_parts(stack: SliceStack, settings: Settings, compute: Compute, progress: Progress | None) -> DenoiseResult:
    """Denoise each part of a stack separately, and join the results."""
    denoised = copied(stack.values)
    noise_sd = _zeros(denoised.shape)
    shears_px = [(0.0, 0.0)] * len(stack.parts)
    results: list[tuple[int, DenoiseResult]] = []
    structures: list[tuple[int, StructureCheck]] = []
    contrasts: list[tuple[int, ContrastKept | None]] = []
    costs = [Cost(progress=0.0 if count == 1 else _SLICES_PER_FIT + count) for count in stack.parts]
    clock = Clock(costs, progress)
    earlier = EarlierFits() if settings.fit.reuse else None
    for index, (place, part) in enumerate(zip(stack.places, stack.split(), strict=True)):
        if part is None:
            continue
        slices = part.shape_dhw[0]
        logger.info("part %d of %d: %d slices", index + 1, len(stack.parts), slices)
        budget_s = settings.budget_s and settings.budget_s * slices / len(denoised)
        of_part = replace(settings, budget_s=budget_s)
        run = _run(part, of_part, compute, clock.stage(index).fraction, earlier=earlier, name=f"part {index + 1}")
        result = _denoise_part(part, run)
        denoised[place], noise_sd[place] = result.volume, result.noise_sd
        shears_px[index] = result.shears_px[0]
        structures.append((place.start, result.structure))
        contrasts.append((place.start, result.contrast))
        # Only measurements are kept of each result: its arrays would double the memory.
        results.append((slices, replace(result, volume=denoised[place], noise_sd=noise_sd[place])))
    alone = sum(count == 1 for count in stack.parts)
    if alone:
        logger.warning("%d of %d slices have no neighbor to train on: they are not changed", alone, len(denoised))
    if progress is not None:
        progress(1.0, 0.0)
    measured = tuple((slices, result.measured) for slices, result in results)
    return DenoiseResult(
        volume=denoised,
        noise_sd=noise_sd,
        settings=settings,
        measured=merged(measured, parts=len(stack.parts), slices_alone=alone),
        loss=np.concatenate([result.loss for _, result in results]),
        parts=measured,
        structure=joined_structure(structures),
        contrast=ContrastKept.joined(contrasts),
        shears_px=tuple(shears_px),
    )


def _run(
    stack: SliceStack,
    settings: Settings,
    compute: Compute,
    progress: Progress | None,
    *,
    earlier: EarlierFits | None = None,
    name: str = "",
) -> _Run:
    """Return a function that applies the method to the values of a stack of one part, and their mask."""

    def as_given(values: Float32Array, mask: BoolArray | None, spacing_mm: Spacing | None) -> DenoiseResult:
        state = run_pipeline(
            values,
            mask,
            stack.modality,
            settings,
            compute,
            spacing_mm=spacing_mm,
            earlier=earlier,
            name=name,
            progress=progress,
        )
        return _result(state, settings)

    def denoised(values: Float32Array, mask: BoolArray | None) -> DenoiseResult:
        spacing_mm = stack.spacings_mm[0]
        wanted = policy_of(stack.modality).zero_filled and settings.acquired_grid == "auto"
        slices = interpolated_slices(values, mask) if wanted else None
        if slices is None:
            return as_given(values, mask, spacing_mm)
        grid = slices.grid
        logger.info(
            "slices were interpolated from about %d x %d pixels: they are denoised on that grid", *grid.acquired_hw
        )
        of_acquired = as_given(slices.acquired, slices.acquired_mask, spacing_mm and grid.spacing_mm(spacing_mm))
        return slices.result(of_acquired, values)

    return denoised


def _denoise_part(stack: SliceStack, run: _Run) -> DenoiseResult:
    """Denoise a stack of one part; displaced slices are aligned for it."""
    mask = without_background(stack.values, stack.mask)
    layout = layout_of(stack.shape_dhw, stack.shears_px[0])
    if layout is None:
        return _denoise_box(stack.values, mask, run)
    if mask is None:
        mask = new_volume(stack.shape_dhw, bool)
        mask[...] = True
    canvas, usable = layout.spread(stack.values, 0), layout.spread(mask, False)
    return _gathered(_denoise_box(canvas, usable, run), layout)


def _denoise_box(values: Float32Array, mask: BoolArray | None, run: _Run) -> DenoiseResult:
    """Denoise the bounding box of the measurements; everything outside is returned unchanged."""
    box = None if mask is None else box_around(mask)
    if mask is None or box is None or box.is_whole:
        return run(values, mask)
    result = run(contiguous(values[box.place]), contiguous(mask[box.place]))
    volume, noise_sd = copied(values), _zeros(values.shape)
    volume[box.place], noise_sd[box.place] = result.volume, result.noise_sd
    return replace(
        result,
        volume=volume,
        noise_sd=noise_sd,
        structure=moved_to_volume(result.structure, box),
        contrast=result.contrast and result.contrast.moved_to_volume(box),
    )


def _result(state: PipelineState, settings: Settings) -> DenoiseResult:
    assert state.structure is not None  # the structure check is a stage of every run
    return DenoiseResult(
        volume=on_host(state.denoised),
        noise_sd=on_host(state.noise.sd),
        settings=settings,
        measured=state.measured,
        loss=state.loss,
        structure=state.structure,
        contrast=state.contrast,
    )


def _zeros(shape_dhw: tuple[int, ...]) -> Float32Array:
    zeros: Float32Array = new_volume(shape_dhw, np.float32)
    zeros[...] = 0
    return zeros


def _gathered(result: DenoiseResult, layout: Layout) -> DenoiseResult:
    """Return the result of the slices from that of their canvases."""
    # The margins of the canvases match nothing: the fraction refers to the slices, not to their canvases.
    matched = min(result.measured.matched_fraction * layout.area, 1.0)
    return replace(
        result,
        volume=layout.gather(result.volume),
        noise_sd=layout.gather(result.noise_sd),
        structure=moved_to_slices(result.structure, layout),
        contrast=result.contrast and result.contrast.moved_to_slices(layout),
        measured=replace(result.measured, matched_fraction=matched),
        shears_px=(layout.shear_px,),
    )


def resolve_settings(
    preset: str, seed: int | None, strength: float | None, config: Mapping[str, Any] | None
) -> Settings:
    """Return the settings specified by the arguments of :func:`denoise`.

    Raises
    ------
    SettingsError
        If one is unknown or out of bounds.
    """
    settings = preset_settings(preset)
    if config:
        settings = Settings.from_mapping(config, base=None if "preset" in config else settings)
    if strength is not None:
        settings = replace(settings, strength=float(strength))
    # NumPy's integers count as integers, but JSON cannot hold them.
    return settings if seed is None else replace(settings, seed=int(seed) if hasattr(seed, "__index__") else seed)
