# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Kinds of images that must not be denoised."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    EnhancedMRImageStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
)

from nsn2n.dicom.image_kinds import why_not_a_volume


def header(sop_class, *image_type, **attributes):
    dataset = Dataset()
    dataset.SOPClassUID = sop_class
    dataset.ImageType = list(image_type)
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize(
    "accepted",
    [
        header(CTImageStorage, "ORIGINAL", "PRIMARY", "AXIAL"),
        header(CTImageStorage, "DERIVED", "SECONDARY", "MPR"),
        header(CTImageStorage, "ORIGINAL", "PRIMARY", "AXIAL", "ADD"),
        header(MRImageStorage, "ORIGINAL", "PRIMARY", "M", "ND"),
        header(MRImageStorage, "ORIGINAL", "PRIMARY", "OTHER", ComplexImageComponent="MAGNITUDE"),
        header(PositronEmissionTomographyImageStorage, "ORIGINAL", "PRIMARY"),
        header(EnhancedMRImageStorage, "ORIGINAL", "PRIMARY", "T1", "NONE"),
        header(MRImageStorage, "ORIGINAL", "PRIMARY", "PERFUSION", "NONE"),
        header(MRImageStorage, "ORIGINAL", "PRIMARY", "PERFUSION", "NONE", "ND"),
        header(MRImageStorage, "ORIGINAL", "PRIMARY", "DIFFUSION", "B0"),
        header(MRImageStorage, "ORIGINAL", "PRIMARY", "TEMPERATURE", "NONE"),
        header(EnhancedMRImageStorage, "ORIGINAL", "PRIMARY", "VELOCITY", "NONE", ComplexImageComponent="MAGNITUDE"),
        header(EnhancedMRImageStorage, FrameType=["ORIGINAL", "PRIMARY", "PERFUSION", "NONE"]),
        header(MRImageStorage),
    ],
    ids=lambda dataset: "-".join(dataset.ImageType or ["none"]),
)
def test_acquired_images_may_be_a_volume(accepted):
    assert why_not_a_volume(accepted) is None


@pytest.mark.parametrize(
    ("image_type", "kind"),
    [
        (("ORIGINAL", "PRIMARY", "LOCALIZER"), "a localizer"),
        (("ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"), "a mosaic of slices"),
        (("ORIGINAL", "PRIMARY", "M", "VFRAME"), "a mosaic of slices"),
        (("ORIGINAL", "PRIMARY", "P", "ND"), "a phase image"),
        (("ORIGINAL", "PRIMARY", "R", "ND"), "a real-part image"),
        (("ORIGINAL", "PRIMARY", "I"), "an imaginary-part image"),
        (("ORIGINAL", "PRIMARY", "FIELD_MAP", "NONE"), "a field map"),
        (("ORIGINAL", "PRIMARY", "B0", "B0", "UNSPECIFIED"), "a field map"),
        (("ORIGINAL", "PRIMARY", "B0 MAP", "B0", "UNSPECIFIED"), "a field map"),
        (("ORIGINAL", "PRIMARY", "B1", "B1", "UNSPECIFIED"), "a map of the transmit field"),
        (("ORIGINAL", "PRIMARY", "VELOCITY MAP", "P", "PCA"), "a velocity map"),
        (("ORIGINAL", "PRIMARY", "VELOCITY", "NONE"), "a velocity map"),
        (("ORIGINAL", "PRIMARY", "FLOW_ENCODED", "VELOCITY"), "a velocity map"),
        (("ORIGINAL", "PRIMARY", "PERFUSION_FFE", "PERFUSION", "FFE"), "a derived map"),
        (("DERIVED", "PRIMARY", "PERFUSION", "NONE"), "a derived map"),
        (("DERIVED", "PRIMARY", "ASL", "NONE", "PERFUSION"), "a derived map"),
        (("DERIVED", "PRIMARY", "DIFFUSION", "ADC"), "a derived map"),
        (("DERIVED", "PRIMARY", "PERFUSION", "RCBF"), "a derived map"),
        (("DERIVED", "SECONDARY", "PROJECTION IMAGE"), "a projection"),
        (("DERIVED", "SECONDARY", "AXIAL", "MIP"), "a projection"),
    ],
)
def test_image_type_names_what_is_no_volume(image_type, kind):
    reason = why_not_a_volume(header(MRImageStorage, *image_type))
    assert reason is not None
    assert reason.startswith("ImageType (0008,0008) " + "\\".join(image_type))
    assert reason.endswith(kind)


def test_other_classes_and_complex_components_are_named():
    assert why_not_a_volume(header(ComputedRadiographyImageStorage)) == (
        "SOPClassUID (0008,0016) is Computed Radiography Image Storage, which is no CT, MR or PET image"
    )
    assert why_not_a_volume(Dataset()) == ("SOPClassUID (0008,0016) is empty, which is no CT, MR or PET image")
    phase = header(MRImageStorage, "ORIGINAL", "PRIMARY", "OTHER", ComplexImageComponent="PHASE")
    assert why_not_a_volume(phase) == "ComplexImageComponent (0008,9208) is PHASE, not MAGNITUDE"


@pytest.mark.parametrize(
    ("group", "element", "creator", "vr", "value", "refused"),
    [
        (0x0043, 0x2F, "GEMS_PARM_01", "SS", 0, False),
        (0x0043, 0x2F, "GEMS_PARM_01", "SS", 1, True),
        (0x0043, 0x2F, "SOMEONE ELSE", "SS", 1, False),
        (0x0019, 0x0A, "SIEMENS MR HEADER", "US", 36, True),
        (0x0019, 0x0A, "SIEMENS MR HEADER", "UN", b"\x24\x00", True),
        (0x0019, 0x0A, "SIEMENS MR HEADER", "US", [], False),
    ],
)
def test_private_signs_of_phase_and_mosaic(group, element, creator, vr, value, refused):
    image = header(MRImageStorage, "ORIGINAL", "PRIMARY", "OTHER")
    image.private_block(group, creator, create=True).add_new(element, vr, value)
    assert (why_not_a_volume(image) is not None) == refused
