# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The files for many series: an indexed Job, a RayJob and a Slurm array, each as `nsn2n batch` reads it."""

from __future__ import annotations

import copy
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import numpy as np
import pytest
import yaml
from typer.main import get_command

from nsn2n._version import __version__
from nsn2n.batch.ledger import read_ledgers
from nsn2n.batch.shards import COUNT, Shard, shard_of
from nsn2n.cli.main import app
from nsn2n.synthetic.dicom_series import write_synthetic_series
from tests.deploy.schemas import check_kubernetes, check_ray, ray_templates

ROOT = Path(__file__).resolve().parents[2]
JOB, POLICY = yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / "batch-job.yaml").read_text())
RAY_JOB, RAY_POLICY = yaml.safe_load_all((ROOT / "deploy" / "kuberay" / "rayjob.yaml").read_text())
SLURM = ROOT / "deploy" / "slurm" / "batch.sh"
PODS = [JOB["spec"]["template"], *ray_templates(RAY_JOB)]


@pytest.mark.parametrize("document", [JOB, POLICY, RAY_POLICY], ids=["Job", "NetworkPolicy", "Ray's NetworkPolicy"])
def test_kubernetes_knows_every_field(document):
    check_kubernetes(document)


def test_kuberay_knows_every_field():
    check_ray(RAY_JOB)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (("spec", "entrypoint"), ValueError),
        (("spec", "rayClusterSpec", "authOptions"), ValueError),
        (("spec", "rayClusterSpec", "headGroupSpec", "rayStartParams"), ValueError),
        (("spec", "rayClusterSpec", "workerGroupSpecs", 0, "minReplicas"), ValueError),
        (
            ("spec", "rayClusterSpec", "workerGroupSpecs", 0, "template", "spec", "securityContext"),
            kubernetes_validate.ValidationError,
        ),
    ],
)
def test_misspelled_field_of_a_ray_job_is_refused(path, error):
    changed = copy.deepcopy(RAY_JOB)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[f"{path[-1]}s"] = place.pop(path[-1])

    with pytest.raises((error, KeyError)):
        check_ray(changed)


@pytest.mark.parametrize("pod", PODS, ids=["Job", "head", "workers", "submitter"])
def test_pods_are_confined(pod):
    spec = pod["spec"]
    (container,) = spec["containers"]

    assert spec["securityContext"]["runAsNonRoot"] is True
    assert 0 not in (spec["securityContext"][name] for name in ("runAsUser", "runAsGroup", "fsGroup"))
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert re.fullmatch(rf"REGISTRY/nsn2n(-ray)?:{re.escape(__version__)}@sha256:DIGEST", container["image"])
    assert container["resources"]["requests"] == container["resources"]["limits"]
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert {mount["name"] for mount in mounts.values()} == {volume["name"] for volume in spec["volumes"]}
    assert "/tmp" in mounts
    assert mounts.get("/trial", {"readOnly": True})["readOnly"] is True


def _parameters(words):
    """How `nsn2n batch` reads them; typer raises an error for what it does not know."""
    command = get_command(app).commands["batch"]
    return command.make_context("batch", list(words)).params


def test_each_pod_of_the_job_takes_its_shard():
    spec = JOB["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}

    assert spec["completionMode"] == "Indexed"
    assert environment == {COUNT: str(spec["completions"])}
    shards = [
        shard_of(None, {**environment, "JOB_COMPLETION_INDEX": str(index)}) for index in range(spec["completions"])
    ]
    assert shards == [Shard(index + 1, spec["completions"]) for index in range(spec["completions"])]
    assert container["command"][:4] == ["python3", "-m", "nsn2n", "batch"]
    read = _parameters(container["command"][4:])
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert [read["source"], str(read["target"])] == mounts[:2]
    # A pod that was killed comes again; a series that failed would fail again.
    (rule,) = spec["podFailurePolicy"]["rules"]
    assert (rule["action"], rule["onExitCodes"]["values"]) == ("FailIndex", [1, 2, 3])
    assert spec["backoffLimitPerIndex"] > 0
    assert POLICY["spec"]["podSelector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    assert POLICY["spec"].keys() == {"podSelector", "policyTypes"}  # no rule allows anything


def test_ray_job_runs_the_command_on_its_cluster():
    words = shlex.split(RAY_JOB["spec"]["entrypoint"])
    cluster = RAY_JOB["spec"]["rayClusterSpec"]

    assert words[:4] == ["python3", "-m", "nsn2n", "batch"]
    read = _parameters(words[4:])
    assert (read["address"], read["num_cpus"]) == ("auto", 2)
    (group,) = cluster["workerGroupSpecs"]
    for template in (cluster["headGroupSpec"]["template"], group["template"]):
        mounts = {mount["mountPath"] for mount in template["spec"]["containers"][0]["volumeMounts"]}
        assert {read["source"], str(read["target"])} < mounts
    assert int(group["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"]) >= read["num_cpus"]
    assert group["minReplicas"] >= 1
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert cluster["authOptions"] == {"mode": "token"}
    for template in ray_templates(RAY_JOB):
        labels = template["metadata"]["labels"]
        assert RAY_POLICY["spec"]["podSelector"]["matchLabels"] == labels
        assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in template["spec"]["containers"][0]["env"]
    # No rule leads out of the cluster.
    for rule in RAY_POLICY["spec"]["egress"]:
        assert rule["to"]
        assert all("ipBlock" not in peer for peer in rule["to"])


def test_version_of_ray_is_one_that_the_extra_allows():
    from packaging.specifiers import SpecifierSet

    allowed = re.search(r'"ray\[client\]([^"]+)"', (ROOT / "pyproject.toml").read_text())[1]

    assert RAY_JOB["spec"]["rayClusterSpec"]["rayVersion"] in SpecifierSet(allowed)


def test_slurm_script_is_an_array_with_what_a_series_needs():
    told = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", SLURM.read_text(), flags=re.MULTILINE))
    asked = yaml.safe_load((ROOT / "app.yaml").read_text())["resources"]

    assert re.fullmatch(r"0-\d+", told["array"])
    assert told["cpus-per-task"] == str(asked["cpu"])
    assert told["mem"] == asked["memory"].removesuffix("i")
    assert os.access(SLURM, os.X_OK)


@pytest.mark.slow
def test_slurm_array_takes_each_series_once(tmp_path):
    """The script as Slurm runs it: each task with its variables."""
    program = Path(sys.executable).parent / "nsn2n"
    if not program.is_file() or shutil.which("bash") is None:
        pytest.skip("nsn2n is not installed in this environment, or there is no bash")
    for number in range(4):
        volume = np.random.default_rng(number).normal(40, 20, (3, 24, 24))
        write_synthetic_series(volume, tmp_path / "trial", series_number=number + 1, seed=f"slurm-{number}")
    (tmp_path / "brief.yaml").write_text("fit: {steps: 3, crop_px: 16}\nnetwork: {channels: 4, levels: 2}\n")
    for task in range(2):
        array = {"ARRAY_TASK_ID": str(task), "ARRAY_TASK_COUNT": "2", "ARRAY_TASK_MIN": "0", "CPUS_PER_TASK": "1"}
        ended = subprocess.run(
            ["bash", SLURM, tmp_path / "trial", tmp_path / "out", "--config", tmp_path / "brief.yaml", "--force"],
            env={
                **os.environ,
                "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
                **{f"SLURM_{name}": value for name, value in array.items()},
            },
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr

    rows = read_ledgers(tmp_path / "out")
    assert [(row.state, row.tries) for row in rows] == [("done", 1)] * 4
    assert len({row.series_uid for row in rows}) == 4
