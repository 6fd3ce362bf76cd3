# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Sizes that codestreams claim, as real encoders write them, and as someone may change them."""

from __future__ import annotations

import struct
import tracemalloc

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

from nsn2n.dicom.pixels.codestream import size_in_codestream
from nsn2n.dicom.read.series_reader import read_series
from nsn2n.errors import DicomError

IMAGE_HW = np.random.default_rng(1).integers(0, 200, (37, 50)).astype(np.uint8)

ENCODERS = {
    "JPEG": lambda image: imagecodecs.jpeg8_encode(image),
    "JPEG Lossless": lambda image: imagecodecs.ljpeg_encode(image),
    "JPEG-LS": lambda image: imagecodecs.jpegls_encode(image),
    "JPEG 2000": lambda image: imagecodecs.jpeg2k_encode(image, codecformat="j2k"),
    "JPEG 2000 in boxes": lambda image: imagecodecs.jpeg2k_encode(image, codecformat="jp2"),
    "HTJ2K": lambda image: imagecodecs.htj2k_encode(image),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_the_size_is_that_of_the_image(name):
    try:
        data = ENCODERS[name](IMAGE_HW)
    except imagecodecs.DelayedImportError:
        pytest.skip(f"this build of imagecodecs has no {name}")
    assert size_in_codestream(bytes(data))[:4] == (37, 50, 1, 1)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\x4f\xff\x51\0", bytes(100), b"\xff\xd8\xff\xe0\0\x02" * 9])
def test_what_is_no_codestream_has_no_size(data):
    assert size_in_codestream(data) is None


def siz(width, height, components=1, tile=None, subsampling=1, offset=0, tile_offset=0):
    """Markers SOC and SIZ of JPEG 2000, and EOC."""
    tile_width, tile_height = tile or (width, height)
    sizes = (width, height, offset, offset, tile_width, tile_height, tile_offset, tile_offset)
    body = struct.pack(">H8IH", 0, *sizes, components) + bytes([15, subsampling, subsampling]) * components
    return b"\xff\x4f\xff\x51" + struct.pack(">H", len(body) + 2) + body + b"\xff\xd9"


def box(kind, content, form="short"):
    """A box of a JP2 file; its length in 4 or 8 bytes, or left open to the end."""
    if form == "long":
        return struct.pack(">I4sQ", 1, kind, len(content) + 16) + content
    return struct.pack(">I4s", 0 if form == "open" else len(content) + 8, kind) + content


SIGNATURE = box(b"jP  ", b"\r\n\x87\n")


@pytest.mark.parametrize("form", ["short", "long", "open"])
def test_the_size_is_that_of_the_codestream_box_and_not_of_a_decoy(form):
    decoy = box(b"uuid", bytes(16) + siz(64, 64), "long" if form == "long" else "short")
    assert size_in_codestream(SIGNATURE + decoy + box(b"jp2c", siz(60000, 50000), form))[:4] == (50000, 60000, 1, 1)


@pytest.mark.parametrize(
    "boxes",
    [
        b"",
        box(b"uuid", siz(64, 64)),
        box(b"uuid", siz(64, 64), "open") + box(b"jp2c", siz(64, 64)),
        struct.pack(">I4s", 7, b"uuid") + box(b"jp2c", siz(64, 64)),
        struct.pack(">I4sQ", 1, b"uuid", 15) + box(b"jp2c", siz(64, 64)),
        struct.pack(">I4s", 2**31, b"uuid") + box(b"jp2c", siz(64, 64)),
        box(b"jp2c", b"\0" + siz(64, 64)),
        box(b"jp2h", box(b"pclr", bytes(9))) + box(b"jp2c", siz(64, 64)),
    ],
    ids=["none", "decoy only", "open decoy", "short", "long short", "too long", "not at once", "palette"],
)
def test_boxes_that_do_not_lead_to_one_codestream_have_no_size(boxes):
    assert size_in_codestream(SIGNATURE + boxes) is None


@pytest.mark.parametrize(
    "data",
    [
        b"\0" + siz(64, 64),
        siz(64, 64, subsampling=2),
        siz(64, 64, tile=(0, 64)),
        siz(64, 64, offset=64),
        siz(64, 64, tile_offset=1),
        siz(64, 64, tile=(8, 8), offset=8),
        siz(64, 64, components=3)[:44],
        siz(64, 64).replace(b"\0\x29", b"\0\x2c", 1),
    ],
)
def test_a_size_that_cannot_be_is_none(data):
    assert size_in_codestream(data) is None


def test_components_and_tiles_are_counted():
    assert size_in_codestream(siz(64, 64, components=16384))[:4] == (64, 64, 16384, 1)
    assert size_in_codestream(siz(70, 64, tile=(32, 32), offset=6))[:4] == (58, 64, 1, 6)
    assert size_in_codestream(siz(512, 512, tile=(1, 1))).tiles == 2**18


@pytest.mark.parametrize("lone", [b"\xff\x01", b"\xff\xd0", b"\xff\xd8", b"\xff\x00"])
def test_a_marker_without_a_length_hides_no_frame_header(lone):
    # A decoder goes on directly after such a marker. Who takes the next two bytes for a length jumps over SOF.
    real = b"\xff\xc3" + struct.pack(">HBHHB", 11, 16, 60000, 60000, 1) + b"\0\x11\0"
    decoy = b"\xff\xc3" + struct.pack(">HBHHB", 11, 16, 64, 64, 1) + b"\0\x11\0"
    assert size_in_codestream(b"\xff\xd8" + real)[:4] == (60000, 60000, 1, 1)
    assert size_in_codestream(b"\xff\xd8" + lone + real + bytes(0xFFC3 - len(real)) + decoy) is None


def inflate_size(codestream):
    """Claim 60000 rows and columns."""
    if codestream[:4] == b"\xff\x4f\xff\x51":
        return codestream[:8] + (60000).to_bytes(4, "big") * 2 + codestream[16:]
    place = codestream.index(b"\xff\xf7") + 5
    return codestream[:place] + (60000).to_bytes(2, "big") * 2 + codestream[place + 4 :]


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_a_codestream_that_claims_to_be_huge_is_refused_before_it_is_decoded(make_series, edit_file, syntax):
    files = make_series(np.random.default_rng(2).integers(0, 900, (3, 64, 64)).astype(float))

    def spoil(dataset):
        dataset.compress(syntax, generate_instance_uid=False)
        (codestream,) = generate_frames(dataset.PixelData, number_of_frames=1)
        dataset.PixelData = encapsulate([inflate_size(codestream)])

    edit_file(files[1], spoil)
    assert pydicom.dcmread(files[1]).Rows == 64
    tracemalloc.start()
    try:
        with pytest.raises(DicomError, match=r"PixelData .* got a codestream of 60000 x 60000 pixels .*S0001_I0002"):
            read_series(files)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def coding_style(precinct, layers=1):
    """Marker segment COD of one resolution."""
    return b"\xff\x52" + struct.pack(">HBBHBBBBBBB", 13, 1, 0, layers, 0, 0, 0, 0, 0, 1, precinct * 17)


def test_components_of_a_jpeg_frame_are_counted():
    frame_header = struct.pack(">HBHHB", 11, 16, 64, 64, 255)
    assert size_in_codestream(b"\xff\xd8\xff\xf7" + frame_header)[:3] == (64, 64, 255)


def spoiled(codestream, name):
    width = height = 64
    inner = {
        "decoy": siz(60000, 60000),
        "precincts": siz(width, height)[:-2] + coding_style(precinct=0) + b"\xff\xd9",
        "layers": siz(width, height)[:-2] + coding_style(precinct=3, layers=65535) + b"\xff\xd9",
        "components": siz(width, height, components=16384),
        "tiles": siz(width, height, tile=(4, 4)),
    }[name]
    if name != "decoy":
        return inner
    return SIGNATURE + box(b"uuid", bytes(16) + codestream) + box(b"jp2c", inner)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("decoy", "60000 x 60000 pixels"),
        ("components", "16384 samples per pixel, not 1"),
        ("precincts", "4356 precincts, 4356 packets"),
        ("layers", "100 precincts, 6553500 packets"),
        ("tiles", "256 tiles for 64 x 64 pixels"),
    ],
)
def test_a_small_file_of_a_huge_image_never_reaches_the_decoder(make_series, edit_file, monkeypatch, name, found):
    files = make_series(np.random.default_rng(2).integers(0, 900, (3, 64, 64)).astype(float))

    def spoil(dataset):
        dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
        (codestream,) = generate_frames(dataset.PixelData, number_of_frames=1)
        dataset.PixelData = encapsulate([spoiled(codestream, name)])

    edit_file(files[0], spoil)
    monkeypatch.setattr("nsn2n.dicom.pixels.pixel_codecs.pixel_array", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(DicomError, match=rf"PixelData .* got a codestream of {found} \[.*S0001_I0001") as caught:
        read_series(files)
    assert "\n" not in str(caught.value)
