# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Processes one series at a time; each state is stored in Orthanc before the step that it names."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from nsn2n.dicom.selection.rules import default_rules, load_rules
from nsn2n.errors import DicomError, NSN2NError
from nsn2n.jobs.options import JobOptions
from nsn2n.node.errors import OrthancError, OrthancUnavailableError
from nsn2n.node.marks import Marks
from nsn2n.node.options import NodeOptions
from nsn2n.node.orthanc_client import OrthancClient, OrthancSeries
from nsn2n.node.series_job import SeriesJob, conclude_upload
from nsn2n.node.series_queue import SeriesQueue
from nsn2n.node.series_state import (
    CRASHED,
    DONE,
    FAILED,
    HELD,
    LEFT_ALONE,
    PROCESSING,
    REFUSED,
    UPLOADING,
    WAITING,
    PlannedSeries,
    SeriesState,
    growing_wait_s,
    instances_digest,
    later,
)
from nsn2n.node.upload import complete_series, remove_series

__all__ = ["SeriesProcessor"]

logger = logging.getLogger(__name__)


class SeriesProcessor:
    """Processes at most one series at a time; to be closed.

    Parameters
    ----------
    client : OrthancClient
    marks : Marks
    queue : SeriesQueue
        Is notified of series that need nothing more.
    node : NodeOptions
    options : JobOptions
        How each series is denoised.
    work_folder : path
        Folder for the files of the series in progress.
    counts : Counter
        How many series entered each state.
    """

    def __init__(
        self,
        client: OrthancClient,
        marks: Marks,
        queue: SeriesQueue,
        node: NodeOptions,
        options: JobOptions,
        work_folder: Path,
        counts: Counter[str],
    ) -> None:
        self._client, self._marks, self._queue, self._node = client, marks, queue, node
        self._options, self._work_folder, self._counts = options, work_folder, counts
        self._rules = default_rules() if node.rules is None else load_rules(node.rules)
        self._job: SeriesJob | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a series is in progress."""
        return self._job is not None

    def wait(self, seconds: float) -> bool:
        """Wait until the series in progress is denoised, or until the timeout; return whether it is."""
        process = None if self._job is None else self._job.process
        return process is None or process.wait(seconds)

    def begin(self, series: OrthancSeries, before: SeriesState | None) -> bool:
        """Start a series; return False if there is nothing more to do for it.

        Raises
        ------
        OrthancError, OSError
            The series then waits behind all others.
        """
        try:
            started = self._begin(series, before)
        except NSN2NError as error:
            if isinstance(error, OrthancError):
                self._queue.postpone(series.id)
                self.close()
                raise
            state = SeriesState(state=FAILED, source=instances_digest(series.instances), reason=str(error))
            self._settle(series, state)
            started = False
        except BaseException:
            self._queue.postpone(series.id)
            self.close()
            raise
        if not started:
            self._drop_job()
        return started

    def _begin(self, series: OrthancSeries, before: SeriesState | None) -> bool:
        source = instances_digest(series.instances)
        is_known = before is not None and before.source == source
        if before is not None and before.state == UPLOADING and self._recover(series, before) and is_known:
            return False
        made = self._marks.made_of(series)
        found = [uid for _, uid, mark in made if mark.source == source and not mark.superseded_by]
        state = SeriesState(state=PROCESSING, source=source)
        if found:
            self._adopt(series, state, found)
            return False
        if before is not None and is_known:
            state = replace(state, tries=before.tries, reason=before.reason)
        if state.tries >= self._node.tries:
            reason = state.reason or f"the node was ended {state.tries} times while the series was in progress"
            self._settle(series, replace(state, state=FAILED, reason=reason))
            return False
        self._job = SeriesJob(self._client, series, self._work_folder)
        return self._start(self._job, replace(state, tries=state.tries + 1, reason=""))

    def _start(self, job: SeriesJob, state: SeriesState) -> bool:
        try:
            reason, outcome = job.why_not(self._rules), LEFT_ALONE
        except DicomError as error:
            reason, outcome = str(error), REFUSED
        if reason:
            self._settle(job.series, replace(state, state=outcome, reason=reason, tries=0))
            return False
        job.state = state
        if not self._marks.set_state(job.series.id, state):
            return False
        logger.info("series %s: %d instances, try %d", job.series.uid, len(job.series.instances), state.tries)
        return job.start(self._options, self._node.longest_job_s)

    def _recover(self, series: OrthancSeries, before: SeriesState) -> bool:
        """Complete what a worker had stored before it ended, and return True; or remove it."""
        complete = [complete_series(self._client, output) for output in before.outputs]
        if before.outputs and all(complete):
            self._settle(series, conclude_upload(self._client, series, before, self._marks, self._node.send_to))
            return True
        for output in before.outputs:
            remove_series(self._client, output.series)
        return False

    def _adopt(self, series: OrthancSeries, state: SeriesState, uids: list[str]) -> None:
        """Record that the new series exist already, although the state of the source lacks them."""
        outputs = []
        for uid in uids:
            for series_id in self._client.find_series(uid):
                sop_uids = self._client.sop_instance_uids(series_id)
                outputs.append(PlannedSeries(series=uid, instances=len(sop_uids), digest=instances_digest(sop_uids)))
        self._settle(series, replace(state, state=DONE, outputs=tuple(outputs)))

    def finish(self) -> None:
        """Handle the end of a process."""
        job = self._job
        if job is None or job.state is None or job.process is None:
            return
        state, process = job.state, job.process
        series = self._client.series(job.series.id)
        if series is None or instances_digest(series.instances) != state.source:
            logger.warning("series %s changed while it was in progress; its result is discarded", job.series.uid)
            if series is not None:
                waiting = replace(state, state=WAITING, reason="slices were added or removed while it was in progress")
                self._marks.set_state(series.id, waiting)
            self._drop_job()
            return
        answer = process.answer()
        if answer is None or answer.is_fault:
            self._crashed(series, state, process.why_it_crashed() if answer is None else answer.reason)
        elif not answer.written:
            self._settle(series, replace(state, state=REFUSED, reason=answer.reason, verdict=answer.verdict))
        elif answer.verdict == "review" and self._node.hold_review:
            reason = "the structure check says review, and --hold-review was given"
            self._settle(series, replace(state, state=HELD, reason=reason, verdict=answer.verdict))
        else:
            self._upload(job, series, replace(state, verdict=answer.verdict))
        self._drop_job()

    def _upload(self, job: SeriesJob, series: OrthancSeries, state: SeriesState) -> None:
        try:
            done = job.upload(state, self._marks, self._node.send_to)
        except OrthancUnavailableError:
            raise
        except NSN2NError as error:
            self._settle(series, replace(state, state=FAILED, reason=str(error)))
            return
        self._settle(series, done)

    def _crashed(self, series: OrthancSeries, state: SeriesState, reason: str) -> None:
        if state.tries >= self._node.tries:
            self._settle(series, replace(state, state=FAILED, reason=reason))
            return
        next_try = later(growing_wait_s(state.tries, self._node.retry_wait_s))
        crashed = replace(state, state=CRASHED, reason=reason, next_try=next_try)
        logger.warning("series %s: %s; try %d of %d", series.uid, reason, state.tries, self._node.tries)
        self._marks.set_state(series.id, crashed)
        self._counts[CRASHED] += 1

    def _settle(self, series: OrthancSeries, state: SeriesState) -> None:
        """Store a final state."""
        if self._marks.set_state(series.id, state):
            self._queue.settle(series)
        else:
            self._queue.drop(series.id)
        self._counts[state.state] += 1
        level = logging.ERROR if state.state in (FAILED, REFUSED) else logging.INFO
        outputs = ", ".join(output.series for output in state.outputs)
        logger.log(level, "series %s: %s%s", series.uid, state.state, f": {outputs or state.reason}")

    def _drop_job(self) -> None:
        job, self._job = self._job, None
        if job is not None:
            job.close()

    def close(self) -> None:
        """End the process of the series in progress, and return the series to the queue; this try does not count."""
        job = self._job
        self._drop_job()
        if job is not None and job.state is not None:
            with suppress(NSN2NError):
                state, _ = self._marks.read(job.series.id)
                if state is not None and state.state == PROCESSING:
                    back = replace(job.state, state=WAITING, tries=job.state.tries - 1, reason="the node was stopped")
                    self._marks.set_state(job.series.id, back)
