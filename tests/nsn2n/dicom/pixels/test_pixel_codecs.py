# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Compressed series, made by independent encoders: read bit for bit, written plain, refused where cut short."""

from __future__ import annotations

import re
import subprocess
from importlib import import_module
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import get_decoder
from pydicom.uid import (
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLSLossless,
    RLELossless,
)

from nsn2n.dicom.pixels.pixel_codecs import CODECS, PACKAGES
from nsn2n.dicom.read.series_reader import read_series
from nsn2n.dicom.read.slice_sorting import inspect_series
from nsn2n.dicom.write.series_writer import write_series
from nsn2n.errors import DicomError

BY_PYDICOM = {"RLE": RLELossless, "JPEG-LS": JPEGLSLossless, "JPEG 2000": JPEG2000Lossless}
BY_IMAGECODECS = {"HTJ2K": HTJ2KLossless, "HTJ2K RPCL": HTJ2KLosslessRPCL}
BY_DCMTK = {
    "JPEG Lossless": ("dcmcjpeg", "+el"),
    "JPEG Lossless SV1": ("dcmcjpeg", "+e1"),
    "JPEG-LS of dcmtk": ("dcmcjpls", "+el"),
    "JPEG-LS near lossless": ("dcmcjpls", "+en"),
    "JPEG baseline": ("dcmcjpeg", "+eb"),
    "JPEG extended": ("dcmcjpeg", "+ee"),
}
LOSSLESS = [*BY_PYDICOM, *BY_IMAGECODECS, "JPEG Lossless", "JPEG Lossless SV1", "JPEG-LS of dcmtk"]
CODINGS = [(12, 0), (12, 1), (16, 0), (16, 1), (10, 1)]


@pytest.fixture
def compress(find_program):
    """Compress files in their places by the encoder of a name."""

    def run(files, name):
        if name in BY_DCMTK:
            program, *options = BY_DCMTK[name]
            for file in files:
                subprocess.run([find_program(program), *options, str(file), str(file)], check=True)
            return
        for file in files:
            dataset = pydicom.dcmread(file)
            if name in BY_PYDICOM:
                dataset.compress(BY_PYDICOM[name], generate_instance_uid=False)
            else:
                imagecodecs = pytest.importorskip("imagecodecs")
                dataset.PixelData = encapsulate([imagecodecs.htj2k_encode(dataset.pixel_array)])
                dataset["PixelData"].is_undefined_length = True
                dataset.file_meta.TransferSyntaxUID = BY_IMAGECODECS[name]
            dataset.save_as(file)

    return run


@pytest.fixture
def stored_dhw():
    """Stored values of any coding, made by a function: the whole range, its ends, and a flat slice."""

    def make(bits, signed, shape_dhw=(3, 33, 40)):
        low = -(2 ** (bits - 1)) if signed else 0
        values = np.random.default_rng(bits).integers(low, low + 2**bits, size=shape_dhw)
        values[0, 0, :2] = low, low + 2**bits - 1
        values[1] = low + 7
        return values.astype(float)

    return make


def coding(bits, signed, **overrides):
    bits_allocated = 8 if bits == 8 else 16
    keys = {"BitsAllocated": bits_allocated, "BitsStored": bits, "HighBit": bits - 1, "PixelRepresentation": signed}
    return {**keys, "RescaleIntercept": "0", **overrides}


@pytest.mark.parametrize(("bits", "signed"), CODINGS)
@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_series_is_read_and_written_bit_for_bit(
    make_series, compress, stored_dhw, tmp_path, derivation, name, bits, signed
):
    values_dhw = stored_dhw(bits, signed)
    files = make_series(values_dhw, overrides=coding(bits, signed))
    plain = [pydicom.dcmread(file).PixelData for file in files]
    compress(files, name)
    assert all(pydicom.dcmread(file).PixelData != data for file, data in zip(files, plain, strict=True))
    series = read_series(files)
    np.testing.assert_array_equal(series.stack.values, values_dhw)
    written = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    for file, source, data in zip(written.files, files, plain, strict=True):
        target = pydicom.dcmread(file)
        assert target.PixelData == data
        assert target.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
        assert target.SOPClassUID == pydicom.dcmread(source).SOPClassUID
        assert "LossyImageCompression" not in target


