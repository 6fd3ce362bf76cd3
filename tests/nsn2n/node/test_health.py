# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re

import pytest
import requests

from nsn2n.errors import NSN2NError
from nsn2n.node.health import LONGEST_SILENCE_S, Health, served_health

# https://prometheus.io/docs/instrumenting/exposition_formats/: comments, and name{label="value"} number.
LINE = re.compile(r'# (HELP|TYPE) [a-z_0-9]+ .+|[a-z_0-9]+(\{[a-z]+="[^"\\\n]*"\})? [-+0-9.e]+')


def _get(port, path):
    return requests.get(f"http://127.0.0.1:{port}{path}", timeout=30)


def test_metrics_in_the_format_of_prometheus():
    health = Health(queue_length=3, queue_age_s=1.5, send_queue_length=1, send_failures=1_234_567, trouble="")
    health.series.update({"left alone": 2, "done": 1})

    with served_health(health, ("127.0.0.1", 0)) as port:
        answer = _get(port, "/metrics")

    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    assert answer.text.endswith("\n")
    assert all(LINE.fullmatch(line) for line in lines)
    for line in (
        "nsn2n_node_up 1", "nsn2n_node_queue_length 3", "nsn2n_node_queue_age_seconds 1.5",
        "nsn2n_node_send_queue_length 1", "nsn2n_node_send_failures_total 1234567",
        'nsn2n_node_series_total{state="left alone"} 2', 'nsn2n_node_series_total{state="done"} 1',
    ):  # fmt: skip
        assert line in lines


def test_healthz_says_what_is_wrong():
    health = Health()
    with served_health(health, ("127.0.0.1", 0)) as port:
        early = _get(port, "/healthz")
        health.trouble = ""
        well = _get(port, "/healthz")
        health.last_step -= LONGEST_SILENCE_S + 1
        silent = _get(port, "/healthz")
        other = _get(port, "/")

    assert (early.status_code, early.text) == (503, "the worker has not reached Orthanc yet\n")
    assert (well.status_code, well.text) == (200, "ok\n")
    assert silent.status_code == 503
    assert "has not reported for 901 s" in silent.text
    assert other.status_code == 404


def test_an_address_that_is_taken():
    with (
        served_health(Health(), ("127.0.0.1", 0)) as port,
        pytest.raises(NSN2NError, match=f"must be a free address; got Address already in use at 127.0.0.1:{port}"),
        served_health(Health(), ("127.0.0.1", port)),
    ):
        pass
