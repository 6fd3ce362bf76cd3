# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The command measures, continues, prints and draws."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from cases import make_case
from run import chosen, estimate_sigma, main, parse
from spots import KINDS
from table import Results, mean_rows

pytestmark = pytest.mark.slow

RUN = Path(__file__).parents[2] / "benchmarks" / "run.py"
ARGUMENTS = ["--size", "tiny", "--threads", "1", "--cases", "ct-lowdose-quarter"]


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A run with the least that shows everything: a method that changes nothing and one of ours."""
    path = tmp_path_factory.mktemp("bench") / "results.csv"
    options = ["--methods", "identity", "fast", "--budget", "0.1"]
    files = ["--csv", str(path), "--plot", str(path.with_name("plot.png"))]
    with redirect_stdout(io.StringIO()) as shown:
        assert main([*ARGUMENTS, *options, *files]) == 0
    return path, shown.getvalue()


def test_one_row_for_each_method(results):
    path, _ = results
    rows = {row["method"]: row for row in rows_of(path)}
    assert list(rows) == ["noisy", "identity", "fast"]
    noisy, identity, fast = rows.values()
    for measure in ("psnr", "ssim", "psnr_tissue", "kept_3sd_1sl_2px", "kept_5sd_3sl_5px"):
        assert float(identity[measure]) == pytest.approx(float(noisy[measure]), rel=1e-5)
    assert float(noisy["kept_5sd_1sl_3px"]) == pytest.approx(1, abs=1e-4)
    assert float(fast["psnr_tissue"]) > float(noisy["psnr_tissue"]) + 5
    assert 0.3 < float(fast["kept_5sd_3sl_5px"]) < 1.1
    assert not noisy["seconds"]
    assert float(fast["seconds"]) > float(identity["seconds"])
    assert 10 < float(identity["peak_mb"]) < float(fast["peak_mb"])
    assert fast["package"].startswith("nsn2n 0")
    assert not any(row["failure"] for row in rows.values())


def test_a_table_with_a_row_for_each_method_and_a_picture(results):
    path, text = results
    assert "machine: " in text
    assert "ct-lowdose-quarter: 24 x 160 x 160 voxels, half to report, seed 1, 1 threads" in text
    assert [name for name in ("noisy", "identity", "fast") if f"│ {name}" in text] == ["noisy", "identity", "fast"]
    assert path.with_name("plot.png").stat().st_size > 5000


def test_a_run_goes_on_where_it_ended(results, tmp_path, capsys):
    path = tmp_path / "results.csv"
    lines = results[0].read_text().splitlines()
    path.write_text("\n".join(lines[:2]) + "\n")  # the header and the first method
    assert main([*ARGUMENTS, "--methods", "identity", "--csv", str(path), "--resume"]) == 0
    assert [row["method"] for row in rows_of(path)] == ["noisy", "identity"]
    assert path.read_text().splitlines()[1] == lines[1]
    assert "identity" in capsys.readouterr().out


def test_results_are_never_overwritten(results):
    with pytest.raises(SystemExit, match="must not exist"):
        main([*ARGUMENTS, "--csv", str(results[0])])


def test_a_method_that_fails_is_named_and_the_others_go_on(tmp_path, capsys):
    path = tmp_path / "results.csv"
    arguments = [*ARGUMENTS, "--methods", "fast", "--limit-s", "0.01", "--csv", str(path)]
    assert main(arguments) == 1
    assert "failed: fast on ct-lowdose-quarter, seed 1: took more than 0 s" in capsys.readouterr().err
    assert [row["method"] for row in rows_of(path)] == ["noisy", "fast"]
    assert [row["method"] for row in Results(path, resume=True).rows] == ["noisy"]


def test_a_case_without_its_data_is_skipped_with_the_reason(tmp_path):
    command = [sys.executable, RUN, "--size", "tiny", "--cases", "mr-rician-5", "ct-real", "--methods", "identity"]
    environment = {**os.environ, "NSN2N_TEST_DATA": str(tmp_path)}
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert f"skipped: the MR cases need {tmp_path}/mr-t1-head/t1.nii.gz" in result.stdout
    assert f"skipped: the case of the scanned phantom needs {tmp_path}/ct-phantom-study" in result.stdout


def test_seeds_must_be_of_the_half(capsys):
    assert parse(["--half", "tune"]).seeds == [0, 2]
    with pytest.raises(SystemExit):
        parse(["--seeds", "2"])
    assert "seeds to report must be odd" in capsys.readouterr().err


def test_patterns_name_cases_and_changed_slices_only_when_asked_for():
    names = ["mr-rician-5", "mr-rician-7", "mr-rician-5/every-2"]
    assert chosen(None, "case", ["mr-*"], names) == names[:2]
    assert chosen(None, "case", ["mr-*/every-2"], names) == names[2:]


def test_tables_hold_the_mean_over_seeds():
    row = {"case": "a", "size": "tiny", "half": "tune", "method": "m", "threads": "1"}
    results = Results(None)
    for seed, psnr in (("0", "30"), ("2", "34")):
        results.add({**row, "seed": seed, "psnr": psnr})
    results.add({**row, "seed": "4", "failure": "reason"})
    (mean,) = mean_rows(results.rows)
    assert (mean["psnr"], mean["seed"], mean["ssim"]) == ("32", "0 2", "")


@pytest.mark.parametrize("name", ["ct-lowdose-eighth", "checkerboard"])
def test_methods_are_given_the_noise_of_the_object(name):
    case = make_case(name, "tiny", 1)
    true = float(np.std((case.noisy - case.truth)[case.tissue]))
    assert estimate_sigma(case.noisy) == pytest.approx(true, rel=0.35)


def test_every_kind_of_spots_has_a_column(results):
    header = results[0].read_text().splitlines()[0]
    assert sum(name.startswith("kept_") for name in header.split(",")) == len(KINDS) == 12
