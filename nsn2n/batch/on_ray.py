# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Workers scheduled by Ray: on this machine only, or on those of a cluster.

Ray stores no volume: a task receives the location of a series and the options, and returns a short outcome. Each series
declares the processors, memory and GPU it needs, and Ray places it where these are free. Restarting a series whose
worker died is not left to Ray, so that the ledger records each try.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nsn2n.batch.run_series import run_series
from nsn2n.batch.scheduling import Ended
from nsn2n.batch.task import SeriesOutcome, SeriesTask
from nsn2n.errors import NSN2NError

__all__ = ["RayWorkers"]

_NODES_S = 2.0
"""Interval at which the machines are counted again."""

_STOP_S = 10.0
"""Time for tasks to remove what they have not completed, before their processes are killed."""

_PATIENCE_S = 60.0

_HEAD_S = 20.0
"""How long the head of a cluster may not respond. Ray itself ends this process, without an exception, after 60 s."""


@dataclass
class RayWorkers:
    """Tasks of a connected Ray.

    Parameters
    ----------
    cpus : int
        Processors per series.
    gpus : float
        Number of GPUs per series, or a fraction of one.
    patience_s : float
        How long to wait for a machine that is large enough: those of a cluster may still be starting.
    """

    cpus: int
    gpus: float
    patience_s: float = _PATIENCE_S
    _tasks: dict[Any, SeriesTask] = field(default_factory=dict)
    _nodes: list[dict[str, float]] = field(default_factory=list)
    _counted_s: float = -math.inf
    _run: Any = None
    _answered_s: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Register the function with Ray."""
        import ray

        self._run = ray.remote(run_series)

    def have_room(self) -> bool:
        """Whether a machine has processors and GPU free; one more may wait, so that a cluster scales up."""
        if not self._head_answers():
            return False
        slots = sum(int(min(self._parts(node))) for node in self._machines())
        return len(self._tasks) <= slots

    def obstacle(self, task: SeriesTask) -> str | None:
        """Return why none of the present machines can take a series; None if one can."""
        machines = self._machines()
        able = [node for node in machines if min(self._parts(node)) >= 1]
        largest = max((node.get("memory", 0.0) for node in able), default=0.0)
        if able and task.memory_bytes <= largest:
            return None
        gpus = f" and {self.gpus:g} GPU" if self.gpus else ""
        return (
            f"a machine must have {self.cpus} processors{gpus} and {task.memory_bytes / 2**30:.1f} GiB for the series;"
            f" of {len(machines)}, {len(able)} have the processors{gpus}, the largest with {largest / 2**30:.1f} GiB."
            " Add a larger one, or request less, and run again with --retry-failed."
        )

    def begin(self, task: SeriesTask) -> None:
        """Submit a series to Ray, with its UID as name."""
        placed = self._run.options(
            name=task.series.SeriesInstanceUID,
            num_cpus=self.cpus,
            num_gpus=self.gpus,
            memory=task.memory_bytes,
            max_retries=0,
        )
        self._tasks[placed.remote(task)] = task

    def wait(self, seconds: float) -> list[Ended]:
        """Wait until a series has ended, or until the timeout."""
        import ray

        self._head_answers()
        ready, _ = ray.wait(list(self._tasks), num_returns=1, timeout=seconds)
        if ready:  # all that have ended by now
            ready, _ = ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=0)
        return [_ended(self._tasks.pop(reference), reference) for reference in ready]

    def stop(self) -> None:
        """Cancel what is in progress, and kill what does not end."""
        import ray

        left = list(self._tasks) if self._answered_s > time.monotonic() - _HEAD_S else []
        for force in (False, True):
            # Only what has not ended: killing a task while it ends takes Ray, and so this process, down.
            for reference in left:
                ray.cancel(reference, force=force)
            if left:
                _, left = ray.wait(left, num_returns=len(left), timeout=_STOP_S)
        self._tasks.clear()

    def _machines(self) -> list[dict[str, float]]:
        """Resources of each machine that is alive."""
        import ray

        if time.monotonic() - self._counted_s >= _NODES_S and self._head_answers():
            self._counted_s = time.monotonic()
            self._nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return self._nodes

    def _head_answers(self) -> bool:
        """Whether the head of the cluster responds; an error after a while. Ray's own calls would wait for it."""
        import ray

        if ray.util.client.ray.is_connected():
            return True  # for a Ray client its server checks this
        host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
        except OSError as error:
            if time.monotonic() - self._answered_s > _HEAD_S:
                raise NSN2NError(
                    f"the head of a Ray cluster must respond; {host}:{port} has not for {_HEAD_S:.0f} s. Start the"
                    " cluster, and repeat the command: the run is resumed."
                ) from error
            return False
        self._answered_s = time.monotonic()
        return True

    def _parts(self, node: Mapping[str, float]) -> tuple[float, ...]:
        """How many series fit the processors and GPUs of a machine."""
        by_cpu = node.get("CPU", 0.0) / self.cpus
        return (by_cpu, node.get("GPU", 0.0) / self.gpus) if self.gpus else (by_cpu,)


def _ended(task: SeriesTask, reference: Any) -> Ended:
    """Return the result of a task: its outcome, or why its worker died."""
    import ray
    from ray import exceptions

    dead = (
        *(exceptions.WorkerCrashedError, exceptions.NodeDiedError, exceptions.OutOfMemoryError),
        *(exceptions.TaskCancelledError, exceptions.ObjectLostError, exceptions.LocalRayletDiedError),
    )
    try:
        outcome = ray.get(reference)
    except dead as error:
        return Ended(task, None, type(error).__name__)
    except exceptions.RayError as error:
        # Its message may quote what the worker raised.
        kind = type(getattr(error, "cause", None) or error).__name__
        return Ended(
            task,
            SeriesOutcome(
                error=f"a worker must be able to load its task; got {kind}. Install the same nsn2n and Ray on all"
                " machines of the run, and run again with --retry-failed."
            ),
        )
    assert isinstance(outcome, SeriesOutcome)
    return Ended(task, outcome)
