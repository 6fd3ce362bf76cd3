# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Ray as it is: on this machine alone, and a cluster of three nodes that loses a worker, a node and its head."""

from __future__ import annotations

import importlib.util
import signal
import time

import psutil
import pytest

from nsn2n.batch.ledger import DONE, RUNNING, read_ledgers
from nsn2n.batch.on_ray import RayWorkers
from nsn2n.batch.ray_connection import connected

# Ray is not imported here: it reads its environment when it is imported, and other tests may follow in this process.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra batch): NO CLUSTER WAS TRIED"
    ),
]

TIMEOUT_S = 240
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "memory": 2 << 30}


@pytest.fixture
def start_cluster(environment):
    from ray.cluster_utils import Cluster

    started = []

    def start(nodes=3):
        cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        started.append(cluster)
        for _ in range(nodes - 1):
            cluster.add_node(**NODE, wait=False)
        cluster.wait_for_nodes()
        return cluster

    yield start
    for cluster in started:
        cluster.shutdown()


def _until(condition, process):
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


def _done(folder):
    return sum(row.state == DONE for row in read_ledgers(folder)) if list(folder.glob("ledger*.sqlite")) else 0


def _workers():
    """Processes that have a series in work; Ray gives each the name of its task."""
    found = [(one, one.info["cmdline"] or [""]) for one in psutil.process_iter(["cmdline"])]
    return [one for one, line in found if line[0].startswith("ray::2.25.")]


def test_cluster_that_loses_worker_node_and_head_ends_with_every_series_once(
    start_cluster, batch, write_trial, tmp_path, nsn2n, pixels, environment
):
    folder, out = write_trial(16), tmp_path / "out"
    cluster = start_cluster()
    arguments = (folder, out, "--address", cluster.address, "--num-cpus", 1)
    first = batch(*arguments, env=environment)
    # Until every node has a worker, which shows itself at work; that takes seconds, a series a moment.
    _until(lambda: _done(out) >= 2 and _workers(), first)
    killed = next(iter(_workers()), None)
    if killed is not None:
        killed.send_signal(signal.SIGKILL)
    cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
    cluster.remove_node(cluster.head_node, allow_graceful=False)

    _, errors = first.communicate(timeout=TIMEOUT_S)
    assert first.returncode == 1
    assert errors.splitlines()[-1].startswith("error: the head of a Ray cluster must respond; 127.0.0.1:")
    assert "Traceback" not in errors
    rows = read_ledgers(out)
    assert 2 <= sum(row.state == DONE for row in rows) < 16
    assert all(row.state != RUNNING for row in rows)
    kept = {path: path.stat().st_mtime_ns for path in out.glob("2.25.*/2.25.*/outcome.json")}
    cluster.shutdown()

    again = start_cluster()
    second = batch(folder, out, "--address", again.address, "--num-cpus", 1, env=environment)
    printed, errors = second.communicate(timeout=TIMEOUT_S)

    assert second.returncode == 0, errors
    assert printed.splitlines() == [str(out / "status.csv"), str(out / "status.html")]
    rows = read_ledgers(out)
    assert [row.state for row in rows] == [DONE] * 16
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items())
    assert not list(out.rglob(".nsn2n-*"))
    alone = nsn2n("denoise", folder, tmp_path / "alone", "--config", tmp_path / "config.yaml")
    assert alone.code == 0, alone.stderr
    expected = pixels(tmp_path / "alone")
    assert len(expected) == 16
    assert pixels(out) == expected


def test_this_machine_alone_runs_200_series(batch, write_trial, tmp_path, environment):
    """Each once; nothing listens to other machines meanwhile, and nothing of Ray is left."""
    out = tmp_path / "out"
    process = batch(write_trial(200), out, "--num-cpus", 1, "--no-report", "--strength", 0)
    _until(lambda: _done(out) >= 3, process)
    family = psutil.Process(process.pid).children(recursive=True)
    listening = [
        place.laddr.ip
        for one in (*family, psutil.Process(process.pid))
        for place in one.net_connections("inet")
        if place.status == psutil.CONN_LISTEN
    ]
    _, errors = process.communicate(timeout=TIMEOUT_S)

    assert process.returncode == 0, errors
    assert listening
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}
    rows = read_ledgers(out)
    assert [(row.state, row.tries) for row in rows] == [(DONE, 1)] * 200
    assert len(list(out.glob("2.25.*/2.25.*/2.25.*/IM0001.dcm"))) == 200
    assert all(row.peak_bytes > 0 for row in rows)
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive


@pytest.mark.usefixtures("signals_as_in_a_terminal")
def test_interrupt_cancels_what_is_in_work(batch, write_trial, tmp_path, environment):
    out = tmp_path / "out"
    process = batch(write_trial(6), out, "--num-cpus", 1, "--config", _long_fit(tmp_path))
    _until(lambda: list(out.glob("2.25.*/.nsn2n-*")), process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=TIMEOUT_S)

    assert process.returncode == 128 + signal.SIGINT, errors
    assert "Traceback" not in errors
    assert not list(out.glob("2.25.*/.nsn2n-*"))
    rows = read_ledgers(out)
    assert {row.state for row in rows} == {"waiting"}
    assert {row.error for row in rows if row.tries} == {"the run ended before this series did; it is retried"}


def _long_fit(tmp_path):
    file = tmp_path / "long.yaml"
    file.write_text("fit: {steps: 1000000}\n")
    return file


def test_series_go_where_memory_and_processors_are(start_cluster, make_tasks, monkeypatch):
    import dataclasses

    cluster = start_cluster(nodes=1)
    cluster.add_node(**{**NODE, "num_cpus": 4, "memory": 6 << 30})
    (small,) = make_tasks(1)
    large = dataclasses.replace(small, series=dataclasses.replace(small.series, voxels=4 << 30 >> 5))
    huge = dataclasses.replace(small, series=dataclasses.replace(small.series, voxels=4 << 30))
    with connected(cluster.address, gpus=0):
        workers = RayWorkers(cpus=2, gpus=0)

        assert workers.obstacle(small) is None
        assert workers.obstacle(large) is None
        assert "a machine must have 2 processors and 92." in workers.obstacle(huge)
        assert "of 2, 1 have the processors, the largest with 6.0 GiB" in workers.obstacle(huge)
        assert "8 processors" in RayWorkers(cpus=8, gpus=0).obstacle(small)
        assert "and 0.25 GPU" in RayWorkers(cpus=1, gpus=0.25).obstacle(small)
        begun = 0
        while workers.have_room():
            workers.begin(small)
            begun += 1
        assert begun == 3  # two at once on the larger machine, and one that shows that more could be had
        workers.stop()
