# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Which part may import which: app -> operators -> nsn2n.dicom -> the method, never back.

And each module has its tests, in a tree that mirrors the code.

The command line and the demonstration stand with the application on top: they connect everything.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Folders from the top down, with the name that each is installed under.
PACKAGES = {
    "app": "nsn2n.app",
    "operators": "nsn2n.operators",
    "nsn2n/cli": "nsn2n.cli",
    "nsn2n/jobs": "nsn2n.jobs",
    "nsn2n/synthetic": "nsn2n.synthetic",
    "nsn2n/dicom": "nsn2n.dicom",
    "nsn2n": "nsn2n",
}
LAYERS = list(PACKAGES.values())
# What the lower layers must not touch, wherever in a file the import stands.
FORBIDDEN = {
    "nsn2n.jobs": ("torch", "monai", "holoscan"),
    "nsn2n.dicom": ("torch", "monai", "holoscan"),
    "nsn2n": ("pydicom", "highdicom", "monai.deploy", "holoscan"),
}


def _modules() -> Iterator[tuple[Path, str]]:
    """Yield each shipped source file and its installed module name."""
    for folder, package in PACKAGES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            if package == "nsn2n" and f"nsn2n/{parts[0]}" in PACKAGES:
                continue
            name = ".".join((package, *parts)).removesuffix(".__init__")
            yield path, name


def _layer(module: str) -> int:
    """Return the place of a module among the layers; 0 is the top."""
    if module.startswith(("nsn2n.cli.main", "nsn2n.cli.demo", "nsn2n.__main__")):
        return 0
    for place, package in enumerate(LAYERS):
        if module == package or module.startswith(f"{package}."):
            return place
    raise ValueError(module)


def _imports(path: Path, module: str) -> Iterator[str]:
    """Yield the absolute names that a file imports, also inside functions and for type checkers."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [node.module])])
            # `from nsn2n import dicom` imports nsn2n.dicom.
            yield from (f"{base}.{alias.name}" for alias in node.names)


MODULES = list(_modules())


@pytest.mark.parametrize(("path", "module"), MODULES, ids=[module for _, module in MODULES])
def test_imports_point_down(path, module):
    own = _layer(module)
    wrong = []
    for name in _imports(path, module):
        first = name.split(".")[0]
        forbidden = FORBIDDEN.get(LAYERS[own], ())
        upward = first == "nsn2n" and not name.startswith("nsn2n.bundle") and _layer(name) < own
        by_folder = first in ("app", "operators", "models", "tests", "benchmarks")
        if upward or by_folder or any(name == f or name.startswith(f"{f}.") for f in forbidden):
            wrong.append(name)

    assert not wrong, f"{path.relative_to(ROOT)} imports {wrong} from a layer above it"


def _import_with_blocked(modules: list[str], blocked: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    code = f"""
import importlib, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if any(name == b or name.startswith(b + ".") for b in {blocked!r}):
            raise ModuleNotFoundError(f"{{name}} is blocked here", name=name)

sys.meta_path.insert(0, Blocker())
for module in {modules!r}:
    importlib.import_module(module)
"""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize("layer", ["nsn2n", "nsn2n.dicom", "nsn2n.jobs"])
def test_lower_layers_work_without_the_libraries_of_the_upper_ones(layer):
    own = LAYERS.index(layer)
    modules = [module for _, module in MODULES if _layer(module) == own and not module.endswith("__main__")]
    assert layer in modules

    result = _import_with_blocked(modules, FORBIDDEN[layer])

    assert result.returncode == 0, result.stderr


def test_every_module_has_its_tests():
    missing = []
    for path, _ in MODULES:
        # A package's __init__ and __main__ only connect; the version is a constant, the errors are names.
        if path.stem in ("__init__", "__main__", "_version", "errors"):
            continue
        test = ROOT / "tests" / path.relative_to(ROOT).parent / f"test_{path.stem.lstrip('_')}.py"
        if not test.is_file():
            missing.append(str(test.relative_to(ROOT)))

    assert not missing, f"modules without tests of their own: {missing}"
