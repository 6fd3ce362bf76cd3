# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys

import pytest

from nsn2n.node.health import Health, served_health
from tests.nsn2n.node.orthanc_server import OrthancServer


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--orthanc", "localhost"], "--orthanc must be an address such as http://localhost:8042; got 'localhost'"),
        (["--poll", "0"], "poll_s must be >= 0.1"),
        (["--strength", "2"], "strength must be in 0..1"),
        (["--credentials", "absent"], "--credentials must be a readable file; got FileNotFoundError at absent"),
        (["--ca-file", "absent"], "--ca-file must be a file of certificates; there is none at absent"),
        (["--rules", "absent.json"], "selection rules must be a readable JSON file"),
        (["--work-folder", "/dev/null/x"], "the output must be a writable folder; /dev/null is a file"),
    ],
)
def test_bad_options_are_one_line(nsn2n, options, message):
    result = nsn2n("node", *options, *(["--listen", "127.0.0.1:0"] if "--listen" not in options else []))

    assert result.code == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


OF_ONE_RUN = ["--force", "--strict", "--series=2.25.1", "--modality=CT", "--mask=a.nii", "--viewer"]


@pytest.mark.parametrize("option", OF_ONE_RUN)
def test_what_a_node_cannot_take_is_no_option(nsn2n, option):
    result = nsn2n("node", option)

    assert result.code == 2
    assert "No such option" in result.stderr


def test_a_second_node_on_one_machine(nsn2n):
    with served_health(Health(), ("127.0.0.1", 0)) as port:
        result = nsn2n("node", "--listen", f"127.0.0.1:{port}")

    assert result.code == 1
    assert "must be a free address; got Address already in use" in result.stderr


def test_what_orthanc_does_not_let_in_ends(nsn2n, tmp_path):
    server = OrthancServer(tmp_path / "closed", AuthenticationEnabled=True, RegisteredUsers={"node": "secret"}).start()
    (tmp_path / "credentials").write_text("node:guess")
    try:
        result = nsn2n(
            "node", "--orthanc", server.url, "--listen", "127.0.0.1:0", "--credentials", tmp_path / "credentials"
        )
    finally:
        server.stop()

    assert result.code == 1
    assert result.stderr.splitlines()[-1].startswith(f"error: Orthanc at {server.url} must grant the node access")
    assert "guess" not in result.stderr


def test_without_its_extra_it_says_which(tmp_path):
    code = (
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'requests': raise ModuleNotFoundError(name, name=name)\n"
        "import importlib.util\n"
        "found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: None if name == 'requests' else found(name, *more)\n"
        "sys.meta_path.insert(0, Blocker())\n"
        "from nsn2n.cli.main import main\n"
        "sys.argv = ['nsn2n', 'node']\n"
        "main()\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)

    assert result.returncode == 1
    assert result.stderr == (
        "error: nsn2n node needs the package requests, which is not installed: pip install 'nsn2n[node]'.\n"
    )


def test_the_command_line_loads_nothing_of_it():
    code = "import sys, nsn2n.cli.main; print({'requests', 'torch', 'pydicom', 'multiprocessing'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)

    assert result.stdout == "set()\n"
