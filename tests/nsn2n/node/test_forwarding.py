# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import time

import pytest

from nsn2n.node.forwarding import Forwarding
from nsn2n.node.series_state import OutputMark
from tests.nsn2n.node.orthanc_server import OrthancServer, free_port


@pytest.fixture
def sender(tmp_path):
    """An Orthanc, and another that it knows by its own name and by a wrong one."""
    pacs = OrthancServer(tmp_path / "pacs", DicomAet="PACS", DicomCheckCalledAet=True).start()
    modalities = {
        "pacs": ["PACS", "127.0.0.1", pacs.dicom],
        "misnamed": ["OTHER", "127.0.0.1", pacs.dicom],
        "down": ["PACS", "127.0.0.1", free_port()],
    }
    server = OrthancServer(tmp_path / "sender", DicomModalities=modalities).start()
    yield server, pacs
    server.stop()
    pacs.stop()


def _added(server, make_series, forwarding, name, to):
    server.send(make_series(name)[0].parent)
    mark = OutputMark(made_of="2.25.1", source="a", instances=3, send_to=to)
    (series_id,) = [one["ID"] for one in server.series().values() if not one["mark"]]
    server.client().set_metadata(series_id, 1025, mark.to_text())
    forwarding.add(series_id, mark)
    return series_id


def test_a_series_is_tried_until_it_is_there(sender, make_series):
    server, pacs = sender
    forwarding = Forwarding(server.client(), 1024, first_wait_s=0.2)
    for to, why in (("down", "Connection refused"), ("misnamed", "Association Rejected"), ("gone", "DicomModalities")):
        series_id = _added(server, make_series, forwarding, to, to)
        forwarding.send_due()
        assert (len(forwarding), forwarding.sent) == (1, 0)
        told = json.loads(server.get(f"/series/{series_id}/metadata?expand")["1025"])
        assert told["tries"] == 1
        assert why in told["reason"]
        tries = forwarding.failures
        forwarding.send_due()
        assert forwarding.failures == tries  # not before its time
        time.sleep(0.25)
        forwarding.send_due()
        assert forwarding.failures == tries + 1
        forwarding.add(series_id, OutputMark(made_of="2.25.1", source="a", instances=3))  # no longer to be sent
        assert len(forwarding) == 0
    assert pacs.series() == {}


def test_one_that_fails_does_not_keep_another_back(sender, make_series):
    server, pacs = sender
    forwarding = Forwarding(server.client(), 1024, first_wait_s=60)
    _added(server, make_series, forwarding, "stuck", "down")
    forwarding.send_due()
    fine = _added(server, make_series, forwarding, "fine", "pacs")

    forwarding.send_due()

    assert (len(forwarding), forwarding.sent, forwarding.failures) == (1, 1, 1)
    assert [one["ID"] for one in pacs.series().values()] == [fine]
    assert "sent" in json.loads(server.get(f"/series/{fine}/metadata?expand")["1025"])


def test_a_series_that_was_removed_is_let_go(sender):
    server, _ = sender
    forwarding = Forwarding(server.client(), 1024, first_wait_s=60)
    forwarding.add("absent", OutputMark(made_of="2.25.1", source="a", instances=3, send_to="pacs"))

    forwarding.send_due()

    assert (len(forwarding), forwarding.sent, forwarding.failures) == (0, 0, 0)
