# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time

import requests

from nsn2n.node.series_queue import SeriesQueue


def _settle_all(queue, client):
    for series_id in queue.pending():
        queue.settle(client.series(series_id))


def test_a_new_series_and_late_slices_are_found_by_the_changes(orthanc, make_series):
    client, files = orthanc.client(), make_series("queue")
    queue = SeriesQueue(client, None, list_every_s=1e6)
    queue.follow()
    assert len(queue) == 0

    orthanc.send(*files[:2])
    queue.follow()
    (series_id,) = queue.pending()
    assert queue.oldest_s() < 60

    _settle_all(queue, client)
    orthanc.send(files[2])
    time.sleep(2.5)  # until it is stable once more
    queue.follow()
    assert queue.pending() == [series_id]

    queue.drop(series_id)
    assert (len(queue), queue.oldest_s()) == (0, 0.0)


def test_what_was_there_before_and_what_no_change_tells_is_listed(orthanc, make_series):
    client, files = orthanc.client(), make_series("listed")
    orthanc.send(*files[:2])
    queue = SeriesQueue(client, None, list_every_s=0.01)
    queue.follow()
    assert len(queue) == 1
    _settle_all(queue, client)
    queue.follow()
    assert len(queue) == 0

    orthanc.send(files[2])
    requests.delete(f"{orthanc.url}/changes", timeout=30).raise_for_status()
    time.sleep(0.02)
    queue.follow()
    assert len(queue) == 1


def test_a_state_that_a_user_deletes_puts_the_series_back(orthanc, make_series):
    client = orthanc.client()
    orthanc.send(make_series("again")[0].parent)
    (series,) = client.list_series(0, 1)
    client.set_metadata(series.id, 1024, "x")
    queue = SeriesQueue(client, None, list_every_s=1e6)
    queue.follow()
    _settle_all(queue, client)

    requests.delete(f"{orthanc.url}/series/{series.id}/metadata/1024", timeout=30).raise_for_status()
    queue.follow()

    assert queue.pending() == [series.id]
