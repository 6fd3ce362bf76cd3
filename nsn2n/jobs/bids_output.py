# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What ``--bids`` writes in addition to the images: a derivative dataset and the description of each image.

Source: BIDS, as :mod:`nsn2n.files.bids` names it: derived dataset and pipeline description, common data types, imaging.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from nsn2n._version import __version__
from nsn2n.errors import VolumeError
from nsn2n.files import FILE_SUFFIXES
from nsn2n.files.bids import BIDS_VERSION, DESCRIPTION, BidsFile, read_json
from nsn2n.files.file_volume import complete_files

if TYPE_CHECKING:
    from nsn2n.result import DenoiseResult

__all__ = ["BidsOutput"]

_LINK = "source"
"""How BIDS URIs of new derivatives name the dataset of the input."""

_LABELS = {"": "denoised", "residual": "residual", "noise-sd": "noise"}
"""Value of the entity desc, by the content of a file; empty: the denoised image."""

_MEANING = {
    "": "",
    "residual": "What was removed: source minus denoised image. ",
    "noise-sd": "Estimated local standard deviation of the noise of the source, 0 where it has none. ",
}

_OF_THE_SOURCE = {
    *("Description", "Sources", "RawSources", "SpatialReference"),
    *("IntendedFor", "B0FieldIdentifier", "B0FieldSource"),
}
"""Fields that do not hold for a derivative: they are written anew, or point into the dataset of the source."""


@dataclass(frozen=True)
class BidsOutput:
    """Where the derivatives of an image go, and how they are described."""

    source: BidsFile
    of_source: Mapping[str, Any]
    """The description of its dataset."""
    root: Path
    """Root folder of the derivative dataset."""
    link: str
    """How its BIDS URIs name the dataset of the source."""
    is_new: bool
    """Whether the derivative dataset has no description yet."""

    @classmethod
    def of(cls, input_file: Path, output: Path) -> BidsOutput:
        """Check input and output; nothing is written.

        Raises
        ------
        VolumeError
            If the input is not an image of a BIDS dataset, or the output is not a folder for derivatives of it by
            nsn2n.
        """
        source, root = BidsFile.of(input_file), Path(os.path.abspath(output))
        of_source = read_json(source.dataset / DESCRIPTION)
        if root.name.endswith(FILE_SUFFIXES):
            raise VolumeError(f"with --bids the output must be a folder for derivatives; got {output}. Name a folder.")
        if _same(root, source.dataset):
            raise VolumeError(
                f"with --bids the output must not be the dataset of the input; got {output}. Choose another folder, "
                f"such as {root / 'derivatives' / 'nsn2n'}."
            )
        if not (root / DESCRIPTION).exists():
            return cls(source, of_source, root, _LINK, is_new=True)
        return cls(source, of_source, root, _link_to(source.dataset, root), is_new=False)

    def file(self, kind: str = "") -> Path:
        """Return the file of an image by `kind`, as in `nsn2n.jobs.volume_file_job`; empty: the denoised image."""
        return self.root / self.source.derivative(_LABELS[kind])

    @property
    def new_description(self) -> list[Path]:
        """The file that describes the derivative dataset, if there is none yet."""
        return [self.root / DESCRIPTION] if self.is_new else []

    def beside(self, kind: str = "") -> list[Path]:
        """Return the new files that describe the image of a kind.

        Raises
        ------
        VolumeError
            If the gradients of the input cannot be read.
        """
        return [self._named(kind, ".json"), *self._tables(kind)]

    def _named(self, kind: str, extension: str) -> Path:
        image = self.file(kind)
        return image.with_name(image.name.removesuffix(self.source.extension) + extension)

    def _tables(self, kind: str) -> dict[Path, bytes]:
        """Return where the gradients of a diffusion series go, without which a derivative could not be used.

        Copies of raw files keep their names, as the specification requires, and apply to all derivatives of the image;
        one that already exists is not a new file.
        """
        tables = {}
        for extension in (".bval", ".bvec"):
            for file in self.source.describing(extension)[-1:]:
                copy = self._named(kind, extension)
                if "desc" not in self.source.entities:
                    copy = copy.with_name(self.source.path.name.removesuffix(self.source.extension) + extension)
                content = _content(file)
                if not (copy.is_file() and copy.read_bytes() == content):
                    tables[copy] = content
        return tables

    def described(
        self, kind: str, fields: Mapping[str, Any], result: DenoiseResult, mask: Path | None = None
    ) -> dict[str, bytes]:
        """Return the content of the files of `beside`, by name.

        Parameters
        ----------
        kind : str
        fields : mapping
            Of the JSON files that describe the source.
        result : DenoiseResult
        mask : path, optional
            What was used as a mask; named among the sources if it is in the dataset of the input.
        """
        uri = f"bids:{self.link}:{self.source.path}"
        sources, of_mask = [uri], Path(os.path.abspath(mask or os.devnull))
        if of_mask.is_relative_to(self.source.dataset):
            sources.append(f"bids:{self.link}:{of_mask.relative_to(self.source.dataset).as_posix()}")
        sidecar = {name: value for name, value in fields.items() if name not in _OF_THE_SOURCE and not _points(value)}
        if self.of_source.get("DatasetType", "raw") == "raw":  # the processing of a derivative is not known here
            sidecar.setdefault("SkullStripped", False)
        record = result.record
        sidecar |= {
            "Description": _MEANING[kind] + result.summary(),
            "Sources": sources,
            "SpatialReference": uri,
            "NSN2N": {name: record[name] for name in ("version", "settings", "measured", "structure")},
        }
        tables = {file.name: content for file, content in self._tables(kind).items()}
        return {self._named(kind, ".json").name: _text(sidecar), **tables}

    def write_description(self, mode: int) -> None:
        """Describe the derivative dataset if it has no description yet; an existing one never changes."""
        location = quote(os.path.relpath(os.path.realpath(self.source.dataset), os.path.realpath(self.root)))
        doi = self.of_source.get("DatasetDOI")
        description = {
            "Name": f"{self.of_source.get('Name') or 'dataset'}, denoised by nsn2n",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "nsn2n", "Version": __version__}],
            "SourceDatasets": [{"URL": location, **({"DOI": doi} if doi else {})}],
            "DatasetLinks": {_LINK: location},
        }
        for file in self.new_description:
            with complete_files(self.root, mode) as folder:
                (folder / file.name).write_bytes(_text(description))


