# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from nsn2n.errors import NSN2NError
from nsn2n.jobs.dicom_job import denoise_folder
from nsn2n.jobs.options import JobOptions
from nsn2n.node.upload import complete_series, planned_series, remove_series, upload_series
from tests.nsn2n.node.conftest import BRIEF


@pytest.fixture
def made(make_series, tmp_path):
    """The output folder of a run, with its report and a Structured Report beside the images."""
    options = JobOptions.from_mapping({"config": BRIEF, "structured_report": True})
    denoise_folder(make_series("upload")[0].parent, tmp_path / "new", options)
    return tmp_path / "new"


def test_new_series_are_stored_whole_with_their_report(orthanc, made):
    client, planned = orthanc.client(), planned_series(made)
    assert sorted(series.instances for series, _ in planned) == [1, 3]

    for series, files in planned:
        assert complete_series(client, series) is None
        client.upload(files[0])
        assert (complete_series(client, series) is None) == (series.instances == 3)
        series_id = upload_series(client, series, files, made / "reports")
        assert complete_series(client, series) == series_id
        attached = orthanc.get(f"/series/{series_id}/attachments")
        assert attached == (["1024", "1025"] if series.instances == 3 else [])
        remove_series(client, series.series)
    assert orthanc.get("/instances") == []


def test_a_series_that_orthanc_changes_is_taken_back(orthanc, made):
    (planned, files) = next(one for one in planned_series(made) if one[0].instances == 3)

    with pytest.raises(NSN2NError, match="must hold all 3 instances of the new series"):
        upload_series(orthanc.client(), planned, files[:2], made / "reports")

    assert orthanc.get("/instances") == []


def test_a_series_of_another_program_is_never_removed(orthanc, make_series):
    orthanc.send(make_series("other")[0].parent)
    (uid,) = orthanc.series()

    with pytest.raises(NSN2NError, match=f"only series of this program may be removed; series {uid} is of another"):
        remove_series(orthanc.client(), uid)

    assert len(orthanc.get("/instances")) == 3
