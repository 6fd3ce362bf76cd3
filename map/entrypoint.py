# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""First process of the container: the commands of a MONAI Application Package, otherwise the application.

Imports nothing but the standard library. The application replaces this process, so that the signals
of the engine reach it and its exit code is that of the container.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

EXPORT_ROOT = Path("/var/run/holoscan/export")
COULD_NOT = 1

HELP = f"""\
usage: docker run [options] IMAGE [command]

commands
  (none)          run the application; options that follow the image go to it, -l DEBUG for example;
                  with MERCURE_IN_DIR and MERCURE_OUT_DIR in the environment, process a task of mercure
  show [app|pkg]  print the manifests, or one of them as JSON
  extract         copy to those of these folders that are mounted:
                    {EXPORT_ROOT}/app     the application
                    {EXPORT_ROOT}/config  app.json, pkg.json and app.yaml
                    {EXPORT_ROOT}/models  the models
                    {EXPORT_ROOT}/docs    documents and licenses
                  or all to {EXPORT_ROOT}, if only that is mounted
  env             print the environment
  help            print this help

The application reads {{input}} and writes to {{output}}; mount a folder on each.
"""


def main(argv: list[str]) -> int:
    """Carry out a command.

    Returns
    -------
    int
        Exit code; the application itself does not return.
    """
    command, rest = (argv[0], argv[1:]) if argv else ("", [])
    if command == "show":
        return show(rest)
    if command in ("extract", "env", "help") and rest:
        return _fail(f"{command} takes no arguments; got {' '.join(rest)}. See the command help.")
    if command == "extract":
        return extract()
    if command == "env":
        print("\n".join(f"{name}={value}" for name, value in sorted(os.environ.items())))
        return 0
    if command == "help":
        print(HELP.format(input=os.environ["HOLOSCAN_INPUT_PATH"], output=os.environ["HOLOSCAN_OUTPUT_PATH"]), end="")
        return 0
    if not argv and {"MERCURE_IN_DIR", "MERCURE_OUT_DIR"} <= set(os.environ):
        return run_for_mercure()
    return run(argv)


def show(names: list[str]) -> int:
    """Print one manifest as JSON, or both, each under a line with its name."""
    manifests = {"app": _path("APP_MANIFEST_PATH"), "pkg": _path("PKG_MANIFEST_PATH")}
    if len(names) > 1 or not set(names) <= set(manifests):
        return _fail(f"show must be followed by app, pkg or nothing; got {' '.join(names)}.")
    for name, path in manifests.items():
        if not names:
            print(f" {name}.json ".center(70, "="))
        if name in names or not names:
            print(path.read_text(encoding="utf-8"), end="")
    return 0


def extract() -> int:
    """Copy to the mounted folders of `EXPORT_ROOT`, or to itself."""
    if not EXPORT_ROOT.is_dir():
        return _fail(f"extract needs a folder to copy to; nothing is mounted at {EXPORT_ROOT} or below. See help.")
    sources = {
        "app": [_path("APPLICATION")],
        "config": [_path("APP_MANIFEST_PATH"), _path("PKG_MANIFEST_PATH"), _path("CONFIG_PATH")],
        "models": [_path("MODEL_PATH")],
        "docs": [_path("DOCS_PATH")],
    }
    mounted = [name for name in sources if (EXPORT_ROOT / name).is_dir()]
    try:
        for name in mounted or sources:
            for source in sources[name]:
                print(f"{source} -> {EXPORT_ROOT / name}", file=sys.stderr)
                _copy(source, EXPORT_ROOT / name)
    except OSError as error:
        return _fail(
            f"extract must be able to write; got {error.strerror}: {error.filename}."
            f" Let user {os.getuid()} write to the mounted folder, or name its owner with -u."
        )
    return 0


def _copy(source: Path, target: Path) -> None:
    """Copy a file into a folder, or the files of a folder; owner and mode are those of the current user."""
    files = sorted(source.rglob("*")) if source.is_dir() else [source]
    root = source if source.is_dir() else source.parent
    for file in files:
        if file.is_file() and "__pycache__" not in file.parts:
            copy = target / file.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)


def run(arguments: list[str]) -> int:
    """Replace this process by the application, as started by app.json."""
    manifest = json.loads(_path("APP_MANIFEST_PATH").read_text(encoding="utf-8"))
    command = [*json.loads(manifest["command"]), *arguments]
    sys.stdout.flush()
    os.execvp(command[0], command)


def run_for_mercure() -> int:
    """Replace this process by the command for a task of mercure, which starts the container without arguments."""
    sys.stdout.flush()
    os.execvp("python3", ["python3", "-m", "nsn2n", "mercure"])


def _path(name: str) -> Path:
    return Path(os.environ[f"HOLOSCAN_{name}"])


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return COULD_NOT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
