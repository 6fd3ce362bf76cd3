# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pydicom
import pytest

from nsn2n.batch.series_list import find_series
from nsn2n.batch.task import RemoteSeries
from nsn2n.errors import DicomError, NSN2NError, SettingsError
from nsn2n.jobs.options import JobOptions
from nsn2n.synthetic.dicom_series import write_synthetic_series
from tests.orthanc import DICOMWEB, running_archive


def _uids(found):
    return {series.SeriesInstanceUID for series in found.series}


def test_folder_gives_its_series(write_trial):
    found = find_series(str(write_trial(4)), JobOptions())

    assert [(series.SeriesNumber, series.Modality, series.voxels) for series in found.series] == [
        (1, "CT", 3 * 32 * 32),
        (2, "CT", 3 * 32 * 32),
    ] * 2
    assert found.numbers == {"2.25.100": {1, 2}, "2.25.101": {1, 2}}


def test_rules_and_named_series_choose_as_for_one_folder(write_trial):
    folder = write_trial(2)
    write_trial(1, "trial/localizer", overrides={"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]})
    every = find_series(str(folder), JobOptions())
    (first, _) = sorted(_uids(every))

    assert len(every.series) == 2
    assert _uids(find_series(str(folder), JobOptions(series_uids=(first,)))) == {first}
    with pytest.raises(DicomError, match=r"no series 1\.2\.3 in"):
        find_series(str(folder), JobOptions(series_uids=("1.2.3",)))


def test_frames_of_an_enhanced_image_count(make_enhanced):
    file = make_enhanced()
    (series,) = find_series(str(file.parent), JobOptions()).series

    assert series.voxels == 5 * 6 * 8


def test_folder_without_series_is_refused(tmp_path):
    with pytest.raises(DicomError, match="no DICOM found"):
        find_series(str(tmp_path), JobOptions())


@pytest.fixture
def csv_file(tmp_path, write_trial):
    write_trial(4)

    def write(text):
        (tmp_path / "list.csv").write_text(text, encoding="utf-8")
        return str(tmp_path / "list.csv")

    return write


def test_csv_lists_folders_relative_to_itself(csv_file, tmp_path):
    everything = find_series(str(tmp_path / "trial"), JobOptions())

    found = find_series(csv_file(f"\ufefffolder\r\ntrial/1\r\n{tmp_path / 'trial' / '0'}\r\n"), JobOptions())

    assert _uids(found) == _uids(everything)
    assert [series.StudyInstanceUID for series in found.series] == ["2.25.101"] * 2 + ["2.25.100"] * 2


def test_csv_names_series(csv_file, tmp_path):
    first, second = find_series(str(tmp_path / "trial" / "0"), JobOptions()).series
    lines = f"trial/0,{second.SeriesInstanceUID}\ntrial/1,\n"

    found = find_series(csv_file(f"folder,SeriesInstanceUID\n{lines}"), JobOptions())

    assert len(found.series) == 3
    assert first.SeriesInstanceUID not in _uids(found)
    assert found.numbers["2.25.100"] == {1, 2}  # of the other too, which is left alone


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must begin with the line folder,SeriesInstanceUID or folder; got nothing"),
        ("path\ntrial/0\n", "got path in"),
        ("folder,PatientID\ntrial/0,7\n", "got folder,PatientID"),
        ("folder\n", "must name a folder"),
        ("folder\n\ntrial/0,7\n", "line 3 of .* does not"),
        ("folder,SeriesInstanceUID\n,1.2\n", "line 2 of .* does not"),
        ("folder\ntrial/0\ntrial/0\n", "listed once; line 3 of"),
        ("folder,SeriesInstanceUID\ntrial/0,1.2\ntrial/0,1.2\n", "listed once; line 3 of"),
        ("folder\ntrial\ntrial/0\n", "in .*trial and in .*trial/0"),
        ("folder\nabsent\n", "no DICOM found in .*absent: it does not exist"),
        ("folder,SeriesInstanceUID\ntrial/0,1.2.3\n", r"no series 1\.2\.3 in"),
        ('folder\n"trial', "must be a readable CSV file in UTF-8"),
    ],
)
def test_bad_csv_is_refused_with_its_line(csv_file, text, message):
    with pytest.raises(NSN2NError, match=message) as caught:
        find_series(csv_file(text), JobOptions())

    assert "\n" not in str(caught.value)


