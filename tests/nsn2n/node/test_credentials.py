# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from nsn2n.errors import SettingsError
from nsn2n.node.credentials import read_credentials


def test_credentials_of_a_file_and_of_the_environment(tmp_path, monkeypatch):
    file = tmp_path / "credentials"
    file.write_text("node:se:cret\n")
    assert read_credentials(file) == ("node", "se:cret")
    for name in ("NSN2N_ORTHANC_USER", "NSN2N_ORTHANC_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    assert read_credentials(None) is None
    monkeypatch.setenv("NSN2N_ORTHANC_USER", "node")
    with pytest.raises(SettingsError, match="must be set together or not at all; NSN2N_ORTHANC_PASSWORD is empty"):
        read_credentials(None)
    monkeypatch.setenv("NSN2N_ORTHANC_PASSWORD", "other")
    assert read_credentials(None) == ("node", "other")


@pytest.mark.parametrize("text", ["", "node", "node:", ":secret", "node:secret\nsecond:line"])
def test_a_file_without_credentials(tmp_path, text):
    file = tmp_path / "credentials"
    file.write_text(text)
    with pytest.raises(SettingsError, match="must hold user:password on one line") as refused:
        read_credentials(file)
    assert "secret" not in str(refused.value)

    with pytest.raises(SettingsError, match="must be a readable file; got FileNotFoundError"):
        read_credentials(tmp_path / "absent")
