# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The options of ``nsn2n node`` in addition to those of a run, as a table like that of `nsn2n.jobs.options`."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nsn2n.errors import SettingsError
from nsn2n.runtime.config_loading import check_bounds, option, shown, updated_from

__all__ = ["NodeOptions"]

ORTHANC, PACE, WATCHING = "Orthanc", "Pace", "Watching the node"


@dataclass(frozen=True, kw_only=True)
class NodeOptions:
    """Which archive the worker follows, and how; checked on construction.

    Raises
    ------
    SettingsError
        If a value is out of bounds or invalid.
    """

    orthanc: str = option(
        "http://localhost:8042", "REST API of the Orthanc.", group=ORTHANC, flag="--orthanc", metavar="URL"
    )
    credentials: Path | None = option(
        None,
        "File with user:password on one line; by default the variables NSN2N_ORTHANC_USER and NSN2N_ORTHANC_PASSWORD.",
        group=ORTHANC,
        flag="--credentials",
        metavar="FILE",
    )
    ca_file: Path | None = option(
        None,
        "CA certificates (PEM) to verify an https Orthanc with, instead of the public ones.",
        group=ORTHANC,
        flag="--ca-file",
        metavar="FILE",
    )
    send_to: str | None = option(
        None,
        "Forward each new series by C-STORE to this entry of Orthanc's DicomModalities, with retries until it has "
        "arrived.",
        group=ORTHANC,
        flag="--send-to",
        metavar="MODALITY",
    )
    rules: Path | None = option(
        None,
        "File with the rules that choose series; by default those of the model bundle.",
        group=ORTHANC,
        flag="--rules",
        metavar="FILE",
    )
    since: str | None = option(
        None,
        "Ignore what arrived before this time (UTC, such as 2026-11-27 or 2026-11-27T08:30); by default ignore "
        "nothing.",
        group=ORTHANC,
        flag="--since",
        metavar="TIME",
    )
    hold_review: bool = option(
        False,
        "Do not send back a series whose structure check says review.",
        group=ORTHANC,
        flag="--hold-review",
    )
    metadata_index: int = option(
        1024,
        "Number of the Orthanc metadata that holds the state: this one on sources, the next on new series.",
        at_least=1024,
        at_most=65534,
        group=ORTHANC,
        flag="--metadata-index",
    )

    poll_s: float = option(
        5.0, "Time between two queries to Orthanc.", unit="s", at_least=0.1, group=PACE, flag="--poll"
    )
    settle_s: float = option(
        60.0,
        "A series is complete when Orthanc reports it as stable and has received nothing of it for this long.",
        unit="s",
        at_least=0,
        group=PACE,
        flag="--settle",
    )
    list_every_s: float = option(
        300.0,
        "Interval at which all series are listed, since Orthanc fails to report some when it is restarted.",
        unit="s",
        above=0,
        group=PACE,
        flag="--list-every",
    )
    tries: int = option(
        3, "How many times to try a series whose process crashes.", at_least=1, group=PACE, flag="--tries"
    )
    retry_wait_s: float = option(
        5.0,
        "Wait before the first retry of whatever failed; the wait doubles each time, up to 10 minutes.",
        unit="s",
        above=0,
        at_most=600,
        group=PACE,
        flag="--retry-wait",
    )
    longest_job_s: float = option(
        6 * 3600.0,
        "Time limit of a series; exceeding it counts as a crash.",
        unit="s",
        above=0,
        group=PACE,
        flag="--longest-job",
    )
    work_folder: Path | None = option(
        None,
        "Folder for the files of the series in progress; by default the folder for temporary files.",
        group=PACE,
        flag="--work-folder",
        metavar="FOLDER",
    )

    listen: str = option(
        "127.0.0.1:8043",
        "Address of /metrics and /healthz; only one node can listen there.",
        group=WATCHING,
        flag="--listen",
        metavar="ADDRESS:PORT",
    )

    def __post_init__(self) -> None:
        """Let those check the values that use them later."""
        check_bounds(self)
        parts = urlsplit(self.orthanc)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise SettingsError(
                f"--orthanc must be an address such as http://localhost:8042; got {shown(self.orthanc)}. Correct it."
            )
        if parts.username or parts.password:
            raise SettingsError(
                "--orthanc must be an address without user and password, which anyone could read; got one with them. "
                "Put them in the environment or in a file (--credentials)."
            )
        self.since_time()
        self.listen_address()

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> NodeOptions:
        """Make options from plain values, by field.

        Raises
        ------
        SettingsError
            If a value has the wrong type or is out of bounds.
        """
        return updated_from(cls(), mapping)

    def since_time(self) -> datetime | None:
        """Return `since` with its time zone, UTC."""
        if self.since is None:
            return None
        try:
            time = datetime.fromisoformat(self.since)
        except ValueError as error:
            raise SettingsError(
                f"--since must be a time such as 2026-11-27 or 2026-11-27T08:30; got {shown(self.since)}. Correct it."
            ) from error
        return time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time

    def listen_address(self) -> tuple[str, int]:
        """Return address and port of `listen`."""
        host, _, port = self.listen.rpartition(":")
        try:
            ipaddress.ip_address(host)
            if not 0 <= int(port) <= 65535:
                raise ValueError(port)
        except ValueError as error:
            raise SettingsError(
                f"--listen must be an address and a port, such as 127.0.0.1:8043; got {shown(self.listen)}. Correct it."
            ) from error
        return host, int(port)
