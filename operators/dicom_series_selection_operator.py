# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Emits the DICOM series of a folder that are to be processed, one by one."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from monai.deploy.core import ConditionType, Fragment, Operator, OperatorSpec
from monai.deploy.core.domain.dicom_series import DICOMSeries
from monai.deploy.core.domain.dicom_series_selection import SelectedSeries, StudySelectedSeries
from monai.deploy.core.domain.dicom_study import DICOMStudy
from monai.deploy.operators.dicom_data_loader_operator import DICOMDataLoaderOperator

from nsn2n.dicom.attributes import text
from nsn2n.dicom.pixels.stored_pixels import read_image
from nsn2n.dicom.selection.rules import Rules, SelectedRecord, Selection
from nsn2n.jobs.dicom_job import choose_series, series_numbers_by_study
from nsn2n.jobs.outcomes import ErrorHandler, series_errors
from nsn2n.operators.image_metadata import SERIES_NUMBERS, SOURCE_FILES

__all__ = ["DICOMSeriesSelectionOperator", "study_selected_series"]

logger = logging.getLogger(__name__)


class DICOMSeriesSelectionOperator(Operator):
    """Scans a folder, selects series by rules, and emits them one by one.

    Does the work of the SDK's ``DICOMDataLoaderOperator`` and ``DICOMSeriesSelectorOperator`` for input that
    is larger than memory or disorganized: headers alone decide, pixels are read on access, no file is skipped
    silently, and each series is a separate message. Operators that follow the SDK's selector can follow
    this one. It logs one line for each series that it leaves alone. It ends by itself: do not give it
    a ``CountCondition``, which the SDK's loader needs.

    Named input:
        input_folder: str or Path, optional: the folder to scan, instead of the argument.

    Named output:
        study_selected_series_list: list of one StudySelectedSeries with one SelectedSeries. Its native
            datasets hold the pixels of the files as stored; the metadata of the SelectedSeries holds
            ``source_files`` (list of str: all files of the series, in no particular order) and
            ``series_numbers_in_study`` (sorted list of int).
    """

    INPUT_FOLDER = "input_folder"
    OUTPUT_SERIES = "study_selected_series_list"

    def __init__(
        self,
        fragment: Fragment,
        *args: Any,
        input_folder: Path | str | None = None,
        rules: Rules | Path | str | None = None,
        series_uids: Sequence[str] = (),
        should_continue: Callable[[], bool] | None = None,
        on_error: ErrorHandler | None = None,
        **kwargs: Any,
    ) -> None:
        """Store the choices; nothing is read before the graph runs.

        Parameters
        ----------
        fragment : Fragment
        input_folder : path, optional
            Searched with all its subfolders. Needed unless the input port provides one.
        rules : Rules, path of a JSON file or JSON text, optional
            Selection rules (`nsn2n.dicom.selection.rules`); by default those of the model bundle.
        series_uids : sequence of str, optional
            Exactly these series, whatever the rules say.
        should_continue : callable, optional
            Asked before each series; once it returns False, that series and those after it are not sent. Series
            sent before are processed. `untried` is then their number.
        on_error : callable, optional
            Called with the label of a series that cannot be read and the error, instead of ending the graph.
        """
        self.input_folder = input_folder
        self.rules = rules
        self.series_uids = tuple(series_uids)
        self.should_continue = should_continue
        self.on_error = on_error
        self.untried = 0
        self.selection: Selection | None = None
        self._pending: deque[SelectedRecord] = deque()
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports."""
        spec.input(self.INPUT_FOLDER).condition(ConditionType.NONE)
        spec.output(self.OUTPUT_SERIES)

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Emit the next series; the first call chooses them, the last one ends this operator."""
        if self.selection is None:
            folder = op_input.receive(self.INPUT_FOLDER) or self.input_folder
            self.selection = choose_series(folder, self.rules, self.series_uids)
            self._pending.extend(self.selection.selected)
        if self.should_continue is not None and not self.should_continue():
            self.untried = len(self._pending)
            self._pending.clear()
            self.stop_execution()
            return
        selected = self._pending.popleft()
        with series_errors(selected.record.label, self.on_error):
            op_output.emit([study_selected_series(selected, self.selection)], self.OUTPUT_SERIES)
        if not self._pending:
            self.stop_execution()  # what was emitted still reaches its receivers

    def stop(self) -> None:
        """Log if the graph ends, by an error or a ``CountCondition``, before every series was sent."""
        if self._pending:
            logger.error("the graph ended before %d of the selected series were sent", len(self._pending))


def study_selected_series(selected: SelectedRecord, selection: Selection) -> StudySelectedSeries:
    """Convert a chosen series to the form in which the SDK's operators pass it on.

    Parameters
    ----------
    selected : SelectedRecord
    selection : Selection
        All of the folder: the series numbers in use are in it.

    Raises
    ------
    DicomError
        If a file has become unreadable.
    """
    record = selected.record
    series, study = DICOMSeries(record.SeriesInstanceUID), DICOMStudy(record.StudyInstanceUID)
    header = record.read_header()
    # These methods of the SDK's loader use nothing of the operator that they belong to.
    DICOMDataLoaderOperator.populate_study_attributes(None, study, header)
    DICOMDataLoaderOperator.populate_series_attributes(None, series, header)
    # The SDK takes it from (0008,0015), which is another attribute.
    series.BodyPartExamined = text(header, "BodyPartExamined") or None
    for path in record.files:
        series.add_sop_instance(read_image(path))
    study.add_series(series)
    metadata = {
        SOURCE_FILES: [str(path) for path in record.files],
        SERIES_NUMBERS: sorted(series_numbers_by_study(selection)[record.StudyInstanceUID]),
    }
    message = StudySelectedSeries(study)
    message.add_selected_series(SelectedSeries(selected.name, series, metadata=metadata))
    return message