@pytest.mark.parametrize("name", ["RLE", "JPEG-LS of dcmtk", "JPEG 2000", "JPEG Lossless"])
def test_8_bits_are_read_too(make_series, compress, stored_dhw, name):
    values_dhw = stored_dhw(8, 0)
    files = make_series(values_dhw, modality="MR", overrides={**coding(8, 0), "RescaleIntercept": None})
    compress(files, name)
    np.testing.assert_array_equal(read_series(files).stack.values, values_dhw)


def test_syntax_may_differ_between_slices(make_series, compress, stored_dhw):
    values_dhw = stored_dhw(12, 0, (5, 33, 40))
    files = make_series(values_dhw, overrides=coding(12, 0))
    for file, name in zip(files, ("RLE", "JPEG-LS", "JPEG 2000", "JPEG Lossless"), strict=False):
        compress([file], name)
    np.testing.assert_array_equal(read_series(files).stack.values, values_dhw)


@pytest.mark.parametrize(
    ("name", "bits", "method"), [("JPEG-LS near lossless", 12, "ISO_14495_1"), ("JPEG baseline", 8, "ISO_10918_1")]
)
@pytest.mark.parametrize("source_says", [True, False])
def test_loss_is_never_denied(
    make_series, compress, edit_file, tmp_path, derivation, dciodvfy_messages, name, bits, method, source_says
):
    rows, columns = np.mgrid[:33, :40]
    values_dhw = np.stack([rows + columns + index for index in range(3)]).astype(float)
    files = make_series(values_dhw, overrides=coding(bits, 0))
    compress(files, name)
    for file in files:
        edit_file(file, lambda d: None if source_says else silence(d))
    said = pydicom.dcmread(files[0]).get("LossyImageCompressionRatio")
    series = read_series(files)
    assert np.abs(series.stack.values - values_dhw).max() <= 8
    written = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    target = pydicom.dcmread(written.files[0])
    assert target.LossyImageCompression == "01"
    assert target.LossyImageCompressionMethod == method
    frame = next(generate_frames(pydicom.dcmread(files[0]).PixelData, number_of_frames=1))
    expected = float(said) if source_says else 33 * 40 * (1 if bits == 8 else 2) / len(frame)
    assert target.LossyImageCompressionRatio == pytest.approx(expected, rel=1e-3)
    added = dciodvfy_messages(written.files) - dciodvfy_messages(files)
    assert not [line for line in added if line.startswith("Error")]


def silence(dataset):
    dataset.LossyImageCompression = "00"
    for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if keyword in dataset:
            delattr(dataset, keyword)


@pytest.mark.parametrize("keep", [0.999, 0.9, 0.5, 0.05, 0.0], ids="{:.1%}".format)
@pytest.mark.parametrize("name", LOSSLESS)
def test_codestream_that_is_cut_short_is_refused(make_series, compress, edit_file, stored_dhw, caplog, name, keep):
    files = make_series(stored_dhw(12, 0), overrides=coding(12, 0))
    compress(files, name)

    def cut(dataset):
        frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
        dataset.PixelData = encapsulate([frame[: int(len(frame) * keep)] or b"\0\0"])
        dataset["PixelData"].is_undefined_length = True

    edit_file(files[2], cut)
    with pytest.raises(DicomError, match=r"PixelData \(7FE0,0010\) must be decodable .*I0003\.dcm, series 2\."):
        read_series(files)
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("name", LOSSLESS)
def test_file_that_is_cut_short_is_refused(make_series, compress, stored_dhw, name):
    files = make_series(stored_dhw(12, 0), overrides=coding(12, 0))
    compress(files, name)
    files[1].write_bytes(files[1].read_bytes()[:-700])
    with pytest.raises(DicomError, match=r"I0002\.dcm"):
        read_series(files)