def test_csv_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "latin.csv").write_bytes(b"folder\n\xe4\n")
    for name in ("latin.csv", "absent.csv"):
        with pytest.raises(SettingsError, match="must be a readable CSV file in UTF-8"):
            find_series(str(tmp_path / name), JobOptions())


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """With a CT study of two series, of which one is a localizer, and an MR study."""
    import numpy as np

    if not DICOMWEB.exists():
        pytest.skip("Orthanc's DICOMweb is not installed (Debian package orthanc-dicomweb): IT WAS NOT TRIED")
    folder = tmp_path_factory.mktemp("archive")
    with running_archive(folder) as started:
        volume = np.random.default_rng(0).normal(40, 20, (4, 16, 16))
        localizer = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
        write_synthetic_series(volume, folder / "s", seed="w1", study_uid="2.25.1", series_number=5)
        write_synthetic_series(
            volume[:1], folder / "s", seed="w2", study_uid="2.25.1", series_number=6, overrides=localizer
        )
        write_synthetic_series(np.abs(volume), folder / "s", seed="w3", study_uid="2.25.2", modality="MR")
        started.send(folder / "s")
        yield started


def test_dicomweb_query_gives_what_rules_choose(archive):
    root = f"http://127.0.0.1:{archive.http}/dicom-web"

    found = find_series(f"{root}/series", JobOptions())

    assert sorted((one.StudyInstanceUID, one.Modality, one.voxels) for one in found.series) == [
        ("2.25.1", "CT", 4 * 16 * 16),
        ("2.25.2", "MR", 4 * 16 * 16),
    ]
    assert found.numbers["2.25.1"] == {5, 6}
    assert all(isinstance(one.source, RemoteSeries) and one.source.root == root for one in found.series)
    for query, study in (("series?Modality=MR", "2.25.2"), ("studies/2.25.1/series", "2.25.1")):
        (one,) = find_series(f"{root}/{query}", JobOptions()).series
        assert one.StudyInstanceUID == study


def test_dicomweb_series_is_named(archive):
    root = f"http://127.0.0.1:{archive.http}/dicom-web"
    (one,) = find_series(f"{root}/series?Modality=MR", JobOptions()).series

    named = find_series(root, JobOptions(series_uids=(one.SeriesInstanceUID,)))

    assert named.series == [one]
    with pytest.raises(DicomError, match=r"lacks 1\.2\.3"):
        find_series(root, JobOptions(series_uids=("1.2.3",)))


def test_query_that_finds_nothing_to_denoise_is_refused(archive):
    with pytest.raises(DicomError, match=r"of 0 that .* found none is"):
        find_series(f"http://127.0.0.1:{archive.http}/dicom-web/series?PatientID=Doe", JobOptions())


def test_files_come_as_the_archive_has_them(archive, tmp_path):
    from nsn2n.batch.run_series import run_series
    from nsn2n.batch.task import SeriesTask
    from tests.nsn2n.batch.conftest import BRIEF

    options = JobOptions(preset="fast", config=BRIEF)
    (one,) = find_series(f"http://127.0.0.1:{archive.http}/dicom-web/series?Modality=CT", options).series
    task = SeriesTask(series=one, output=tmp_path, options=options)

    outcome = run_series(task)

    assert outcome.error is None, outcome
    files = sorted(task.folder.glob("2.25.*/IM*.dcm"))
    assert len(files) == 4
    assert pydicom.dcmread(files[0]).StudyInstanceUID == "2.25.1"
    assert [path.name for path in task.folder.parent.iterdir()] == [task.folder.name]  # what was fetched is gone
