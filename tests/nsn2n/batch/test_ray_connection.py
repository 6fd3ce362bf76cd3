# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Connections that cannot be had. What works with those that can: test_on_ray.py."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys

import pytest

from nsn2n.batch.ray_connection import connected
from nsn2n.errors import NSN2NError, SettingsError


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: NO CLUSTER WAS TRIED")
@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_cluster_that_is_not_there_is_one_line(environment, address):
    with (
        pytest.raises(NSN2NError, match=r"Ray must respond; got \w+ at (ray://)?127\.0\.0\.1:1\.") as caught,
        connected(address, gpus=0),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    before = os.environ.get("RAY_AUTH_TOKEN")
    handlers = signal.getsignal(signal.SIGTERM)

    with pytest.raises(SettingsError, match=r"Install nsn2n\[batch\], or give --shard 1/1"), connected(None, gpus=0):
        pass
    assert signal.getsignal(signal.SIGTERM) == handlers
    assert os.environ.get("RAY_AUTH_TOKEN") == before
