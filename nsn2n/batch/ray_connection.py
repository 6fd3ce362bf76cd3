# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A connection to Ray: to a cluster, or to a local instance that is started on this machine and ends with the run."""

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
"""Ray's object store, which is not used; this is its minimum size."""

_RESERVED = 0.1
"""Fraction of this machine's memory reserved for Ray itself and other programs."""

_NO_USAGE = {"RAY_USAGE_STATS_ENABLED": "0"}
"""Disables Ray's usage statistics."""

_LONGEST_FOLDER = 30
"""Characters: Ray creates sockets below it, whose paths may have at most 107."""

_CONNECT_S = 10.0


@contextmanager
def connected(address: str | None, *, gpus: float, cpus: int | None = None, dashboard: bool = False) -> Iterator[None]:
    """Connect to a cluster, or start Ray on this machine only, for the duration of the block.

    Parameters
    ----------
    address : str, optional
        As for `ray.init`: ``auto``, ``host:port``, ``ray://host:10001``. None: this machine. Then Ray accepts no
        connections from other machines, and its processes end with this one.
    gpus : float
        Per series; 0: GPUs are not used.
    cpus : int, optional
        Processors of this machine that Ray may use; by default all that this process may use.
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
                "nsn2n batch needs Ray, which is not installed. Install nsn2n[batch], or give --shard 1/1, which"
                " processes the series one by one without it."
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
        except Exception as error:  # Ray may raise anything: its message may have many lines
            where = "on this machine" if address is None else f"at {address}"
            raise NSN2NError(
                f"Ray must respond; got {type(error).__name__} {where}. Check the address, its version (here"
                f" {ray.__version__}) and RAY_AUTH_MODE with its token."
            ) from error
        _restore(handlers)
        try:
            # Ray prints events of its workers over many lines; the ledger and the log have them on one line.
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
    """Raise an OSError if nothing listens at an address: Ray itself would retry for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()


def _restore(handlers: Mapping[signal.Signals, Any]) -> None:
    """Restore the signal handlers, which Ray replaces by its own."""
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _folder() -> str:
    """Create a folder for Ray's sockets and logs, accessible only to this user."""
    parent = tempfile.gettempdir()
    return tempfile.mkdtemp(prefix="nsn2n-", dir=parent if len(parent) <= _LONGEST_FOLDER else "/tmp")


def _of_this_machine_alone() -> dict[str, str]:
    """Set environment variables of Ray so that it listens on 127.0.0.1 only, and requires a secret of this run."""
    return {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # ray._private.services: the address of the node is the loopback one
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }


def _memory_bytes() -> int | None:
    available = available_bytes()
    return None if available is None else int(available * (1 - _RESERVED))
