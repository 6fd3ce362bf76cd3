# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What was done with a series, or why not, as JSON in Orthanc's metadata, which survives every restart.

A source has a `SeriesState`, a series derived from it an `OutputMark`. Neither holds patient data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

from nsn2n.errors import NSN2NError

__all__ = [
    "CRASHED",
    "DONE",
    "FAILED",
    "FINAL",
    "HELD",
    "LEFT_ALONE",
    "PROCESSING",
    "REFUSED",
    "UPLOADING",
    "WAITING",
    "OutputMark",
    "PlannedSeries",
    "SeriesState",
    "growing_wait_s",
    "instances_digest",
]

VERSION = 1

LEFT_ALONE = "left alone"
"""The rules do not select it, or it is not a volume."""
WAITING = "waiting"
"""The worker was stopped, or slices arrived, while it was in progress."""
PROCESSING = "processing"
UPLOADING = "uploading"
CRASHED = "crashed"
"""Its process ended without a result; it is retried."""
REFUSED = "refused"
"""It cannot be denoised; `reason` says why. It is not retried until its instances change."""
HELD = "held"
"""The structure check says review, and such series are not sent."""
FAILED = "failed"
"""Its process crashed as many times as allowed."""
DONE = "done"

FINAL = (LEFT_ALONE, REFUSED, HELD, FAILED, DONE)
"""Nothing more happens until the instances change."""

LONGEST_WAIT_S = 600.0

_Stored = TypeVar("_Stored", bound="SeriesState | OutputMark")


@dataclass(frozen=True, kw_only=True)
class PlannedSeries:
    """A series as it must be in Orthanc."""

    series: str
    """SeriesInstanceUID."""
    instances: int
    digest: str
    """Digest of its SOPInstanceUIDs, by `instances_digest`."""


@dataclass(frozen=True, kw_only=True)
class SeriesState:
    """The state of a source."""

    state: str
    source: str
    """Digest of Orthanc's ids of the instances concerned; another one means that slices were added or removed."""
    tries: int = 0
    time: str = ""
    """When this was written, UTC."""
    next_try: str = ""
    """Time of the next try, UTC; empty: at once."""
    reason: str = ""
    verdict: str = ""
    """Verdict of the structure check."""
    outputs: tuple[PlannedSeries, ...] = ()
    earlier: tuple[str, ...] = ()
    """SeriesInstanceUIDs of the new series written before slices were added or removed."""
    sent: str = ""
    """Where the new series were forwarded to, and when."""

    def to_text(self) -> str:
        """Return it as JSON with the current time."""
        return _to_text(replace(self, time=_now()))

    @classmethod
    def from_text(cls, text: str) -> SeriesState:
        """Read it.

        Raises
        ------
        NSN2NError
            If it was written by another program, or by a later version of this one.
        """
        values = _from_text(text, cls)
        try:
            outputs = tuple(PlannedSeries(**entry) for entry in values.pop("outputs", ()))
            return cls(**{**values, "outputs": outputs, "earlier": tuple(values.pop("earlier", ()))})
        except TypeError as error:
            raise _foreign() from error

    def is_due(self) -> bool:
        """Whether the time of its next try has come."""
        return is_due(self.next_try)


@dataclass(frozen=True, kw_only=True)
class OutputMark:
    """The mark of a series written by the worker, by which it recognizes its own output."""

    made_of: str
    """SeriesInstanceUID of the source."""
    source: str
    """As for `SeriesState`."""
    instances: int
    time: str = ""
    superseded_by: tuple[str, ...] = ()
    """SeriesInstanceUIDs of the series that replaced it after late slices arrived."""
    send_to: str = ""
    """Where it is to be forwarded to; empty: nowhere."""
    sent: str = ""
    """When it arrived there, UTC."""
    tries: int = 0
    next_try: str = ""
    reason: str = ""
    """Why the last try failed."""

    def to_text(self) -> str:
        """Return it as JSON with the current time."""
        return _to_text(replace(self, time=_now()))

    @classmethod
    def from_text(cls, text: str) -> OutputMark:
        """Read it; errors as for `SeriesState.from_text`."""
        values = _from_text(text, cls)
        try:
            return cls(**{**values, "superseded_by": tuple(values.pop("superseded_by", ()))})
        except TypeError as error:
            raise _foreign() from error

    def is_to_be_sent(self) -> bool:
        """Whether it waits to be forwarded."""
        return bool(self.send_to) and not self.sent and not self.superseded_by

    def is_due(self) -> bool:
        """Whether the time of its next try has come."""
        return is_due(self.next_try)

    def after_failure(self, reason: str, first_wait_s: float) -> OutputMark:
        """Return it with one more failed try, and the time of the next."""
        tries = self.tries + 1
        return replace(self, tries=tries, reason=reason, next_try=later(growing_wait_s(tries, first_wait_s)))


def instances_digest(identifiers: Iterable[str]) -> str:
    """Return a digest of a set of identifiers, independent of their order."""
    return hashlib.sha256("\n".join(sorted(identifiers)).encode()).hexdigest()


def growing_wait_s(tries: int, first_wait_s: float) -> float:
    """Return how long to wait after a number of failures: twice as long each time, up to `LONGEST_WAIT_S`."""
    return min(LONGEST_WAIT_S, first_wait_s * 2.0 ** min(max(tries - 1, 0), 32))


def later(seconds: float) -> str:
    """Return the time a number of seconds from now, UTC."""
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def is_due(time: str) -> bool:
    """Whether a time of :func:`later` has come; an empty one has."""
    return not time or datetime.fromisoformat(time) <= datetime.now(timezone.utc)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _to_text(stored: SeriesState | OutputMark) -> str:
    kept = {name: value for name, value in asdict(stored).items() if value not in ("", 0, (), [])}
    return json.dumps({"nsn2n": VERSION, **kept}, separators=(",", ":"))


def _from_text(text: str, kind: type[_Stored]) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _foreign() from error
    known = {entry.name for entry in fields(kind)}
    if not isinstance(values, Mapping) or values.get("nsn2n") != VERSION or not set(values) - {"nsn2n"} <= known:
        raise _foreign()
    return {name: value for name, value in values.items() if name != "nsn2n"}


def _foreign() -> NSN2NError:
    return NSN2NError(
        f"the node's metadata must be that of this program, version {VERSION}; got something else. Choose other"
        " metadata with --metadata-index, or delete the existing one."
    )
