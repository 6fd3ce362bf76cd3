# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import signal
import time

import pytest

from nsn2n.cli.progress import show_progress
from nsn2n.cli.signals import heeded_signals, raise_if_stopped

SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


pytestmark = pytest.mark.usefixtures("signals_as_in_a_terminal")


def _drop(number):
    """Receive the signal where whatever is raised is dropped."""
    try:
        signal.raise_signal(number)
    except:  # noqa: E722 - as copyreg does
        pass
    else:
        pytest.fail("nothing was raised")


@pytest.mark.parametrize(("number", "code"), SIGNALS.items())
@pytest.mark.parametrize("quiet", [False, True])
def test_a_signal_that_a_library_drops_is_raised_again_by_the_next_progress(number, code, quiet, caplog):
    reached = []

    def run():
        with heeded_signals(), show_progress(quiet=quiet) as progress:
            progress("CT series 1", 0.1, 9.0)
            _drop(number)
            reached.append("after the signal")
            progress("CT series 1", 0.2, 8.0)
            reached.append("after the progress")

    with pytest.raises(SystemExit) as stopped:
        run()

    assert stopped.value.code == code
    assert reached == ["after the signal"]
    assert [record.message.split(";")[1] for record in caplog.records if record.levelname == "WARNING"] == [
        " what is complete has been printed, nothing else was written"
    ]


def test_a_signal_that_comes_in_a_destructor_ends_the_run_and_prints_no_traceback(capfd):
    class Ends:
        def __del__(self):
            signal.raise_signal(signal.SIGTERM)

    def run():
        with heeded_signals():
            Ends()
            time.sleep(5)
            pytest.fail("the signal was dropped")

    with pytest.raises(SystemExit) as stopped:
        run()

    assert stopped.value.code == 143
    assert "Traceback" not in capfd.readouterr().err


def test_what_else_a_destructor_raises_is_said_as_before(capfd):
    class Fails:
        def __del__(self):
            raise ValueError("of a destructor")

    with heeded_signals():
        Fails()

    assert "ValueError: of a destructor" in capfd.readouterr().err


def test_the_exit_code_tells_of_a_signal_after_the_last_progress():
    def run():
        with heeded_signals():
            _drop(signal.SIGTERM)
            raise SystemExit(0)

    with pytest.raises(SystemExit) as stopped:
        run()

    assert stopped.value.code == 143


def test_what_is_ignored_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with heeded_signals():
        os.kill(os.getpid(), signal.SIGHUP)
        raise_if_stopped()

    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_handlers_are_as_before_and_a_signal_counts_for_its_own_run():
    before = {number: signal.getsignal(number) for number in SIGNALS}
    with pytest.raises(SystemExit), heeded_signals():
        signal.raise_signal(signal.SIGINT)

    assert {number: signal.getsignal(number) for number in SIGNALS} == before
    with heeded_signals():
        raise_if_stopped()