def _link_to(dataset: Path, root: Path) -> str:
    """Return the name of the source dataset in an existing derivative dataset."""
    file = root / DESCRIPTION
    description = read_json(file)
    programs = description.get("GeneratedBy")
    names = [one.get("Name") for one in programs if isinstance(one, dict)] if isinstance(programs, list) else []
    if "nsn2n" not in names:
        got = ", ".join(map(str, names)) or "no program"
        raise VolumeError(
            f"with --bids the output must be a dataset created by nsn2n, or a new one; GeneratedBy of {file} names "
            f"{got}. Choose another folder."
        )
    links = description.get("DatasetLinks")
    for name, location in links.items() if isinstance(links, dict) else ():
        if isinstance(location, str) and _same(root / unquote(location), dataset):
            return str(name)
    raise VolumeError(
        f"with --bids the output must hold derivatives of the dataset of the input, {dataset}; DatasetLinks of {file} "
        "has no link to it. Choose another folder."
    )


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise VolumeError(
            f"the gradients of the input must be readable; got {error.strerror or type(error).__name__} at {file}. "
            "Fetch or replace the file."
        ) from error


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _points(value: Any) -> bool:
    """Whether a value holds a BIDS URI, which is relative to the dataset in which it occurs."""
    if isinstance(value, dict):
        return any(map(_points, value.values()))
    if isinstance(value, list):
        return any(map(_points, value))
    return isinstance(value, str) and value.startswith("bids:")


def _text(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
