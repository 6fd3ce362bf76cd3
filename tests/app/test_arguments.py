# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The application's interface is that of every MONAI Deploy application."""

from __future__ import annotations

from pathlib import Path

import pytest

from nsn2n.app.arguments import check_folders, parse_arguments
from nsn2n.errors import NSN2NError

ENVIRONMENT = {
    "HOLOSCAN_INPUT_PATH": "/env/in",
    "HOLOSCAN_OUTPUT_PATH": "/env/out",
    "HOLOSCAN_MODEL_PATH": "/env/models",
    "HOLOSCAN_WORKDIR": "/env/work",
}


def _folders(arguments):
    return [
        arguments.input_folder,
        arguments.output_folder,
        arguments.model_folder,
        arguments.workdir,
    ]


def test_environment_gives_the_defaults():
    assert _folders(parse_arguments([], ENVIRONMENT)) == [Path(path) for path in ENVIRONMENT.values()]


def test_command_line_comes_before_the_environment():
    arguments = parse_arguments(["-i", "a", "-o", "b", "-m", "c", "-w", "d", "-l", "debug"], ENVIRONMENT)

    assert _folders(arguments) == [Path(name) for name in "abcd"]
    assert arguments.log_level == "DEBUG"


def test_without_both_the_folders_are_those_of_the_sdk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert _folders(parse_arguments([], {})) == [Path("input"), Path("output"), None, None]
    (tmp_path / "models").mkdir()
    assert parse_arguments([], {}).model_folder == Path("models")


def test_options_variables_and_defaults_are_those_of_the_sdk(tmp_path, monkeypatch):
    from monai.deploy.core import RuntimeEnv, parse_args

    import nsn2n.operators  # noqa: F401 - makes Holoscan importable

    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    for name in "abc":
        (tmp_path / name).mkdir()
    for form in ("-i a -o b -m c -w d -l WARN", "--input a --output b --model c --workdir d --log-level WARN"):
        theirs = parse_args(["app", *form.split()])
        ours = parse_arguments(form.split(), {})
        assert [path.absolute() for path in _folders(ours)] == [
            *(theirs.input, theirs.output, theirs.model, theirs.workdir)
        ]
        assert ours.log_level == theirs.log_level
    for environment in ({}, ENVIRONMENT):
        for name in ENVIRONMENT:
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        theirs = RuntimeEnv()
        ours = [str(path or "") for path in _folders(parse_arguments([]))]
        assert ours == [theirs.input, theirs.output, theirs.model, theirs.workdir]


def test_unknown_option_ends_with_status_2(capsys):
    with pytest.raises(SystemExit) as caught:
        parse_arguments(["--inputs-and-outputs"])

    assert caught.value.code == 2
    assert "unrecognized arguments" in capsys.readouterr().err


def test_folders_are_checked_and_none_is_made(tmp_path):
    file = tmp_path / "file"
    file.touch()
    missing, output = str(tmp_path / "missing"), tmp_path / "new" / "out"

    check_folders(parse_arguments(["-i", str(tmp_path), "-o", str(output)], {}))
    for options, message in {
        ("-i", missing, "-o", missing): "input must be a folder .*missing does not exist",
        ("-i", str(file), "-o", missing): "input must be a folder .*file is a file",
        ("-i", str(tmp_path), "-o", str(file)): "file is not a folder",
        ("-i", str(tmp_path), "-o", str(file / "out")): "file is not a folder",
        ("-i", str(tmp_path), "-o", missing, "-m", missing): "models must be in a folder",
    }.items():
        with pytest.raises(NSN2NError, match=message):
            check_folders(parse_arguments(options, {}))

    assert not output.parent.exists()
    assert not Path(missing).exists()
