# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``nsn2n node``: its options, and the worker that they configure."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from nsn2n.cli.options import given_options, with_options
from nsn2n.errors import NSN2NError
from nsn2n.jobs.options import JobOptions
from nsn2n.node.options import NodeOptions

__all__ = ["run_node", "with_node_options"]

_Command = TypeVar("_Command", bound=Callable[..., Any])

_OF_ONE_RUN = ("series_uids", "strict", "modality", "mask", "residual", "noise_map", "viewer", "force")
"""Options that a worker does not accept: they apply to one folder or file, or would send what fails the check."""


def with_node_options(command: _Command) -> _Command:
    """Replace the ``**given`` of a typer command by the options of a node and those of its runs."""
    return with_options(command, NodeOptions, JobOptions, without=_OF_ONE_RUN)


def run_node(given: Mapping[str, Any]) -> None:
    """Follow an Orthanc until the process is stopped.

    Parameters
    ----------
    given : mapping
        What was given on the command line, by field of `NodeOptions` and of `JobOptions`.

    Raises
    ------
    NSN2NError
        If an option is invalid, or Orthanc denies what the worker needs.
    """
    values = given_options(given)
    of_node = {entry.name for entry in fields(NodeOptions)}
    node = NodeOptions.from_mapping({name: value for name, value in values.items() if name in of_node})
    job = {name: value for name, value in values.items() if name not in of_node}
    options = JobOptions.from_mapping({**job, **({} if node.rules is None else {"selection_rules": node.rules})})
    if importlib.util.find_spec("requests") is None:
        raise NSN2NError("nsn2n node needs the package requests, which is not installed: pip install 'nsn2n[node]'.")

    from nsn2n.node.credentials import read_credentials
    from nsn2n.node.health import Health, served_health
    from nsn2n.node.orthanc_client import OrthancClient
    from nsn2n.node.worker import Worker

    client = OrthancClient(node.orthanc, read_credentials(node.credentials), node.ca_file)
    health = Health()
    with served_health(health, node.listen_address()):
        Worker(client, node, options, health).run()
