# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from typer.main import get_command

from nsn2n import __version__
from nsn2n.cli.main import app
from nsn2n.dicom.read.series_reader import read_series
from nsn2n.synthetic.dicom_series import write_synthetic_series

SHAPE = (6, 24, 20)


def _volume(seed=0):
    return np.random.default_rng(seed).normal(40, 20, SHAPE)


@pytest.fixture
def study(tmp_path):
    """Series 1, one that lacks too many slices (2), and a localizer (3), all in one study."""
    folder = tmp_path / "study"
    options = {"seed": "cli", "spacing_mm": (2.0, 0.5, 0.75)}
    write_synthetic_series(_volume(), folder, series_number=1, **options)
    files = write_synthetic_series(_volume(1), folder, series_number=2, **options)
    files[1].unlink()
    files[4].unlink()
    localizer = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    write_synthetic_series(_volume(2)[:1], folder, series_number=3, overrides=localizer, **options)
    return folder


@pytest.fixture
def good_study(tmp_path):
    folder = tmp_path / "study"
    write_synthetic_series(_volume(), folder, seed="cli")
    return folder


@pytest.fixture
def nifti(tmp_path):
    file = tmp_path / "t1.nii.gz"
    volume = np.random.default_rng(3).normal(100, 10, (20, 24, 5)).astype(np.float32)
    nib.save(nib.Nifti1Image(volume, np.diag([1, 1, 3, 1])), file)
    return file


def _process(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "nsn2n", *map(str, arguments)],
        capture_output=True, text=True, timeout=120, check=False, **options,
    )  # fmt: skip


def test_version(nsn2n):
    assert nsn2n("--version") == (0, f"nsn2n {__version__}\n", "")


def test_module_and_console_script_are_the_same_command():
    script = Path(sys.executable).with_name("nsn2n")
    if not script.is_file():
        pytest.skip("nsn2n is not installed in this environment")
    by_script = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=60, check=True)

    assert by_script.stdout == _process("--version").stdout == f"nsn2n {__version__}\n"


def test_denoise_a_series(nsn2n, good_study, tmp_path, brief_config):
    result = nsn2n("denoise", good_study, tmp_path / "out", "--config", brief_config, "--seed", 7)

    assert result.code == 0, result.stderr
    (folder,) = map(Path, result.stdout.splitlines())
    assert folder.parent == tmp_path / "out"
    source, derived = (read_series(sorted(path.glob("*.dcm")), allow_own_output=True) for path in (good_study, folder))
    assert derived.geometry == source.geometry
    assert not np.array_equal(derived.stack.values, source.stack.values)
    assert "seed 7, 12 steps" in derived.headers[0].DerivationDescription
    assert result.stderr.splitlines()[-1] == "1 series written"
    assert "error" not in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
def test_strength_0_gives_every_stored_bit_of_the_source(nsn2n, tmp_path, brief_config, modality):
    write_synthetic_series(np.abs(_volume()), tmp_path / "study", modality=modality, seed="cli")

    result = nsn2n("denoise", tmp_path / "study", tmp_path / "out", "--config", brief_config, "--strength", 0)

    assert result.code == 0, result.stderr
    before, after = (sorted(path.rglob("*.dcm")) for path in (tmp_path / "study", tmp_path / "out"))
    for source, derived in zip(map(pydicom.dcmread, before), map(pydicom.dcmread, after), strict=True):
        assert derived.PixelData == source.PixelData
        assert "blended, 0 denoised + 1 source" in derived.DerivationDescription


def test_a_series_that_fails_does_not_stop_the_others(nsn2n, study, tmp_path, brief_config):
    result = nsn2n("denoise", study, tmp_path / "out", "--config", brief_config)

    assert result.code == 3
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert "CT series 2" in errors[0]
    assert "missing slices" in errors[0]
    assert errors[1].startswith('error: 1 of 2 selected series written, 1 failed: CT series 2 "Synthetic phantom" (')
    assert sum("left alone" in line for line in result.stderr.splitlines()) == 1
    assert [str(path) for path in (tmp_path / "out").glob("2.25.*")] == result.stdout.splitlines()


