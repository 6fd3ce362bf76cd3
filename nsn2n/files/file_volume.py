# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A volume read from a file of any format, and the writing of new files: complete, and all at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsn2n.files.stored_numbers import StoredNumbers
from nsn2n.runtime.modes import limit_mode
from nsn2n.runtime.unfinished import hidden_folder, remove_abandoned
from nsn2n.stack.slice_stack import SliceStack

__all__ = ["FileVolume", "complete_files"]


@dataclass(frozen=True, eq=False, kw_only=True)
class FileVolume(ABC):
    """A volume read from a file, and what is needed to write another one like it."""

    stack: SliceStack
    """Values after the file's scaling, minus the offset of `numbers`; each volume over time is a part. The file does
    not specify the modality."""
    numbers: StoredNumbers
    affine: NDArray[np.float64]
    """Shape (4, 4): from voxel indices, in the axes of `numbers`, to mm toward right, anterior, superior."""

    @property
    def axes(self) -> tuple[int, int, int]:
        """The file's voxel axes (0, 1 or 2) that are d, h and w."""
        return self.numbers.axes

    @property
    def offset(self) -> float:
        """What was subtracted from the values."""
        return self.numbers.offset

    @abstractmethod
    def save(self, path: Path, stored: NDArray[Any]) -> None:
        """Write a file like the source, with other stored numbers."""

    @abstractmethod
    def save_map(self, path: Path, values: NDArray[np.float32]) -> None:
        """Write a file on the same grid that holds values of another meaning, as float32 without scaling."""


@contextmanager
def complete_files(parent: Path, mode: int = 0o666) -> Iterator[Path]:
    """Create a hidden folder whose files are moved to an existing one when all are complete.

    Parameters
    ----------
    parent : path
        Where the files are to be.
    mode : int
        Permissions of each file, subject to the umask.
    """
    remove_abandoned(parent)
    with hidden_folder(parent) as folder:
        yield folder
        # A header that refers to a voxel file is moved after that file.
        for file in sorted(folder.iterdir(), key=lambda file: (file.suffix == ".mhd", file.name)):
            limit_mode(file, mode)
            file.replace(parent / file.name)
