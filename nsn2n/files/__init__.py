# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Files other than DICOM."""

from __future__ import annotations

__all__ = ["NIFTI_SUFFIXES"]

NIFTI_SUFFIXES = (".nii", ".nii.gz")
"""How the name of a NIfTI file ends. Here, so that a name can be judged before nibabel is loaded."""