def test_strict_stops_at_the_first_series_that_fails(nsn2n, study, tmp_path, brief_config):
    for number in (4, 5):
        write_synthetic_series(_volume(number), study, series_number=number, seed="cli")

    result = nsn2n("denoise", study, tmp_path / "out", "--config", brief_config, "--strict")

    assert result.code == 3
    assert len(result.stdout.splitlines()) == 1
    assert "1 of 4 selected series written, 1 failed, 2 not tried: CT series 2 " in result.stderr.splitlines()[-1]


def test_gaps_are_refused_where_that_is_asked_for(nsn2n, tmp_path, brief_config):
    study, output = tmp_path / "study", tmp_path / "out"
    write_synthetic_series(_volume()[[0, 1, 2, 3, 4, 5, 0]], study, seed="cli")[3].unlink()
    options = ["denoise", study, output, "--config", brief_config]

    for more in ([], ["--dry-run"]):
        refused = nsn2n(*options, "--refuse-gaps", *more)
        assert refused.code == 1
        assert "missing slices (1 missing" in refused.stderr + refused.stdout
        assert "Without refuse_gaps its even runs are denoised separately." in refused.stderr + refused.stdout
        assert not output.exists()

    taken = nsn2n(*options)
    assert taken.code == 0
    assert "each run (3 at 1 mm, 3 at 1 mm) is denoised separately" in taken.stderr
    assert len(taken.stdout.splitlines()) == 1


def test_exit_code_when_every_series_fails(nsn2n, study, tmp_path):
    uid = pydicom.dcmread(study / "S0002_I0001.dcm", stop_before_pixels=True).SeriesInstanceUID

    result = nsn2n("denoise", study, tmp_path / "out", "--series", uid)

    assert result.code == 1
    assert result.stdout == ""
    assert "error: 0 of 1 selected series written, 1 failed" in result.stderr
    assert not (tmp_path / "out").exists()


def test_quiet_shows_problems_only(nsn2n, study, tmp_path, brief_config):
    result = nsn2n("denoise", study, tmp_path / "out", "--config", brief_config, "--quiet")

    lines = result.stderr.splitlines()
    assert result.code == 3
    assert lines
    assert all(line.startswith(("error: ", "warning: ")) for line in lines)


def test_nothing_to_denoise(nsn2n, tmp_path):
    localizer = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    write_synthetic_series(_volume(), tmp_path / "study", overrides=localizer)

    result = nsn2n("denoise", tmp_path / "study", tmp_path / "out")

    assert result.code == 1
    assert result.stderr.splitlines()[-1].startswith("error: at least one series of")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fit: {setps: 3}", "Did you mean 'fit.steps'?"),
        ("fit: [", "--config must be a readable YAML or JSON file; got while parsing"),
        ("- 1", "must hold a mapping"),
        ("preset: fast", "preset paper and preset 'fast' of config must agree"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_read(nsn2n, tmp_path, text, message):
    file = tmp_path / "settings.yaml"
    file.write_text(text)

    result = nsn2n("denoise", tmp_path / "absent", tmp_path / "out", "--config", file, "--preset", "paper")

    assert result.code == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "paths", [("-i", "IN", "-o", "OUT"), ("IN", "--output", "OUT"), ("-o", "OUT", "IN"), ("--input", "IN", "OUT")]
)
def test_in_and_out_by_option_or_by_place(nsn2n, nifti, tmp_path, paths):
    values = {"IN": nifti, "OUT": tmp_path / "new.nii"}

    result = nsn2n("denoise", *(values.get(word, word) for word in paths), "--dry-run")

    assert result.code == 0, result.stderr
    assert result.stdout.splitlines()[0] == str(nifti)
    assert f"  to {tmp_path / 'new.nii'}" in result.stdout.splitlines()


