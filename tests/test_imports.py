# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Which part may import which: downward only, without circles. And each module has its tests.

The tree of the tests mirrors that of the code.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import numpy as np
import pytest

from nsn2n.synthetic.dicom_series import write_synthetic_series

ROOT = Path(__file__).resolve().parents[1]

# Folders, with the name that each is installed under; the longest first.
PACKAGES = {"app": "nsn2n.app", "operators": "nsn2n.operators", "nsn2n": "nsn2n"}

# From the top down. A part imports parts of the layers below it, and itself.
LAYERS = (
    ("nsn2n.__main__",),
    ("nsn2n.app", "nsn2n.cli"),
    ("nsn2n.operators",),
    ("nsn2n.node", "nsn2n.batch"),
    ("nsn2n.jobs",),
    ("nsn2n.dicom", "nsn2n.files", "nsn2n.report", "nsn2n.synthetic", "nsn2n.transforms", "nsn2n.__init__"),
    ("nsn2n.denoising",),
    ("nsn2n.interpolated_slices",),
    ("nsn2n.pipeline", "nsn2n.result", "nsn2n.images"),
    ("nsn2n.earlier_fits",),
    ("nsn2n.stages",),
    ("nsn2n.probes", "nsn2n.simulated_copy"),
    ("nsn2n.training", "nsn2n.filters", "nsn2n.structure_check"),
    ("nsn2n.contrast_kept", "nsn2n.noise"),
    ("nsn2n.stack", "nsn2n.measurements"),
    ("nsn2n.settings", "nsn2n.modality"),
    ("nsn2n.arrays",),
    ("nsn2n.runtime",),
    ("nsn2n.errors", "nsn2n._aliases", "nsn2n._version"),
)

# What parts must not touch, wherever in a file the import stands. The rest of the method and its files: METHOD.
METHOD = ("pydicom", "highdicom", "monai.deploy", "holoscan")
FILES = ("torch", "monai", "holoscan")
FORBIDDEN = {
    **{part: METHOD for layer in LAYERS[5:] for part in layer},
    "nsn2n.dicom": FILES,
    "nsn2n.batch": FILES,
    "nsn2n.jobs": FILES,
    "nsn2n.node": FILES,
    "nsn2n.synthetic": FILES,
}

# `import monai` imports the SDK and Holoscan, where they are installed: what is for MONAI alone cannot do without.
FOR_MONAI = {"nsn2n.transforms"}


def _modules() -> dict[str, Path]:
    """Return each shipped source file by its installed name; a package's own file ends in ``__init__``."""
    found = {}
    for folder, package in PACKAGES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            found[".".join((package, *path.relative_to(ROOT / folder).with_suffix("").parts))] = path
    return found


MODULES = _modules()


def _part(module: str) -> str:
    """Return the part of the house that a module belongs to."""
    parts = [part for layer in LAYERS for part in layer if module == part or module.startswith(f"{part}.")]
    assert len(parts) == 1, f"{module} belongs to {parts or 'no part'}: give it a place in LAYERS"
    return parts[0]


def _layer(part: str) -> int:
    return next(index for index, layer in enumerate(LAYERS) if part in layer)


def _imports(path: Path) -> Iterator[str]:
    """Yield the absolute names that a file imports, also inside functions and for type checkers."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports by a relative name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _own(name: str) -> str | None:
    """Return the module of this project that an imported name is, or is in; None if it is another's."""
    if name.split(".")[0] != "nsn2n" or name.startswith("nsn2n.bundle"):
        return None
    pieces = name.split(".")
    for end in range(len(pieces), 0, -1):
        module = ".".join(pieces[:end])
        if module in MODULES:
            return module
        if f"{module}.__init__" in MODULES:
            return f"{module}.__init__"
    raise AssertionError(f"nothing is called {name}")


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    own = _part(module)
    wrong = []
    for name in _imports(MODULES[module]):
        other = _own(name)
        by_folder = name.split(".")[0] in ("app", "operators", "models", "tests", "benchmarks")
        forbidden = any(name == f or name.startswith(f"{f}.") for f in FORBIDDEN.get(own, ()))
        upward = other is not None and _part(other) != own and _layer(_part(other)) <= _layer(own)
        if upward or by_folder or forbidden:
            wrong.append(name)

    assert not wrong, f"{MODULES[module].relative_to(ROOT)} imports {wrong}, which is not below it"


