# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The measurements as a Structured Report (PS3.16 TID 1500), so that a PACS holds them together with the series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from highdicom import UID
from highdicom.sr import (
    CodedConcept,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    SourceImageForMeasurementGroup,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from nsn2n.dicom.attributes import text
from nsn2n.dicom.headers import read_header
from nsn2n.dicom.image_kinds import OWN_MANUFACTURER, OWN_MODEL_NAME
from nsn2n.dicom.write.derive import DerivedSeries
from nsn2n.dicom.write.removed_map import own_series, unit_of

__all__ = ["SCHEME", "measurement_report"]

SCHEME = "99NSN2N"
"""Coding scheme for concepts that DICOM has no code for."""

OBSERVER_UID = UID("2.25.159885078256520337914654049507870583812")
"""Identifies this program as observer."""

VERDICTS = {
    "pass": ("PASS", "Removed part looks like noise"),
    "review": ("REVIEW", "Removed part to be looked at"),
    "fail": ("FAIL", "Anatomy in the removed part"),
}


def measurement_report(
    sources: Sequence[Path], derived: Sequence[Path], record: Mapping[str, Any], series: DerivedSeries, version: str
) -> Dataset:
    """Create the report of source and derived series: noise before, rms change, structure check, faint discs.

    Parameters
    ----------
    sources, derived : sequence of Path
        The files of the source and of the new series, in slice order.
    record : mapping
        As `nsn2n.DenoiseResult.record`.
    series : DerivedSeries
        UID and number of the series of the report.
    version : str
        SoftwareVersions.
    """
    evidence = [read_header(file) for file in (*sources, *derived)]
    unit = unit_of(evidence[0])
    measured, structure = record["measured"], record["structure"]
    measurements = [
        Measurement(codes.SCT.StandardDeviation, float(measured["noise_sd_median"]), unit),
        Measurement(codes.UMLS.RootMeanSquare, float(measured["rms_change"]), unit),
        Measurement(_own("EXCESS", "Largest local mean of removed part"), structure["excess"], codes.UCUM.NoUnits),
        Measurement(_own("COHERENCE", "Coherence of removed part"), structure["coherence"], codes.UCUM.NoUnits),
    ]
    shares = {
        "edges": "Share of edge detail removed",
        "detail": "Share of faint detail removed",
        "contrast": "Share of contrast of faint discs removed",
    }
    for name, meaning in shares.items():
        if structure[name] is not None:
            measurements.append(Measurement(_own(name.upper(), meaning), structure[name], codes.UCUM.NoUnits))
    measurements += [
        Measurement(
            # The code holds the disc: tenths of mm and of noise sd.
            _own(
                f"KEPT_{10 * cell['diameter_mm']:.0f}_{10 * cell['contrast_sd']:.0f}",
                f"Contrast kept, {cell['diameter_mm']:g} mm disc, {cell['contrast_sd']:g} noise SD",
            ),
            cell["kept"],
            codes.UCUM.NoUnits,
        )
        for cell in (record.get("contrast_kept") or {"discs": []})["discs"]
    ]
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=UID(), identifier="denoised series"),
        finding_type=_own("REMOVED", "Noise removed from the image"),
        measurements=measurements,
        qualitative_evaluations=[
            QualitativeEvaluation(
                name=_own("STRUCTURE_CHECK", "Structure check"), value=_own(*VERDICTS[structure["verdict"]])
            )
        ],
        # The middle slices represent their series; the evidence lists all instances.
        source_images=[
            SourceImageForMeasurementGroup.from_source_image(evidence[len(sources) // 2]),
            SourceImageForMeasurementGroup.from_source_image(evidence[len(sources) + len(derived) // 2]),
        ],
    )
    observer = DeviceObserverIdentifyingAttributes(
        uid=OBSERVER_UID, name=OWN_MODEL_NAME, manufacturer_name=OWN_MANUFACTURER, model_name=version
    )
    content = MeasurementReport(
        observation_context=ObservationContext(
            observer_device_context=ObserverContext(
                observer_type=codes.DCM.Device, observer_identifying_attributes=observer
            )
        ),
        procedure_reported=PROCEDURE,
        imaging_measurements=[group],
    )
    made: Dataset = Comprehensive3DSR(
        evidence=evidence,
        content=content,
        **own_series(series, version),
        is_complete=True,
        series_description=f"{text(evidence[-1], 'SeriesDescription')}: measurements"[:64],
    )
    scheme = Dataset()
    scheme.CodingSchemeDesignator = SCHEME
    scheme.CodingSchemeName = "nsn2n"
    scheme.CodingSchemeResponsibleOrganization = OWN_MANUFACTURER
    made.CodingSchemeIdentificationSequence = [scheme]
    return made


def _own(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value, SCHEME, meaning)


PROCEDURE = _own("DENOISING", "Denoising")
