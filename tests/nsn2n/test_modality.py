# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""One table says what differs between the modalities."""

from __future__ import annotations

import pytest
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
)

from nsn2n.errors import VolumeError
from nsn2n.modality import Modality, ModalityPolicy, modality_of, names_of_all, policy_of, policy_of_sop_class

CLASSES = {
    Modality.CT: (CTImageStorage, EnhancedCTImageStorage),
    Modality.MR: (MRImageStorage, EnhancedMRImageStorage),
    Modality.PT: (PositronEmissionTomographyImageStorage, EnhancedPETImageStorage),
}


@pytest.mark.parametrize("modality", Modality)
def test_each_modality_has_a_row_with_the_classes_of_its_images(modality):
    row = policy_of(modality)

    assert row.sop_classes | row.enhanced_sop_classes == set(CLASSES[modality])
    assert all(policy_of_sop_class(uid) is row for uid in CLASSES[modality])
    assert policy_of(str(modality)) is row


@pytest.mark.parametrize("name", [None, "US", ""])
def test_what_is_no_modality_has_the_row_of_none(name):
    assert policy_of(name) == policy_of_sop_class("1.2") == ModalityPolicy()


def test_names_become_modalities_or_are_refused():
    assert modality_of("PT") is Modality.PT
    assert modality_of(Modality.CT) is Modality.CT
    assert modality_of(None) is None
    with pytest.raises(VolumeError, match="modality must be CT, MR, PT or None; got 'US'"):
        modality_of("US")


def test_messages_name_all_modalities():
    assert names_of_all("or") == "CT, MR or PET"
    assert all(policy_of(modality).frame_type_sequence for modality in Modality)


def test_a_modality_is_printed_as_dicom_has_it():
    assert f"{Modality.MR}" == str(Modality.MR) == "MR"