def test_there_is_no_circle():
    """Neither when a module is imported, nor inside of functions, nor for type checkers."""
    graph = {}
    for module, path in MODULES.items():
        # What a package re-exports is looked for in the module that it comes from.
        graph[module] = {other for name in _imports(path) if (other := _own(name)) not in (None, module)}

    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


def _import_with_blocked(
    modules: list[str], blocked: tuple[str, ...], then: str = ""
) -> subprocess.CompletedProcess[str]:
    code = f"""
import importlib, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if any(name == b or name.startswith(b + ".") for b in {blocked!r}):
            raise ModuleNotFoundError(f"{{name}} is blocked here", name=name)

sys.meta_path.insert(0, Blocker())
for module in {modules!r}:
    importlib.import_module(module)
{then}
"""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize("blocked", [METHOD, FILES], ids=["the method", "files and jobs"])
def test_lower_layers_work_without_the_libraries_of_the_upper_ones(blocked):
    lower = [module for module in MODULES if FORBIDDEN.get(_part(module)) == blocked and module not in FOR_MONAI]
    modules = [module.removesuffix(".__init__") for module in lower]
    assert len(modules) > 20

    result = _import_with_blocked(modules, blocked)

    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("preset", ["fast", "paper"])
def test_the_command_line_works_without_what_the_application_needs(tmp_path, preset):
    """As installed without extras: no MONAI, SDK, Holoscan, GDCM or Ray. Only the preset ``paper`` misses MONAI."""
    volume = np.random.default_rng(0).normal(40, 25, (3, 16, 16))
    write_synthetic_series(volume, tmp_path / "study", seed="r")
    arguments = ["denoise", str(tmp_path / "study"), str(tmp_path / "out"), "--preset", preset, "--budget", "0.1"]
    run = f"import sys; sys.argv = ['nsn2n', *{arguments!r}]; from nsn2n.cli.main import main; main()"
    blocked = ("monai", "holoscan", "gdcm", "_gdcm", "ray", "requests")
    result = _import_with_blocked([], blocked, then=run)
    if preset == "fast":
        assert result.returncode == 0, result.stderr
        assert len(list((tmp_path / "out").glob("2.25.*/*.dcm"))) == 3
    else:
        assert result.returncode == 1
        assert "Run: pip install 'nsn2n[paper]'" in result.stderr
        assert "Traceback" not in result.stderr


def test_no_module_takes_the_name_of_one_of_pythons():
    """The packager of MONAI Deploy puts each folder on the path: such a name would hide Python's own module there."""
    names = {name for module in MODULES for name in module.split(".")} - {"__init__", "__main__"}

    assert not names & (sys.stdlib_module_names | {"compression"})  # the latter from Python 3.14 on


def test_every_module_has_its_tests():
    missing = []
    for path in MODULES.values():
        # A package's __init__ and __main__ only connect; version, types and errors are names.
        if path.stem in ("__init__", "__main__", "_version", "_aliases", "errors"):
            continue
        test = ROOT / "tests" / path.relative_to(ROOT).parent / f"test_{path.stem}.py"
        if not test.is_file():
            missing.append(str(test.relative_to(ROOT)))

    assert not missing, f"modules without tests of their own: {missing}"


def test_every_test_of_a_module_has_its_module():
    """A module that moves takes its tests along. Tests of several modules stand in a folder, or are named below."""
    together = {
        "nsn2n/dicom": {"cases_table", "fuzz", "identity", "pet"},
        "nsn2n/files": {"fuzz"},
        "nsn2n/cli": {"fuzz"},
        "nsn2n": {"constant_background", "memory_limit", "on_a_gpu"},
        "nsn2n/stages": {"stages"},
        "nsn2n/jobs": {"both_ways", "fuzz"},
    }
    lost = []
    for folder in PACKAGES:
        for path in (ROOT / "tests" / folder).rglob("test_*.py"):
            place = path.relative_to(ROOT / "tests").parent
            name = path.stem.removeprefix("test_")
            alone = name in together.get(place.as_posix(), ())
            if not alone and not (ROOT / place / f"{name}.py").is_file():
                lost.append(str(path.relative_to(ROOT)))

    assert not lost, f"tests without a module of their name: {lost}"
