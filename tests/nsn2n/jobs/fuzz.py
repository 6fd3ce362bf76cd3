# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Damages configurations at random and sees what becomes of them: options, or an error of one line, and nothing else.

    python -m tests.nsn2n.jobs.fuzz --seconds 600

See :mod:`tests.fuzzing`.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import yaml

from nsn2n.app.settings import load_settings
from nsn2n.cli.options import job_options
from nsn2n.dicom.selection.rules import load_rules
from nsn2n.errors import NSN2NError
from nsn2n.settings import PRESETS
from tests.fuzzing import DAMAGES, main

ROOT = Path(__file__).resolve().parents[3]

TOKENS = (
    *("&a ", "*a", "<<: *a", "!!python/object:os.system ", "!!binary ", "!!set ", "!!float ", "!!int ", "!!timestamp "),
    *(
        "[" * 40,
        "{" * 40,
        "- " * 40,
        "? ",
        "|",
        ">",
        "%YAML 3\n",
        "---\n",
        "...\n",
        "\t",
        "\r",
        "\0",
        "\x1b[2J",
        "\u202e",
    ),
    *(
        "1e999",
        "-.inf",
        ".nan",
        "0x" + "f" * 80,
        "9" * 6000,
        "1_0",
        "190:20:30",
        "2026-02-30",
        "~",
        "null",
        "true",
        "''",
    ),
)


def make_corpus(folder: Path) -> list[Path]:
    """Write a configuration of each kind: ``--config`` of each preset, ``app.yaml`` and selection rules."""
    folder.mkdir(parents=True)
    made = []
    for name, settings in PRESETS.items():
        made.append(folder / f"config-{name}.yaml")
        made[-1].write_text(yaml.safe_dump(settings.to_mapping()))
    for source, kind in ((ROOT / "app.yaml", "app"), (ROOT / "models/nsn2n/configs/selection_rules.json", "rules")):
        made.append(folder / f"{kind}{source.suffix}")
        made[-1].write_bytes(source.read_bytes())
    return made


def damaged(data: bytes, pick: random.Random) -> bytes:
    """Return a text with a few damages: of its bytes, of its lines, and by what means something in YAML."""
    changed = bytearray(data)
    for _ in range(pick.choice((1, 1, 2, 5))):
        place = pick.randrange(len(changed) + 1)
        kind = pick.choice(("bytes", "token", "value"))
        if kind == "bytes" and changed:
            pick.choice(DAMAGES)(changed, pick)
        elif kind == "token":
            changed[place:place] = pick.choice(TOKENS).encode()
        elif kind == "value" and (colon := changed.find(b":", place)) >= 0:
            end = changed.find(b"\n", colon)
            changed[colon + 1 : end if end >= 0 else len(changed)] = f" {pick.choice(TOKENS)}".encode()
    return bytes(changed)


def run_once(corpus: list[Path], seed: int, work: Path) -> str:
    """Damage a configuration, and load it as the program does.

    Returns
    -------
    str
        ``taken`` or ``refused``.

    Raises
    ------
    Exception
        Whatever is no `NSN2NError`, and AssertionError if such an error is not one line of a length to be read.
    """
    pick = random.Random(seed)
    work.mkdir(exist_ok=True)
    victim = pick.choice(corpus)
    file = work / victim.name
    file.write_bytes(damaged(victim.read_bytes(), pick))
    try:
        if victim.name.startswith("rules"):
            load_rules(file)
        elif victim.name.startswith("app"):
            load_settings(file)
        else:
            job_options({"config": file})
    except NSN2NError as error:
        message = str(error)
        assert "\n" not in message, message
        assert len(message) < 2000, message
        return "refused"
    return "taken"


if __name__ == "__main__":
    sys.exit(main(__doc__, make_corpus, run_once))
