# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Every command and every piece of code in README.md and docs is run, here or where this module says.

The site that is built from docs has no broken link, and nothing in it comes from another host.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from nsn2n import __version__
from nsn2n.cli.demo import DemoResult, Quality
from nsn2n.dicom.selection.scan import scan_folder
from nsn2n.synthetic.dicom_series import write_synthetic_series

ROOT = Path(__file__).resolve().parents[1]

ELSEWHERE = {
    # Pages whose commands other tests run.
    "docs/batch.md": "tests/nsn2n/cli/test_batch.py, tests/deploy/test_batch.py",
    "docs/express.md": "tests/map/test_runners.py",
    "docs/mercure.md": "tests/map/test_mercure.py",
    "docs/node.md": "tests/nsn2n/cli/test_node.py, tests/deploy/test_orthanc.py",
    "docs/options.md": "tests/nsn2n/jobs/test_options_table.py",
    "docs/pictures.md": "tests/benchmarks/test_anatomy.py",
    "docs/viewer.md": "tests/nsn2n/cli/test_view.py",
    "docs/xnat.md": "tests/map/test_runners.py",
}
PAGES = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in ("README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))
    if name not in ELSEWHERE
}
README = PAGES["README.md"]

BLOCKS = [
    (language, text)
    for page in PAGES.values()
    for language, text in re.findall(r"^```(\w*)\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
]

MAKE_COMMANDS = {
    # What each is in the Makefile. That is run by tests/nsn2n/cli/test_demo.py (at a smaller size), by the one who
    # reads this, and by the checks of a new clone.
    "make setup": " --editable '.[test]'",
    "make demo": ".venv/bin/nsn2n demo --output out/demo",
    "make test": ".venv/bin/python -m pytest",
    "make map": "docker build --network none --tag nsn2n:",
    "make map-official": ".venv/bin/monai-deploy package build/map-official/app --platform x86_64",
    "make bench-map": ".venv/bin/python benchmarks/container.py --image nsn2n:",
    "make lint": ".venv/bin/python -m ruff check .",
    "make docs": ".venv/bin/python -m mkdocs build --strict",
}


def _blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


COMMANDS = list(
    dict.fromkeys(line for text in _blocks("bash") for line in text.replace("\\\n", " ").splitlines() if line)
)
# Run by tests/map/test_readme_commands.py, where there is a container engine.
CONTAINER_COMMANDS = [line for line in COMMANDS if line.startswith(("docker ", "monai-deploy "))]
ACTIVATE = ". .venv/bin/activate"
SHORT_COMMANDS = [line for line in COMMANDS if line not in (*MAKE_COMMANDS, *CONTAINER_COMMANDS, ACTIVATE)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as the README supposes it: the checkout's files, ``study``, ``t1.nii.gz`` and ``settings.yaml``."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("app", "models"):
        (folder / name).symlink_to(ROOT / name)
    generator = np.random.default_rng(0)
    volume = generator.normal(40, 25, (3, 16, 16))
    localizer = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    write_synthetic_series(volume, folder / "study" / "1", series_description="thin", seed="r")
    write_synthetic_series(volume[:1], folder / "study", series_number=2, overrides=localizer, seed="r")
    nib.save(nib.Nifti1Image(generator.normal(9, 2, (16, 16, 3)).astype(np.float32), np.eye(4)), folder / "t1.nii.gz")
    scan = folder / "bids" / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    scan.parent.mkdir(parents=True)
    shutil.copy(folder / "t1.nii.gz", scan)
    (folder / "bids" / "dataset_description.json").write_text('{"Name": "Example", "BIDSVersion": "1.11.1"}')
    (settings,) = _blocks("yaml")
    (folder / "settings.yaml").write_text(settings)
    (folder / "brief-app.yaml").write_text("nsn2n: {config: {fit: {steps: 3}}}\n")
    return folder


def _run(command, folder, **environment):
    result = subprocess.run(
        command,
        cwd=folder,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("HOLOSCAN_")},
            "OMP_NUM_THREADS": "1",  # threads that wait for each other make small volumes slow on a busy machine
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, f"{command}:\n{result.stdout}\n{result.stderr}"
    return result


@pytest.mark.parametrize("page", ELSEWHERE)
def test_other_tests_are_there(page):
    assert (ROOT / page).is_file()
    assert all((ROOT / test).is_file() for test in ELSEWHERE[page].split(", "))


def test_every_block_is_of_a_kind_that_is_tested():
    assert {name for name, _ in BLOCKS} == {"bash", "json", "python", "text", "yaml"}
    assert sum(page.count("```") for page in PAGES.values()) == 2 * len(BLOCKS)


def test_every_command_is_covered():
    """A new command is one that is run below, or is added to `MAKE_COMMANDS` with what covers it."""
    elsewhere = (*MAKE_COMMANDS, *CONTAINER_COMMANDS, ACTIVATE)
    unknown = [line for line in COMMANDS if line not in elsewhere and not re.search(r"\b(python|nsn2n) ", line)]

    assert not unknown
    assert not set(MAKE_COMMANDS) - set(COMMANDS), "no longer in any page"


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("command", MAKE_COMMANDS)
def test_make_does_what_is_covered(command):
    # Always: also where the environment stands already.
    whole = [*command.split(), "--dry-run", "--always-make"]
    result = subprocess.run(whole, cwd=ROOT, capture_output=True, text=True, check=True)

    assert MAKE_COMMANDS[command] in result.stdout


def _number(folder):
    return len(list((folder / "denoised").glob("2.25.*")))


@pytest.mark.parametrize("command", SHORT_COMMANDS)
def test_command(folder, command):
    if shutil.which("nsn2n", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("nsn2n is not installed in this environment")
    before = _number(folder)

    result = _run(["bash", "-c", command], folder, HOLOSCAN_CONFIG_PATH=str(folder / "brief-app.yaml"))

    if "info" in command:
        assert [line.split("\t")[6].split(":")[0] for line in result.stdout.splitlines()] == [
            "denoise",
            "yes",
            "left alone",
        ]
    elif "--dry-run" in command:
        assert _number(folder) == before
        assert "as series " in result.stdout
    elif "--bids" in command:
        target = folder / "bids" / "derivatives" / ("fast" if "fast" in command else "nsn2n")
        assert len(list((target / "sub-01" / "anat").iterdir())) == (4 if "--noise-map" in command else 2)
    elif "t1.nii.gz" in command:
        assert nib.load(folder / "t1-denoised.nii.gz").shape == (16, 16, 3)
        assert ("200 steps" in result.stderr) == ("--config" in command)
        (folder / "t1-denoised.nii.gz").unlink()
    else:
        assert _number(folder) == before + 1
        assert {record.SeriesDescription for record in scan_folder(folder / "denoised").series} == {"thin denoised"}


@pytest.mark.parametrize("index", range(len(_blocks("python"))))
def test_python(folder, index):
    program = folder / f"example_{index}.py"
    program.write_text(_blocks("python")[index])

    result = _run([sys.executable, program], folder)

    assert "NS-N2N denoising" in result.stdout
    assert "preset fast" in result.stdout
    assert "(3, 16, 16)" in result.stdout


def test_output_of_the_demonstration_has_the_form_of_today():
    quality = Quality(noise_sd_hu=11.1, psnr_db=22.2, ssim=0.333)
    result = DemoResult(
        shape_dhw=(24, 256, 256),
        before=quality,
        after=quality,
        seconds=44,
        peak_memory_mib=555,
        picture=Path("out/demo/demo.png"),
    )
    (shown,) = _blocks("text")

    def form(text):
        return [
            re.sub(r"\s+", " ", re.sub(r"\b\d+(\.\d+)?\b", "0", line)).strip() for line in text.strip().splitlines()
        ]

    assert form(shown) == form(str(result))


def test_links_of_the_readme_lead_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        file, _, anchor = target.partition("#")
        if not file.startswith("https://"):
            assert (ROOT / file).is_file(), target
            headings = re.findall(r"(?m)^##+ (.+)$", (ROOT / file).read_text("utf-8").lower() if anchor else "")
            assert not anchor or anchor in [heading.replace(" ", "-") for heading in headings], target
    assert (ROOT / "docs" / "demo.png").stat().st_size < 300_000


def test_options_and_variables_are_those_of_the_application(folder):
    shown = _run([sys.executable, "-m", "nsn2n.app", "--help"], folder).stdout
    table = PAGES["docs/dicom-folder.md"].split("| option |")[1].split("\n\n")[0]

    for name in re.findall(r"`(-[\w-]+|HOLOSCAN_\w+_PATH|HOLOSCAN_WORKDIR)`", table):
        assert name in shown or name == "HOLOSCAN_CONFIG_PATH", name


def test_options_of_the_command_line_exist(folder):
    commands = ([], ["view"])
    of_all = "".join(
        _run([sys.executable, "-m", "nsn2n", *command, "--help"], folder, COLUMNS="200").stdout for command in commands
    )
    shown = _run([sys.executable, "-m", "nsn2n", "denoise", "--help"], folder, COLUMNS="200").stdout
    section = PAGES["docs/command-line.md"]

    named, known, common = (set(re.findall(r"--[a-z][a-z-]*", text)) for text in (section, shown, of_all))

    assert named <= known | common
    # A report is written unless that is not wanted.
    assert known - named == {"--help", "--report"}
    assert "NSN2N_TRACEBACK" in shown


def test_citation_file():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())

    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == __version__
    assert "2411.10831" in citation["references"][0]["url"]
    assert citation["references"][0]["title"] in " ".join(README.split())


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 120


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make docs` does; a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.mark.slow
def test_the_site_holds_every_page(site):
    for page in (ROOT / "docs").glob("*.md"):
        assert (site / ("index.html" if page.stem == "index" else f"{page.stem}/index.html")).is_file(), page
    for notebook in (ROOT / "docs" / "notebooks").glob("*.ipynb"):
        page = (site / "notebooks" / notebook.stem / "index.html").read_text("utf-8")
        assert page.count('alt="png"') == 2, notebook
        assert f'href="../{notebook.name}"' in page
        assert all((site / "notebooks" / figure).is_file() for figure in re.findall(r'src="\.\./([^"]+\.png)"', page))
    api = (site / "api" / "index.html").read_text("utf-8")
    assert "Denoise a volume with a network" in api
    assert "noise_sd" in api


@pytest.mark.slow
def test_the_site_loads_nothing_from_other_hosts(site):
    for page in site.rglob("*.html"):
        loaded = re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=[\"']?(https?:)?//", page.read_text("utf-8"))
        assert not loaded, page
