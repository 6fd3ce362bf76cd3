# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The modalities, and everything that differs between them: one row of a table each.

A new modality is a member of :class:`Modality`, a row of the table below, and a rule that selects its series
(``models/nsn2n/configs/selection_rules.json``).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from nsn2n.errors import VolumeError

__all__ = ["Modality", "ModalityPolicy", "modality_of", "names_of_all", "policy_of", "policy_of_sop_class"]


class Modality(str, enum.Enum):
    """Values of the DICOM attribute Modality (0008,0060) that can be denoised."""

    CT = "CT"
    MR = "MR"
    PT = "PT"

    def __str__(self) -> str:
        """The DICOM value itself, also on Python 3.10, where a str enum prints its class."""
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class ModalityPolicy:
    """How settings that are ``auto`` are decided for a modality, and properties of its values and files."""

    guided_mean: bool = True
    """Apply non-local means guided by the fit (`AverageSettings.when`). In CT this also removes faint detail."""
    group_filter: bool = False
    """Filter groups of similar blocks over whole slices (`GroupSettings.when`), instead of that mean."""
    cube_filter: bool = False
    """Filter groups of similar cubes after that mean (`CubeSettings.when`), if slices are similar."""
    coarse_mean: bool = False
    """Average the guided mean again in wider steps (`AverageSettings.coarse`). Filtered back projection leaves little
    noise of low frequency, so that coarse structure stands out and is recovered; blobs of noise in PET and in smoothed
    MR look like lesions, which would lose contrast."""
    edge_filter: bool = False
    """Filter groups of similar blocks at edges (`EdgeSettings.when`). MR benefits little from it."""
    multislice_fit: bool = False
    """Fit a second network with several input slices (`RefitSettings.when`). CT gets worse."""
    zero_filled: bool = False
    """Slices may be interpolated by zero filling (:mod:`nsn2n.stack.acquired_grid`)."""
    rician_mean: bool = False
    """Values are magnitudes, and the mean of their noise is subtracted (`Settings.rician`)."""

    ramp_filtered: bool = False
    """Noise has little power at the lowest frequencies, as after filtered back-projection; what is there in the
    differences of thick slices is anatomy (:func:`nsn2n.noise.spectrum.without_anatomy`)."""
    flat_noise: bool = False
    """Noise has no more power at the lowest frequencies than at others; what is more in the differences of thick slices
    is anatomy. Simulated noise is without it."""
    quiet_air: bool = False
    """Air has far less noise than the body, and is measured separately (:mod:`nsn2n.noise.quiet`). Elsewhere it tells
    the noise of the body too, where neighboring slices of a body differ by anatomy."""
    air: float | None = None
    """Value of air, where there are no lesions; None: not known."""

    name: str = ""
    """Display name."""
    unit: str = "signal"
    """Display unit of the values."""
    ucum_unit: tuple[str, str] | None = None
    """UCUM code and meaning of that unit, if the modality alone determines it."""
    window: tuple[float, float] | None = None
    """Values shown as black and white in the report; None: percentiles of the values."""

    sop_classes: frozenset[str] = frozenset()
    """SOP Class UIDs of single slices (PS3.4 B.5)."""
    enhanced_sop_classes: frozenset[str] = frozenset()
    """SOP Class UIDs of multi-frame images."""
    frame_type_sequence: str = ""
    """Keyword of the functional group that holds FrameType in multi-frame images."""
    rescale_may_be_absent: bool = False
    """Stored values without RescaleSlope and RescaleIntercept are the values."""
    rescale_of_each_slice: bool = False
    """Each slice has a separate RescaleSlope, which may be replaced if new values do not fit it."""
    counts_from_series_time: bool = False
    """Decay counts from SeriesDate and SeriesTime (PS3.3 C.8.9.1), which a derived series therefore keeps."""


_POLICIES: Mapping[Modality, ModalityPolicy] = {
    Modality.CT: ModalityPolicy(
        coarse_mean=True,
        edge_filter=True,
        guided_mean=False,
        group_filter=True,
        ramp_filtered=True,
        air=-1000.0,
        name="CT",
        unit="HU",
        ucum_unit=("[hnsf'U]", "Hounsfield unit"),
        window=(-160.0, 240.0),  # soft tissue: center 40, width 400
        sop_classes=frozenset({"1.2.840.10008.5.1.4.1.1.2"}),
        enhanced_sop_classes=frozenset({"1.2.840.10008.5.1.4.1.1.2.1"}),
        frame_type_sequence="CTImageFrameTypeSequence",
    ),
    Modality.MR: ModalityPolicy(
        cube_filter=True,
        multislice_fit=True,
        zero_filled=True,
        rician_mean=True,
        flat_noise=True,
        rescale_may_be_absent=True,
        air=0.0,
        name="MR",
        sop_classes=frozenset({"1.2.840.10008.5.1.4.1.1.4"}),
        enhanced_sop_classes=frozenset({"1.2.840.10008.5.1.4.1.1.4.1"}),
        frame_type_sequence="MRImageFrameTypeSequence",
    ),
    Modality.PT: ModalityPolicy(
        guided_mean=False,
        group_filter=True,
        quiet_air=True,
        rescale_of_each_slice=True,
        counts_from_series_time=True,
        air=0.0,
        name="PET",
        sop_classes=frozenset({"1.2.840.10008.5.1.4.1.1.128"}),
        enhanced_sop_classes=frozenset({"1.2.840.10008.5.1.4.1.1.130"}),
        frame_type_sequence="PETFrameTypeSequence",
    ),
}

_UNKNOWN = ModalityPolicy()
"""Policy of a volume without a modality."""


def names_of_all(conjunction: str) -> str:
    """Return the names of all modalities for a message: ``CT, MR or PET``."""
    *names, last = (row.name for row in _POLICIES.values())
    return f"{', '.join(names)} {conjunction} {last}"


def modality_of(name: object) -> Modality | None:
    """Return the modality of that name, as given by a user or a header; None for None.

    Raises
    ------
    VolumeError
        If there is none.
    """
    if name is None or isinstance(name, Modality):
        return name
    try:
        return Modality(name)
    except ValueError:
        raise VolumeError(f"modality must be {', '.join(Modality)} or None; got {name!r}.") from None


def policy_of(modality: Modality | str | None) -> ModalityPolicy:
    """Return the row of a modality; the default one for None and for names of others."""
    try:
        return _POLICIES[Modality(modality)]
    except ValueError:
        return _UNKNOWN


def policy_of_sop_class(uid: str) -> ModalityPolicy:
    """Return the row of the modality whose images have that SOP Class UID; the default one for others."""
    return next((row for row in _POLICIES.values() if uid in row.sop_classes | row.enhanced_sop_classes), _UNKNOWN)
