# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Storage of states of sources and marks of new series in Orthanc."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from nsn2n.errors import NSN2NError
from nsn2n.node.errors import OrthancError
from nsn2n.node.orthanc_client import OrthancClient, OrthancSeries
from nsn2n.node.series_state import OutputMark, SeriesState

__all__ = ["Marks"]


class Marks:
    """Reads and writes states and marks.

    Parameters
    ----------
    client : OrthancClient
    index : int
        Number of the metadata of sources; that of new series is the next.
    on_mark : callable
        Called with Orthanc's id of a series and its mark whenever one is read or written.
    """

    def __init__(self, client: OrthancClient, index: int, on_mark: Callable[[str, OutputMark], None]) -> None:
        self._client, self._index, self._on_mark = client, index, on_mark

    def read(self, series_id: str) -> tuple[SeriesState | None, OutputMark | None]:
        """Return the state and the mark of a series, as far as it has them.

        Raises
        ------
        NSN2NError
            If they were not written by this program.
        """
        state, mark = (self._client.metadata(series_id, index) for index in (self._index, self._index + 1))
        read = None if mark is None else OutputMark.from_text(mark)
        if read is not None:
            self._on_mark(series_id, read)
        return (None if state is None else SeriesState.from_text(state)), read

    def mark(self, series_id: str) -> OutputMark | None:
        """Return the mark of a series; errors as for `read`."""
        return self.read(series_id)[1]

    def set_state(self, series_id: str, state: SeriesState) -> bool:
        """Store a state; return False if the series is gone."""
        return self._client.set_metadata(series_id, self._index, state.to_text())

    def set_mark(self, series_id: str, mark: OutputMark) -> None:
        """Store a mark if the series still exists."""
        if self._client.set_metadata(series_id, self._index + 1, mark.to_text()):
            self._on_mark(series_id, mark)

    def made_of(self, source: OrthancSeries) -> Iterator[tuple[str, str, OutputMark]]:
        """Yield Orthanc's id, SeriesInstanceUID and mark of each series of the study that was derived from a source."""
        for series in self._client.series_of_study(source.study):
            try:
                mark = self.mark(series.id)
            except OrthancError:
                raise
            except NSN2NError:
                continue  # metadata of another program does not concern this source
            if mark is not None and mark.made_of == source.uid:
                yield series.id, series.uid, mark
