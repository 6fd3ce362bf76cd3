# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The built image, item by item of the MONAI Application Package specification, and as a hospital runs it.

Needs an engine that `docker` reaches and the image of `make map`; NSN2N_MAP_IMAGE names another one.
"""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import time
import uuid
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pydicom
import pytest

from nsn2n._version import __version__

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("image")
CONFINED = (
    *("--network", "none", "--read-only", "--tmpfs", "/tmp", "--user", "4242:0", "--memory", "3g"),
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
)
FAST = "nsn2n: {preset: fast, seed: 1, config: {fit: {steps: 3, crop_px: 16}, network: {channels: 4, levels: 2}}}\n"
ENDLESS = "nsn2n: {preset: fast, config: {fit: {steps: 1000000, crop_px: 16}}}\n"
LARGEST_BYTES = {"cpu": 2_000_000_000, "gpu": 6_000_000_000}


@pytest.fixture(scope="module")
def inspected(image, docker):
    return json.loads(docker("image", "inspect", image).stdout)[0]


@pytest.fixture(scope="module")
def environment(inspected):
    return dict(entry.split("=", 1) for entry in inspected["Config"]["Env"])


def _mounts(folders, settings):
    source, output = folders
    file = source.parent / "app.yaml"
    file.write_text(settings)
    return (
        *("-v", f"{source}:/var/holoscan/input:ro", "-v", f"{output}:/var/holoscan/output"),
        *("-v", f"{file}:/var/holoscan/app.yaml:ro", "-e", "OMP_NUM_THREADS=1"),
    )


@pytest.fixture
def run(docker):
    """Run a confined container with further options, image and command."""

    def confined(*arguments):
        return docker("run", "--rm", *CONFINED, *arguments)

    return confined


def test_size(inspected, run, image):
    resources = json.loads(run(image, "show", "pkg").stdout)["resources"]

    assert inspected["Size"] <= LARGEST_BYTES["gpu" if resources["gpu"] else "cpu"]


def test_labels(inspected, image):
    labels = inspected["Config"]["Labels"]

    assert labels["org.opencontainers.image.title"] == "nsn2n"
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.nvidia.holoscan"] == version("holoscan-cu13")
    assert labels["org.monai.deploy.app-sdk"] == version("monai-deploy-app-sdk")
    assert labels["tag"] == image
    assert labels["base"] == labels["org.opencontainers.image.base.name"]


def test_label_names_the_digest_of_the_base(inspected, docker):
    labels = inspected["Config"]["Labels"]
    digest = labels["org.opencontainers.image.base.digest"]

    assert re.fullmatch(r"sha256:[0-9a-f]{64}", digest)
    (base,) = json.loads(docker("image", "inspect", labels["base"]).stdout) or pytest.skip("the base is not here")
    assert digest in (base["Id"], *(name.partition("@")[2] for name in base["RepoDigests"]))


def test_it_does_not_run_as_root_and_works_in_its_folder(inspected):
    assert inspected["Config"]["User"].split(":")[0] not in ("", "0", "root")
    assert inspected["Config"]["WorkingDir"] == "/var/holoscan"


def test_environment(environment):
    paths = ["INPUT_PATH", "OUTPUT_PATH", "WORKDIR", "APPLICATION", "MODEL_PATH", "DOCS_PATH", "CONFIG_PATH"]
    for name in [*paths, "APP_MANIFEST_PATH", "PKG_MANIFEST_PATH", "LOGS_PATH"]:
        assert environment[f"HOLOSCAN_{name}"].startswith("/"), name
    assert environment["HOLOSCAN_TIMEOUT"] == "0"


def test_paths(run, image):
    files = ["/etc/holoscan/app.json", "/etc/holoscan/pkg.json", "/var/holoscan/app.config"]
    files += ["/opt/holoscan/app/__main__.py", "/opt/holoscan/docs/LICENSE"]
    files += [f"/opt/holoscan/models/nsn2n/configs/{name}.json" for name in ("selection_rules", "metadata")]
    folders = ["/var/holoscan/input", "/var/holoscan/output"]
    checks = [f"test -r {path}" for path in files] + [f"test -d {path}" for path in folders]

    result = run("--entrypoint", "sh", image, "-c", " && ".join(checks))

    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(("quota", "used"), [("1", 1), ("1.5", 2), ("0.5", 1)])
def test_a_quota_of_processors_limits_the_threads(run, image, quota, used):
    code = "from nsn2n.runtime.cpus import usable_cpus; print(usable_cpus())"

    result = run("--cpus", quota, "--entrypoint", "python3", image, "-c", code)

    assert result.stdout == f"{min(used, len(os.sched_getaffinity(0)))}\n", result.stderr


def test_manifests_and_the_two_ways_to_see_them(environment, run, image):
    app, package = (json.loads(run(image, "show", name).stdout) for name in ("app", "pkg"))

    assert app["version"] == package["version"] == __version__
    assert app["sdkVersion"] == version("monai-deploy-app-sdk")
    assert app["environment"].keys() == {name for name in environment if name.startswith("HOLOSCAN_")}
    assert package["models"] == {"nsn2n": "/opt/holoscan/models/nsn2n"}
    both = run(image, "show").stdout
    assert both.index('"workingDirectory"') < both.index('"modelRoot"')


def test_env_and_help(environment, run, image):
    printed = run(image, "env").stdout.splitlines()

    assert {f"{name}={value}" for name, value in environment.items()} <= set(printed)
    assert "extract" in run(image, "help").stdout


def test_extract_gives_what_the_checkout_holds(tmp_path, folders, run, image):
    _, export = folders

    result = run("-v", f"{export}:/var/run/holoscan/export", image, "extract")

    assert result.returncode == 0, result.stderr
    for folder, source in {"app": ROOT / "app", "models": ROOT / "models"}.items():
        names = [path.relative_to(source) for path in source.rglob("*") if path.is_file()]
        for name in (name for name in names if "__pycache__" not in name.parts):
            assert (export / folder / name).read_bytes() == (source / name).read_bytes(), f"{name}: make map"
    assert (export / "config" / "app.yaml").read_bytes() == (ROOT / "app.yaml").read_bytes()
    assert {path.name for path in (export / "config").iterdir()} == {"app.json", "pkg.json", "app.yaml"}
    assert (export / "docs" / "LICENSE").is_file()


def test_extract_gives_the_licenses_of_all_that_is_installed(folders, run, image):
    _, export = folders
    (export / "docs").mkdir()
    (export / "docs").chmod(0o777)
    code = "from importlib.metadata import distributions\nfor one in distributions(): print(one.name, one.version)"
    installed = run("--entrypoint", "python3", image, "-c", code).stdout.splitlines()

    result = run("-v", f"{export}/docs:/var/run/holoscan/export/docs", image, "extract")

    assert result.returncode == 0, result.stderr
    folder = export / "docs" / "third-party"
    with (folder / "licenses.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(f"{row['name']} {row['version']}" for row in rows) == sorted(installed)
    assert len(installed) > 30
    for row in rows:
        texts = [path for path in (folder / f"{row['name']}-{row['version']}").rglob("*") if path.is_file()]
        assert len(texts) == int(row["files"]), row
        assert all(path.stat().st_size for path in texts), row
        assert row["license"], row


def test_confined_as_an_unknown_user_it_denoises(folders, run, image):
    source, output = folders

    result = run(*_mounts(folders, FAST), image)

    assert result.returncode == 0, result.stderr
    (series,) = output.glob("2.25.*")
    written = [pydicom.dcmread(file) for file in sorted(series.iterdir())]
    sources = [pydicom.dcmread(file) for file in sorted(source.rglob("*.dcm"))]
    assert len(written) == len(sources) == 5
    by_position = {tuple(dataset.ImagePositionPatient): dataset for dataset in sources}
    for dataset in written:
        original = by_position[tuple(dataset.ImagePositionPatient)]
        assert dataset.SourceImageSequence[0].ReferencedSOPInstanceUID == original.SOPInstanceUID
        assert dataset.ImageType[0] == "DERIVED"
        assert dataset.pixel_array.shape == original.pixel_array.shape
        assert not np.array_equal(dataset.pixel_array, original.pixel_array)


def test_failing_input_is_one_line_and_leaves_nothing(folders, tmp_path, run, image):
    (tmp_path / "empty").mkdir()

    result = run(*_mounts((tmp_path / "empty", folders[1]), FAST), image, "-l", "ERROR")

    assert result.returncode == 1
    (line,) = (result.stdout + result.stderr).splitlines()
    assert line.startswith("error: no DICOM found in /var/holoscan/input")
    assert list(folders[1].iterdir()) == []


def test_sigterm_stops_it_soon_and_leaves_nothing(folders, docker, image):
    name = f"nsn2n-test-{uuid.uuid4().hex}"
    command = ["docker", "run", "--name", name, *CONFINED, *_mounts(folders, ENDLESS), image]
    started_s = time.monotonic()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            first_line = process.stderr.readline()
            first_line_s = time.monotonic() - started_s
            assert any("denoising" in line for line in process.stderr)
            sent_s = time.monotonic()
            assert docker("kill", "--signal", "TERM", name).returncode == 0
            code = process.wait(timeout=60)
            duration_s = time.monotonic() - sent_s
        finally:
            docker("rm", "--force", name)

    assert code == 128 + signal.SIGTERM
    assert duration_s < 5
    assert list(folders[1].iterdir()) == []
    # Start-up, measured on the way.
    assert first_line.startswith(f"nsn2n {__version__}")
    assert first_line_s < 10
