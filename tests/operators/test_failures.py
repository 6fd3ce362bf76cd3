# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""An error of one series goes to the handler, or on."""

from __future__ import annotations

import pytest

from nsn2n.errors import DicomError, VolumeError
from nsn2n.operators.failures import series_errors


def test_handler_gets_label_and_error_and_the_rest_of_the_block_is_skipped():
    seen, emitted = [], []
    error = DicomError("a slice is missing")

    with series_errors("CT series 2", lambda *arguments: seen.append(arguments)):
        raise error
        emitted.append("image")

    assert seen == [("CT series 2", error)]
    assert emitted == []


def test_without_a_handler_the_error_passes():
    with pytest.raises(VolumeError, match="no volume"), series_errors("CT series 2", None):
        raise VolumeError("no volume")


def test_a_programming_error_passes_even_with_a_handler():
    with pytest.raises(KeyError, match="typo"), series_errors("CT series 2", lambda *_: None):
        raise KeyError("typo")
