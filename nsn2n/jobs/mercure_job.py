# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""One call by mercure, a DICOM orchestrator that runs a container for each series or study.

Its contract, https://mercure-imaging.org and process/process_series.py of github.com/mercure-imaging/mercure: images
and ``task.json`` with the settings are in one folder; new images are expected in another, none of them in a subfolder;
``result.json`` next to them is kept with the task; any exit code but 0 discards everything.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nsn2n.dicom.attributes import text
from nsn2n.dicom.headers import read_attributes
from nsn2n.dicom.input_limits import Limits
from nsn2n.errors import NSN2NError, SettingsError
from nsn2n.jobs.dicom_job import Outcome, denoise_folder
from nsn2n.jobs.options import JobOptions
from nsn2n.jobs.outcomes import ALL_FAILED, conclude
from nsn2n.runtime.config_loading import read_short_text
from nsn2n.runtime.paths import require_writable_folder
from nsn2n.runtime.unfinished import hidden_folder

__all__ = ["run_mercure_task"]

logger = logging.getLogger(__name__)

TASK, RESULT = "task.json", "result.json"


def run_mercure_task(source: Path, target: Path) -> int:
    """Denoise the series of a task and return the exit code: 0 if any was written, so that mercure delivers it.

    Parameters
    ----------
    source : path
        Folder with the images and ``task.json``.
    target : path
        Folder for new images, named ``<SeriesInstanceUID>#<SOPInstanceUID>.dcm``, and ``result.json``, which has
        the outcome of each series.

    Raises
    ------
    SettingsError
        If the settings of the task cannot be read, or one is unknown or out of bounds.
    NSN2NError
        If there is no series to denoise, or the folder cannot be written.
    """
    options = _options(source / TASK)
    require_writable_folder(target)
    target.mkdir(parents=True, exist_ok=True)
    try:
        with hidden_folder(target) as hidden:
            made = hidden / "new"  # the hidden folder itself is locked by this process
            outcomes = denoise_folder(source, made, options)
            for file in sorted(made.glob("*/*.dcm")):
                uid = text(read_attributes(file, ["SOPInstanceUID"], Limits()), "SOPInstanceUID")
                file.rename(target / f"{file.parent.name}#{uid}.dcm")
        (target / RESULT).write_text(json.dumps(_result(outcomes)), encoding="utf-8")
    except OSError as error:
        raise NSN2NError(
            f"the output folder must be writable and have free space; got {error.strerror or type(error).__name__} at"
            f" {target}. Free some space, and have the task processed again."
        ) from error
    written = sum(outcome.written is not None for outcome in outcomes)
    failures = [outcome.record.label for outcome in outcomes if outcome.error is not None]
    conclude(len(outcomes), written, failures, len(outcomes) - written - len(failures))
    return 0 if written else ALL_FAILED


def _options(task_file: Path) -> JobOptions:
    try:
        task = json.loads(read_short_text(task_file))
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(
            f"the input folder must hold mercure's {TASK}; got {type(error).__name__} at {task_file}. Have mercure "
            "start this, or use nsn2n denoise."
        ) from error
    process = task.get("process") if isinstance(task, Mapping) else None
    settings = process.get("settings") if isinstance(process, Mapping) else None
    if not isinstance(process, Mapping) or not isinstance(settings or {}, Mapping):
        raise SettingsError(
            f"process and its settings must be mappings in {TASK}; one of them is not in {task_file}. Correct the"
            " settings of the module in mercure."
        )
    # The report is for a browser; mercure delivers images.
    return JobOptions.from_mapping({"report": False, **(settings or {})}, "settings.")


def _result(outcomes: list[Outcome]) -> dict[str, Any]:
    """Return the outcome of each series, by UID; mercure sends the text to the recipients of its rule."""
    written = [
        {
            "source": outcome.record.SeriesInstanceUID,
            "series": outcome.written.SeriesInstanceUID,
            "series_number": outcome.written.SeriesNumber,
            "files": len(outcome.written.files),
        }
        for outcome in outcomes
        if outcome.written is not None
    ]
    failed = [
        {"source": outcome.record.SeriesInstanceUID, "reason": str(outcome.error)}
        for outcome in outcomes
        if outcome.error is not None
    ]
    sentences = [f"{len(written)} of {len(outcomes)} series denoised", *(one["reason"] for one in failed)]
    notification = {"text": "; ".join(sentences), "requested": bool(failed)}
    return {"written": written, "failed": failed, "__mercure_notification": notification}
