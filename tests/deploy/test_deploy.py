# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The files for orchestrators: known to Kubernetes and Argo in every field, confined as docs/container.md says."""

from __future__ import annotations

import copy
import ipaddress
import re
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from nsn2n._version import __version__
from tests.deploy.schemas import check_argo, check_kubernetes

ROOT = Path(__file__).resolve().parents[2]
JOB, POLICY = yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / "job.yaml").read_text())
TEMPLATE, ARGO_POLICY = yaml.safe_load_all((ROOT / "deploy" / "argo" / "workflow-template.yaml").read_text())
POD = JOB["spec"]["template"]["spec"]
(STEP,) = TEMPLATE["spec"]["templates"]
# A name with a digest, in the grammar of github.com/distribution/reference.
_PART = r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*"
IMAGE = re.compile(rf"(?:{_PART}(?::\d+)?/)?{_PART}(?:/{_PART})*(?::[\w.-]+)?@sha256:[0-9a-f]{{64}}")
# What the application's pod is, and its container, in both.
PODS = {"kubernetes": (POD, POD["containers"][0]), "argo": (STEP, STEP["container"])}


def _renamed(document, path, name):
    """A copy in which the last key of a path has another name."""
    changed = copy.deepcopy(document)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[name] = place.pop(path[-1])
    return changed


@pytest.mark.parametrize("document", [JOB, POLICY, ARGO_POLICY], ids=["Job", "NetworkPolicy", "Argo's NetworkPolicy"])
def test_kubernetes_knows_every_field(document):
    check_kubernetes(document)


def test_argo_knows_every_field():
    check_argo(TEMPLATE)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (("spec", "backoffLimit"), "backOffLimit"),
        (("spec", "template", "spec", "automountServiceAccountToken"), "autoMountServiceAccountToken"),
        (("spec", "template", "spec", "securityContext", "runAsNonRoot"), "runAsNonroot"),
        (("spec", "template", "spec", "containers", 0, "securityContext", "readOnlyRootFilesystem"), "readOnlyRootFS"),
        (("spec", "template", "spec", "containers", 0, "resources", "limits"), "limit"),
        (("spec", "template", "spec", "volumes", 2, "emptyDir", "sizeLimit"), "size"),
    ],
)
def test_a_misspelled_field_of_the_job_is_refused(path, name):
    with pytest.raises(kubernetes_validate.ValidationError, match=name):
        check_kubernetes(_renamed(JOB, path, name))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (("spec", "entrypoint"), "entryPoint"),
        (("spec", "templates", 0, "automountServiceAccountToken"), "autoMountServiceAccountToken"),
        (("spec", "templates", 0, "securityContext", "runAsNonRoot"), "runAsNonroot"),
        (("spec", "templates", 0, "container", "securityContext", "readOnlyRootFilesystem"), "readOnlyRootFS"),
        (("spec", "templates", 0, "container", "resources", "limits"), "limit"),
        (("spec", "templates", 0, "outputs", "artifacts", 0, "archive"), "archived"),
    ],
)
def test_a_misspelled_field_of_the_template_is_refused(path, name):
    with pytest.raises(ValueError, match="unknown fields"):
        check_argo(_renamed(TEMPLATE, path, name))


@pytest.mark.parametrize("name", PODS)
def test_image_is_that_of_make_map_by_its_digest(name):
    image = PODS[name][1]["image"]

    assert image == f"REGISTRY/nsn2n:{__version__}@sha256:DIGEST"
    # As it stands no cluster takes it, so that nothing runs by a tag alone.
    assert not IMAGE.fullmatch(image)
    assert IMAGE.fullmatch(image.replace("REGISTRY", "registry.example:5000/group").replace("DIGEST", "0a" * 32))


@pytest.mark.parametrize("name", PODS)
def test_resources_are_those_of_the_application(name):
    asked = yaml.safe_load((ROOT / "app.yaml").read_text())["resources"]
    expected = {"cpu": str(asked["cpu"]), "memory": asked["memory"]}
    if asked["gpu"]:
        expected["nvidia.com/gpu"] = str(asked["gpu"])

    resources = PODS[name][1]["resources"]

    assert resources == {"requests": expected, "limits": expected}


@pytest.mark.parametrize("name", PODS)
def test_pod_is_confined(name):
    pod, container = PODS[name]

    user = pod["securityContext"]
    assert user["runAsNonRoot"] is True
    assert 0 not in (user["runAsUser"], user["runAsGroup"], user["fsGroup"])
    assert user["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    # Whatever is written goes to a volume.
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert {"/tmp", "/var/holoscan/output"} <= set(mounts)
    assert set(mounts.values()) == {volume["name"] for volume in pod["volumes"]}


def test_job_runs_once_not_for_ever_and_without_network():
    assert JOB["spec"]["backoffLimit"] == 0
    assert JOB["spec"]["activeDeadlineSeconds"] == STEP["activeDeadlineSeconds"] == 4 * 3600
    assert POD["restartPolicy"] == "Never"
    study = next(mount for mount in POD["containers"][0]["volumeMounts"] if mount["name"] == "study")
    assert study["readOnly"] is True
    assert study["mountPath"] == "/var/holoscan/input"
    assert POLICY["spec"]["podSelector"]["matchLabels"] == JOB["spec"]["template"]["metadata"]["labels"]
    # Both directions are restricted, and no rule allows anything.
    assert POLICY["spec"].keys() == {"podSelector", "policyTypes"}
    assert set(POLICY["spec"]["policyTypes"]) == {"Ingress", "Egress"}


def test_policy_of_argo_leaves_what_its_own_containers_need():
    """They report to the API server, move the artifacts, and look up names; without that no workflow ends."""
    spec = ARGO_POLICY["spec"]

    assert spec["podSelector"]["matchLabels"] == STEP["metadata"]["labels"]
    assert spec["podSelector"] != POLICY["spec"]["podSelector"]
    assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
    assert "ingress" not in spec
    assert [{(port["protocol"], port["port"]) for port in rule["ports"]} for rule in spec["egress"]] == [
        {("TCP", 443), ("TCP", 6443)},
        {("TCP", 9000)},
        {("UDP", 53), ("TCP", 53)},
    ]
    # No rule leads out: one without peers, or an address of the internet, would.
    for rule in spec["egress"]:
        assert rule["to"]
        for peer in rule["to"]:
            assert "namespaceSelector" in peer or ipaddress.ip_network(peer["ipBlock"]["cidr"]).is_private


def test_task_manager_finds_its_way():
    """It looks up the entrypoint, puts places to the artifacts by their names, and lets no other steps be confined."""
    assert TEMPLATE["spec"] == {"entrypoint": STEP["name"], "templates": [STEP]}
    assert STEP["inputs"]["artifacts"] == [{"name": "input-dicom", "path": "/var/holoscan/input"}]
    (output,) = STEP["outputs"]["artifacts"]
    assert output == {"name": "output-dicom", "path": "/var/holoscan/output", "archive": {"none": {}}}
    # Without a token of the pod, Argo's containers need the one of their own account.
    assert STEP["executor"]["serviceAccountName"]
