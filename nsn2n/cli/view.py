# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``nsn2n view``: finds the viewers in an output folder, and opens them in the browser."""

from __future__ import annotations

import logging
from pathlib import Path

from nsn2n.errors import NSN2NError
from nsn2n.jobs.report_output import REPORTS, VIEWER

__all__ = ["find_viewers", "open_viewers"]

logger = logging.getLogger(__name__)

_HOW_TO_GET_ONE = "Denoise it again with --viewer (viewer: true in app.yaml)."


def find_viewers(folder: Path) -> list[Path]:
    """Return the viewers of an output folder, in the order of their series; series without one are logged.

    Raises
    ------
    NSN2NError
        If there is none.
    """
    if not folder.is_dir():
        raise NSN2NError(f"OUT must be the output folder of a run; there is no folder {folder}. Name an existing one.")
    reports = sorted(report.parent for report in folder.glob(f"{REPORTS}/*/report.html"))
    viewers = [report / VIEWER for report in reports if (report / VIEWER).is_file()]
    without = [report.name for report in reports if not (report / VIEWER).is_file()]
    if not viewers:
        found = f"{len(without)} reports without one" if without else f"no folder {REPORTS} of a run"
        raise NSN2NError(f"OUT must hold the {VIEWER} of a series; {folder} has {found}. {_HOW_TO_GET_ONE}")
    for uid in without:
        logger.warning("series %s has no %s. %s", uid, VIEWER, _HOW_TO_GET_ONE)
    return viewers


def open_viewers(viewers: list[Path]) -> None:
    """Open each in the browser; log a warning if there is none."""
    import webbrowser

    for viewer in viewers:
        if not webbrowser.open(viewer.resolve().as_uri()):
            logger.warning("no browser could be started; open %s manually.", viewer)
