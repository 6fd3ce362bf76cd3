# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""An image goes in, a denoised one with the same metadata comes out."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import nsn2n
from nsn2n.errors import SettingsError, VolumeError
from nsn2n.jobs.options import JobOptions
from nsn2n.operators import NSN2NDenoiseOperator
from nsn2n.operators.nsn2n_denoise_operator import denoise_image
from nsn2n.report import ReportData

# isort: split
# After the operators, which make Holoscan importable.
from monai.deploy.core import Fragment, Image

METADATA = {
    "Modality": "CT",
    "depth_pixel_spacing": 2.0,
    "row_pixel_spacing": 0.75,
    "col_pixel_spacing": 0.5,
    "affine": np.eye(4),
    "anything": "else",
}


def test_is_what_the_method_gives(volumes, small_fit):
    image = denoise_image(
        Image(volumes[2], METADATA), JobOptions(preset="fast", seed=7, strength=0.5, config=small_fit)
    )

    expected = nsn2n.denoise(
        volumes[2], spacing_mm=(2.0, 0.75, 0.5), modality="CT", preset="fast", seed=7, strength=0.5, config=small_fit
    )
    np.testing.assert_array_equal(image.asnumpy(), expected.volume)
    assert image.asnumpy().dtype == np.float32


def test_a_memory_limit_applies(volumes, small_fit):
    with pytest.raises(VolumeError, match="even if volumes are kept in files"):
        denoise_image(Image(volumes[2], METADATA), JobOptions(preset="fast", memory="50M", config=small_fit))


def test_metadata_stays_and_the_record_is_added(volumes, small_fit):
    source = Image(volumes[2], dict(METADATA))

    image = denoise_image(source, JobOptions(preset="fast", seed=7, config=small_fit))

    metadata = image.metadata()
    record = metadata["nsn2n"]
    assert {key: value for key, value in metadata.items() if key not in ("nsn2n", "slice_stack")} == METADATA
    assert source.metadata() == METADATA
    stack = metadata["slice_stack"]
    np.testing.assert_array_equal(stack.values, image.asnumpy())
    assert (stack.modality, stack.spacings_mm) == ("CT", ((2.0, 0.75, 0.5),))
    assert json.loads(json.dumps(record)) == record
    assert record["settings"]["seed"] == 7
    assert "seed 7" in record["summary"]
    assert record["summary"].isascii()


def test_integers_as_the_sdk_reads_them_are_taken(volumes, small_fit):
    as_int16 = denoise_image(Image(volumes[2].astype(np.int16), METADATA), JobOptions(preset="fast", config=small_fit))
    as_float = denoise_image(Image(volumes[2], METADATA), JobOptions(preset="fast", config=small_fit))

    np.testing.assert_array_equal(as_int16.asnumpy(), as_float.asnumpy())


def test_padding_comes_back_as_it_was(volumes, small_fit):
    padding = np.zeros(volumes[2].shape, dtype=bool)
    padding[:, :4] = True
    volume = np.where(padding, -2000.0, volumes[2])
    stack = nsn2n.SliceStack.of(volume, spacing_mm=(2.0, 0.75, 0.5), modality="CT", exclude=padding)

    image = denoise_image(Image(volume, {"slice_stack": stack}), JobOptions(preset="fast", config=small_fit))

    denoised = image.asnumpy()
    np.testing.assert_array_equal(image.metadata()["slice_stack"].mask, ~padding)
    assert (denoised[padding] == -2000).all()
    assert (denoised[~padding] != volume[~padding]).mean() > 0.5


def test_what_a_report_shows_is_added_where_it_is_asked_for(volumes, small_fit):
    options = JobOptions(preset="fast", config=small_fit)

    plain = denoise_image(Image(volumes[3], METADATA), options).metadata()
    reported = denoise_image(Image(volumes[3], METADATA), options, report=True).metadata()

    assert "nsn2n_report" not in plain
    assert isinstance(reported["nsn2n_report"], ReportData)


def test_image_without_metadata_is_denoised_too(volumes, small_fit):
    assert denoise_image(Image(volumes[3]), JobOptions(preset="fast", config=small_fit)).asnumpy().shape == (4, 16, 18)


def test_wrong_images_and_settings_are_refused(volumes, small_fit):
    with pytest.raises(VolumeError, match="slice"):
        denoise_image(Image(volumes[2][:1], METADATA), JobOptions(preset="fast", config=small_fit))
    with pytest.raises(SettingsError, match="steps"):
        NSN2NDenoiseOperator(Fragment(), config={"fit": {"stepps": 3}})


def test_options_by_name_come_before_those_of_the_table():
    options = JobOptions(preset="fast", seed=1, device="cpu", compression="rle")

    operator = NSN2NDenoiseOperator(Fragment(), options=options, seed=7, strength=0.5, name="denoiser")

    assert operator.options == replace(options, seed=7, strength=0.5)
    assert operator.name == "denoiser"
    assert NSN2NDenoiseOperator(Fragment()).options == JobOptions()


def test_graph_goes_on_after_an_image_that_cannot_be_denoised(volumes, small_fit, run_graph, emit, collect):
    failures, sinks, fractions = [], [], []
    images = [Image(volumes[2][:1], METADATA), Image(volumes[3], {**METADATA, "SeriesNumber": 3})]

    def build(app):
        source = emit(app, messages=images, name="source")
        denoiser = NSN2NDenoiseOperator(
            app,
            preset="fast",
            config=small_fit,
            progress=lambda fraction, _: fractions.append(fraction),
            on_error=lambda *arguments: failures.append(arguments),
            name="denoiser",
        )
        sinks.append(collect(app, name="sink"))
        app.add_flow(source, denoiser, {("message", NSN2NDenoiseOperator.INPUT_IMAGE)})
        app.add_flow(denoiser, sinks[0], {(NSN2NDenoiseOperator.OUTPUT_IMAGE, "message")})

    run_graph(build)

    assert [type(error) for _, error in failures] == [VolumeError]
    assert [image.metadata()["SeriesNumber"] for image in sinks[0].received] == [3]
    assert fractions
    assert max(fractions) <= 1
