# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The part of Orthanc's REST API that the worker needs (https://orthanc.uclouvain.be/book/users/rest.html).

Transient failures raise `OrthancUnavailableError`, permanent ones `OrthancRefusalError`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import requests

from nsn2n.errors import NSN2NError, SettingsError
from nsn2n.node.errors import OrthancRefusalError, OrthancUnavailableError, StorageFullError
from nsn2n.runtime.config_loading import beginning

__all__ = [
    "Changes",
    "OrthancClient",
    "OrthancSeries",
]

TIMEOUT_S = (10.0, 120.0)
"""Timeouts of connecting, and of the next bytes of a response."""

SEND_TIMEOUT_S = (10.0, 3600.0)
"""Timeouts of forwarding: the response comes after the whole series is sent to the other archive."""

FULL_STORAGE = 19
"""Orthanc's own number of the error, https://orthanc.uclouvain.be/hg/orthanc, ErrorCode_FullStorage."""

INSUFFICIENT_STORAGE = 507


@dataclass(frozen=True)
class OrthancSeries:
    """A series as Orthanc describes it."""

    id: str
    uid: str
    """SeriesInstanceUID."""
    study: str
    """Orthanc's id of the study."""
    number: int | None
    instances: tuple[str, ...]
    """Orthanc's ids, sorted."""
    is_stable: bool
    last_update: datetime


@dataclass(frozen=True)
class Changes:
    """A batch of changes in Orthanc, in order."""

    series: tuple[tuple[str, str], ...]
    """Type of the change and Orthanc's id, for changes of series."""
    last: int
    is_all: bool


class OrthancClient:
    """Client of one Orthanc.

    Parameters
    ----------
    url : str
        Address of the REST API.
    credentials : tuple of str, optional
        User and password.
    ca_file : path, optional
        CA certificates to verify it with; by default the public ones.
    """

    def __init__(self, url: str, credentials: tuple[str, str] | None = None, ca_file: Path | None = None) -> None:
        self.url = url.rstrip("/")
        if ca_file is not None and not ca_file.is_file():
            raise SettingsError(
                f"--ca-file must be a file of certificates; there is none at {ca_file}. Check the path."
            )
        self._session = requests.Session()
        self._session.trust_env = False  # neither .netrc nor a proxy may redirect the password
        self._session.auth = credentials
        self._session.verify = str(ca_file) if ca_file is not None else True

    def check_access(self) -> None:
        """Make a request that is allowed for every user.

        Raises
        ------
        OrthancUnavailableError, OrthancRefusalError
        """
        body = self._json("GET", "/system")
        if not isinstance(body, Mapping) or "DicomAet" not in body:
            raise OrthancRefusalError(
                f"--orthanc must be the REST API of an Orthanc; {self.url} is not. Check the address."
            )

    def now(self) -> datetime:
        """Return the time of Orthanc's clock, which timestamps what arrives."""
        return _time(self._request("GET", "/tools/now").text)

    def series(self, series_id: str) -> OrthancSeries | None:
        """Return a series; None if it does not exist."""
        body = self._json("GET", f"/series/{series_id}")
        return None if body is None else _series(body)

    def list_series(self, since: int, limit: int) -> list[OrthancSeries]:
        """Return a batch of all series."""
        body = self._json("GET", "/series", params={"expand": "", "since": since, "limit": limit})
        return [_series(one) for one in body]

    def series_of_study(self, study_id: str) -> list[OrthancSeries]:
        """Return the series of a study; none if it does not exist."""
        return [_series(one) for one in self._json("GET", f"/studies/{study_id}/series") or ()]

    def find_series(self, series_uid: str) -> list[str]:
        """Return Orthanc's ids of the series with a SeriesInstanceUID."""
        found = self._json("POST", "/tools/lookup", data=series_uid)
        return [one["ID"] for one in found if one["Type"] == "Series"]

    def changes(self, since: int, limit: int = 1000) -> Changes:
        """Return the changes after a change number."""
        body = self._json("GET", "/changes", params={"since": since, "limit": limit})
        of_series = tuple((one["ChangeType"], one["ID"]) for one in body["Changes"] if one["ResourceType"] == "Series")
        return Changes(of_series, int(body["Last"]), bool(body["Done"]))

    def last_change(self) -> int:
        """Return the number of the last change."""
        return int(self._json("GET", "/changes", params={"last": ""})["Last"])

    def metadata(self, series_id: str, index: int) -> str | None:
        """Return metadata of a series; None if it has none of that index, or does not exist."""
        # By number: a list of all uses the names that UserMetadata may define.
        answer = self._request("GET", f"/series/{series_id}/metadata/{index}")
        return answer.text if answer.ok else None

    def set_metadata(self, series_id: str, index: int, text: str) -> bool:
        """Store metadata of a series; return False if it does not exist."""
        path = f"/series/{series_id}/metadata/{index}"
        # If Orthanc checks revisions (CheckRevisions), it requires that of the value being replaced.
        before = self._request("GET", path)
        headers = {"If-Match": before.headers["ETag"]} if before.ok and "ETag" in before.headers else {}
        return self._request("PUT", path, data=text.encode(), headers=headers).ok

    def sop_instance_uids(self, series_id: str) -> list[str]:
        """Return the SOPInstanceUIDs of a series; none if it does not exist."""
        body = self._json("GET", f"/series/{series_id}/instances") or ()
        return [str(one["MainDicomTags"]["SOPInstanceUID"]) for one in body]

    def tags(self, instance_id: str) -> dict[str, Any]:
        """Return the attributes of an instance by keyword; none if it does not exist."""
        return self._json("GET", f"/instances/{instance_id}/simplified-tags") or {}

    def fetch(self, instance_id: str, file: Path) -> bool:
        """Write the file of an instance; return False if it does not exist."""
        answer = self._request("GET", f"/instances/{instance_id}/file")
        if answer.ok:
            file.write_bytes(answer.content)
        return bool(answer.ok)

    def upload(self, file: Path) -> str:
        """Store a file, and return Orthanc's id of its series."""
        body = self._json("POST", "/instances", data=file.read_bytes())
        if body is None or body.get("Status") not in ("Success", "AlreadyStored"):
            status = beginning(str((body or {}).get("Status")))
            raise OrthancRefusalError(
                f"Orthanc must store each new instance; it responds {status}. Check whether one of its plugins or "
                "scripts filters incoming instances."
            )
        return str(body["ParentSeries"])

    def attach(self, series_id: str, index: int, file: Path) -> None:
        """Store a file as a user-defined attachment of a series."""
        self._request("PUT", f"/series/{series_id}/attachments/{index}", data=file.read_bytes())

    def delete_series(self, series_id: str) -> None:
        """Delete a series; it is not an error if it does not exist."""
        self._request("DELETE", f"/series/{series_id}")

    def send(self, modality: str, series_id: str, instances: int) -> None:
        """Forward a series by C-STORE, and wait until it has arrived.

        Raises
        ------
        OrthancUnavailableError, OrthancRefusalError
            If not every instance arrived.
        """
        asked = {"Resources": [series_id], "Synchronous": True, "Permissive": False}
        body = self._json("POST", f"/modalities/{modality}/store", json=asked, timeout=SEND_TIMEOUT_S)
        if body is None:
            raise OrthancRefusalError(
                f"the series and the modality {beginning(modality)} must be known to Orthanc; one is not. Add the"
                " modality to DicomModalities."
            )
        arrived = int(body.get("InstancesCount", 0)) - int(body.get("FailedInstancesCount", 0))
        if arrived != instances:
            raise OrthancUnavailableError(f"{modality} must accept all {instances} instances; it accepted {arrived}.")

    def modalities(self) -> list[str]:
        """Return the names of Orthanc's DicomModalities."""
        return list(self._json("GET", "/modalities"))

    def _json(self, method: str, path: str, **more: Any) -> Any:
        answer = self._request(method, path, **more)
        if answer.status_code == requests.codes.not_found:
            return None
        try:
            return answer.json()
        except ValueError as error:
            raise OrthancRefusalError(
                f"the REST API of an Orthanc must respond in JSON; {self.url}{path} does not. Check --orthanc."
            ) from error

    def _request(self, method: str, path: str, **more: Any) -> requests.Response:
        """Return the response if it is a success or reports that the resource does not exist."""
        try:
            answer = self._session.request(
                method, self.url + path, **{"timeout": TIMEOUT_S, "allow_redirects": False, **more}
            )
        except requests.exceptions.SSLError as error:
            raise OrthancRefusalError(
                f"{self.url} must have a certificate that can be verified; it has none. Give its CA with --ca-file."
            ) from error
        except requests.exceptions.RequestException as error:
            raise OrthancUnavailableError(
                f"Orthanc must respond at {self.url}; got {type(error).__name__}. Check that it is running."
            ) from error
        if (answer.ok and not answer.is_redirect) or answer.status_code == requests.codes.not_found:
            return answer
        raise _refusal(answer, method, path, self.url)


