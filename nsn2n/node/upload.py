# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Stores new series in Orthanc: each completely, or not at all."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import Dataset

from nsn2n.dicom.attributes import text
from nsn2n.dicom.headers import read_attributes
from nsn2n.dicom.image_kinds import is_own_output
from nsn2n.dicom.input_limits import Limits
from nsn2n.errors import NSN2NError
from nsn2n.node.errors import OrthancRefusalError
from nsn2n.node.orthanc_client import OrthancClient
from nsn2n.node.series_state import PlannedSeries, instances_digest

__all__ = ["complete_series", "planned_series", "remove_series", "upload_series"]

logger = logging.getLogger(__name__)

REPORT_ATTACHMENT = 1024
"""User-defined attachments of a new series: the page of its quality report, followed by the JSON."""


def planned_series(output: Path) -> tuple[tuple[PlannedSeries, tuple[Path, ...]], ...]:
    """Return the series in an output folder, one in each subfolder, with their files."""
    found = []
    for folder in sorted(path for path in output.iterdir() if path.is_dir()):
        files = tuple(sorted(folder.glob("*.dcm")))
        if files:
            uids = [text(read_attributes(file, ["SOPInstanceUID"], Limits()), "SOPInstanceUID") for file in files]
            found.append(
                (PlannedSeries(series=folder.name, instances=len(files), digest=instances_digest(uids)), files)
            )
    return tuple(found)


def complete_series(client: OrthancClient, planned: PlannedSeries) -> str | None:
    """Return Orthanc's id of a series if it is stored with all its instances and no others."""
    for series_id in client.find_series(planned.series):
        if instances_digest(client.sop_instance_uids(series_id)) == planned.digest:
            return series_id
    return None


def remove_series(client: OrthancClient, series_uid: str) -> None:
    """Remove from Orthanc what it holds of a series of this program; any other series is never removed.

    Raises
    ------
    NSN2NError
        If another program created it.
    """
    for series_id in client.find_series(series_uid):
        series = client.series(series_id)
        if series is None:
            continue
        if not _is_ours(client, series.instances):
            raise NSN2NError(
                f"only series of this program may be removed; series {series_uid} is of another. Check which program"
                " wrote the node's metadata."
            )
        logger.info("removing the incomplete series %s", series_uid)
        client.delete_series(series_id)


def _is_ours(client: OrthancClient, instances: Sequence[str]) -> bool:
    header = Dataset()
    tags = client.tags(instances[0])
    for keyword in ("Manufacturer", "ManufacturerModelName"):
        setattr(header, keyword, str(tags.get(keyword, "")))
    return is_own_output(header)


def upload_series(client: OrthancClient, planned: PlannedSeries, files: Sequence[Path], reports: Path) -> str:
    """Store a series with its report, and return Orthanc's id of it.

    Parameters
    ----------
    client : OrthancClient
    planned : PlannedSeries
    files : sequence of path
    reports : path
        The report of the series is in the subfolder of its SeriesInstanceUID, if it has one.

    Raises
    ------
    OrthancUnavailableError
        If not all of it could be stored; the stored part is removed, as far as Orthanc responds.
    OrthancRefusalError
        If Orthanc refuses it.
    """
    try:
        for file in files:
            client.upload(file)
    except NSN2NError:
        remove_series(client, planned.series)
        raise
    series_id = complete_series(client, planned)
    if series_id is None:
        remove_series(client, planned.series)
        raise OrthancRefusalError(
            f"Orthanc must hold all {planned.instances} instances of the new series {planned.series} and no others; it"
            " does not. Check whether one of its plugins or scripts changes incoming instances."
        )
    for place, name in enumerate(("report.html", "report.json")):
        report = reports / planned.series / name
        if report.is_file():
            client.attach(series_id, REPORT_ATTACHMENT + place, report)
    return series_id
