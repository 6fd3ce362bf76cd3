# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The worker: finds a series, has it denoised in a separate process, and meanwhile forwards what is ready.

Every step may be the last: what the next worker needs to know is stored in Orthanc before the step.
"""

from __future__ import annotations

import logging
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from nsn2n.errors import NSN2NError
from nsn2n.jobs.options import JobOptions
from nsn2n.node.errors import OrthancError, OrthancRefusalError, OrthancUnavailableError
from nsn2n.node.forwarding import Forwarding
from nsn2n.node.health import Health
from nsn2n.node.marks import Marks
from nsn2n.node.options import NodeOptions
from nsn2n.node.orthanc_client import OrthancClient
from nsn2n.node.series_processor import SeriesProcessor
from nsn2n.node.series_queue import SeriesQueue
from nsn2n.node.series_state import FINAL, growing_wait_s, instances_digest
from nsn2n.runtime.paths import require_writable_folder
from nsn2n.runtime.unfinished import remove_abandoned

__all__ = ["Worker"]

logger = logging.getLogger(__name__)


class Worker:
    """Follows one Orthanc; one worker for each Orthanc.

    Parameters
    ----------
    client : OrthancClient
    node : NodeOptions
    job : JobOptions
        How each series is denoised.
    health : Health
        Updated by the worker.
    """

    def __init__(self, client: OrthancClient, node: NodeOptions, job: JobOptions, health: Health) -> None:
        self._client, self._node, self.health = client, node, health
        work_folder = Path(node.work_folder or tempfile.gettempdir())
        require_writable_folder(work_folder)
        work_folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(work_folder)
        self._queue = SeriesQueue(client, node.since_time(), node.list_every_s)
        self._forwarding = Forwarding(client, node.metadata_index, node.retry_wait_s)
        self._marks = Marks(client, node.metadata_index, self._forwarding.add)
        self._processor = SeriesProcessor(client, self._marks, self._queue, node, job, work_folder, health.series)
        self._is_checked = False

    def run(self) -> None:
        """Work until the process is stopped.

        Raises
        ------
        OrthancRefusalError
            If Orthanc denies what the worker needs.
        """
        failures = 0
        try:
            while True:
                try:
                    goes_on = self.step()
                    failures, self.health.trouble = 0, ""
                except (OrthancUnavailableError, OSError, EOFError) as error:
                    failures += 1
                    wait_s = growing_wait_s(failures, self._node.retry_wait_s)
                    self.health.trouble = str(error) if isinstance(error, NSN2NError) else _no_room(error)
                    logger.warning("%s Retrying in %.3g s.", self.health.trouble, wait_s)
                self._tell_health()
                if failures:
                    time.sleep(wait_s)
                elif self._processor.is_busy:
                    self._processor.wait(self._node.poll_s)
                elif not goes_on:
                    time.sleep(self._node.poll_s)
        finally:
            self.close()

    def step(self) -> bool:
        """Do what can be done immediately; return whether anything was done.

        Raises
        ------
        OrthancUnavailableError, OSError
            What was not done is left to a later step.
        """
        if not self._is_checked:
            self._check()
        self._queue.follow()
        self._forwarding.send_due()
        if self._processor.is_busy:
            if not self._processor.wait(0):
                return False
            self._processor.finish()
            return True
        return self._start_next()

    def _check(self) -> None:
        self._client.check_access()
        known = self._client.modalities()
        if self._node.send_to is not None and self._node.send_to not in known:
            raise OrthancRefusalError(
                f"--send-to must be one of Orthanc's DicomModalities ({', '.join(sorted(known)) or 'there are none'});"
                f" got {self._node.send_to}. Correct it, or add it there."
            )
        self._is_checked = True
        logger.info("following %s", self._client.url)

    def _start_next(self) -> bool:
        now = self._client.now()
        settle = timedelta(seconds=self._node.settle_s)
        for series_id in self._queue.pending():
            series = self._client.series(series_id)
            if series is None:
                self._queue.drop(series_id)
                continue
            try:
                state, mark = self._marks.read(series_id)
            except NSN2NError as error:
                if isinstance(error, OrthancError):
                    raise
                logger.error("series %s: %s", series.uid, error)
                self.health.series["unknown"] += 1
                self._queue.settle(series)
                continue
            is_known = state is not None and state.source == instances_digest(series.instances)
            if mark is not None or (state is not None and is_known and state.state in FINAL):
                self._queue.settle(series)
            elif state is not None and is_known and not state.is_due():
                continue
            elif series.is_stable and now - series.last_update >= settle and self._processor.begin(series, state):
                return True
        return False

    def _tell_health(self) -> None:
        health, forwarding = self.health, self._forwarding
        health.queue_length, health.queue_age_s = len(self._queue), self._queue.oldest_s()
        health.send_queue_length, health.send_queue_age_s = len(forwarding), forwarding.oldest_s()
        health.send_failures, health.sent = forwarding.failures, forwarding.sent
        health.in_work, health.last_step = self._processor.is_busy, time.monotonic()

    def close(self) -> None:
        """Return the series in progress to the queue."""
        self._processor.close()


def _no_room(error: OSError | EOFError) -> str:
    reason = getattr(error, "strerror", None) or type(error).__name__
    rule = "the folder for the files in progress must be writable and have free space"
    return f"{rule}; got {reason}. Free some space there."
