# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""DICOM in and out: find series in a folder, read one as a volume, write its denoised counterpart.

Nothing here imports torch or the MONAI Deploy SDK, so that scanning a folder starts immediately.
"""

from __future__ import annotations

from nsn2n.runtime.gdcm_import import hide_dl_from_gdcm

hide_dl_from_gdcm()