@pytest.mark.parametrize(
    ("keyword", "value", "found"),
    [
        ("Rows", 32, "PixelData"),
        ("Columns", 41, "PixelData"),
        ("BitsStored", 9, r"0\.\.4095 in its codestream|beyond BitsStored"),
    ],
)
@pytest.mark.parametrize("name", ["JPEG Lossless SV1", "JPEG 2000", "JPEG-LS"])
@pytest.mark.filterwarnings("ignore:The .* specifies:UserWarning")
def test_codestream_that_holds_something_else_is_refused(
    make_series, compress, edit_file, stored_dhw, name, keyword, value, found
):
    # Values of 12 bits in a codestream of 12: no decoder may cut them to the 9 bits that the header then claims.
    files = make_series(stored_dhw(12, 0), overrides=coding(12, 0))
    compress(files, name)
    for file in files:
        edit_file(file, lambda d: (setattr(d, keyword, value), setattr(d, "HighBit", d.BitsStored - 1)))
    with pytest.raises(DicomError, match=found):
        read_series(files)


def test_lossy_jpeg_of_12_bits_is_refused_by_its_header(make_series, compress, stored_dhw):
    files = make_series(stored_dhw(12, 0), overrides=coding(12, 0))
    compress(files, "JPEG extended")
    assert pydicom.dcmread(files[0]).file_meta.TransferSyntaxUID == JPEGExtended12Bit
    with pytest.raises(DicomError, match=r"\(0002,0010\) must be one that can be decoded; got JPEG Ext.* 12 bits"):
        inspect_series(files)


def test_every_decoder_is_installed():
    for syntax, codec in CODECS.items():
        assert codec.plugin in pydicom.pixels.get_decoder(syntax).available_plugins


@pytest.fixture
def without_decoder(monkeypatch):
    """Make pydicom find the decoder of a transfer syntax as where its packages are not installed."""
    removed = []

    def remove(syntax):
        plugin = CODECS[syntax].plugin
        decoder, module = get_decoder(syntax), f"pydicom.pixels.decoders.{plugin}"
        removed.append((decoder, plugin, module))
        decoder.remove_plugin(plugin)
        with monkeypatch.context() as patch:
            patch.setattr(import_module(module), "is_available", lambda _syntax: False)
            decoder.add_plugin(plugin, (module, "_decode_frame"))
        assert plugin not in decoder.available_plugins

    yield remove
    for decoder, plugin, module in removed:
        decoder.remove_plugin(plugin)
        decoder.add_plugin(plugin, (module, "_decode_frame"))


@pytest.mark.parametrize(
    ("name", "packages"),
    [
        ("JPEG Lossless SV1", ["python-gdcm"]),
        ("JPEG-LS", ["pyjpegls"]),
        ("JPEG 2000", ["pylibjpeg", "pylibjpeg-openjpeg"]),
    ],
)
def test_a_missing_decoder_is_named_with_what_to_install(
    make_series, compress, stored_dhw, without_decoder, name, packages
):
    files = make_series(stored_dhw(12, 0), overrides=coding(12, 0))
    compress(files, name)
    syntax = pydicom.dcmread(files[0]).file_meta.TransferSyntaxUID
    assert read_series(files).stack.values.any()

    without_decoder(syntax)

    for read in (inspect_series, read_series):
        with pytest.raises(DicomError) as caught:
            read(files)
        message = str(caught.value)
        assert "\n" not in message
        assert message.startswith(
            "TransferSyntaxUID (0002,0010) must be one whose decoder is installed; got "
            f"{syntax.name} ({syntax}), which needs {' and '.join(packages)} [{files[0].parent}"
        )
        assert message.endswith(
            f", series {pydicom.dcmread(files[0]).SeriesInstanceUID}]. Run: pip install {' '.join(packages)}"
        )


def test_packages_of_decoders_are_those_that_the_project_asks_for():
    assert {codec.plugin for codec in CODECS.values()} == {*PACKAGES, "pydicom"}
    text = Path(__file__).resolve().parents[4].joinpath("requirements.txt").read_text()
    asked_for = set(re.findall(r"^[\w-]+", text, flags=re.MULTILINE))
    assert {package for packages in PACKAGES.values() for package in packages} <= asked_for
