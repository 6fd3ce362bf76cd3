# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ssl
import subprocess
import threading
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from nsn2n.errors import SettingsError
from nsn2n.node.errors import OrthancRefusalError, OrthancUnavailableError
from nsn2n.node.orthanc_client import OrthancClient
from tests.nsn2n.node.orthanc_server import OrthancServer, free_port


class _Quiet(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_a_series_as_orthanc_has_it(orthanc, make_series):
    files = make_series("client", series_number=7)
    orthanc.send(files[0].parent)
    client = orthanc.client()

    (listed,) = client.list_series(0, 10)

    assert client.series(listed.id) == listed
    assert listed.number == 7
    assert len(listed.instances) == len(client.sop_instance_uids(listed.id)) == len(files)
    assert abs(client.now() - datetime.now(timezone.utc)).total_seconds() < 60
    assert abs(client.now() - listed.last_update).total_seconds() < 60
    assert client.list_series(1, 10) == []
    assert client.find_series(listed.uid) == [listed.id]
    assert ("NewSeries", listed.id) in client.changes(0).series


def test_what_is_not_there(orthanc):
    client = orthanc.client()

    assert client.series("absent") is None
    assert client.metadata("absent", 1024) is None
    assert client.find_series("2.25.1") == []
    assert not client.set_metadata("absent", 1024, "x")
    client.delete_series("absent")


def test_a_file_that_is_no_dicom_is_refused(orthanc, tmp_path):
    (tmp_path / "file").write_bytes(b"no DICOM")

    with pytest.raises(OrthancRefusalError, match="must respond to POST /instances; got 400, Bad file format"):
        orthanc.client().upload(tmp_path / "file")


def test_metadata_that_have_a_name_and_revisions_that_are_checked(make_series, tmp_path):
    server = OrthancServer(tmp_path / "revisions", CheckRevisions=True, UserMetadata={"nsn2n": 1024}).start()
    try:
        server.send(make_series("revisions")[0].parent)
        client = server.client()
        ((series_id),) = [one.id for one in client.list_series(0, 1)]
        for text in ("one", "two"):
            assert client.set_metadata(series_id, 1024, text)
            assert client.metadata(series_id, 1024) == text
    finally:
        server.stop()


def test_user_and_password(tmp_path):
    server = OrthancServer(tmp_path / "closed", AuthenticationEnabled=True, RegisteredUsers={"node": "secret"}).start()
    try:
        server.client(credentials=("node", "secret")).check_access()
        for wrong in (None, ("node", "guess")):
            with pytest.raises(OrthancRefusalError, match="must grant the node access; it responds 401") as refused:
                server.client(credentials=wrong).check_access()
            assert "guess" not in str(refused.value)
    finally:
        server.stop()


def test_a_certificate_is_verified(orthanc, tmp_path):
    """By a proxy in front of Orthanc, since Debian's Orthanc 1.10 ends at the first question by TLS."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip

    class Proxy(_Quiet):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(requests.get(orthanc.url + self.path, timeout=30).content)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"https://127.0.0.1:{server.server_address[1]}"
        OrthancClient(url, ca_file=certificate).check_access()
        with pytest.raises(OrthancRefusalError, match=r"certificate that can be verified.*--ca-file"):
            OrthancClient(url).check_access()
        server.shutdown()


def test_a_server_that_is_no_orthanc():
    class Other(_Quiet):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}" if self.path == "/system" else b"<html>")

    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = OrthancClient(f"http://127.0.0.1:{server.server_address[1]}")
        with pytest.raises(OrthancRefusalError, match="must be the REST API of an Orthanc"):
            client.check_access()
        with pytest.raises(OrthancRefusalError, match="must respond in JSON"):
            client.modalities()
        server.shutdown()


def test_nobody_answers():
    with pytest.raises(
        OrthancUnavailableError, match=r"Orthanc must respond at .*; got ConnectionError. Check that it is running"
    ):
        OrthancClient(f"http://127.0.0.1:{free_port()}").check_access()


def test_a_file_of_certificates_that_is_absent(tmp_path):
    with pytest.raises(SettingsError, match="there is none at"):
        OrthancClient("https://archive", ca_file=tmp_path / "absent.pem")
