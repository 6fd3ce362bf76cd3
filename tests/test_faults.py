# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Runs that are killed, starved or disturbed: no part of a series, nothing overwritten, and the next run works."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from nsn2n.dicom.read.slice_sorting import inspect_series
from nsn2n.dicom.selection.scan import scan_folder
from nsn2n.synthetic.dicom_series import write_synthetic_series

ROOT = Path(__file__).resolve().parents[1]
SLICES = 80  # so that writing takes long enough to be disturbed
TIMEOUT_S = 180


def _write_study(folder, slices):
    write_synthetic_series(np.random.default_rng(0).normal(40, 20, (slices, 24, 20)), folder, seed="faults")
    return folder


@pytest.fixture
def study(tmp_path):
    return _write_study(tmp_path / "study", SLICES)


@pytest.fixture
def short_study(tmp_path):
    """For what is not disturbed while it writes."""
    return _write_study(tmp_path / "study", 6)


@pytest.fixture
def config(tmp_path):
    """Settings for a fit of a moment."""
    file = tmp_path / "brief.yaml"
    file.write_text("fit: {steps: 3, crop_px: 16}\nnetwork: {channels: 4, levels: 2}\n")
    return file


@pytest.fixture
def start(tmp_path, config):
    """Start ``nsn2n denoise``, or the application, in a process of its own, with a fit of a moment."""
    settings = tmp_path / "app.yaml"
    settings.write_text("nsn2n: {config: {fit: {steps: 3, crop_px: 16}, network: {channels: 4, levels: 2}}}\n")
    started = []

    def run(source, output, *options, before=None, application=False):
        command = [sys.executable, "-m", "nsn2n", "denoise", source, output, "--config", config, *options]
        if application:
            command = [sys.executable, ROOT / "app", "-i", source, "-o", output]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HOLOSCAN_CONFIG_PATH": str(settings)}
        process = subprocess.Popen(
            list(map(str, command)), env=environment, preexec_fn=before,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _wait_until_it_writes(process, output):
    """Wait until some, and not all, files of the hidden folder are there."""
    end_s = time.monotonic() + TIMEOUT_S
    while time.monotonic() < end_s and process.poll() is None:
        if any(5 <= len(list(folder.glob("*.dcm"))) < SLICES - 5 for folder in output.glob(".nsn2n-*")):
            return
        time.sleep(0.001)
    pytest.fail(f"never seen writing: {process.communicate()}")


def _finish(process):
    stdout, stderr = process.communicate(timeout=TIMEOUT_S)
    assert "Traceback" not in stderr, stderr
    return process.returncode, stdout, stderr


def _series(output, source):
    """The series numbers in the output folder; each series must be complete."""
    slices = len(list(source.iterdir()))
    records = scan_folder(output).series
    for record in records:
        assert inspect_series(record.files, allow_own_output=True).shape_dhw[0] == slices
    return sorted(record.SeriesNumber for record in records)


@pytest.fixture
def nsn2n_in_process(monkeypatch, capsys):
    """Run ``nsn2n denoise`` in this process, which needs no time to start, and to which the permissions apply that
    a test sets; gives exit code and messages."""
    # While everything may be read.
    import nsn2n.cli.progress
    import nsn2n.jobs.dicom_job  # noqa: F401
    from nsn2n.cli.main import main

    def run(source, output, *options):
        monkeypatch.setattr(sys, "argv", ["nsn2n", "denoise", *map(str, (source, output, *options))])
        handler = signal.getsignal(signal.SIGTERM)
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        signal.signal(signal.SIGTERM, handler)
        return stopped.value.code or 0, capsys.readouterr().err

    return run


@pytest.fixture
def next_run_works(nsn2n_in_process, config):
    """A function that runs once more where another run ended, and looks at what is there then."""

    def check(source, output, numbers):
        code, stderr = nsn2n_in_process(source, output, "--config", config)
        assert "Traceback" not in stderr, stderr
        assert code == 0, stderr
        assert _series(output, source) == numbers
        assert not list(output.glob(".*"))

    return check


def test_killed_in_the_middle(start, next_run_works, study, tmp_path):
    output = tmp_path / "out"
    process = start(study, output)
    _wait_until_it_writes(process, output)
    process.kill()
    process.communicate()

    (left,) = output.iterdir()
    assert left.name.startswith(".nsn2n-")
    next_run_works(study, output, [1001])


def _kill_after(process, words):
    """Kill a process as soon as it says that it begins something."""
    for line in process.stderr:
        if words in line:
            break
    else:
        pytest.fail(f"never said {words!r}")
    process.kill()
    process.communicate()


def _kill_at_the_report(process, output):
    """Kill a process as soon as a report is begun, which is hidden then."""
    end_s = time.monotonic() + TIMEOUT_S
    while time.monotonic() < end_s and process.poll() is None and not list((output / "reports").rglob(".*")):
        time.sleep(0.001)
    process.kill()
    process.communicate()


def _whole_reports(output):
    reports = [folder for folder in output.glob("reports/*") if not folder.name.startswith(".")]
    assert all({file.name for file in folder.iterdir()} == {"report.html", "report.json"} for folder in reports)
    return len(reports)


@pytest.mark.parametrize(
    ("application", "stages"),
    # The folder was looked through, the series was read, the fit begins. The application writes by the same steps.
    [(False, ["80 files", "read series", "denoising 80 x"]), (True, [])],
    ids=["command line", "application"],
)
def test_killed_at_each_stage(start, next_run_works, study, tmp_path, application, stages):
    output = tmp_path / "out"
    for words in stages:
        _kill_after(start(study, output), words)
        assert not output.exists() or list(output.iterdir()) == []
    _kill_at_the_report(start(study, output, application=application), output)
    assert _series(output, study) == [1001]
    reports = _whole_reports(output)  # none, unless that one was faster

    next_run_works(study, output, [1001, 1002])

    assert _whole_reports(output) == reports + 1
    assert not list(output.rglob(".*"))


def test_terminated_in_the_middle(start, next_run_works, study, tmp_path):
    output = tmp_path / "out"
    process = start(study, output)
    _wait_until_it_writes(process, output)
    process.send_signal(signal.SIGTERM)

    code, _, stderr = _finish(process)

    assert code == 128 + signal.SIGTERM
    assert (
        stderr.splitlines()[-1]
        == "warning: stopped by SIGTERM; what is complete has been printed, nothing else was written"
    )
    assert list(output.iterdir()) == []
    next_run_works(study, output, [1001])


def test_output_folder_gone_in_the_middle(start, next_run_works, study, tmp_path):
    output = tmp_path / "out"
    process = start(study, output)
    _wait_until_it_writes(process, output)
    while output.exists():  # the process may add a file while they are removed
        shutil.rmtree(output, ignore_errors=True)

    code, stdout, stderr = _finish(process)

    assert (code, stdout) == (1, "")
    assert "the output folder must be writable and have free space; got No such file or directory" in stderr
    assert not output.exists()
    next_run_works(study, output, [1001])


def test_file_size_limit(start, next_run_works, short_study, tmp_path):
    """The system refuses to write more, as with a full disk or a quota."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    code, stdout, stderr = _finish(start(short_study, tmp_path / "out", before=limit))

    assert (code, stdout) == (1, "")
    assert "must be writable and have free space; got File too large" in stderr
    assert list((tmp_path / "out").iterdir()) == []
    next_run_works(short_study, tmp_path / "out", [1001])


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_full_disk(start, study, small_disk):
    code, stdout, stderr = _finish(start(study, small_disk / "out"))

    assert (code, stdout) == (1, "")
    assert "must be writable and have free space; got No space left on device" in stderr
    assert list((small_disk / "out").iterdir()) == []


def test_disk_that_is_full_after_the_series(start, short_study, tmp_path, small_disk):
    """A report that has no room is a warning; the series is there."""
    (small_disk / "filler").write_bytes(bytes(240 * 1024))
    output = tmp_path / "out"
    output.mkdir()
    (output / "reports").symlink_to(small_disk)

    code, stdout, stderr = _finish(start(short_study, output))

    assert code == 0
    assert len(stdout.splitlines()) == 1
    assert "warning: the folder of the report must be writable; got No space left on device" in stderr
    assert _series(output, short_study) == [1001]


def test_output_that_is_read_only(nsn2n_in_process, short_study, tmp_path, bound_by_permissions):
    output = tmp_path / "out"
    output.mkdir(mode=0o555)
    with bound_by_permissions():
        code, stderr = nsn2n_in_process(short_study, output)

    assert code == 1
    assert "the output must be a writable folder" in stderr
    assert list(output.iterdir()) == []


def test_memory_that_runs_out(start, tmp_path):
    """Address space that is gone in the middle of a run: the check before it saw enough."""
    volume = np.random.default_rng(0).integers(0, 80, (160, 512, 512), dtype=np.int16)
    write_synthetic_series(volume, tmp_path / "large", seed="faults")
    process = start(tmp_path / "large", tmp_path / "out")
    before = "".join(iter(lambda: _line_before(process, "denoising"), ""))
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[0])
    # Enough for what is small, such as the buffers of OpenBLAS, which ends the process where it gets none; not for one
    # more copy of the volume, 160 MiB.
    resource.prlimit(process.pid, resource.RLIMIT_AS, (pages * resource.getpagesize() + 110 * 2**20,) * 2)

    code, stdout, stderr = _finish(process)
    assert (code, stdout) == (1, ""), before + stderr
    assert "there must be enough memory for a whole volume; it ran out" in stderr
    assert not list((tmp_path / "out").glob("*"))


def _line_before(process, word):
    """The next line of what the process says; empty once it has said the word, or has ended."""
    line = process.stderr.readline()
    return "" if word in line else line


def test_second_run_overwrites_nothing(start, next_run_works, short_study, tmp_path):
    output = tmp_path / "out"
    assert _finish(start(short_study, output))[0] == 0
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}

    next_run_works(short_study, output, [1001, 1002])

    assert {path: path.read_bytes() for path in before} == before


def test_runs_at_the_same_time(start, study, tmp_path):
    output = tmp_path / "out"
    processes = [start(study, output) for _ in range(3)]

    finished = [_finish(process) for process in processes]

    assert [code for code, _, _ in finished] == [0, 0, 0]
    assert Counter(_series(output, study)) == Counter([1001, 1002, 1003])
    assert sorted(stdout.strip() for _, stdout, _ in finished) == sorted(map(str, output.glob("2.25.*")))
    assert not list(output.glob(".*"))
