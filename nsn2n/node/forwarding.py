# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Forwards new series to another archive, with growing waits until each has arrived: Orthanc itself tries once."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from nsn2n.errors import NSN2NError
from nsn2n.node.orthanc_client import OrthancClient
from nsn2n.node.series_state import OutputMark, SeriesState, later

__all__ = ["Forwarding"]

logger = logging.getLogger(__name__)


class Forwarding:
    """The new series waiting to be forwarded; their marks in Orthanc hold the same, and outlive the worker.

    Parameters
    ----------
    client : OrthancClient
    index : int
        Number of the metadata that holds the states of sources; the next holds the marks.
    first_wait_s : float
        Wait before the first retry.
    """

    def __init__(self, client: OrthancClient, index: int, first_wait_s: float) -> None:
        self._client, self._index, self._first_wait_s = client, index, first_wait_s
        self._waiting: dict[str, tuple[OutputMark, float]] = {}
        self.failures = 0
        """Failed tries."""
        self.sent = 0

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def oldest_s(self) -> float:
        """Return for how long the oldest has waited, as far as this process knows."""
        return max((time.monotonic() - since for _, since in self._waiting.values()), default=0.0)

    def add(self, series_id: str, mark: OutputMark) -> None:
        """Add a series, by Orthanc's id, if it is to be sent."""
        if mark.is_to_be_sent():
            _, since = self._waiting.get(series_id, (mark, time.monotonic()))
            self._waiting[series_id] = (mark, since)
        else:
            self._waiting.pop(series_id, None)

    def send_due(self) -> None:
        """Send what is due until a try fails: an archive that is down must not block the worker."""
        for series_id, (mark, _) in list(self._waiting.items()):
            if mark.is_due() and not self._send(series_id, mark):
                return

    def _send(self, series_id: str, mark: OutputMark) -> bool:
        series = self._client.series(series_id)
        if series is None:
            logger.error("series %s was removed from Orthanc before it was sent to %s", series_id, mark.send_to)
            del self._waiting[series_id]
            return True
        try:
            self._client.send(mark.send_to, series_id, len(series.instances))
        except NSN2NError as error:
            failed = mark.after_failure(str(error), self._first_wait_s)
            self.failures += 1
            logger.warning(
                "series %s has not reached %s yet, try %d: %s", series.uid, mark.send_to, failed.tries, error
            )
            self._waiting[series_id] = (failed, self._waiting[series_id][1])
            self._client.set_metadata(series_id, self._index + 1, failed.to_text())
            return False
        sent = replace(mark, sent=later(0), next_try="", reason="", tries=mark.tries + 1)
        self._client.set_metadata(series_id, self._index + 1, sent.to_text())
        self._tell_source(sent)
        del self._waiting[series_id]
        self.sent += 1
        logger.info("series %s has reached %s", series.uid, mark.send_to)
        return True

    def _tell_source(self, mark: OutputMark) -> None:
        for source_id in self._client.find_series(mark.made_of):
            stored = self._client.metadata(source_id, self._index)
            if stored is None:
                continue
            try:
                state = SeriesState.from_text(stored)
            except NSN2NError:
                continue  # not ours; the mark of the new series holds the same
            sent = replace(state, sent=f"{mark.send_to} {mark.sent}")
            self._client.set_metadata(source_id, self._index, sent.to_text())
