# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The series that may need work, in the order in which they were found.

Orthanc's list of changes reports new ones soon; but series that became stable during a restart are never reported, so
all series are listed from time to time.
"""

from __future__ import annotations

import time
from datetime import datetime

from nsn2n.node.orthanc_client import OrthancClient, OrthancSeries

__all__ = ["SeriesQueue"]

_PAGE = 200

_TELLING = ("NewSeries", "StableSeries", "UpdatedMetadata")
"""Changes after which a series is checked; the last since a user may delete a state to have a series redone."""


class SeriesQueue:
    """Follows an Orthanc.

    Parameters
    ----------
    client : OrthancClient
    since : datetime, optional
        What arrived earlier is ignored.
    list_every_s : float
        Interval between two listings of all series.
    """

    def __init__(self, client: OrthancClient, since: datetime | None, list_every_s: float) -> None:
        self._client, self._since, self._list_every_s = client, since, list_every_s
        self._pending: dict[str, float] = {}
        self._settled: dict[str, tuple[datetime, int]] = {}
        self._last_change: int | None = None
        self._next_list = 0.0

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._pending)

    def oldest_s(self) -> float:
        """Return for how long the oldest has waited, as far as this process knows."""
        return max((time.monotonic() - since for since in self._pending.values()), default=0.0)

    def pending(self) -> list[str]:
        """Return Orthanc's ids of the series that wait."""
        return list(self._pending)

    def settle(self, series: OrthancSeries) -> None:
        """Record that a series needs nothing in its present state."""
        self._pending.pop(series.id, None)
        self._settled[series.id] = _seen(series)

    def postpone(self, series_id: str) -> None:
        """Move a series behind all others."""
        since = self._pending.pop(series_id, None)
        if since is not None:
            self._pending[series_id] = since

    def drop(self, series_id: str) -> None:
        """Record that a series no longer exists."""
        self._pending.pop(series_id, None)
        self._settled.pop(series_id, None)

    def follow(self) -> None:
        """Query Orthanc for what is new."""
        if time.monotonic() >= self._next_list:
            last = self._client.last_change()  # before the list, so that nothing is missed between them
            if self._last_change is None or last < self._last_change:
                self._last_change = last
            self._list()
            self._next_list = time.monotonic() + self._list_every_s
        self._read_changes()

    def _list(self) -> None:
        settled: dict[str, tuple[datetime, int]] = {}
        start, page = 0, self._client.list_series(0, _PAGE)
        while page:
            for series in page:
                if self._settled.get(series.id) == _seen(series):
                    settled[series.id] = _seen(series)
                elif self._since is None or series.last_update >= self._since:
                    self._pending.setdefault(series.id, time.monotonic())
            start += len(page)
            page = self._client.list_series(start, _PAGE)
        self._settled = settled

    def _read_changes(self) -> None:
        is_all = False
        while not is_all:
            changes = self._client.changes(self._last_change or 0)
            for kind, series_id in changes.series:
                if kind in _TELLING:
                    self._settled.pop(series_id, None)
                    self._pending.setdefault(series_id, time.monotonic())
            self._last_change, is_all = changes.last, changes.is_all


def _seen(series: OrthancSeries) -> tuple[datetime, int]:
    return series.last_update, len(series.instances)