@pytest.mark.parametrize(
    "paths", [[], ["-i", "a"], ["-o", "a"], ["a"], ["-i", "a", "-o", "b", "c"], ["-i", "a", "b", "c"]]
)
def test_in_or_out_that_is_missing_or_given_twice_is_not_understood(nsn2n, paths):
    result = nsn2n("denoise", *paths)

    assert (result.code, result.stdout) == (2, "")
    assert "IN and OUT must be given, each once" in " ".join(result.stderr.split())


def test_the_shell_completes_commands_and_options():
    def completed(*words):
        line = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1), "_NSN2N_COMPLETE": "complete_bash"}
        command = [sys.executable, "-c", "from nsn2n.cli.main import app; app(prog_name='nsn2n')"]
        done = subprocess.run(command, env=os.environ | line, capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert completed("nsn2n", "den") == ["denoise"]
    assert completed("nsn2n", "denoise", "--stre") == ["--strength"]
    assert completed("nsn2n", "denoise", "--preset", "sm") == ["smooth"]


def test_settings_come_from_preset_file_and_options(nsn2n, nifti, tmp_path):
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"preset": "fast", "seed": 1, "fit": {"steps": 3}}))

    result = nsn2n("denoise", nifti, tmp_path / "out.nii", "--config", file, "--seed", 2)

    assert result.code == 0, result.stderr
    assert "preset fast, seed 2, 3 steps" in result.stderr


@pytest.mark.parametrize(("target", "expected"), [("new.nii", "new.nii"), ("out", "out/t1.nii.gz")])
def test_denoise_a_nifti_file(nsn2n, nifti, tmp_path, brief_config, target, expected):
    result = nsn2n("denoise", nifti, tmp_path / target, "--config", brief_config)

    assert result.code == 0, result.stderr
    assert result.stdout == f"{tmp_path / expected}\n"
    before, after = nib.load(nifti), nib.load(tmp_path / expected)
    np.testing.assert_array_equal(after.affine, before.affine)
    assert after.shape == before.shape
    assert not np.array_equal(after.get_fdata(), before.get_fdata())


@pytest.mark.parametrize(("target", "what"), [("t1.nii.gz", "the input itself"), ("there.nii", "an existing file")])
def test_a_nifti_file_is_never_overwritten(nsn2n, nifti, tmp_path, target, what):
    (tmp_path / "there.nii").write_bytes(b"precious")
    before = {path: path.read_bytes() for path in tmp_path.glob("*.nii*")}

    result = nsn2n("denoise", nifti, tmp_path / target)

    assert result.code == 1
    assert what in result.stderr
    assert {path: path.read_bytes() for path in tmp_path.glob("*.nii*")} == before


def test_a_nifti_file_of_magnitudes_loses_the_mean_of_their_noise(nsn2n, tmp_path, brief_config):
    random = np.random.default_rng(0)
    noise = np.hypot(random.normal(0, 50, (40, 40, 4)), random.normal(0, 50, (40, 40, 4)))
    nib.save(nib.Nifti1Image(noise.astype(np.int16), np.eye(4)), tmp_path / "noise.nii")
    means = []
    for options in ([], ["--modality", "MR"]):
        target = tmp_path / f"new{len(options)}.nii"
        result = nsn2n("denoise", tmp_path / "noise.nii", target, "--config", brief_config, *options)
        assert result.code == 0, result.stderr
        means.append(float(nib.load(target).get_fdata().mean()))
    assert means[0] == pytest.approx(noise.mean(), rel=0.02)
    assert means[1] < 0.7 * means[0]


def test_the_modality_of_dicom_files_is_their_own(nsn2n, tmp_path):
    result = nsn2n("denoise", tmp_path, tmp_path / "out", "--modality", "MR")
    assert result.code == 1
    files = "volume files (NIfTI, MGH, NRRD, MetaImage)"
    assert result.stderr == f"error: --modality is for {files}; got the folder {tmp_path}. Leave it out.\n"
    assert not (tmp_path / "out").exists()


DICOM_ONLY = {
    "--series": ["1.2"],
    "--compress": ["rle"],
    "--series-description-suffix": ["quiet"],
    "--series-number-offset": ["7"],
    "--research-mark": [],
    "--refuse-gaps": [],
    "--report": [],
    "--no-report": [],
    "--parametric-map": [],
    "--viewer": [],
    "--structured-report": [],
    "--strict": [],
}


