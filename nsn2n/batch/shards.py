# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Assignment of series to shards, for several runs that share the series without communicating.

A series belongs to a shard by a digest of its UID. So each series has one shard, even if the runs see slightly
different lists, as when a server receives new series while the first runs start.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from nsn2n.errors import SettingsError

__all__ = ["Shard", "shard_of"]

COUNT = "NSN2N_SHARDS"
"""Environment variable with the number of shards: an indexed Job of Kubernetes provides only the index."""


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count`, counted from 1."""

    index: int
    count: int

    @property
    def ledger(self) -> str:
        """Name of its ledger file."""
        return f"ledger-{self.index}-of-{self.count}.sqlite"

    def has(self, series_uid: str) -> bool:
        """Whether a series belongs to this shard."""
        digest = hashlib.sha256(series_uid.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index - 1


def shard_of(given: str | None, environment: Mapping[str, str]) -> Shard | None:
    """Return the shard of a run: the one given, else that of Slurm's array or Kubernetes' indexed Job.

    Parameters
    ----------
    given : str, optional
        ``I/N``, from 1/N to N/N.
    environment : mapping
        Environment variables.

    Returns
    -------
    Shard or None
        None: the run processes all series.

    Raises
    ------
    SettingsError
        If there is no such shard.
    """
    if given is not None:
        match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", given)
        if match is None:
            raise SettingsError(f"--shard must be I/N, such as 1/8; got {given[:40]!r}. Correct it.")
        return _checked(int(match[1]), int(match[2]), f"--shard {given}")
    if "SLURM_ARRAY_TASK_ID" in environment:
        names = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN")
        place, count, first = (_number(environment, name) for name in names)
        step = _number(environment, "SLURM_ARRAY_TASK_STEP") if "SLURM_ARRAY_TASK_STEP" in environment else 1
        task = f"task {place} of an array of {count} from {first} on"
        if step < 1 or (place - first) % step:
            raise SettingsError(
                f"an array must increase in equal steps, such as 0-7; got {task}. Correct it, or give --shard."
            )
        return _checked((place - first) // step + 1, count, task)
    if "JOB_COMPLETION_INDEX" in environment:
        place, count = _number(environment, "JOB_COMPLETION_INDEX"), _number(environment, COUNT)
        return _checked(place + 1, count, f"JOB_COMPLETION_INDEX {place} and {COUNT} {count}")
    return None


def _checked(index: int, count: int, given: str) -> Shard:
    if not 1 <= index <= count:
        raise SettingsError(f"a shard must be in 1/N to N/N; got {given}. Correct it, or give --shard I/N.")
    return Shard(index, count)


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "")
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise SettingsError(
            f"{name} must be a whole number; got {value[:40]!r} in the environment. Set it, or give --shard I/N."
        )
    return int(value)
