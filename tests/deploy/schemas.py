# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What Kubernetes, Argo and KubeRay know: every field of a document, against their published schemas."""

from __future__ import annotations

import json

import kubernetes_validate
from hera.workflows.models import WorkflowTemplate

KUBERNETES = ("1.29", "1.37")


def check_kubernetes(document):
    """Raise ValidationError if a version does not know a field, or misses one."""
    for version in KUBERNETES:
        kubernetes_validate.validate(document, version, strict=True)


# The fields of KubeRay 1.6 (docs.ray.io, KubeRay CRD API reference); what is a pod's template is Kubernetes' own.
_RAY_JOB = (
    *("activeDeadlineSeconds", "backoffLimit", "clusterSelector", "deletionStrategy", "entrypoint"),
    *("entrypointNumCpus", "entrypointNumGpus", "entrypointResources", "jobId", "managedBy", "metadata"),
    *("preRunningDeadlineSeconds", "rayClusterSpec", "runtimeEnvYAML", "shutdownAfterJobFinishes", "submissionMode"),
    *("submitterConfig", "submitterPodTemplate", "suspend", "ttlSecondsAfterFinished"),
)
_RAY_CLUSTER = (
    *("authOptions", "autoscalerOptions", "enableInTreeAutoscaling", "gcsFaultToleranceOptions", "headGroupSpec"),
    *("headServiceAnnotations", "managedBy", "rayVersion", "suspend", "workerGroupSpecs"),
)
_RAY_AUTH = ("enableK8sTokenAuth", "mode", "secretName")
_RAY_HEAD = ("enableIngress", "headService", "labels", "rayStartParams", "resources", "serviceType", "template")
_RAY_WORKERS = (
    *("groupName", "idleTimeoutSeconds", "labels", "maxReplicas", "minReplicas", "numOfHosts", "rayStartParams"),
    *("replicas", "resources", "scaleStrategy", "suspend", "template"),
)


def check_ray(document):
    """Raise ValueError for a field that KubeRay does not know, ValidationError for one that a pod does not have."""
    _require_known(document, ("apiVersion", "kind", "metadata", "spec"))
    job = document["spec"]
    _require_known(job, _RAY_JOB)
    cluster = job["rayClusterSpec"]
    _require_known(cluster, _RAY_CLUSTER)
    _require_known(cluster["authOptions"], _RAY_AUTH)
    _require_known(cluster["headGroupSpec"], _RAY_HEAD)
    for group in cluster["workerGroupSpecs"]:
        _require_known(group, _RAY_WORKERS)
    for template in ray_templates(document):
        check_kubernetes({"apiVersion": "v1", "kind": "Pod", **template})


def ray_templates(document):
    """Those of all pods of a RayJob: head, workers, and the one that submits the job."""
    job = document["spec"]
    groups = (job["rayClusterSpec"]["headGroupSpec"], *job["rayClusterSpec"]["workerGroupSpecs"])
    return [*(group["template"] for group in groups), job["submitterPodTemplate"]]


def _require_known(mapping, known):
    unknown = set(mapping) - set(known)
    if unknown:
        raise ValueError(f"unknown fields {sorted(unknown)}; known are {sorted(known)}")


def check_argo(document):
    """Raise ValueError for an unknown field. Argo's models pass over it; then it is missing in what they give back."""
    known = WorkflowTemplate.model_validate(document)
    given_back = json.loads(known.model_dump_json(by_alias=True, exclude_unset=True))
    if given_back != document:
        raise ValueError(f"unknown fields; known are {given_back}")
