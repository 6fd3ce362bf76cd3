# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest

from nsn2n.errors import VolumeError
from nsn2n.files.mgh import read_mgh
from nsn2n.files.volume_files import write_volume

AFFINE = np.array([[-1.0, 0, 0, 30], [0, 0, 3.0, -20], [0, -1.5, 0, 10], [0, 0, 0, 1]])
TAGS = b"\0\0\0\x03\0\0\0\0\0\0\0\x0dmri_convert x"


def _write(path, stored):
    nib.save(nib.freesurfer.MGHImage(stored, AFFINE), path)
    opener = gzip.open if path.suffix == ".mgz" else open
    with opener(path, "rb") as file:
        content = file.read()
    with opener(path, "wb") as file:
        file.write(content + TAGS)
    return content + TAGS


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32])
@pytest.mark.parametrize("shape", [(4, 5, 3), (4, 5, 3, 2)])
@pytest.mark.parametrize("suffix", [".mgz", ".mgh"])
def test_unchanged_values_give_the_same_bytes(tmp_path, dtype, shape, suffix):
    stored = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    content = _write(tmp_path / f"in{suffix}", stored)

    volume = read_mgh(tmp_path / f"in{suffix}")
    write_volume(tmp_path / f"out{suffix}", volume.stack.values.copy(), volume)

    written = (tmp_path / f"out{suffix}").read_bytes()
    assert (gzip.decompress(written) if suffix == ".mgz" else written) == content
    assert volume.stack.parts == (3,) * (shape[3] if len(shape) > 3 else 1)
    assert volume.stack.spacings_mm[0] == pytest.approx((3.0, 1.5, 1.0))
    np.testing.assert_allclose(volume.affine, nib.load(tmp_path / f"in{suffix}").affine, atol=1e-5)
    np.testing.assert_array_equal(volume.stack.values[:3], stored.reshape(4, 5, 3, -1)[..., 0].transpose(2, 1, 0))


def test_new_values_and_maps_are_read_by_nibabel(tmp_path):
    _write(tmp_path / "in.mgz", np.full((4, 5, 3), 100, np.int16))
    volume = read_mgh(tmp_path / "in.mgz")
    values = volume.stack.values + np.arange(3, dtype=np.float32)[:, None, None] + np.float32(0.4)

    write_volume(tmp_path / "out.mgz", values, volume, maps={"map.mgz": values})

    new, made = nib.load(tmp_path / "out.mgz"), nib.load(tmp_path / "map.mgz")
    assert (new.get_data_dtype(), made.get_data_dtype()) == (np.dtype(">i2"), np.dtype(">f4"))
    np.testing.assert_array_equal(np.asarray(new.dataobj), np.rint(values).transpose(2, 1, 0))
    np.testing.assert_array_equal(np.asarray(made.dataobj), values.transpose(2, 1, 0))
    np.testing.assert_allclose(made.affine, AFFINE)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda content: content[:100], "its header must have 284 bytes; it has 100"),
        (lambda content: content[:300], "its header declares 120 bytes of voxels; there are 16"),
        (lambda content: b"\0\0\0\7" + content[4:], "its version must be 1; it is 7"),
        (lambda content: content[:20] + b"\0\0\0\x09" + content[24:], "its type code 9 is not one of gray values"),
        (lambda content: content[:4] + b"\xff" * 4 + content[8:], "its axes must be of positive length"),
        (lambda content: content[:4] + b"\0\x7f\0\0" * 3 + content[16:], "must fit into memory"),
    ],
)
@pytest.mark.parametrize("suffix", [".mgz", ".mgh"])
def test_a_file_that_is_damaged_is_refused_in_one_line(tmp_path, change, match, suffix):
    changed = change(_write(tmp_path / f"in{suffix}", np.ones((4, 5, 3), np.int16)))
    (tmp_path / f"in{suffix}").write_bytes(gzip.compress(changed) if suffix == ".mgz" else changed)

    with pytest.raises(VolumeError, match=match) as caught:
        read_mgh(tmp_path / f"in{suffix}")

    assert str(caught.value).isprintable()
    assert f"in{suffix}" in str(caught.value)


def test_what_is_not_compressed_or_not_there(tmp_path):
    (tmp_path / "a.mgz").write_bytes(b"anything")
    for name in ("a.mgz", "b.mgz"):
        with pytest.raises(VolumeError, match=f"{name} cannot be read as MGH"):
            read_mgh(tmp_path / name)