def _refusal(answer: requests.Response, method: str, path: str, url: str) -> NSN2NError:
    body = _details(answer)
    message = beginning(str(body.get("Message", answer.reason)))
    if path.startswith("/modalities"):  # why another archive did not accept it
        message = f"{message} ({beginning(str(body.get('Details', '')))})"
    if answer.status_code in (requests.codes.unauthorized, requests.codes.forbidden):
        return OrthancRefusalError(
            f"Orthanc at {url} must grant the node access; it responds {answer.status_code} to {method} {path}. Check "
            "user and password, and the permissions of that user."
        )
    if body.get("OrthancStatus") == FULL_STORAGE or answer.status_code == INSUFFICIENT_STORAGE:
        return StorageFullError(f"Orthanc at {url} must have space for the new series; it is full. Free some space.")
    retry = answer.status_code >= requests.codes.server_error or answer.status_code in (409, 412, 429)
    kind = OrthancUnavailableError if retry else OrthancRefusalError
    return kind(f"Orthanc at {url} must respond to {method} {path}; got {answer.status_code}, {message}. See its log.")


def _details(answer: requests.Response) -> Mapping[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, Mapping) else {}


def _series(body: Mapping[str, Any]) -> OrthancSeries:
    tags: Mapping[str, str] = body["MainDicomTags"]
    instances: Sequence[str] = body["Instances"]
    number = tags.get("SeriesNumber", "").strip()
    return OrthancSeries(
        id=body["ID"],
        uid=tags.get("SeriesInstanceUID", ""),
        study=body["ParentStudy"],
        number=int(number) if number.removeprefix("-").isdigit() else None,
        instances=tuple(sorted(instances)),
        is_stable=bool(body["IsStable"]),
        last_update=_time(body["LastUpdate"]),
    )


def _time(text: str) -> datetime:
    return datetime.strptime(text.strip(), "%Y%m%dT%H%M%S").replace(tzinfo=timezone.utc)
