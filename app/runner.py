# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the application as a process: arguments in, exit code out."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from nsn2n._version import __version__
from nsn2n.app.arguments import Arguments, check_folders, parse_arguments
from nsn2n.errors import NSN2NError
from nsn2n.jobs.outcomes import ALL_FAILED
from nsn2n.runtime.logs import configure_logging
from nsn2n.runtime.platforms import require_linux

__all__ = ["main"]

logger = logging.getLogger(__name__)

STACK_BYTES = 32 * 2**20
"""Required by Holoscan, which warns if the limit is lower."""


def main(argv: Sequence[str] | None = None) -> int:
    """Denoise the series of a folder.

    Parameters
    ----------
    argv : sequence of str, optional
        Without the name of the program; by default that of this process.

    Returns
    -------
    int
        Exit code: 0 if all selected series were written, 3 if some were, 1 if none was.
    """
    arguments = parse_arguments(argv)
    configure_logging(arguments.log_level)
    try:
        return _run(arguments)
    except NSN2NError as error:
        logger.error("%s", error, exc_info=error if logger.isEnabledFor(logging.DEBUG) else None)
        return ALL_FAILED


def _run(arguments: Arguments) -> int:
    require_linux("the application")
    check_folders(arguments)
    # Imported here: with pydicom it takes a second that --help should not.
    from nsn2n.app.settings import find_settings_file, load_settings

    settings_file = find_settings_file()
    options = load_settings(settings_file)
    logger.info("nsn2n %s, settings of %s: %s", __version__, settings_file or "the program", options)
    _prepare_holoscan(arguments.log_level)
    if find_spec("holoscan") is None or find_spec("monai") is None:
        raise NSN2NError(
            "the application needs the MONAI Deploy App SDK and Holoscan; they are not installed. Run: pip install"
            " 'nsn2n[app]', or use: nsn2n denoise."
        )
    from nsn2n.app.app import NSN2NApp

    app = NSN2NApp([sys.executable, "nsn2n.app"], arguments=arguments, job_options=options)
    app.run()
    return app.conclude()


def _prepare_holoscan(log_level: str | None) -> None:
    """Set what Holoscan reads while it is imported and started.

    Whatever ends its graph also arrives here, as an exception or as a series without outcome. So it is silent
    unless details are requested; its own report of an error has ten lines.
    """
    asked = log_level if log_level in ("DEBUG", "INFO") else None
    os.environ.setdefault("HOLOSCAN_LOG_LEVEL", asked or "CRITICAL")
    import resource  # not on Windows, where help and errors must work too

    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    allowed = hard == resource.RLIM_INFINITY or hard >= STACK_BYTES
    if soft != resource.RLIM_INFINITY and soft < STACK_BYTES and allowed:
        resource.setrlimit(resource.RLIMIT_STACK, (STACK_BYTES, hard))
