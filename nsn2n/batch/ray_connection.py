# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A connection to Ray: to a cluster, or to one that is started on this machine alone and ends with the run."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

from nsn2n.errors import NSN2NError, SettingsError
from nsn2n.runtime.cpus import usable_cpus
from nsn2n.runtime.memory import available_bytes

__all__ = ["connected"]

_OBJECTS_BYTES = 80 << 20
"""Ray's store for what tasks give each other, of which there is nothing; it takes no less."""

_RESERVED = 0.1
"""Share of the memory of this machine that is left to Ray itself and to others."""

_NO_USAGE = {"RAY_USAGE_STATS_ENABLED": "0"}
"""Nothing is sent to the makers of Ray."""

_LONGEST_FOLDER = 30
"""Characters: Ray makes sockets below, whose paths have 107 at most."""

_CONNECT_S = 10.0


@contextmanager
def connected(address: str | None, *, gpus: float, cpus: int | None = None, dashboard: bool = False) -> Iterator[None]:
    """Connect to a cluster, or start Ray on this machine alone, for the time of the block.

    Parameters
    ----------
    address : str, optional
        As of `ray.init`: ``auto``, ``host:port``, ``ray://host:10001``. None: this machine. Then nothing listens to
        other machines, and Ray's processes end with this one.
    gpus : float
        Of a series; 0: GPUs are not used.
    cpus : int, optional
        That Ray may use of this machine; by default all that this process may.
    dashboard : bool
        Start Ray's dashboard on this machine, if no address is given.

    Raises
    ------
    SettingsError
        If Ray is not installed.
    NSN2NError
        If there is no cluster at the address, or Ray does not start.
    """
    folder = _folder() if address is None else None
    environment = dict(os.environ)
    os.environ.update(_NO_USAGE | (_of_this_machine_alone() if address is None else {}))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        try:
            import ray
        except ModuleNotFoundError as error:
            raise SettingsError(
                "nsn2n batch needs Ray, which is not installed. Install nsn2n[batch], or give --shard 1/1, by which the"
                " series run one after another without it."
            ) from error
        common: dict[str, Any] = {"log_to_driver": False, "configure_logging": False, "logging_level": logging.ERROR}
        try:
            if address is not None:
                _require_reachable(os.environ.get("RAY_ADDRESS", address) if address == "auto" else address)
                ray.init(address=address, namespace="nsn2n", **common)
            else:
                ray.init(
                    address="local",
                    num_cpus=usable_cpus() if cpus is None else cpus,
                    num_gpus=None if gpus else 0,
                    object_store_memory=_OBJECTS_BYTES,
                    _memory=_memory_bytes(),
                    _temp_dir=folder,
                    include_dashboard=dashboard,
                    dashboard_host="127.0.0.1",
                    **common,
                )
        except Exception as error:  # whatever Ray raises: its message may be of many lines
            where = "on this machine" if address is None else f"at {address}"
            raise NSN2NError(
                f"Ray must answer; got {type(error).__name__} {where}. Check the address, its version (here"
                f" {ray.__version__}) and RAY_AUTH_MODE with its token."
            ) from error
        _restore(handlers)
        try:
            # Ray prints what happens to its workers, over many lines; the ledger and the log have it in one.
            with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
                yield
        finally:
            ray.shutdown()
    finally:
        _restore(handlers)
        os.environ.clear()
        os.environ.update(environment)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _require_reachable(address: str) -> None:
    """Raise an OSError if nothing listens at an address: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()


def _restore(handlers: Mapping[signal.Signals, Any]) -> None:
    """Take back the signals, for which Ray sets handlers of its own."""
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _folder() -> str:
    """A new folder for Ray's sockets and logs, this user's alone."""
    parent = tempfile.gettempdir()
    return tempfile.mkdtemp(prefix="nsn2n-", dir=parent if len(parent) <= _LONGEST_FOLDER else "/tmp")


def _of_this_machine_alone() -> dict[str, str]:
    """Settings of Ray by which it listens on 127.0.0.1 only, and to those who know a secret of this run."""
    return {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # ray._private.services: the address of the node is the loopback one
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }


def _memory_bytes() -> int | None:
    available = available_bytes()
    return None if available is None else int(available * (1 - _RESERVED))
