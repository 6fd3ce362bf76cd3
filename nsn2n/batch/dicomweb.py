# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Series of a DICOMweb server (PS3.18): found by QIDO-RS, fetched by WADO-RS, one image at a time.

Images are written byte for byte as received. The server's responses are checked for completeness: a slice lost in
transfer would be a gap in the volume.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from email import message_from_bytes
from email.policy import HTTP
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

from pydicom.dataset import Dataset

from nsn2n.batch.task import RemoteSeries
from nsn2n.errors import DicomError, SettingsError

if TYPE_CHECKING:
    import requests

__all__ = ["TOKEN", "Query", "Server", "fetch_series"]

TOKEN = "NSN2N_DICOMWEB_TOKEN"
"""Environment variable with the token sent as ``Authorization: Bearer``; without it the user's .netrc is used."""

Conditions = tuple[tuple[str, str], ...]

_PAGE = 500
"""Entries requested at a time."""

_TIMEOUT_S = (10, 300)
"""Timeouts of connecting, and between two chunks of a response."""

_RETRIES = 5
_BUSY = (429, 502, 503, 504)
"""Status codes after which a request is retried."""


class Query:
    """A URL that queries series: ``https://host/dicom-web/series?Modality=CT``, or the root of the service for all.

    Raises
    ------
    SettingsError
        If it is not such a URL.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        path = parts.path.rstrip("/").removesuffix("/series")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise SettingsError(
                "a DICOMweb query must be a URL such as https://host/dicom-web/series?Modality=CT, without user and"
                f" password; got one of {parts.hostname or 'no host'}. Correct it; {TOKEN} may hold a token."
            )
        root, _, study = path.partition("/studies/")
        self.root = urlunsplit((parts.scheme, parts.netloc, root, "", ""))
        self.study = study
        self.conditions: Conditions = tuple(parse_qsl(parts.query, keep_blank_values=True))
        if {"limit", "offset"} & {name for name, _ in self.conditions}:
            raise SettingsError(
                "a DICOMweb query must select series by their attributes; got limit or offset, which the program sets."
                " Leave them out."
            )


class Server:
    """One service. Messages contain its URL without the query, which may hold a patient's name or id.

    Parameters
    ----------
    root : str
        Its URL.
    """

    def __init__(self, root: str) -> None:
        import requests
        from requests.adapters import HTTPAdapter
        from urllib3.util.retry import Retry

        self.root = root.rstrip("/")
        self._session = requests.Session()
        retry = Retry(_RETRIES, backoff_factor=0.5, status_forcelist=_BUSY, allowed_methods=["GET"])
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))
        if os.environ.get(TOKEN):
            self._session.headers["Authorization"] = f"Bearer {os.environ[TOKEN]}"

    def series(self, query: Query) -> Iterator[Dataset]:
        """Yield the attributes of each series of a query, as returned by QIDO-RS.

        Raises
        ------
        DicomError
            If the server does not respond as PS3.18 requires.
        """
        path = f"/studies/{_quoted(query.study)}/series" if query.study else "/series"
        yield from self._search(path, query.conditions, "SeriesInstanceUID")

    def instances(self, study_uid: str, series_uid: str) -> list[Dataset]:
        """Return the attributes of each image of a series; errors as for `series`."""
        return list(self._search(f"{_path(study_uid, series_uid)}/instances", (), "SOPInstanceUID"))

    def header(self, study_uid: str, series_uid: str, instance_uid: str) -> Dataset:
        """Return all attributes of an image except the long ones; errors as for `series`."""
        found = self._json(f"{_path(study_uid, series_uid)}/instances/{_quoted(instance_uid)}/metadata")
        if len(found) != 1:
            raise self._wrong(f"{len(found)} datasets for one image")
        return found[0]

    def fetch(self, study_uid: str, series_uid: str, instance_uid: str) -> bytes:
        """Return the file of an image; errors as for `series`."""
        path = f"{_path(study_uid, series_uid)}/instances/{_quoted(instance_uid)}"
        accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
        answer = self._get(path, (), accept)
        head = f"Content-Type: {answer.headers.get('Content-Type', '')}\r\n\r\n".encode()
        message = message_from_bytes(head + answer.content, policy=HTTP)
        parts = [part for part in message.walk() if not part.is_multipart()] if message.is_multipart() else []
        content = parts[0].get_payload(decode=True) if len(parts) == 1 else None
        if not isinstance(content, bytes):
            raise self._wrong(f"{len(parts)} parts for one image")
        return content

    def _search(self, path: str, conditions: Conditions, key: str) -> Iterator[Dataset]:
        """Yield entries page by page; a server without paging repeats the same entries, which ends the search."""
        seen: set[str] = set()
        while True:
            page = self._json(path, (*conditions, ("limit", str(_PAGE)), ("offset", str(len(seen)))))
            new = {str(found.get(key, "")): found for found in page}
            if "" in new:
                raise self._wrong(f"an entry without {key}")
            new = {uid: found for uid, found in new.items() if uid not in seen}
            if not new:
                return
            seen |= set(new)
            yield from new.values()

    def _json(self, path: str, conditions: Conditions = ()) -> list[Dataset]:
        answer = self._get(path, conditions, "application/dicom+json")
        if answer.status_code == 204:
            return []
        try:
            return [Dataset.from_json(_without_long_values(found)) for found in answer.json()]
        except Exception as error:  # pydicom may raise anything; its message may quote values
            raise self._wrong(f"invalid DICOM JSON ({type(error).__name__})") from error

    def _get(self, path: str, conditions: Conditions, accept: str) -> requests.Response:
        import requests

        try:
            answer = self._session.get(
                f"{self.root}{path}", params=list(conditions), headers={"Accept": accept}, timeout=_TIMEOUT_S
            )
        except requests.RequestException as error:
            raise self._wrong(f"{type(error).__name__}") from error
        if not answer.ok:
            raise self._wrong(f"status {answer.status_code}")
        return answer

    def _wrong(self, got: str) -> DicomError:
        return DicomError(
            f"a DICOMweb server must respond as PS3.18 requires; got {got} from {self.root}. Check the URL, the token "
            f"in {TOKEN}, and the server."
        )


def fetch_series(series: RemoteSeries, folder: Path) -> None:
    """Write all images of a series into a folder.

    Raises
    ------
    DicomError
        If one cannot be fetched.
    """
    server = Server(series.root)
    uids = (series.StudyInstanceUID, series.SeriesInstanceUID)
    instances = sorted(str(found.SOPInstanceUID) for found in server.instances(*uids))
    if not instances:
        raise DicomError(
            f"a series must have images; {series.root} no longer has any of {series.SeriesInstanceUID}. Run the query"
            " again with another output folder."
        )
    for number, uid in enumerate(instances, 1):
        (folder / f"IM{number:06d}.dcm").write_bytes(server.fetch(*uids, uid))


def _without_long_values(found: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """Return the elements contained in the response itself, without those given as a bulk data URI."""
    return {tag: element for tag, element in found.items() if "BulkDataURI" not in element}


def _path(study_uid: str, series_uid: str) -> str:
    return f"/studies/{_quoted(study_uid)}/series/{_quoted(series_uid)}"


def _quoted(uid: str) -> str:
    return quote(uid, safe="")
