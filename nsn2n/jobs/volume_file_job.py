# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""One volume file (NIfTI, MGH, NRRD, MetaImage): read, denoise, write."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nsn2n._aliases import Float32Array, Progress
from nsn2n.errors import VolumeError
from nsn2n.files import FILE_SUFFIXES, FORMATS, format_of, suffix_of
from nsn2n.files.volume_files import read_mask, read_volume, write_volume
from nsn2n.jobs.bids_output import BidsOutput
from nsn2n.jobs.options import JobOptions
from nsn2n.runtime.memory import memory_errors
from nsn2n.runtime.modes import mode_of_all
from nsn2n.runtime.paths import require_possible_path, require_writable_folder
from nsn2n.runtime.volumes import new_volume
from nsn2n.structure_check import raise_on_failed_check

if TYPE_CHECKING:
    from nsn2n.result import DenoiseResult
    from nsn2n.stack.slice_stack import SliceStack

__all__ = ["NewFiles", "denoise_volume_file", "new_files"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NewFiles:
    """The files that a run will write."""

    volume: Path
    maps: Mapping[str, Path]
    """In addition: ``residual``, ``noise-sd``."""
    bids: BidsOutput | None
    """The description of them, if requested."""

    @property
    def images(self) -> Mapping[str, Path]:
        """Volume and maps; the kind of the volume is empty."""
        return {"": self.volume, **self.maps}

    @property
    def all(self) -> list[Path]:
        """Every file, including voxel files that a header may refer to."""
        described: list[Path] = []
        if self.bids is not None:
            described += [file for kind in self.images for file in self.bids.beside(kind)] + self.bids.new_description
        images = [file for header in self.images.values() for file in (header, *_voxel_files(header))]
        return list(dict.fromkeys(images + described))


def new_files(input_file: Path | str, output: Path | str, options: JobOptions | None = None) -> NewFiles:
    """Return which files are to be written; parameters and errors as for `denoise_volume_file`."""
    source, target, options = Path(input_file), Path(output), options or JobOptions()
    require_possible_path(target)
    kinds = [kind for kind, asked in (("residual", options.residual), ("noise-sd", options.noise_map)) if asked]
    if options.bids:
        bids = BidsOutput.of(source, target)
        new = NewFiles(bids.file(), {kind: bids.file(kind) for kind in kinds}, bids)
    else:
        new = _beside_each_other(source, target, kinds)
    for file in new.all:
        if file.exists():
            what = "the input itself" if source.exists() and file.samefile(source) else "an existing file"
            raise VolumeError(f"the output must be a new file; {file} is {what}. Choose another name or folder.")
    return new


def _beside_each_other(source: Path, target: Path, kinds: list[str]) -> NewFiles:
    """Name the new volume according to the output, and its maps after it."""
    if target.is_dir() or not str(target).endswith(FILE_SUFFIXES):
        target = target / source.name
        require_possible_path(target)
    kind = format_of(source)
    if kind is not None and format_of(target) != kind:
        raise VolumeError(
            f"the output must have the format of the input, {kind} ({' or '.join(FORMATS[kind])}); got {target}. "
            "Choose another name, and convert the new file."
        )
    suffix = suffix_of(target)
    stem = target.name.removesuffix(suffix)
    return NewFiles(target, {kind: target.with_name(f"{stem}_{kind}{suffix}") for kind in kinds}, None)


def _voxel_files(target: Path) -> tuple[Path, ...]:
    """The voxel files that a header may refer to."""
    if suffix_of(target) != ".mhd":
        return ()
    return tuple(target.with_suffix(suffix) for suffix in (".raw", ".zraw"))


def denoise_volume_file(
    input_file: Path | str,
    output: Path | str,
    options: JobOptions | None = None,
    *,
    denoise: Callable[..., DenoiseResult] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Denoise the volume of a file, or each of its volumes; the new file differs only in the values.

    Parameters
    ----------
    input_file : path
        Of a format of `nsn2n.files.FORMATS`.
    output : path
        A file name of the same format, or a folder, created if absent, for a file of the
        same name as the input; with the option ``bids`` the folder of a derivative dataset.
    options : JobOptions, optional
        Those that apply to files.
    denoise : callable, optional
        Used instead of `JobOptions.denoise`.
    progress : callable, optional
        Called with the fraction that is done and the seconds left.

    Returns
    -------
    Path
        The new file.

    Raises
    ------
    VolumeError
        If the input is not a volume that can be denoised, anatomy was removed with the noise, or the output exists
        already: nothing is overwritten.
    NSN2NError
        If the output is not writable.
    """
    options = options or JobOptions()
    with options.within_memory():
        return _denoise_file(Path(input_file), Path(output), options, denoise or options.denoise, progress)


def _denoise_file(
    source: Path,
    output: Path,
    options: JobOptions,
    denoise: Callable[..., DenoiseResult],
    progress: Progress | None,
) -> Path:
    new = new_files(source, output, options)
    target = new.volume
    fields = {} if new.bids is None else new.bids.source.metadata()
    volume = read_volume(source)
    require_writable_folder(target.parent)
    stack = replace(volume.stack, modality=options.modality)
    if options.mask is not None:
        inside = read_mask(options.mask, volume)
        if stack.mask is not None:
            inside &= stack.mask
        stack = replace(stack, mask=inside)
    if len(stack.parts) > 1:
        logger.info(
            "%s: %d volumes of %d slices; each is denoised separately", source.name, len(stack.parts), stack.parts[0]
        )
    with memory_errors(source.name):
        result = denoise(stack, progress=progress)
    logger.info("%s: %s", source.name, result.summary())
    raise_on_failed_check(result.structure.record, force=options.force)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with memory_errors(source.name):
            maps = {file.name: _map(kind, stack, result) for kind, file in new.maps.items()}
            beside: dict[str, bytes] = {}
            if new.bids is not None:
                bids = BidsOutput.of(source, output)  # another process may have started the dataset in the meantime
                bids.write_description(mode_of_all([source]))
                for kind in new.images:
                    beside |= bids.described(kind, fields, result, options.mask)
            write_volume(target, result.volume, volume, maps=maps, beside=beside, mode=mode_of_all([source]))
    except OSError as error:
        raise VolumeError(
            f"{target} must be writable; got {error.strerror or type(error).__name__}. "
            "Free some space or choose another folder."
        ) from error
    return target


def _map(kind: str, stack: SliceStack, result: DenoiseResult) -> Float32Array:
    """Return the noise, or what was removed: source minus denoised, before rounding to the type of the file."""
    if kind == "noise-sd":
        return result.noise_sd
    removed: Float32Array = new_volume(stack.values.shape, np.float32)
    removed[...] = 0
    for removed_hw, values_hw, denoised_hw in zip(removed, stack.values, result.volume, strict=True):
        np.subtract(values_hw, denoised_hw, out=removed_hw, where=np.isfinite(values_hw))
    return removed
