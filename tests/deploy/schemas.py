# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What Kubernetes and Argo know: every field of a document, against their published schemas."""

from __future__ import annotations

import json

import kubernetes_validate
from hera.workflows.models import WorkflowTemplate

KUBERNETES = ("1.29", "1.37")


def check_kubernetes(document):
    """Raise ValidationError if a version does not know a field, or misses one."""
    for version in KUBERNETES:
        kubernetes_validate.validate(document, version, strict=True)


def check_argo(document):
    """Raise ValueError for an unknown field. Argo's models pass over it; then it is missing in what they give back."""
    known = WorkflowTemplate.model_validate(document)
    given_back = json.loads(known.model_dump_json(by_alias=True, exclude_unset=True))
    if given_back != document:
        raise ValueError(f"unknown fields; known are {given_back}")
