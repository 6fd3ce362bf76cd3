# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Answers of a server that no good archive gives. What a real one gives: test_series_list.py."""

from __future__ import annotations

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from nsn2n.batch.dicomweb import TOKEN, Query, Server, fetch_series
from nsn2n.batch.task import RemoteSeries
from nsn2n.errors import DicomError, SettingsError


def _dataset(uid):
    return {"00080018": {"vr": "UI", "Value": [uid]}}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, self.headers))
        code, kind, body = self.server.answer(self.path)
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Nothing on stderr."""


@pytest.fixture
def serve(monkeypatch):
    monkeypatch.setattr("nsn2n.batch.dicomweb._RETRIES", 1)

    @contextmanager
    def run(answer):
        with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
            server.answer, server.asked = answer, []
            thread = Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}/dicom-web", server.asked
            finally:
                server.shutdown()
                thread.join()

    return run


def _json(entries, code=200):
    return code, "application/dicom+json", json.dumps(entries).encode()


@pytest.mark.parametrize("path", ["", "/", "/series", "/series/"])
def test_query_has_root_and_conditions(path):
    query = Query(f"https://host:8042/pacs/dicom-web{path}?Modality=CT&StudyDate=20260101-")

    assert (query.root, query.study) == ("https://host:8042/pacs/dicom-web", "")
    assert query.conditions == (("Modality", "CT"), ("StudyDate", "20260101-"))


def test_query_of_a_study():
    assert (Query("http://h/w/studies/1.2/series").root, Query("http://h/w/studies/1.2").study) == ("http://h/w", "1.2")


@pytest.mark.parametrize("url", ["ftp://host/x", "http://", "https://jane:secret@host/dicom-web", "http://h/s?limit=3"])
def test_what_is_no_query_is_refused_without_its_secrets(url):
    with pytest.raises(SettingsError) as caught:
        Query(url)
    assert "secret" not in str(caught.value)


def test_pages_are_asked_for_until_none_is_new(serve, monkeypatch):
    monkeypatch.setattr("nsn2n.batch.dicomweb._PAGE", 2)
    uids = [f"1.2.{number}" for number in range(5)]

    def paged(path):
        start = int(path.rpartition("offset=")[2])
        return _json([_dataset(uid) for uid in uids[start : start + 2]])

    for answer in (paged, lambda path: _json([_dataset(uid) for uid in uids])):  # the second one knows no pages
        with serve(answer) as (root, _):
            assert [found.SOPInstanceUID for found in Server(root).instances("1.2", "1.3")] == uids


def test_token_is_sent_and_the_query_as_it_stands(serve, monkeypatch):
    monkeypatch.setenv(TOKEN, "abc")
    with serve(lambda path: _json([])) as (root, asked):
        query = Query(f"{root}/series?Modality=CT&includefield=all&includefield=00100010")
        assert list(Server(root).series(query)) == []

    ((path, headers),) = asked
    assert headers["Authorization"] == "Bearer abc"
    assert "Modality=CT&includefield=all&includefield=00100010&limit=" in path


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        ((404, "text/plain", b"Doe^Jane"), "status 404"),
        ((503, "text/plain", b""), "RetryError"),
        ((200, "text/html", b"<html>Doe^Jane"), "invalid DICOM JSON"),
        (_json([_dataset("1.2.3")]), "an entry without SeriesInstanceUID"),
        (_json({"Doe^Jane": 1}), "invalid DICOM JSON"),
    ],
)
def test_wrong_answer_is_one_line_without_what_was_asked(serve, answer, got):
    with serve(lambda path: answer) as (root, _), pytest.raises(DicomError) as caught:
        list(Server(root).series(Query(f"{root}/series?PatientName=Doe^Jane")))

    assert got in str(caught.value)
    assert root in str(caught.value)
    assert "Doe" not in str(caught.value)


def test_server_that_is_not_there(monkeypatch):
    monkeypatch.setattr("nsn2n.batch.dicomweb._RETRIES", 1)
    with pytest.raises(DicomError, match=r"got ConnectionError from http://127\.0\.0\.1:9"):
        Server("http://127.0.0.1:9").instances("1.2", "1.3")


@pytest.mark.parametrize("body", [b"", b"--x\r\n\r\none\r\n--x\r\n\r\ntwo\r\n--x--"])
def test_image_that_is_not_one_file_is_refused(serve, tmp_path, body):
    def answer(path):
        if path.split("?")[0].endswith("instances"):
            return _json([_dataset("1.2.3")] if path.endswith("offset=0") else [])
        return 200, 'multipart/related; type="application/dicom"; boundary=x', body

    with serve(answer) as (root, _), pytest.raises(DicomError, match="parts for one image"):
        fetch_series(RemoteSeries(root, "1.2", "1.3"), tmp_path)


def test_series_that_is_gone_is_refused(serve, tmp_path):
    with (
        serve(lambda path: (204, "text/plain", b"")) as (root, _),
        pytest.raises(DicomError, match=r"no longer has any of 1\.3"),
    ):
        fetch_series(RemoteSeries(root, "1.2", "1.3"), tmp_path)


def test_bytes_of_a_file_come_through(serve, tmp_path):
    content = bytes(range(256)) * 3 + b"\r\n--y\r\n\n\r\r\n"

    def answer(path):
        if path.split("?")[0].endswith("instances"):
            return _json([_dataset("1.2.3")] if path.endswith("offset=0") else [])
        part = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + content + b"\r\n--x--\r\n"
        return 200, 'multipart/related; type="application/dicom"; boundary=x', part

    with serve(answer) as (root, _):
        fetch_series(RemoteSeries(root, "1.2", "1.3"), tmp_path)

    assert (tmp_path / "IM000001.dcm").read_bytes() == content
