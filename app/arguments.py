# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Command line and environment of the application, as every MONAI Deploy application has them.

The SDK's own parser and context are not used: they create the output folder before anything is checked, replace
the logging configuration, look for weights among the models, and take seconds to import.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nsn2n._version import __version__
from nsn2n.errors import NSN2NError

__all__ = ["Arguments", "check_folders", "parse_arguments"]

LOG_LEVELS = ("DEBUG", "INFO", "WARN", "ERROR", "CRITICAL")


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Where the application reads and writes."""

    input_folder: Path
    output_folder: Path
    model_folder: Path | None
    """Holds one folder for each model; None if none was named and the default does not exist."""
    workdir: Path | None
    """Part of every application's interface; nothing is written there."""
    log_level: str | None


def parse_arguments(argv: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> Arguments:
    """Parse the command line; what it does not contain comes from the environment.

    Parameters
    ----------
    argv : sequence of str, optional
        Without the name of the program; by default that of this process.
    environment : mapping, optional
        By default that of this process.

    Raises
    ------
    SystemExit
        After ``--help`` and ``--version``, and with status 2 if the command line is invalid.
    """
    environment = os.environ if environment is None else environment
    options = _parser().parse_args(argv)
    default_models = Path("models")
    models = options.model or environment.get("HOLOSCAN_MODEL_PATH")
    workdir = options.workdir or environment.get("HOLOSCAN_WORKDIR")
    return Arguments(
        input_folder=Path(options.input or environment.get("HOLOSCAN_INPUT_PATH") or "input"),
        output_folder=Path(options.output or environment.get("HOLOSCAN_OUTPUT_PATH") or "output"),
        model_folder=Path(models) if models else default_models if default_models.is_dir() else None,
        workdir=Path(workdir) if workdir else None,
        log_level=options.log_level,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python app",
        description="Denoise the CT, MR and PET series of a folder, each by a network fitted to it alone.",
    )
    parser.add_argument("--version", action="version", version=f"nsn2n {__version__}")
    for names, what in {
        ("-i", "--input"): "folder with DICOM files (HOLOSCAN_INPUT_PATH, or input)",
        ("-o", "--output"): "folder for the new series (HOLOSCAN_OUTPUT_PATH, or output)",
        ("-m", "--model"): "folder with models (HOLOSCAN_MODEL_PATH, or models)",
        ("-w", "--workdir"): "folder for other files (HOLOSCAN_WORKDIR); not used",
    }.items():
        parser.add_argument(*names, metavar="DIR", help=what)
    parser.add_argument("-l", "--log-level", type=str.upper, choices=LOG_LEVELS, help="default: INFO")
    return parser


def check_folders(arguments: Arguments) -> None:
    """Refuse what would fail later, possibly after long computation; nothing is created.

    Raises
    ------
    NSN2NError
        If the input or a named model folder is not a folder, or the output cannot be written.
    """
    if not arguments.input_folder.is_dir():
        raise NSN2NError(
            f"the input must be a folder with DICOM files; {_state(arguments.input_folder)}."
            " Name it with -i or HOLOSCAN_INPUT_PATH."
        )
    if arguments.model_folder is not None and not arguments.model_folder.is_dir():
        raise NSN2NError(
            f"the models must be in a folder; {_state(arguments.model_folder)}."
            " Correct -m or HOLOSCAN_MODEL_PATH, or leave both out to use the packaged model."
        )
    output = arguments.output_folder.absolute()
    existing = next(path for path in (output, *output.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        state = "is not writable" if existing.is_dir() else "is not a folder"
        raise NSN2NError(
            f"the output must be a writable folder; {existing} {state}."
            " Name another one with -o or HOLOSCAN_OUTPUT_PATH."
        )


def _state(path: Path) -> str:
    return f"{path.absolute()} {'is a file' if path.exists() else 'does not exist'}"
