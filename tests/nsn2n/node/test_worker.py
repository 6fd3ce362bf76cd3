# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Whole ways through a real Orthanc, with a worker of this process."""

from __future__ import annotations

import time

import psutil
import pydicom
import pytest
import requests

from nsn2n.dicom.read.series_reader import read_series
from nsn2n.jobs.dicom_job import denoise_folder
from nsn2n.jobs.options import JobOptions
from nsn2n.node.errors import OrthancRefusalError, OrthancUnavailableError
from nsn2n.node.series_state import FINAL, PlannedSeries, SeriesState, instances_digest
from tests.nsn2n.node.conftest import BRIEF
from tests.nsn2n.node.orthanc_server import OrthancServer, free_port, until


def _run(worker, condition, **more):
    """Take steps until a condition holds, as `Worker.run` does."""

    def step():
        try:
            if not worker.step():
                time.sleep(0.05)
        except OrthancUnavailableError:
            time.sleep(0.2)

    return until(condition, step, **more)


def _settled(server, number=1):
    states = server.states()
    return len(states) == number and all(state in FINAL for state in states)


def test_a_series_comes_back_in_its_study_and_is_passed_on(make_worker, make_series, tmp_path):
    pacs = OrthancServer(tmp_path / "pacs", DicomAet="PACS", DicomCheckCalledAet=True)
    server = OrthancServer(tmp_path / "orthanc", DicomModalities={"pacs": ["PACS", "127.0.0.1", pacs.dicom]})
    files = make_series("one", series_number=4)
    server.start()
    try:
        assert server.send(files[0].parent).returncode == 0
        worker = make_worker(server, send_to="pacs")

        # The PACS is down: the series waits, and says so.
        waiting = _run(
            worker, lambda: next((one for one in server.outputs() if one["mark"].get("tries", 0) >= 2), None)
        )
        assert "TCP Initialization Error" in waiting["mark"]["reason"]
        assert "sent" not in waiting["mark"]
        pacs.start()
        _run(worker, lambda: len(server.outputs()) == 1 and "sent" in server.outputs()[0]["mark"])

        (source,), (output,) = server.sources(), server.outputs()
        assert source["ParentStudy"] == output["ParentStudy"]
        assert source["state"]["state"] == "done"
        assert [entry["series"] for entry in source["state"]["outputs"]] == [
            output["MainDicomTags"]["SeriesInstanceUID"]
        ]
        assert source["state"]["sent"].startswith("pacs 2")
        assert output["MainDicomTags"]["SeriesNumber"] == "1004"
        assert output["mark"]["made_of"] == source["MainDicomTags"]["SeriesInstanceUID"]
        (arrived,) = pacs.series().values()
        assert len(arrived["Instances"]) == len(files)
        for instance in output["Instances"]:
            (tmp_path / f"{instance}.dcm").write_bytes(
                requests.get(f"{pacs.url}/instances/{instance}/file", timeout=30).content
            )
        derived = read_series(sorted(tmp_path.glob("*.dcm")), allow_own_output=True)
        assert derived.geometry == read_series(files).geometry
        told = str(source["state"]) + str(output["mark"])
        assert not any(text in told for text in ("PHANTOM", str(pydicom.dcmread(files[0]).PatientID)))

        # Nothing more happens: neither again, nor with its own output, nor by another worker.
        for again in (worker, make_worker(server, send_to="pacs")):
            for _ in range(5):
                again.step()
        assert len(server.outputs()) == 1
        assert len(pacs.series()) == 1
    finally:
        server.stop()
        pacs.stop()


def test_slices_that_come_late_make_it_do_the_series_again(orthanc, make_worker, make_series):
    files = make_series("halves", slices=6)
    orthanc.send(*files[:3])
    worker = make_worker(orthanc)
    _run(worker, lambda: _settled(orthanc))
    (first,) = orthanc.outputs()

    orthanc.send(*files[3:])
    _run(worker, lambda: len(orthanc.outputs()) == 2 and _settled(orthanc))

    second = next(one for one in orthanc.outputs() if one["ID"] != first["ID"])
    assert len(second["Instances"]) == 6
    assert second["MainDicomTags"]["SeriesNumber"] == "1002"
    superseded = next(one for one in orthanc.outputs() if one["ID"] == first["ID"])
    uid = second["MainDicomTags"]["SeriesInstanceUID"]
    assert superseded["mark"]["superseded_by"] == [uid]
    assert orthanc.sources()[0]["state"]["earlier"] == [first["MainDicomTags"]["SeriesInstanceUID"]]


def test_what_comes_while_a_series_is_in_work_is_not_lost(orthanc, make_worker, make_series):
    files = make_series("meanwhile", slices=6)
    orthanc.send(*files[:3])
    worker = make_worker(orthanc)
    _run(worker, lambda: orthanc.states() == ["processing"])

    orthanc.send(*files[3:])
    _run(worker, lambda: _settled(orthanc))

    (output,) = orthanc.outputs()
    assert len(output["Instances"]) == 6


