# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Writes arrays as valid DICOM series: synthetic phantoms with a known truth, for demonstrations and tests.

The patient is obviously artificial (``NSN2N^PHANTOM``) and no attribute comes from a scanner.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
)
from pydicom.valuerep import DSfloat

from nsn2n.errors import DicomError

__all__ = ["write_synthetic_series"]

CT_INTERCEPT_HU = -1024.0
"""CT stored value 0; with 12 bits stored the range is -1024..3071 HU, as on most scanners."""

SOP_CLASSES = {"CT": CTImageStorage, "MR": MRImageStorage, "PT": PositronEmissionTomographyImageStorage}

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
"""Row then column direction cosines of axial slices, head first supine."""


def write_synthetic_series(
    volume_dhw: NDArray[Any],
    folder: Path | str,
    *,
    modality: Literal["CT", "MR", "PT"] = "CT",
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
    origin_mm: Sequence[float] = (0.0, 0.0, 0.0),
    orientation: Sequence[float] = AXIAL,
    series_number: int = 1,
    series_description: str = "Synthetic phantom",
    seed: str | None = None,
    study_uid: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write a volume as a single-frame CT, MR or PET series, one file per slice.

    Parameters
    ----------
    volume_dhw : array, shape (D, H, W)
        Values in units of the modality: HU for CT, arbitrary signal for MR, Bq/ml for PET. Rounded to the
        nearest stored value and clipped to the stored range (CT -1024..3071 HU in 12 bits, MR 0..65535 in 16
        bits; a PET slice in signed 16 bits has a separate slope that fits all its values).
    folder : path
        Created if absent. Files are named ``S<series number>_I<slice>.dcm``.
    modality : {"CT", "MR", "PT"}
    spacing_mm : (dz, dy, dx)
        Distance between slices, between rows, between columns.
    origin_mm : (x, y, z)
        Center of the first voxel of the first slice, in the patient coordinate system (LPS).
    orientation : six floats
        Direction of a row, then direction of a column (ImageOrientationPatient). Slices follow one another
        along their cross product.
    series_number, series_description
        As in DICOM.
    seed : str, optional
        Makes all UIDs a function of it and of the series number, so that files are reproducible byte by byte.
    study_uid : str, optional
        Adds the series to this study; series of one study share its frame of reference.
    overrides : mapping, optional
        DICOM keyword to value, to callable of the slice index, or to None (attribute left out). Pixels are
        encoded by the overridden BitsAllocated, BitsStored, PixelRepresentation, RescaleSlope and
        RescaleIntercept.

    Returns
    -------
    list of Path
        One file per slice, in slice order.

    Raises
    ------
    DicomError
        If the array is not a volume, or the folder already has files of that series number.
    """
    volume = np.asarray(volume_dhw)
    if volume.ndim != 3 or volume.size == 0:
        raise DicomError(f"a synthetic series needs an array of shape (D, H, W); got shape {volume.shape}.")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"S{series_number:04d}_I"
    if next(folder.glob(f"{stem}*.dcm"), None) is not None:
        raise DicomError(f"{folder} already has files {stem}*.dcm. Choose another folder or series number.")

    make_uid = _uid_maker(seed, series_number)
    study = study_uid or make_uid("study")
    common = _series_header(modality, study, make_uid("series"), series_number, series_description)
    step_mm = np.cross(orientation[:3], orientation[3:]) * spacing_mm[0]
    paths = []
    for index, slice_hw in enumerate(volume):
        header = Dataset()
        header.update(common)
        header.SOPInstanceUID = make_uid(f"slice {index}")
        header.InstanceNumber = index + 1
        header.Rows, header.Columns = slice_hw.shape
        header.PixelSpacing = _decimal_strings(spacing_mm[1:])
        header.SliceThickness = DSfloat(float(spacing_mm[0]), auto_format=True)
        header.ImageOrientationPatient = _decimal_strings(orientation)
        header.ImagePositionPatient = _decimal_strings(np.asarray(origin_mm) + index * step_mm)
        if modality == "PT":
            header.ImageIndex, header.NumberOfSlices = index + 1, len(volume)
            header.RescaleSlope = str(DSfloat(float(np.abs(slice_hw).max()) / 32767 or 1.0, auto_format=True))
        _apply_overrides(header, overrides or {}, index)
        _set_pixels(header, slice_hw)
        path = folder / f"{stem}{index + 1:04d}.dcm"
        _save(header, path)
        paths.append(path)
    return paths


def _uid_maker(seed: str | None, series_number: int) -> Callable[[str], str]:
    """UIDs under the 2.25 root, which needs no registration (PS3.5 B.2)."""
    if seed is None:
        return lambda _part: f"2.25.{uuid.uuid4().int}"
    return lambda part: f"2.25.{_uuid_of(seed if part == 'study' else f'{seed}/{series_number}/{part}').int}"


def _uuid_of(name: str) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_OID, f"nsn2n synthetic series/{name}")


def _series_header(modality: str, study_uid: str, series_uid: str, number: int, description: str) -> Dataset:
    """Return everything that the slices of one series share: modules Patient, Study, Series, Equipment, Image."""
    header = Dataset()
    header.SOPClassUID = SOP_CLASSES[modality]
    header.ImageType = ["ORIGINAL", "PRIMARY", *{"CT": ["AXIAL"], "MR": ["OTHER"], "PT": []}[modality]]
    header.StudyDate = header.SeriesDate = header.ContentDate = header.AcquisitionDate = "20260101"
    header.StudyTime = header.SeriesTime = header.ContentTime = header.AcquisitionTime = "120000"
    header.AccessionNumber = ""
    header.Modality = modality
    header.Manufacturer = "NSN2N synthetic phantom"
    header.ReferringPhysicianName = ""
    header.StudyDescription = "Synthetic phantom, no patient"
    header.SeriesDescription = description
    header.PatientName = "NSN2N^PHANTOM"
    header.PatientID = "NSN2N-PHANTOM"
    header.PatientBirthDate = ""
    header.PatientSex = "O"
    header.BodyPartExamined = "HEAD"
    header.PatientPosition = "HFS"
    header.StudyInstanceUID = study_uid
    header.SeriesInstanceUID = series_uid
    header.StudyID = "1"
    header.SeriesNumber = number
    header.AcquisitionNumber = 1
    header.FrameOfReferenceUID = f"2.25.{_uuid_of(f'frame of reference of {study_uid}').int}"
    header.PositionReferenceIndicator = ""
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.BitsAllocated = 16
    header.PixelRepresentation = 0
    if modality == "CT":
        header.KVP = "120"
        header.BitsStored, header.HighBit = 12, 11
        header.RescaleIntercept = DSfloat(CT_INTERCEPT_HU, auto_format=True)
        header.RescaleSlope = "1"
        header.RescaleType = "HU"
    elif modality == "PT":
        header.update(_pet_attributes())
        del header.PatientPosition  # PatientOrientationCodeSequence takes its place
    else:
        header.BitsStored, header.HighBit = 16, 15
        header.ScanningSequence = "GR"
        header.SequenceVariant = "NONE"
        header.ScanOptions = ""
        header.MRAcquisitionType = "3D"
        header.RepetitionTime = "8"
        header.EchoTime = "3"
        header.EchoTrainLength = "1"
    return header


def _pet_attributes() -> Dataset:
    """Modules PET Series, Isotope, Image and Patient Orientation (PS3.3 C.8.9, C.8.4.6)."""
    header = Dataset()
    header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 15, 1
    header.RescaleIntercept = "0"
    header.Units = "BQML"
    header.CountsSource = "EMISSION"
    header.SeriesType = ["WHOLE BODY", "IMAGE"]
    header.CorrectedImage = ["DECY", "ATTN", "SCAT", "RAN", "NORM"]
    header.DecayCorrection = "START"
    header.CollimatorType = "NONE"
    header.RandomsCorrectionMethod = "DLYD"
    header.AttenuationCorrectionMethod = "none, synthetic"
    header.ScatterCorrectionMethod = "none, synthetic"
    header.FrameReferenceTime = "60000"
    header.ActualFrameDuration = "120000"
    header.DecayFactor = "1.01"
    header.PatientOrientationCodeSequence = DicomSequence()
    header.PatientGantryRelationshipCodeSequence = DicomSequence()
    isotope = Dataset()
    isotope.RadionuclideCodeSequence = DicomSequence()
    isotope.RadiopharmaceuticalStartTime = "110000"
    isotope.RadionuclideTotalDose = "370000000"
    isotope.RadionuclideHalfLife = "6586.2"
    isotope.RadionuclidePositronFraction = "0.97"
    header.RadiopharmaceuticalInformationSequence = DicomSequence([isotope])
    return header


def _decimal_strings(values: Sequence[float] | NDArray[Any]) -> list[DSfloat]:
    """Values of VR DS, which holds at most 16 characters; -0.0 is written as 0."""
    return [DSfloat(float(value) + 0.0, auto_format=True) for value in values]


def _apply_overrides(header: Dataset, overrides: Mapping[str, Any], index: int) -> None:
    for keyword, value in overrides.items():
        chosen = value(index) if callable(value) else value
        if chosen is not None:
            setattr(header, keyword, chosen)
        elif keyword in header:
            delattr(header, keyword)


def _set_pixels(header: Dataset, slice_hw: NDArray[Any]) -> None:
    """Encode one slice as the header says: stored = rint((value - intercept) / slope), clipped."""
    slope = float(header.get("RescaleSlope") or 1.0)
    intercept = float(header.get("RescaleIntercept") or 0.0)
    bits, signed = int(header.BitsStored), int(header.PixelRepresentation) == 1
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    stored = np.clip(np.rint((slice_hw.astype(np.float64) - intercept) / slope), low, high)
    kind = "<i" if signed else "<u"
    data = stored.astype(np.dtype(f"{kind}{int(header.BitsAllocated) // 8}")).tobytes()
    header.add_new("PixelData", "OB" if header.BitsAllocated == 8 else "OW", data + b"\0" * (len(data) % 2))


def _save(header: Dataset, path: Path) -> None:
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.save_as(path, enforce_file_format=True)