@pytest.mark.parametrize("option", DICOM_ONLY)
def test_options_for_dicom_series_are_refused_with_a_nifti_file(nsn2n, nifti, tmp_path, option):
    for more in ([], ["--dry-run"]):
        result = nsn2n("denoise", nifti, tmp_path / "out", option, *DICOM_ONLY[option], *more)

        assert result.code == 1
        assert result.stdout == ""
        assert result.stderr == (f"error: {option} is for DICOM series; got the NIfTI file t1.nii.gz. Leave it out.\n")
    assert not (tmp_path / "out").exists()


def test_all_options_for_dicom_series_are_named_at_once(nsn2n, nifti, tmp_path):
    result = nsn2n("denoise", nifti, tmp_path / "out", "--strict", "--compress", "jpeg-ls", "--seed", 1)

    assert result.code == 1
    assert "--strict, --compress are for DICOM series" in result.stderr


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_bids_with_a_file_that_is_not_of_a_dataset(nsn2n, nifti, tmp_path, more):
    result = nsn2n("denoise", nifti, tmp_path / "out", "--bids", *more)

    assert (result.code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: with --bids the input must have a BIDS name")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_each_option_goes_with_a_nifti_file_or_is_refused():
    """A new option must be one of either."""
    taken = {
        "--preset", "--seed", "--strength", "--budget", "--device", "--memory", "--config", "--modality", "--force",
        "--dry-run", "--quiet", "--traceback", "--input", "--output", "--mask", "--residual", "--noise-map", "--bids",
    }  # fmt: skip
    options = get_command(app).commands["denoise"].params
    names = {name for option in options for name in (*option.opts, *option.secondary_opts) if name.startswith("--")}
    assert names == taken | set(DICOM_ONLY)


@pytest.mark.parametrize("name", ["absent", "absent.nii.gz"])
@pytest.mark.parametrize("by_variable", [False, True])
def test_traceback_only_where_it_is_asked_for(nsn2n, tmp_path, monkeypatch, name, by_variable):
    plain = nsn2n("denoise", tmp_path / name, tmp_path / "out")
    if by_variable:
        monkeypatch.setenv("NSN2N_TRACEBACK", "1")
    asked = nsn2n("denoise", tmp_path / name, tmp_path / "out", *([] if by_variable else ["--traceback"]))

    assert plain.code == asked.code == 1
    assert plain.stderr.startswith("error: ")
    assert len(plain.stderr.splitlines()) == 1
    assert asked.stderr.startswith("Traceback")
    assert asked.stderr.endswith(plain.stderr)


def test_unknown_option(nsn2n):
    assert nsn2n("denoise", "in", "out", "--presets", "fast").code == 2


@pytest.mark.usefixtures("signals_as_in_a_terminal")
@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "stopped by SIGTERM"),
        (signal.SIGHUP, 129, "stopped by SIGHUP"),
    ],
)
def test_signal_leaves_nothing(tmp_path, good_study, number, code, words):
    config = tmp_path / "long.yaml"
    config.write_text("fit: {steps: 1000000}\n")
    command = [sys.executable, "-m", "nsn2n", "denoise", good_study, tmp_path / "out", "--config", config]
    with subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("denoising "):
                break
        os.kill(process.pid, number)
        _, rest = process.communicate(timeout=60)

    assert process.returncode == code
    assert rest == f"warning: {words}; what is complete has been printed, nothing else was written\n"
    assert not (tmp_path / "out").exists()


def test_info_lists_every_series(nsn2n, study):
    result = nsn2n("info", study)

    assert result.code == 0
    header, *rows = (line.split("\t") for line in result.stdout.splitlines())
    lines = [dict(zip(header, row, strict=True)) for row in rows]
    assert [line["number"] for line in lines] == ["1", "2", "3"]
    assert lines[0]["size"] == "6 x 24 x 20"
    assert lines[0]["spacing_mm"] == "2 x 0.5 x 0.75"
    assert [line["denoise"].split(":")[0] for line in lines] == ["yes", "refused", "left alone"]
    assert result.stderr == ""


