# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""As much of a Kubernetes API server as ``kubectl apply`` of new objects speaks with; it validates, and runs nothing.

Discovery, reads and creation as in Kubernetes' API concepts (kubernetes.io/docs/reference/using-api/api-concepts).
Fields are checked here, strictly, as a server does that is sent ``fieldValidation=Strict``; the OpenAPI document of
version 2, by which kubectl before 1.25 checks on its own, is empty, so those leave it to the server too.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import kubernetes_validate

from tests.deploy.schemas import check_argo, check_kubernetes, check_ray

# Group, version, plural, kind, and what raises an error for an object with fields that are not known.
RESOURCES = (
    ("batch", "v1", "jobs", "Job", check_kubernetes),
    ("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", check_kubernetes),
    ("argoproj.io", "v1alpha1", "workflowtemplates", "WorkflowTemplate", check_argo),
    ("ray.io", "v1", "rayjobs", "RayJob", check_ray),
)


def _groups():
    versions = [{"groupVersion": f"{group}/{version}", "version": version} for group, version, *_ in RESOURCES]
    groups = [
        {"name": group, "versions": [known], "preferredVersion": known}
        for (group, *_), known in zip(RESOURCES, versions, strict=True)
    ]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def _openapi(group, version, kind):
    """Of one group: only that its objects may be sent with ``fieldValidation``, which kubectl from 1.25 on asks."""
    operation = {
        "parameters": [{"name": "fieldValidation", "in": "query"}],
        "responses": {},
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
    }
    return {"openapi": "3.0.0", "info": {"title": group, "version": version}, "paths": {"/": {"patch": operation}}}


def _fixed_answers():
    """What the server says of itself, by path."""
    answers = {
        "/version": {"major": "1", "minor": "32", "gitVersion": "v1.32.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": []},
        "/apis": _groups(),
        "/openapi/v3": {"paths": {}},
    }
    for group, version, plural, kind, _ in RESOURCES:
        path = f"apis/{group}/{version}"
        resource = {"name": plural, "singularName": "", "namespaced": True, "kind": kind, "verbs": ["create", "get"]}
        answers[f"/{path}"] = {
            "kind": "APIResourceList",
            "groupVersion": f"{group}/{version}",
            "resources": [resource],
        }
        answers["/openapi/v3"]["paths"][path] = {"serverRelativeURL": f"/openapi/v3/{path}"}
        answers[f"/openapi/v3/{path}"] = _openapi(group, version, kind)
    return answers


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.split("?")[0]
        if path in self.server.answers:
            self._answer(200, self.server.answers[path])
        elif path == "/openapi/v2":
            self._send(200, b"", "application/octet-stream")
        elif path in self.server.objects:
            self._answer(200, self.server.objects[path])
        else:
            self._refuse(404, "NotFound", f"{path} not found")

    def do_POST(self):
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = self.path.split("?")[0]
        if path not in self.server.collections:
            return self._refuse(404, "NotFound", f"{path} not found")
        api_version, kind, check = self.server.collections[path]
        if (document["apiVersion"], document["kind"]) != (api_version, kind):
            return self._refuse(400, "BadRequest", f"{document['kind']} is none of {path}")
        try:
            check(document)
        except (kubernetes_validate.ValidationError, ValueError) as error:
            return self._refuse(400, "BadRequest", f"strict decoding error: {str(error).splitlines()[0]}")
        self.server.objects[f"{path}/{document['metadata']['name']}"] = document
        return self._answer(201, document)

    def _refuse(self, code, reason, message):
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code}
        self._answer(code, {**status, "reason": reason, "message": message})

    def _answer(self, code, document):
        self._send(code, json.dumps(document).encode(), "application/json")

    def _send(self, code, body, content_type):
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Nothing on stderr."""


@contextmanager
def api_server(*namespaces):
    """Run one with these namespaces on a free port; gives its address, and the objects that it took, by their paths."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.answers, server.objects = _fixed_answers(), {}
        server.collections = {
            f"/apis/{group}/{version}/namespaces/{namespace}/{plural}": (f"{group}/{version}", kind, check)
            for group, version, plural, kind, check in RESOURCES
            for namespace in namespaces
        }
        thread = Thread(target=server.serve_forever, args=(0.05,))  # seconds until it sees that it shall end
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", server.objects
        finally:
            server.shutdown()
            thread.join()