def test_what_the_rules_leave_alone_and_what_cannot_be_denoised_say_why(orthanc, make_worker, make_series):
    localizer = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    orthanc.send(make_series("localizer", overrides=localizer)[0].parent)
    orthanc.send(make_series("flat", slices=1)[0].parent)
    worker = make_worker(orthanc)

    _run(worker, lambda: _settled(orthanc, 2))

    states = {one["state"]["state"]: one["state"]["reason"] for one in orthanc.sources()}
    assert "LOCALIZER" in states["left alone"]
    assert "slices" in states["refused"]
    assert orthanc.outputs() == []


def test_an_output_of_this_program_is_left_alone_wherever_it_comes_from(orthanc, make_worker, make_series, tmp_path):
    options = JobOptions.from_mapping({"config": BRIEF, "report": False})
    denoise_folder(make_series("own")[0].parent, tmp_path / "new", options)
    orthanc.send(tmp_path / "new")
    worker = make_worker(orthanc)

    (own,) = _run(worker, lambda: [one for one in orthanc.outputs() if one["state"]])

    assert own["state"]["state"] == "left alone"
    assert "already denoised" in own["state"]["reason"]
    assert len(orthanc.series()) == 1


def test_a_process_that_crashes_is_tried_so_often(orthanc, make_worker, make_series):
    orthanc.send(make_series("crash")[0].parent)
    worker = make_worker(orthanc, tries=2, longest_job_s=0.001)

    _run(worker, lambda: _settled(orthanc))

    (source,) = orthanc.sources()
    assert source["state"]["state"] == "failed"
    assert source["state"]["tries"] == 2
    assert source["state"]["reason"] == "it took longer than 0.001 s"

    # A user who has mended what was wrong deletes the state.
    requests.delete(f"{orthanc.url}/series/{source['ID']}/metadata/1024", timeout=30).raise_for_status()
    _run(make_worker(orthanc), lambda: orthanc.states() == ["done"])


def test_review_is_held_where_that_is_asked_for_and_fail_always(orthanc, make_worker, make_series):
    limits = {"edges_review": 1e-9, "excess_review": 1e-9, "coherence_review": 1e-9}
    folder = make_series("review")[0].parent
    orthanc.send(folder)

    _run(
        make_worker(orthanc, hold_review=True, job={"config": {**BRIEF, "structure": limits}}),
        lambda: _settled(orthanc),
    )
    (source,) = orthanc.sources()
    assert (source["state"]["state"], source["state"]["verdict"]) == ("held", "review")
    assert orthanc.outputs() == []

    orthanc.empty()
    orthanc.send(folder)
    _run(make_worker(orthanc, job={"config": {**BRIEF, "structure": limits}}), lambda: _settled(orthanc))
    (output,) = orthanc.outputs()
    tags = requests.get(f"{orthanc.url}/instances/{output['Instances'][0]}/simplified-tags", timeout=30).json()
    assert "structure check review" in tags["DerivationDescription"]

    orthanc.empty()
    orthanc.send(folder)
    fail = {**limits, "edges_fail": 1e-9, "excess_fail": 1e-9, "coherence_fail": 1e-9}
    _run(make_worker(orthanc, job={"config": {**BRIEF, "structure": fail}}), lambda: _settled(orthanc))
    (source,) = orthanc.sources()
    assert source["state"]["state"] == "refused"
    assert "the structure check says fail" in source["state"]["reason"]
    assert orthanc.outputs() == []


def test_an_archive_that_is_full_gets_the_series_once_there_is_room(make_worker, make_series, tmp_path):
    server = OrthancServer(tmp_path / "full", MaximumStorageSize=1).start()  # MB
    try:
        localizer = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
        server.send(make_series("filling", px=390, overrides=localizer)[0].parent)  # 3 files of 305 kB
        server.send(make_series("full", px=128)[0].parent)  # 3 files of 34 kB
        worker = make_worker(server)
        with pytest.raises(OrthancUnavailableError, match="must have space for the new series; it is full"):
            until(lambda: False, worker.step)
        assert "uploading" in server.states()
        assert server.outputs() == []  # no half of a series
        assert [len(source["Instances"]) for source in server.sources()] == [3, 3]

        server.stop()
        server.settings["MaximumStorageSize"] = 0
        server.start()
        _run(worker, lambda: _settled(server, 2))

        (output,) = server.outputs()
        assert len(output["Instances"]) == 3
    finally:
        server.stop()