def test_info_does_not_load_pytorch(study):
    code = (
        "import sys; from nsn2n.cli.main import main\n"
        "try: main()\n"
        "finally: print([name for name in ('torch', 'monai', 'holoscan') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, "info", str(study)], capture_output=True, text=True, timeout=60, check=True
    )

    assert result.stdout.splitlines()[-1] == "[]"


def test_info_of_no_folder(nsn2n, tmp_path):
    result = nsn2n("info", tmp_path / "absent")

    assert result.code == 1
    assert result.stderr.startswith("error: no DICOM found in")


def test_a_budget_ends_the_fit_early_and_one_that_is_none_is_refused(nsn2n, study, tmp_path):
    config = tmp_path / "long.yaml"
    config.write_text("fit: {steps: 40, crop_px: 16}")

    brief = nsn2n("denoise", study, tmp_path / "out", "--config", config, "--budget", 0.001)
    none = nsn2n("denoise", study, tmp_path / "none", "--budget", 0)

    assert "20 steps" in brief.stderr
    assert none.code == 1
    assert "budget_s must be > 0; got 0.0" in none.stderr


@pytest.fixture
def harmful_config(tmp_path):
    """Settings under which any removal counts as one of anatomy."""
    file = tmp_path / "harmful.yaml"
    limits = "{excess_review: 0.01, excess_fail: 0.01}"
    file.write_text(f"fit: {{steps: 12, crop_px: 16}}\nnetwork: {{channels: 4, levels: 2}}\nstructure: {limits}\n")
    return file


@pytest.mark.parametrize("kind", ["DICOM", "volume files"])
def test_removed_anatomy_is_not_written_unless_forced(nsn2n, good_study, nifti, tmp_path, harmful_config, kind):
    source = good_study if kind == "DICOM" else nifti
    refused = nsn2n("denoise", source, tmp_path / "out", "--config", harmful_config)
    assert refused.code == 1
    assert "the structure check says fail" in refused.stderr
    assert not list((tmp_path / "out").glob("*"))

    forced = nsn2n("denoise", source, tmp_path / "out", "--config", harmful_config, "--force")

    assert forced.code == 0
    assert "structure check fail" in forced.stderr
    assert len(list((tmp_path / "out").glob("[t2]*"))) == 1


def test_map_and_measurements_come_beside_the_series(nsn2n, good_study, tmp_path, brief_config):
    options = ["--config", brief_config, "--parametric-map", "--structured-report", "--no-report"]

    result = nsn2n("denoise", good_study, tmp_path / "out", *options)

    assert result.code == 0, result.stderr
    assert sorted(path.name for path in (tmp_path / "out").rglob("*0001.dcm")) == [
        "IM0001.dcm",
        "PM0001.dcm",
        "SR0001.dcm",
    ]
    assert not (tmp_path / "out" / "reports").exists()


LONG = "a" * 300


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("brain.nii.gz", f"{LONG}.nii.gz"),
        ("brain.nii.gz", f"new/{LONG}.nii.gz"),
        ("brain.nii.gz", LONG),
        ("study", LONG),
        ("study", f"{LONG}/new"),
        (LONG, "new"),
        (f"{LONG}.nii", "new"),
    ],
)
def test_a_name_too_long_is_refused_at_once(nsn2n, good_study, nifti, tmp_path, monkeypatch, source, target, options):
    monkeypatch.chdir(tmp_path)
    nifti.rename("brain.nii.gz")
    good_study.rename("study")

    result = nsn2n("denoise", source, target, *options)

    assert (result.code, result.stdout) == (1, "")
    (line,) = [line for line in result.stderr.splitlines() if "INFO" not in line]
    assert "a path must not be longer than the file system allows; " in line
    assert "Choose a shorter one." in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["brain.nii.gz", "study"]


def test_info_of_a_name_too_long(nsn2n):
    result = nsn2n("info", LONG)

    assert result.code == 1
    assert "a path must not be longer than the file system allows; " in result.stderr
