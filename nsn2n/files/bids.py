# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Files of a BIDS dataset: the parts of a name, the files that describe an image, and the name of a derivative.

Source: Brain Imaging Data Structure, https://bids-specification.readthedocs.io, version `BIDS_VERSION`: common
principles (filenames, inheritance principle) and derivatives (common data types).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from nsn2n.errors import VolumeError
from nsn2n.files import NIFTI_SUFFIXES

__all__ = ["BIDS_VERSION", "DESCRIPTION", "BidsFile", "read_json"]

BIDS_VERSION = "1.11.1"

DESCRIPTION = "dataset_description.json"

_LABEL = r"[0-9a-zA-Z+]+"
_NAME = re.compile(rf"(?P<entities>sub-{_LABEL}(?:_[a-z]+-{_LABEL})*)_(?P<suffix>[0-9a-zA-Z]+)")

_NOT_MAGNITUDES = {"phase", "phase1", "phase2", "phasediff", "fieldmap", "mask", "dseg", "probseg"}
"""Suffixes of images whose values are not intensities: phases wrap, labels have no noise."""


@dataclass(frozen=True)
class BidsFile:
    """An image of a BIDS dataset, by its name."""

    dataset: Path
    """The folder that contains `DESCRIPTION`."""
    folder: PurePosixPath
    """From the dataset to the file."""
    entities: Mapping[str, str]
    """Keys and labels, in the order of the name."""
    suffix: str
    extension: str

    @classmethod
    def of(cls, path: Path) -> BidsFile:
        """Parse a path. Links are not resolved: DataLad keeps the content of files elsewhere.

        Raises
        ------
        VolumeError
            If the name is not one of BIDS, does not fit its folder, no folder above is a dataset, or the name implies
            that the values are not intensities.
        """
        path = Path(os.path.abspath(path))
        extension = next((end for end in reversed(NIFTI_SUFFIXES) if path.name.endswith(end)), "")
        match = _NAME.fullmatch(path.name.removesuffix(extension))
        pairs = [] if match is None else [part.split("-") for part in match["entities"].split("_")]
        if match is None or not extension or len(pairs) != len(dict(pairs)):
            raise VolumeError(
                "with --bids the input must have a BIDS name, sub-LABEL[_KEY-LABEL ...]_SUFFIX.nii or "
                f".nii.gz, each key once; got {path.name}. Rename it, or leave --bids out."
            )
        entities = dict(pairs)
        above = [f"{key}-{entities[key]}" for key in ("sub", "ses") if key in entities]
        folder = PurePosixPath(*above, path.parent.name)
        dataset = path.parents[len(folder.parts)] if len(path.parents) > len(folder.parts) else path.parent
        if path != dataset / folder / path.name:
            raise VolumeError(
                "with --bids the input must be in the folder that its name requires, "
                f"{folder.parent}/DATATYPE/{path.name}; got {path}. Move it, or leave --bids out."
            )
        if not (dataset / DESCRIPTION).is_file():
            raise VolumeError(
                f"with --bids the input must be in a BIDS dataset; {dataset} has no {DESCRIPTION}. Add one, or leave "
                "--bids out."
            )
        if match["suffix"] in _NOT_MAGNITUDES or entities.get("part", "mag") != "mag":
            raise VolumeError(
                f"the input must hold intensities or magnitudes; by its name {path.name} does not. Choose another file."
            )
        return cls(dataset, folder, entities, match["suffix"], extension)

    @property
    def path(self) -> PurePosixPath:
        """From the dataset, with the name of the file."""
        return self.folder / self._name(self.entities)

    def derivative(self, label: str) -> PurePosixPath:
        """Return the path in a derivative dataset, with the entity ``desc-<label>``.

        An image that has a ``desc`` already gets both labels in one, as in ``desc-Filt`` and ``desc-FiltDs`` of the
        specification: a name has each key once, and the earlier processing stays visible.
        """
        earlier = self.entities.get("desc", "")
        joined = earlier + label[0].upper() + label[1:] if earlier else label
        return self.folder / self._name({**self.entities, "desc": joined})

    def _name(self, entities: Mapping[str, str]) -> str:
        return f"{'_'.join(f'{key}-{label}' for key, label in entities.items())}_{self.suffix}{self.extension}"

    def describing(self, extension: str) -> list[Path]:
        """Files that describe this one by the inheritance principle: those with the highest precedence come last.

        Broken links are included: what DataLad has not fetched must not be treated as absent.
        """
        found = []
        for folder in (self.dataset, *reversed([self.dataset / parent for parent in self._folders()])):
            here = []
            for file in sorted(folder.glob(f"*{self.suffix}{extension}")):
                *entities, suffix = file.name.removesuffix(extension).split("_")
                pairs = dict(entity.partition("-")[::2] for entity in entities)
                if suffix == self.suffix and pairs.items() <= self.entities.items():
                    here.append((len(pairs), file))
            found += [file for _, file in sorted(here)]
        return found

    def _folders(self) -> list[PurePosixPath]:
        """Yield folders from that of the file to that of the subject."""
        return [self.folder, *self.folder.parents][:-1]

    def metadata(self) -> dict[str, Any]:
        """Return all fields of the JSON files that describe this one.

        Raises
        ------
        VolumeError
            If one of the files cannot be read.
        """
        fields: dict[str, Any] = {}
        for file in self.describing(".json"):
            fields.update(read_json(file))
        return fields


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object of a BIDS dataset.

    Raises
    ------
    VolumeError
        If it cannot be read, or is not one.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"), parse_constant=_refuse)
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise VolumeError(f"{file} must be a readable JSON file; got {reason}. Correct it.") from error
    if not isinstance(content, dict):
        raise VolumeError(f"{file} must hold a JSON object; it holds a {type(content).__name__}. Correct it.")
    return content
