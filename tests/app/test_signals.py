# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A process that is told to stop does so soon, and leaves nothing half written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST_S = 5

# Writes on and on, as a series that is written when the signal arrives.
WRITER = """
import sys
from pathlib import Path
from nsn2n.app.signals import stop_on_signals
from nsn2n.runtime.unfinished import hidden_folder
stop_on_signals()
output = Path(sys.argv[1])
(output / "complete").mkdir(parents=True)
with hidden_folder(output) as folder:
    print("writing", file=sys.stderr, flush=True)
    number = 0
    while True:
        number += 1
        (folder / str(number)).write_bytes(bytes(4096))
"""


def _start(*arguments, **environment):
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def _signal_after(process, words, number):
    """Send a signal as soon as a line with `words` was printed; return exit code, seconds, lines after it."""
    for line in process.stderr:
        if words in line:
            break
    process.send_signal(number)
    sent_s = time.monotonic()
    rest = process.communicate(timeout=60)[1]
    return process.returncode, time.monotonic() - sent_s, rest.splitlines()


@pytest.mark.usefixtures("signals_as_in_a_terminal")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_unfinished_series_is_removed_and_complete_ones_stay(tmp_path, number):
    output = tmp_path / "out"

    code, duration_s, lines = _signal_after(_start("-c", WRITER, output), "writing", number)

    assert code == 128 + number
    assert duration_s < MOST_S
    assert lines == [f"stopped by {number.name}; unfinished series are removed"]
    assert [path.name for path in output.iterdir()] == ["complete"]


def test_ignored_signal_stays_ignored(tmp_path):
    """As `nohup` has it."""
    code = (
        "import os, signal, time; from nsn2n.app.signals import stop_on_signals;"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN); stop_on_signals();"
        "os.kill(os.getpid(), signal.SIGHUP); time.sleep(0.5)"
    )

    process = _start("-c", code)

    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 0


@pytest.mark.usefixtures("signals_as_in_a_terminal")
@pytest.mark.parametrize(
    ("words", "number"),
    [("settings of", signal.SIGTERM), ("denoising", signal.SIGTERM), ("denoising", signal.SIGINT)],
)
def test_application_stops_while_it_starts_and_while_it_denoises(study, tmp_path, words, number):
    output, endless = tmp_path / "out", tmp_path / "endless.yaml"
    endless.write_text("nsn2n: {preset: fast, config: {fit: {steps: 1000000, crop_px: 16}}}")
    process = _start("app", "-i", study, "-o", output, HOLOSCAN_CONFIG_PATH=str(endless))

    code, duration_s, lines = _signal_after(process, words, number)

    assert code == 128 + number
    assert duration_s < MOST_S
    assert lines[-1] == f"error: stopped by {number.name}; unfinished series are removed"
    assert "Traceback" not in "".join(lines)
    assert not output.exists() or not list(output.iterdir())
