# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import requests

from nsn2n.dicom.selection.rules import default_rules
from nsn2n.jobs.options import JobOptions
from nsn2n.node.series_job import SeriesJob
from tests.nsn2n.node.conftest import BRIEF
from tests.nsn2n.node.orthanc_server import until

OPTIONS = JobOptions.from_mapping({"config": BRIEF, "report": False})


def test_files_are_the_owners_alone_and_gone_afterwards(orthanc, make_series, tmp_path):
    orthanc.send(make_series("job", series_number=3)[0].parent)
    (series,) = orthanc.client().list_series(0, 1)
    job = SeriesJob(orthanc.client(), series, tmp_path)
    assert job.why_not(default_rules()) == ""
    assert job.start(OPTIONS, 100)

    (folder,) = tmp_path.glob(".nsn2n-*")
    assert folder.stat().st_mode & 0o077 == 0
    assert len(list((folder / "source").iterdir())) == 3
    until(lambda: job.process.wait(0.1))
    assert job.process.answer().written

    job.close()
    assert not folder.exists()


def test_the_first_instance_tells_whether_the_rules_select_it(orthanc, make_series, tmp_path):
    localizer = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    orthanc.send(make_series("localizer", overrides=localizer, series_description="DOE^JOHN")[0].parent)
    (series,) = orthanc.client().list_series(0, 1)
    job = SeriesJob(orthanc.client(), series, tmp_path)

    reason = job.why_not(default_rules())

    assert "LOCALIZER" in reason
    assert "DOE" not in reason  # of the description, where names stand now and then
    assert len(list(tmp_path.glob(".nsn2n-*/source/*"))) == 1
    job.close()


def test_a_series_that_loses_slices_is_not_begun(orthanc, make_series, tmp_path):
    orthanc.send(make_series("lost")[0].parent)
    (series,) = orthanc.client().list_series(0, 1)
    job = SeriesJob(orthanc.client(), series, tmp_path)
    requests.delete(f"{orthanc.url}/instances/{series.instances[1]}", timeout=30).raise_for_status()

    assert not job.start(OPTIONS, 100)
    assert job.process is None
    job.close()
