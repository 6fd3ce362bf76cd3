# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The `kubectl apply` commands of the docs, run by a real kubectl on a server that knows the published schemas."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.api_server import api_server

ROOT = Path(__file__).resolve().parents[2]
# They stand in the text, so a line may end in them.
COMMANDS = [
    " ".join(text.split())
    for page in ("orchestrators.md", "batch.md")
    for text in re.findall(r"`(kubectl\s[^`]+)`", (ROOT / "docs" / page).read_text(encoding="utf-8"))
]
# What the two say that each brings, as paths of Kubernetes' API. They name no namespace for Jobs.
BROUGHT = {
    "deploy/kubernetes/job.yaml": [
        "/apis/batch/v1/namespaces/default/jobs/nsn2n",
        "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies/nsn2n",
    ],
    "deploy/kubernetes/batch-job.yaml": [
        "/apis/batch/v1/namespaces/default/jobs/nsn2n-batch",
        "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies/nsn2n-batch",
    ],
    "deploy/kuberay/rayjob.yaml": [
        "/apis/ray.io/v1/namespaces/default/rayjobs/nsn2n-batch",
        "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies/nsn2n-ray",
    ],
    "deploy/argo/workflow-template.yaml": [
        "/apis/argoproj.io/v1alpha1/namespaces/argo/workflowtemplates/nsn2n",
        "/apis/networking.k8s.io/v1/namespaces/argo/networkpolicies/nsn2n-workflow",
    ],
}
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def _file(command):
    (name,) = [word for word in shlex.split(command) if word.endswith(".yaml")]
    return name


@pytest.fixture
def apply(tmp_path, monkeypatch):
    """A function that runs a command on a new server, in a copy of the folder `deploy`; gives result and objects."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed (Debian package kubernetes-client): NOTHING WAS APPLIED")
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    with api_server("default", "argo") as (address, objects):
        configuration = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": address}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": ""}}],
            "current-context": "test",
        }
        (tmp_path / "kubeconfig").write_text(json.dumps(configuration))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        monkeypatch.setenv("HOME", str(tmp_path))  # kubectl keeps what servers say of themselves in a cache there

        def run(command):
            whole = ["bash", "-c", command]
            result = subprocess.run(whole, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
            return result, objects

        yield run


def test_every_file_is_applied():
    # Those of Compose and of conda are for no cluster; test_orthanc.py and test_publishing.py have them.
    found = [path for path in (ROOT / "deploy").rglob("*.yaml") if path.name not in ("compose.yaml", "recipe.yaml")]
    files = {str(path.relative_to(ROOT)) for path in found}

    assert {_file(command) for command in COMMANDS} == files == set(BROUGHT)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_brings_the_objects_of_its_file(apply, command):
    result, objects = apply(command)

    assert result.returncode == 0, result.stderr
    assert result.stdout.count(" created\n") == len(objects)
    assert list(objects) == BROUGHT[_file(command)]
    for (path, arrived), document in zip(
        objects.items(), yaml.safe_load_all((ROOT / _file(command)).read_text()), strict=True
    ):
        # What kubectl adds: the namespace, and what it applied.
        assert arrived["metadata"].pop("namespace") == path.split("/")[5]
        assert arrived["metadata"].pop("annotations").keys() == {LAST_APPLIED}
        assert arrived == document


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("field", "reason"), [("securityContext", "strict decoding error"), ("kind", "kind")], ids=["server", "kubectl"]
)
def test_command_fails_where_a_field_has_another_name(apply, tmp_path, command, field, reason):
    file = tmp_path / _file(command)
    text = file.read_text()
    file.write_text(re.sub(rf"\b{field}:", f"{field}s:", text, count=1))
    assert file.read_text() != text

    result, objects = apply(command)

    assert result.returncode != 0
    assert reason in result.stderr.lower()
    # The one that has it; the other object of the file is good.
    assert BROUGHT[_file(command)][0] not in objects


def test_command_fails_where_there_is_no_such_namespace(apply):
    (command,) = [command for command in COMMANDS if " -n argo " in command]

    result, objects = apply(command.replace("-n argo", "-n other"))

    assert result.returncode != 0
    assert not objects
