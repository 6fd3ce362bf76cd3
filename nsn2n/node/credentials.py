# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""User and password of Orthanc, from a file or the environment, never from the command line, which anyone can see."""

from __future__ import annotations

import os
from pathlib import Path

from nsn2n.errors import SettingsError
from nsn2n.runtime.config_loading import read_short_text

__all__ = ["read_credentials"]

USER, PASSWORD = "NSN2N_ORTHANC_USER", "NSN2N_ORTHANC_PASSWORD"


def read_credentials(file: Path | None) -> tuple[str, str] | None:
    """Return user and password from a file or the environment; None if there are none.

    Raises
    ------
    SettingsError
        If the file cannot be read or has no user and password, or one of the two variables is missing.
    """
    if file is not None:
        try:
            user, colon, password = read_short_text(file).strip().partition(":")
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"--credentials must be a readable file; got {type(error).__name__} at {file}. Check path and mode."
            ) from error
        if not (user and colon and password) or "\n" in password:
            raise SettingsError(f"--credentials must hold user:password on one line; {file} does not. Correct it.")
        return user, password
    given = {name: os.environ.get(name, "") for name in (USER, PASSWORD)}
    missing = [name for name, value in given.items() if not value]
    if len(missing) == 1:
        raise SettingsError(f"{USER} and {PASSWORD} must be set together or not at all; {missing[0]} is empty. Set it.")
    return None if missing else (given[USER], given[PASSWORD])
