# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What comes back says how it came about."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from nsn2n import __version__
from nsn2n.measurements import Measurements, merged
from nsn2n.result import DenoiseResult
from nsn2n.settings import Settings
from nsn2n.structure_check import StructureCheck

STRUCTURE = StructureCheck(
    verdict="pass", edges=None, excess=1.0, coherence=0.9, findings=(), excess_hw=np.zeros((3, 4), np.float32)
)
MEASURED = Measurements(noise_sd_median=20.0, matched_fraction=0.75, rms_change=19.0, steps=80, compute="cpu float32")


def _result(measured=MEASURED, **more):
    volume = np.zeros((2, 3, 4), np.float32)
    given = {"settings": Settings(seed=7), "loss": np.ones(80, np.float32), "structure": STRUCTURE, **more}
    return DenoiseResult(volume=volume, noise_sd=volume, measured=measured, **given)


def test_the_summary_is_one_line_of_ascii():
    summary = _result().summary()

    assert summary == (
        f"NS-N2N denoising (self-supervised fit on this series alone), nsn2n {__version__}, preset default, seed 7, "
        "80 steps on cpu float32; median noise sd 20, matched 0.75, rms change 19, structure check pass"
    )


@pytest.mark.parametrize(
    ("measured", "more", "words"),
    [
        (
            Measurements(acquired_rows=256, acquired_columns=224),
            {},
            "; interpolated slices denoised on a grid of 256 x 224",
        ),
        (Measurements(slice_correlation=0.25), {}, "; noise of neighboring slices correlated, 0.25"),
        (Measurements(rician_bias_taken=True), {}, "; mean of Rician noise subtracted"),
        (MEASURED, {"settings": Settings(strength=0.25)}, "; blended, 0.25 denoised + 0.75 source"),
        (
            Measurements(parts=3, slices_alone=1),
            {"parts": ((5, MEASURED), (6, MEASURED))},
            "; 3 parts, each fitted alone (1 slices without neighbor unchanged)",
        ),
    ],
)
def test_what_is_remarkable_is_in_the_summary(measured, more, words):
    assert words in _result(measured, **more).summary()
    assert words not in _result().summary()


@pytest.mark.parametrize(
    ("taken", "alone", "words"),
    [
        ((True, True), 0, "; mean of Rician noise subtracted; 2 parts"),
        ((True, False), 0, "; mean of Rician noise subtracted in 1 of 2 parts; 2 parts"),
        ((True, True), 1, "; mean of Rician noise subtracted in 2 of 3 parts; 3 parts"),
        ((False, False), 0, "structure check pass; 2 parts"),
    ],
)
def test_what_was_not_done_to_a_part_is_not_reported_for_it(taken, alone, words):
    of_parts = tuple((4, replace(MEASURED, rician_bias_taken=done)) for done in taken)
    whole = merged(of_parts, parts=len(taken) + alone, slices_alone=alone)

    assert words in _result(whole, parts=of_parts).summary()


def test_the_record_is_plain_and_has_the_parts():
    record = _result(parts=((5, MEASURED), (6, MEASURED))).record

    assert json.loads(json.dumps(record)) == record
    assert [part["slices"] for part in record["parts"]] == [5, 6]
    assert record["settings"]["seed"] == 7
    assert "parts" not in _result().record
