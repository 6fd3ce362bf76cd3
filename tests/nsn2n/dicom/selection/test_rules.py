# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Selection by rules, with the SDK's own selector as oracle, and the reasons for what is left alone."""

from __future__ import annotations

import json
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import UID

from nsn2n.dicom.image_kinds import OWN_MANUFACTURER, OWN_MODEL_NAME
from nsn2n.dicom.selection.rules import default_rules, load_rules, mismatch, select_series
from nsn2n.dicom.selection.scan import scan_folder
from nsn2n.errors import DicomError, SettingsError
from nsn2n.runtime.cudart import preload_cudart
from nsn2n.synthetic.dicom_series import write_synthetic_series

RULES_FILE = Path(__file__).parents[4] / "models" / "nsn2n" / "configs" / "selection_rules.json"

SERIES = {
    "axial CT": {"modality": "CT", "overrides": {"ProtocolName": "Head routine"}},
    "localizer": {"modality": "CT", "overrides": {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}},
    "reformatted CT": {"modality": "CT", "overrides": {"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]}},
    "coronal MR": {"modality": "MR", "orientation": (1, 0, 0, 0, 0, -1), "spacing_mm": (3.0, 0.5, 0.8)},
    "sagittal MR": {"modality": "MR", "orientation": (0, 1, 0, 0, 0, -1), "overrides": {"EchoTime": "30.5"}},
    "phase MR": {"modality": "MR", "overrides": {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder with one study of several series, two slices each."""
    import numpy as np

    folder = tmp_path_factory.mktemp("study")
    for number, (description, options) in enumerate(SERIES.items(), start=1):
        write_synthetic_series(
            np.zeros((2, 4, 4)), folder, series_number=number, series_description=description, seed="rules",
            **options,
        )  # fmt: skip
    return folder


def rules_with(conditions):
    return load_rules(json.dumps({"selections": [{"name": "rule", "conditions": conditions}]}))


CONDITIONS = [
    {"Modality": "CT"},
    {"Modality": "ct"},
    {"Modality": "^C"},
    {"Modality": "PT"},
    {"SeriesDescription": "mr"},
    {"SeriesDescription": "^(axial|sagittal)"},
    {"SeriesDescription": "(.*?)", "Modality": "MR"},
    {"ProtocolName": "routine"},
    {"SeriesNumber": 2},
    {"SeriesNumber": [2, 4]},
    {"SeriesNumber": [3, ">"]},
    {"SeriesNumber": [3, ">="]},
    {"SeriesNumber": [3, "<"]},
    {"SeriesNumber": [3, "<="]},
    {"SeriesNumber": [3, "!="]},
    {"SeriesNumber": "[135]"},
    {"SliceThickness": 3},
    {"SliceThickness": [2, 4]},
    {"EchoTime": "30.5"},
    {"EchoTime": [10.0, ">"]},
    {"row_pixel_spacing": 0.5},
    {"col_pixel_spacing": [0.7, 0.9]},
    {"ImageType": ["PRIMARY", "ORIGINAL"]},
    {"ImageType": ["original", "!localizer"]},
    {"ImageType": ["!'P'"]},
    {"ImageType": "AXIAL"},
    {"ImageType": "!AXIAL"},
    {"ImageOrientationPatient": "Axial"},
    {"ImageOrientationPatient": "coronal"},
    {"ImageOrientationPatient": "Sagittal", "Modality": "MR"},
    {"StudyDescription": "synthetic", "Modality": "MR", "ImageType": ["!P'"]},
    {"BodyPartExamined": "HEAD"},
    {"ContrastBolusAgent": ".*"},
    {"Modality": "CT", "SeriesDescription": ""},
]


@pytest.fixture(scope="module")
def sdk_selects(study):
    """Descriptions of the series that the SDK's selector takes by given conditions."""
    preload_cudart()
    pytest.importorskip("monai.deploy.core", reason="the MONAI Deploy SDK is not installed")
    from monai.deploy.core import Fragment
    from monai.deploy.operators.dicom_data_loader_operator import DICOMDataLoaderOperator
    from monai.deploy.operators.dicom_series_selector_operator import DICOMSeriesSelectorOperator

    fragment = Fragment()
    studies = DICOMDataLoaderOperator(fragment, name="loader").load_data_to_studies(study)
    selector = DICOMSeriesSelectorOperator(fragment, name="selector")

    def select(conditions):
        rules = {"selections": [{"name": "rule", "conditions": conditions}]}
        found = selector.filter(rules, studies, all_matched=True)
        return {str(selected.series.SeriesDescription) for entry in found for selected in entry.selected_series}

    return select


@pytest.mark.parametrize("conditions", CONDITIONS, ids=json.dumps)
def test_rules_mean_what_they_mean_to_the_sdk(study, sdk_selects, conditions):
    (rule,) = rules_with(conditions).selections
    records = scan_folder(study).series
    ours = {record.SeriesDescription for record in records if mismatch(record.read_header(), rule) is None}
    assert ours == sdk_selects(conditions)


def test_table_of_conditions_selects_and_rejects(study):
    """The comparison with the SDK would prove nothing if rules took all or none."""
    taken = []
    for conditions in CONDITIONS:
        (rule,) = rules_with(conditions).selections
        taken.append(sum(mismatch(record.read_header(), rule) is None for record in scan_folder(study).series))
    assert {0, 1, 2, 3} <= set(taken)
    assert sum(0 < count < len(SERIES) for count in taken) > len(CONDITIONS) / 2


def test_default_rules_take_acquired_volumes_only(study):
    selection = select_series(scan_folder(study), load_rules(RULES_FILE))
    assert [(name, record.SeriesDescription) for name, record in selection.selected] == [
        ("CT volume", "axial CT"),
        ("MR volume", "coronal MR"),
        ("MR volume", "sagittal MR"),
    ]
    reasons = {record.SeriesDescription: reason for record, reason in selection.left_alone}
    assert set(reasons) == {"localizer", "reformatted CT", "phase MR"}
    assert reasons["localizer"].endswith(r"ORIGINAL\PRIMARY\LOCALIZER has LOCALIZER: a localizer")
    assert (
        r': left alone: ImageType DERIVED\SECONDARY\AXIAL lacks ORIGINAL (rule "CT volume")'
        in (reasons["reformatted CT"])
    )
    assert reasons["reformatted CT"].startswith('CT series 3 "reformatted CT" (2.25.')
    assert "P: a phase image" in reasons["phase MR"]
    assert not any("PHANTOM" in reason or "\n" in reason for reason in reasons.values())


def test_rules_of_the_installed_bundle_are_those_of_the_checkout():
    pytest.importorskip("nsn2n.bundle", reason="nsn2n is not installed (pip install -e .)")
    assert default_rules() == load_rules(RULES_FILE)
    names = [rule.name for rule in default_rules().selections]
    assert names == ["CT volume", "CT volume, enhanced", "MR volume", "PT volume"]


def test_named_series_are_taken_whatever_the_rules_say(study):
    scan = scan_folder(study)
    wanted = [scan.series[5].SeriesInstanceUID, scan.series[2].SeriesInstanceUID]
    selection = select_series(scan, load_rules(RULES_FILE), wanted)
    assert [record.SeriesDescription for _name, record in selection.selected] == [
        "reformatted CT",
        "phase MR",
    ]
    assert all("another series was named" in reason for _record, reason in selection.left_alone)
    assert len(selection.selected) + len(selection.left_alone) == len(scan.series)


def test_unknown_series_is_refused_with_a_list_of_what_is_there(study):
    with pytest.raises(DicomError, match=r'no series 1\.2\.3 in .*Choose from: CT series 1 "axial'):
        select_series(scan_folder(study), load_rules(RULES_FILE), ["1.2.3"])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"SOPClassUID": UID("1.2.840.10008.5.1.4.1.1.7")}, "Secondary Capture Image Storage, which is no"),
        ({"SOPClassUID": UID("1.2.840.10008.5.1.4.1.1.88.67"), "Modality": "SR"}, "X-Ray Radiation Dose SR"),
        ({"SOPClassUID": UID("1.2.840.10008.5.1.4.1.1.481.3"), "Modality": "RTSTRUCT"}, "RT Structure Set"),
        ({"SOPClassUID": UID("1.2.840.10008.5.1.4.1.1.66.4"), "Modality": "SEG"}, "Segmentation Storage"),
        ({"SOPClassUID": UID("1.2.840.10008.5.1.4.1.1.11.1"), "Modality": "PR"}, "Presentation State"),
        ({"Modality": "XX"}, "no rule matches Modality XX"),
        ({"Manufacturer": OWN_MANUFACTURER, "ManufacturerModelName": OWN_MODEL_NAME}, "already denoised"),
        ({"ComplexImageComponent": "PHASE"}, "is PHASE, not MAGNITUDE"),
    ],
)  # fmt: skip
def test_what_is_never_a_volume_is_left_alone_even_by_wide_rules(make_series, edit_file, changes, reason):
    files = make_series()
    for file in files:
        edit_file(file, lambda dataset: [setattr(dataset, key, value) for key, value in changes.items()])
    rules = rules_with({"Modality": "CT|SR|RT|SEG|PR"})
    selection = select_series(scan_folder(files[0].parent), rules)
    assert selection.selected == ()
    (entry,) = selection.left_alone
    assert reason in entry.reason


def test_series_belongs_to_the_first_rule_that_takes_it(study):
    text = json.dumps(
        {
            "selections": [
                {"name": "few", "conditions": {"SeriesNumber": 1}},
                {"name": "all", "conditions": {"Modality": "CT"}},
            ]
        }
    )
    selection = select_series(scan_folder(study), load_rules(text))
    assert [name for name, _record in selection.selected] == ["few", "all"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "must be JSON; got Expecting"),
        ("{}", r"must be one object .*with at least one selection"),
        ('{"selections": []}', "at least one selection"),
        ('{"selections": [{}], "extra": 1}', "must be one object"),
        ('{"selections": [{"name": "a"}]}', 'must have "name" and "conditions" only'),
        ('{"selections": [{"name": "", "conditions": {"Modality": "CT"}}]}', "a name and a condition"),
        ('{"selections": [{"name": "a", "conditions": {}}]}', "a name and a condition"),
        (
            '{"selections": [{"name": "a", "conditions": {"Modalty": "CT"}}]}',
            "Modalty .* must be a DICOM keyword",
        ),
        ('{"selections": [{"name": "a", "conditions": {"Modality": "("}}]}', "must be a regular expression"),
        (
            '{"selections": [{"name": "a", "conditions": {"Modality": {}}}]}',
            "must be text, a number or a list",
        ),
        (
            '{"selections": [{"name": "a", "conditions": {"ImageOrientationPatient": "Oblique"}}]}',
            "must be one of",
        ),
        ('{"selections":' + "[" * 100_000, "too many nested levels"),
        ('{"selections": [' + "[" * 40 + "]" * 41 + "}", "got more than 32 levels"),
        (
            '{"selections": [{"name": "a", "conditions": {"SeriesNumber": ' + "3" * 6000 + "}}]}",
            "got a number of 6000 characters",
        ),
        (
            '{"selections": [{"name": "a", "conditions": {"SliceThickness": [0, 1.' + "3" * 6000 + "]}}]}",
            "got a number of 6002 characters",
        ),
        (
            '{"selections": [{"name": "a", "conditions": {"Modality": "C{99999999999999}"}}]}',
            "must be a regular expression",
        ),
        ("a\0b", "readable JSON file; got ValueError"),
        ("no such file.json", "readable JSON file; got FileNotFoundError at no such file"),
    ],
)
def test_rules_that_make_no_sense_are_refused(text, message):
    with pytest.raises(SettingsError, match=message) as caught:
        load_rules(text)
    assert str(caught.value).isprintable()


def test_condition_of_a_wrong_shape_on_a_number_is_refused(study):
    (rule,) = rules_with({"SeriesNumber": [1, 2, 3]}).selections
    with pytest.raises(SettingsError, match=r"must be \[low, high\] or \[number, relation\]; got \[1, 2, 3\]"):
        mismatch(scan_folder(study).series[0].read_header(), rule)


def test_zero_is_a_value(make_series):
    files = make_series(series_number=0)
    (rule,) = rules_with({"SeriesNumber": [0, "<="]}).selections
    (record,) = scan_folder(files[0].parent).series
    assert mismatch(record.read_header(), rule) is None


def test_real_study_gives_its_three_reconstructions(ct_phantom_folder):
    selection = select_series(scan_folder(ct_phantom_folder), load_rules(RULES_FILE))
    assert [(record.SeriesNumber, len(record.files)) for _name, record in selection.selected] == [
        (201, 28),
        (202, 40),
        (203, 40),
    ]
    assert [record.SeriesNumber for record, _reason in selection.left_alone] == [100, 401]
    assert pydicom.dcmread(selection.selected[0].record.files[0]).Modality == "CT"
