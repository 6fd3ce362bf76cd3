# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The worked examples of CONTRIBUTING.md are applied to a copy of the code, and do what they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
# By the headings under which they stand.
EXAMPLES = {
    title: re.findall(r"^```diff\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
    for title, section in re.findall(r"^### (.*?)\n(.*?)(?=^##|\Z)", TEXT, flags=re.MULTILINE | re.DOTALL)
}

PROOFS = {
    "An option": """
        from nsn2n.app.settings import app_yaml_keys
        from nsn2n.cli.main import app
        from nsn2n.jobs.options import JobOptions
        from nsn2n.jobs.options_table import options_page
        from typer.main import get_command

        assert "refuse_review" in app_yaml_keys()
        (option,) = [one for one in get_command(app).commands["denoise"].params if one.name == "refuse_review"]
        assert option.opts == ["--refuse-review"]
        assert "| `--refuse-review` | `refuse_review` | `false` | DICOM |" in options_page()

        import pathlib
        from nsn2n.errors import DicomError
        from nsn2n.jobs.dicom_job import write_denoised
        record = {"structure": {"verdict": "review"}, "summary": "s"}
        try:
            write_denoised(None, record, [], pathlib.Path("out"), JobOptions(refuse_review=True), set(), "CT series 2")
        except DicomError as error:
            assert "it says review [CT series 2]" in str(error)
        else:
            raise AssertionError("written")
    """,
    "A stage": """
        import numpy as np
        import nsn2n
        from nsn2n.settings import Settings
        from nsn2n.stages import stages

        names = [stage.name for stage in stages(Settings(), None)]
        assert names.index("median") == names.index("bounds") - 1
        noisy = np.random.default_rng(0).normal(100, 5, (4, 24, 24)).astype(np.float32)
        config = {"fit": {"steps": 2, "crop_px": 16}, "network": {"channels": 2, "levels": 1}}
        fractions = []
        result = nsn2n.denoise(noisy, config=config, progress=lambda fraction, _: fractions.append(fraction))
        assert fractions == sorted(fractions) and fractions[-1] == 1
        assert result.volume.std() < 3
    """,
    "A term of the loss": """
        import numpy as np
        import nsn2n

        noisy = np.random.default_rng(0).normal(100, 5, (4, 24, 24)).astype(np.float32)
        config = {"fit": {"steps": 2, "crop_px": 16}, "network": {"channels": 2, "levels": 1}}
        plain, weighed = (
            nsn2n.denoise(noisy, config={**config, "loss": {"energy": weight}}).loss[0] for weight in (0.0, 1.0)
        )
        assert weighed > plain + 100  # values of some 20 noise sd, squared
    """,
    "A modality": """
        from nsn2n.cli.options import job_options
        from nsn2n.dicom.image_kinds import ENHANCED_CLASSES
        from nsn2n.dicom.selection.rules import default_rules
        from nsn2n.modality import Modality, policy_of

        assert policy_of("NM").unit == "counts"
        assert "1.2.840.10008.5.1.4.1.1.20" in ENHANCED_CLASSES
        assert default_rules().selections[0].name == "NM volume"
        assert job_options({"modality": "NM"}).modality is Modality.NM

        import numpy as np
        import nsn2n
        noisy = np.random.default_rng(0).normal(100, 5, (4, 24, 24)).astype(np.float32)
        config = {"fit": {"steps": 2, "crop_px": 16}, "network": {"channels": 2, "levels": 1}}
        assert nsn2n.denoise(noisy, modality="NM", config=config).measured.modality == "NM"
    """,
    "A kind of DICOM image that must not be denoised": """
        from nsn2n.dicom.image_kinds import why_not_a_volume
        from pydicom.dataset import Dataset

        header = Dataset()
        header.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        header.ImageType = ["ORIGINAL", "PRIMARY", "CALIBRATION"]
        assert "a calibration image" in why_not_a_volume(header)
    """,
}


def _apply(diff: str, folder: Path) -> None:
    """Apply a diff without line numbers: what it has before must stand exactly once in the file."""
    for change in re.split(r"^--- .*\n", diff, flags=re.MULTILINE)[1:]:
        name, _, hunks = change.partition("\n")
        file = folder / name.removeprefix("+++ b/")
        content = file.read_text(encoding="utf-8") if file.exists() else ""
        for hunk in hunks.split("@@\n")[1:]:
            lines = hunk.splitlines()
            before = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("+"))
            after = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("-"))
            assert content.count(before) == 1 or not (before or content), f"{name} has no, or several:\n{before}"
            content = content.replace(before, after) if before else after
        file.write_text(content, encoding="utf-8")


def test_every_example_has_a_proof():
    assert {title for title, blocks in EXAMPLES.items() if blocks} == set(PROOFS)
    assert all(len(EXAMPLES[title]) == 1 for title in PROOFS)


@pytest.mark.parametrize("title", PROOFS)
def test_the_example_does_what_it_says(title, tmp_path):
    for name in ("nsn2n", "operators", "app", "models"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (block,) = EXAMPLES[title]
    _apply(block, tmp_path)
    for folder, place in {"operators": "operators", "app": "app", "models/nsn2n": "bundle"}.items():
        (tmp_path / "nsn2n" / place).symlink_to(tmp_path / folder)

    lines = [line[8:] for line in PROOFS[title].splitlines()]
    proof = "\n".join(["import nsn2n", f"assert nsn2n.__file__.startswith({str(tmp_path)!r})", *lines])
    proven = subprocess.run(
        [sys.executable, "-c", proof],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip

    assert proven.returncode == 0, proven.stderr
