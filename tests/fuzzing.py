# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What fuzzers share: damages to bytes, bounds of time and memory, and the loop over seeds.

A fuzzer is a module ``fuzz`` with a ``make_corpus`` and a ``run_once``, which takes an input with a seed's damage as
the program does. ``python -m`` such a module with ``--seconds 600 --seed 1`` runs for ten minutes from the seed on, and
names each seed whose input did something else than it should, took longer than 30 s or more than 1 GB; ``--seed N
--seconds 0`` runs that one again, with the traceback.
"""

from __future__ import annotations

import argparse
import logging
import random
import resource
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

__all__ = ["DAMAGES", "MOST_BYTES", "bound_memory", "damaged", "main"]

MOST_SECONDS, MOST_BYTES = 30, 1 << 30
"""Of one input; the bytes are beyond what the program needs at rest."""


def _flip(data: bytearray, pick: random.Random) -> None:
    data[pick.randrange(len(data))] ^= 1 << pick.randrange(8)


def _overwrite(data: bytearray, pick: random.Random) -> None:
    place, length = pick.randrange(len(data)), pick.choice((1, 2, 4, 8))
    value = pick.choice((b"\0", b"\xff", b"\x7f", b"\x80", b"\\", b"9", b"-", b" ", pick.randbytes(1)))
    data[place : place + length] = (value * length)[: len(data) - place]


def _delete(data: bytearray, pick: random.Random) -> None:
    place = pick.randrange(len(data))
    del data[place : place + pick.choice((1, 2, 8, 64, 1000))]


def _insert(data: bytearray, pick: random.Random) -> None:
    place = pick.randrange(len(data))
    data[place:place] = pick.randbytes(pick.choice((1, 2, 8, 64)))


def _repeat(data: bytearray, pick: random.Random) -> None:
    place = pick.randrange(len(data))
    data[place:place] = data[place : place + pick.choice((8, 64, 512))]


def _cut(data: bytearray, pick: random.Random) -> None:
    del data[pick.randrange(len(data)) :]


def _exchange(data: bytearray, pick: random.Random) -> None:
    """Give a length or a number inside the header another value that parsers stumble over."""
    place = pick.randrange(min(len(data), 3000))
    data[place : place + 4] = pick.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xfe\xff\0\xe0", b"SQ\0\0", b"UN\0\0"))


DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(_flip, _overwrite, _delete, _insert, _repeat, _cut, _exchange),
)


def damaged(data: bytes, pick: random.Random) -> bytes:
    """Return bytes with a few damages, most of them in the header."""
    changed = bytearray(data)
    for _ in range(pick.choice((1, 1, 2, 5))):
        if changed:
            pick.choice(DAMAGES)(changed, pick)
    return bytes(changed)


def bound_memory() -> None:
    """Let this process have no more memory than `MOST_BYTES` beyond what it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST_BYTES, hard))


def took_too_long(_signal: int, _frame: object) -> None:
    raise TimeoutError(f"more than {MOST_SECONDS} s")


def main(
    about: str | None,
    make_corpus: Callable[[Path], list[Path]],
    run_once: Callable[[list[Path], int, Path], str],
) -> int:
    """Run until the time is over; the exit code is 1 if anything was found."""
    parser = argparse.ArgumentParser(description=(about or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    outcomes: dict[str, int] = {}
    found = 0
    with tempfile.TemporaryDirectory() as name:
        corpus = make_corpus(Path(name, "corpus"))
        bound_memory()
        signal.signal(signal.SIGALRM, took_too_long)
        seed, end = arguments.seed, time.monotonic() + arguments.seconds
        while True:
            signal.alarm(MOST_SECONDS)
            try:
                outcome = run_once(corpus, seed, Path(name, "work"))
            except Exception as error:
                outcome, found = "FOUND", found + 1
                print(f"seed {seed}: {type(error).__name__}: {error}", flush=True)
                if arguments.seconds == 0:
                    traceback.print_exc()
            signal.alarm(0)
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            seed += 1
            if time.monotonic() >= end:
                break
    print(f"seeds {arguments.seed} to {seed - 1}: {outcomes}")
    return 1 if found else 0