def test_orthanc_may_be_restarted_at_any_time(make_worker, make_series, tmp_path):
    """Before a series is stable: then Orthanc never says that it is. And while one is in work."""
    server = OrthancServer(tmp_path / "restarted", StableAge=60).start()
    try:
        worker = make_worker(server, list_every_s=0.5)
        worker.step()
        server.send(make_series("unstable")[0].parent)
        server.stop()
        server.start()
        _run(worker, lambda: server.states() == ["processing"])
        server.stop()
        with pytest.raises(OrthancUnavailableError, match="must respond at"):
            until(lambda: False, worker.step)
        server.start()
        _run(worker, lambda: _settled(server))

        assert "StableSeries" not in str(server.get("/changes"))
        assert len(server.outputs()) == 1
    finally:
        server.stop()


def test_a_wrong_modality_is_reported_at_the_start(orthanc, make_worker):
    with pytest.raises(OrthancRefusalError, match=r"--send-to must be one of .* \(there are none\); got nowhere"):
        make_worker(orthanc, send_to="nowhere").step()


def test_metadata_of_another_program_are_left_alone(orthanc, make_worker, make_series):
    orthanc.send(make_series("foreign")[0].parent)
    (source,) = orthanc.get("/series")
    requests.put(f"{orthanc.url}/series/{source}/metadata/1024", data="mine", timeout=30).raise_for_status()
    worker = make_worker(orthanc, settle_s=0.0)

    for _ in range(5):
        worker.step()

    assert requests.get(f"{orthanc.url}/series/{source}/metadata/1024", timeout=30).text == "mine"
    assert len(orthanc.get("/series")) == 1


def test_a_series_that_orthanc_cannot_read_keeps_no_other_back(make_worker, make_series, tmp_path):
    server = OrthancServer(tmp_path / "damaged", MaximumStorageCacheSize=0).start()
    try:
        server.send(make_series("damaged")[0].parent)
        (damaged,) = server.sources()
        for file in (tmp_path / "damaged" / "db").glob("??/??/*"):
            file.unlink()
        server.send(make_series("whole")[0].parent)
        worker = make_worker(server)

        _run(worker, lambda: "done" in server.states())

        (output,) = server.outputs()
        assert output["mark"]["made_of"] != damaged["MainDicomTags"]["SeriesInstanceUID"]
    finally:
        server.stop()


def test_a_state_that_names_a_series_of_another_program_removes_nothing(orthanc, make_worker, make_series):
    orthanc.send(make_series("source")[0].parent)
    (source,) = orthanc.sources()
    orthanc.send(make_series("other")[0].parent)
    other = next(one for one in orthanc.sources() if one["ID"] != source["ID"])
    client = orthanc.client()
    series = client.series(source["ID"])
    planned = PlannedSeries(series=other["MainDicomTags"]["SeriesInstanceUID"], instances=3, digest="0")
    state = SeriesState(state="uploading", source=instances_digest(series.instances), outputs=(planned,))
    client.set_metadata(series.id, 1024, state.to_text())

    _run(make_worker(orthanc), lambda: _settled(orthanc, 2))

    states = {one["ID"]: one["state"] for one in orthanc.sources()}
    assert states[source["ID"]]["state"] == "failed"
    assert "only series of this program may be removed" in states[source["ID"]]["reason"]
    assert states[other["ID"]]["state"] == "done"


def test_what_arrived_before_a_time_is_passed_over(orthanc, make_worker, make_series):
    orthanc.send(make_series("early")[0].parent)
    worker = make_worker(orthanc, settle_s=0.0, since="2100-01-01")

    for _ in range(5):
        worker.step()

    assert orthanc.states() == [""]


def test_a_free_address_that_is_no_archive_is_reported(make_worker, tmp_path):
    server = OrthancServer(tmp_path / "absent")
    server.http = free_port()

    with pytest.raises(
        OrthancUnavailableError, match=r"Orthanc must respond at http://127.0.0.1:.*Check that it is running"
    ):
        make_worker(server).step()


@pytest.mark.slow
def test_a_hundred_series_none_lost_none_twice_and_the_memory_stays(orthanc, make_worker, make_series, tmp_path):
    """A day's work, with series that come all at once and others that follow while these are in work."""
    for number in range(50):
        make_series(f"first {number}", px=16)
    orthanc.send(tmp_path / "made")
    worker, process, used = make_worker(orthanc), psutil.Process(), []

    def done(number):
        used.append(process.memory_info().rss)
        return worker.health.series["done"] >= number

    _run(worker, lambda: done(20))
    for number in range(50):
        orthanc.send(make_series(f"second {number}", px=16)[0].parent)
    early = used[-1]
    _run(worker, lambda: done(100), timeout_s=400)

    assert len(orthanc.outputs()) == 100
    assert len({one["mark"]["made_of"] for one in orthanc.outputs()}) == 100
    assert used[-1] - early < 8 * 2**20
    assert list((tmp_path / "work").iterdir()) == []
