# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""metadata.json holds what MONAI asks of a bundle, and what it says is true.

MONAI's own schema is behind the URL in the file and needs the internet:

    python -m monai.bundle verify_metadata --meta_file models/nsn2n/configs/metadata.json --filepath schema.json

Here that same function gets a schema that demands at least as much, and knows every key, so that a misspelled one is
refused too.
"""

from __future__ import annotations

import copy
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import nsn2n
from nsn2n.runtime.cudart import preload_cudart

preload_cudart()

from monai.bundle import verify_metadata  # noqa: E402

if sys.version_info >= (3, 11):
    pass
else:
    pass

ROOT = Path(__file__).resolve().parents[2]
METADATA = json.loads((ROOT / "models" / "nsn2n" / "configs" / "metadata.json").read_text())


def _object(required, optional=()):
    """Schema of an object with these keys and no other; a str as type stands for its schema."""
    keys = {**dict(required), **dict(optional)}
    schemas = {key: {"type": kind} if isinstance(kind, str) else kind for key, kind in keys.items()}
    return {"type": "object", "properties": schemas, "required": list(dict(required)), "additionalProperties": False}


def _list(of):
    return {"type": "array", "items": {"type": of}}


def _named(schema):
    """One or more objects of one kind, under names that one may choose."""
    return {"type": "object", "minProperties": 1, "additionalProperties": schema}


TENSOR = _object(
    {
        "type": {"enum": ["image", "series", "tuples", "probabilities"]},
        "format": "string",
        "num_channels": "integer",
        "spatial_shape": _list(["string", "integer"]),
        "dtype": "string",
        "value_range": _list("number"),
    },
    {"modality": "string", "is_patch_data": "boolean", "channel_def": _named({"type": "string"})},
)
SCHEMA = _object(
    {
        **dict.fromkeys(("schema", "version", "monai_version", "pytorch_version", "numpy_version"), "string"),
        **dict.fromkeys(("task", "description", "authors", "copyright"), "string"),
        "required_packages_version": _named({"type": "string"}),
        "network_data_format": _object({"inputs": _named(TENSOR), "outputs": _named(TENSOR)}),
    },
    {
        **dict.fromkeys(("name", "data_source", "data_type", "image_classes", "pred_classes"), "string"),
        "intended_use": "string",
        "references": _list("string"),
    },
)


@pytest.fixture
def verify(tmp_path):
    """MONAI's check, of a content; it takes the schema that lies there and downloads none."""

    def check(content):
        (tmp_path / "metadata.json").write_text(json.dumps(content))
        (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "No hash value provided")  # of the schema written above
            verify_metadata(meta_file=str(tmp_path / "metadata.json"), filepath=str(tmp_path / "schema.json"))

    return check


def test_monai_accepts_it(verify):
    verify(METADATA)


@pytest.mark.parametrize("key", SCHEMA["required"])
def test_monai_refuses_it_without(key, verify):
    with pytest.raises(ValueError, match="must provide the `schema`" if key == "schema" else "Failed validating"):
        verify({name: value for name, value in METADATA.items() if name != key})


@pytest.mark.parametrize("path", [("autors",), ("network_data_format", "inputs", "image", "dtpye")])
def test_monai_refuses_a_misspelled_key(path, verify):
    content = copy.deepcopy(METADATA)
    place = content
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = "float32"

    with pytest.raises(ValueError, match="Failed validating"):
        verify(content)


def test_versions_are_those_of_the_package():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    requirements = [Requirement(line) for line in lines if not line.startswith("#")]
    allowed = {requirement.name: requirement.specifier for requirement in requirements}
    stated = {"monai": METADATA["monai_version"], "torch": METADATA["pytorch_version"]}
    stated |= {"numpy": METADATA["numpy_version"], **METADATA["required_packages_version"]}

    assert METADATA["version"] == nsn2n.__version__
    for name, version in stated.items():
        assert Version(version) in allowed[name], name
    assert METADATA["schema"].startswith("https://")


def test_the_method_takes_and_gives_what_it_says():
    image = METADATA["network_data_format"]["inputs"]["image"]
    output = METADATA["network_data_format"]["outputs"]["pred"]
    noisy_dhw = np.random.default_rng(0).normal(0, 1, (3, 18, 21)).astype(image["dtype"])

    result = nsn2n.denoise(noisy_dhw, preset="fast", config={"fit": {"steps": 2}})

    assert image["spatial_shape"] == output["spatial_shape"] == ["*"] * noisy_dhw.ndim
    assert image["num_channels"] == output["num_channels"] == 1
    assert result.volume.dtype == output["dtype"]
    assert result.volume.shape == noisy_dhw.shape
