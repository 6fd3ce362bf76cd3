# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""One series in progress: fetched into a separate folder, denoised, stored as new series."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from nsn2n.dicom.selection.rules import Rules, select_series
from nsn2n.dicom.selection.scan import scan_folder
from nsn2n.jobs.options import JobOptions
from nsn2n.jobs.report_output import REPORTS
from nsn2n.node.errors import OrthancRefusalError
from nsn2n.node.job_process import JobProcess
from nsn2n.node.marks import Marks
from nsn2n.node.orthanc_client import OrthancClient, OrthancSeries
from nsn2n.node.series_state import DONE, UPLOADING, OutputMark, SeriesState
from nsn2n.node.upload import complete_series, planned_series, remove_series, upload_series
from nsn2n.runtime.unfinished import hidden_folder

__all__ = ["SeriesJob"]

logger = logging.getLogger(__name__)


class SeriesJob:
    """Fetches a series and denoises it; to be closed.

    Parameters
    ----------
    client : OrthancClient
    series : OrthancSeries
    work_folder : path
        Parent of a hidden folder with the files, readable only by the owner.
    """

    def __init__(self, client: OrthancClient, series: OrthancSeries, work_folder: Path) -> None:
        self._client, self.series = client, series
        self._stack = ExitStack()
        self._folder = self._stack.enter_context(hidden_folder(work_folder))
        self._source, self._target = self._folder / "source", self._folder / "new"
        self._source.mkdir()
        self.process: JobProcess | None = None
        self.state: SeriesState | None = None

    def why_not(self, rules: Rules) -> str:
        """Return why the rules leave the series alone, from its first instance; empty if they select it.

        Raises
        ------
        DicomError
            If that instance cannot be read.
        """
        if not self._fetch(self.series.instances[:1]):
            return "it was removed from Orthanc"
        selection = select_series(scan_folder(self._source), rules)
        return "; ".join(
            reason.removeprefix(f"{record.label}: left alone: ") for record, reason in selection.left_alone
        )

    def start(self, options: JobOptions, longest_s: float) -> bool:
        """Fetch the series and start to denoise it; return False if some of it no longer exists."""
        if not self._fetch(self.series.instances):
            return False
        numbers = [other.number for other in self._client.series_of_study(self.series.study)]
        taken = [number for number in numbers if number is not None]
        self.process = JobProcess(self._source, self._target, options, taken, longest_s=longest_s)
        return True

    def _fetch(self, instances: tuple[str, ...]) -> bool:
        # Always in the same order: the selection uses the first file.
        files = {instance: self._source / f"{place:06d}.dcm" for place, instance in enumerate(instances)}
        return all(file.exists() or self._client.fetch(instance, file) for instance, file in files.items())

    def upload(self, state: SeriesState, marks: Marks, send_to: str | None) -> SeriesState:
        """Store the new series with their marks, and mark those they replace; return the state to be stored.

        Raises
        ------
        OrthancUnavailableError
            If Orthanc cannot accept it now; to be called again.
        NSN2NError
            If it never will.
        """
        planned = planned_series(self._target)
        state = replace(state, state=UPLOADING, outputs=tuple(series for series, _ in planned))
        marks.set_state(self.series.id, state)
        try:
            for series, files in planned:
                if complete_series(self._client, series) is None:
                    remove_series(self._client, series.series)
                    upload_series(self._client, series, files, self._target / REPORTS)
        except OrthancRefusalError:
            for series, _ in planned:
                remove_series(self._client, series.series)
            raise
        return conclude_upload(self._client, self.series, state, marks, send_to)

    def close(self) -> None:
        """End the process, if it runs, and remove all files."""
        if self.process is not None:
            self.process.stop()
        self._stack.close()


def conclude_upload(
    client: OrthancClient, series: OrthancSeries, state: SeriesState, marks: Marks, send_to: str | None
) -> SeriesState:
    """Mark new series that are complete, and those before them; return the state of the source, to be stored."""
    uids = tuple(output.series for output in state.outputs)
    for output in state.outputs:
        series_id = complete_series(client, output)
        if series_id is not None and marks.mark(series_id) is None:
            mark = OutputMark(
                made_of=series.uid, source=state.source, instances=output.instances, send_to=send_to or ""
            )
            marks.set_mark(series_id, mark)
    earlier = []
    for series_id, uid, mark in marks.made_of(series):
        if uid not in uids:
            earlier.append(uid)
            if not mark.superseded_by:
                logger.warning("series %s is superseded by %s, since slices arrived later", uid, ", ".join(uids))
                marks.set_mark(series_id, replace(mark, superseded_by=uids))
    return replace(state, state=DONE, reason="", next_try="", earlier=tuple(sorted(earlier)))
