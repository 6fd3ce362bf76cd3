# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The commands of the container, without one: its folders are made here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from map import entrypoint

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "app": {"__main__.py", "sub/other.py"},
    "config": {"app.json", "pkg.json", "app.yaml"},
    "models": {"nsn2n/configs/rules.json"},
    "docs": {"LICENSE"},
}


@pytest.fixture
def image(tmp_path, monkeypatch):
    """The folders of an image, whose application prints its arguments and exits with 7."""
    paths = {
        "APPLICATION": tmp_path / "app",
        "MODEL_PATH": tmp_path / "models",
        "DOCS_PATH": tmp_path / "docs",
        "APP_MANIFEST_PATH": tmp_path / "app.json",
        "PKG_MANIFEST_PATH": tmp_path / "pkg.json",
        "CONFIG_PATH": tmp_path / "app.yaml",
        "INPUT_PATH": tmp_path / "in",
        "OUTPUT_PATH": tmp_path / "out",
    }
    for name, path in paths.items():
        monkeypatch.setenv(f"HOLOSCAN_{name}", str(path))
    for folder in ("app", "models", "docs"):
        for name in FILES[folder]:
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / name).write_text(f"# {name}\n")
    (tmp_path / "app" / "__pycache__").mkdir()
    (tmp_path / "app" / "__pycache__" / "x.pyc").write_text("")
    (tmp_path / "app" / "__main__.py").write_text("import sys; print(sys.argv[1:]); sys.exit(7)\n")
    command = json.dumps([sys.executable, str(tmp_path / "app")])
    (tmp_path / "app.json").write_text(json.dumps({"command": command}))
    (tmp_path / "pkg.json").write_text('{"pkg": 1}')
    (tmp_path / "app.yaml").write_text("application: {}\n")
    monkeypatch.setattr(entrypoint, "EXPORT_ROOT", tmp_path / "export")
    return tmp_path


def _names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_no_command_runs_the_application_and_options_go_to_it(image):
    command = [sys.executable, "-I", "-S", str(ROOT / "map" / "entrypoint.py"), "-l", "DEBUG"]

    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert result.returncode == 7
    assert result.stdout == "['-l', 'DEBUG']\n"


@pytest.mark.parametrize("name", ["app", "pkg"])
def test_show_prints_a_manifest_as_it_is(image, capsys, name):
    assert entrypoint.main(["show", name]) == 0

    assert json.loads(capsys.readouterr().out) == json.loads((image / f"{name}.json").read_text())


def test_show_alone_prints_both_with_their_names(image, capsys):
    assert entrypoint.main(["show"]) == 0

    printed = capsys.readouterr().out
    assert printed.index("= app.json =") < printed.index('"command"') < printed.index("= pkg.json =")
    assert '{"pkg": 1}' in printed


@pytest.mark.parametrize("mounted", [["app"], ["config"], ["models"], ["docs"], ["app", "models"]])
def test_extract_copies_to_what_is_mounted(image, mounted):
    for name in mounted:
        (image / "export" / name).mkdir(parents=True)

    assert entrypoint.main(["extract"]) == 0

    assert {path.name for path in (image / "export").iterdir()} == set(mounted)
    for name in mounted:
        assert _names(image / "export" / name) == FILES[name]


def test_extract_copies_all_to_the_root(image):
    (image / "export").mkdir()

    assert entrypoint.main(["extract"]) == 0

    assert {name: _names(image / "export" / name) for name in FILES} == FILES
    assert (image / "export" / "app" / "__main__.py").read_text() == (image / "app" / "__main__.py").read_text()


def test_extract_without_a_mount_is_one_line(image, capsys):
    assert entrypoint.main(["extract"]) == 1

    assert capsys.readouterr().err.startswith("error: extract needs a folder to copy to; ")


def test_extract_to_a_folder_of_someone_else_is_one_line(image, capsys, bound_by_permissions):
    (image / "export").mkdir(mode=0o555)

    with bound_by_permissions():
        assert entrypoint.main(["extract"]) == 1

    assert "error: extract must be able to write; got Permission denied" in capsys.readouterr().err


def test_env_prints_every_variable(image, capsys):
    assert entrypoint.main(["env"]) == 0

    assert capsys.readouterr().out == "".join(f"{name}={value}\n" for name, value in sorted(os.environ.items()))


def test_help_names_commands_and_folders(image, capsys):
    assert entrypoint.main(["help"]) == 0

    printed = capsys.readouterr().out
    for word in ("show", "extract", "env", str(image / "in"), str(image / "out")):
        assert word in printed


@pytest.mark.parametrize("arguments", [["show", "both"], ["show", "app", "pkg"], ["env", "HOME"], ["extract", "app"]])
def test_other_words_are_refused(image, capsys, arguments):
    assert entrypoint.main(arguments) == 1

    assert capsys.readouterr().err.startswith("error: ")


def test_a_call_by_mercure_processes_its_task(image, monkeypatch):
    """Whatever arguments it is given, a container outside of mercure runs the application."""
    became = []
    monkeypatch.setattr(os, "execvp", lambda file, command: became.append(command))
    monkeypatch.setenv("MERCURE_IN_DIR", "/tmp/data")
    entrypoint.main([])
    monkeypatch.setenv("MERCURE_OUT_DIR", "/tmp/output")
    entrypoint.main([])
    entrypoint.main(["-l", "DEBUG"])

    application = [sys.executable, str(image / "app")]
    assert became == [application, ["python3", "-m", "nsn2n", "mercure"], [*application, "-l", "DEBUG"]]
