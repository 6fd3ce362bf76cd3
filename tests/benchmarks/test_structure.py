# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the structure check, on a result without fault: the truth."""

from __future__ import annotations

import numpy as np
import pytest
import structure
from cases import make_case
from structure import DAMAGE, Output, judge, lesions_found, show

from nsn2n.noise.level import measure_noise


@pytest.fixture(scope="module")
def output():
    case = make_case("ct-lowdose-full", "tiny", seed=0)
    return Output(case, "default", case.truth)


def test_erased_lesions_are_found_and_kept_ones_are_not(output):
    noise = measure_noise(output.case.with_spots)
    erased = list(lesions_found(output, output.denoised, noise))
    kept = list(lesions_found(output, output.denoised + (output.case.with_spots - output.case.noisy), noise))

    assert len(erased) == len(kept) == len(output.case.spots)
    large = [seen for kind, (seen, _) in erased if kind.diameter_px == 5 and kind.noise_sds == 5]
    assert np.mean(large) > 0.9
    assert not any(seen for _, (seen, _) in kept)


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_damage(output, name):
    """Every one differs from the input and from the truth, and its edges are worse than those of the truth."""
    noise = measure_noise(output.case.noisy)
    volume = DAMAGE[name](output.case.noisy, output.denoised, noise.median)

    assert volume.shape == output.case.noisy.shape
    assert volume.dtype == np.float32
    assert not np.array_equal(volume, output.denoised)
    harmed, well = judge(output.case.noisy, volume, noise), judge(output.case.noisy, output.denoised, noise)
    assert harmed.edges > well.edges or harmed.excess > well.excess


def test_tables(output, capsys, monkeypatch):
    monkeypatch.setattr(structure, "DAMAGE", {"Gaussian 1.5 px": DAMAGE["Gaussian 1.5 px"]})

    show(iter([output]), output.preset)

    rows = [[cell.strip() for cell in line.split("│")] for line in capsys.readouterr().out.splitlines()]
    assert [row[2:6] for row in rows if row[1:2] == ["default: CT"]] == [["1", "100", "0", "0"]]
    assert [row[2:6] for row in rows if row[1:2] == ["Gaussian 1.5 px"]] == [["1", "0", "0", "100"]]
    assert [row[1] for row in rows if row[2:3] == ["5 px, 5 noise sd, 1 slice(s)"]] == ["CT"]
