# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from nsn2n.node.marks import Marks
from nsn2n.node.series_state import DONE, OutputMark, SeriesState


def test_states_and_marks_stand_side_by_side(orthanc, make_series):
    orthanc.send(make_series("marks")[0].parent)
    client, seen = orthanc.client(), []
    marks = Marks(client, 2000, lambda series_id, mark: seen.append((series_id, mark.made_of)))
    (series,) = client.list_series(0, 1)
    assert marks.read(series.id) == (None, None)

    assert marks.set_state(series.id, SeriesState(state=DONE, source="a"))
    marks.set_mark(series.id, OutputMark(made_of=series.uid, source="a", instances=3))

    state, mark = marks.read(series.id)
    assert (state.state, mark.made_of) == (DONE, series.uid)
    assert [(found[0], found[1]) for found in marks.made_of(series)] == [(series.id, series.uid)]
    assert set(seen) == {(series.id, series.uid)}
    assert {"2000", "2001"} <= set(orthanc.get(f"/series/{series.id}/metadata"))


def test_a_series_that_is_gone_gets_neither(orthanc):
    marks = Marks(orthanc.client(), 1024, lambda series_id, mark: None)

    assert not marks.set_state("absent", SeriesState(state=DONE, source="a"))
    marks.set_mark("absent", OutputMark(made_of="2.25.1", source="a", instances=3))
    assert marks.read("absent") == (None, None)
