"""What import contracts cannot say."""

import ast
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "transmeta"
IMPORTER = PACKAGE / "models" / "importer.py"
MODULES = sorted(PACKAGE.rglob("*.py"))
UNSAFE = {("torch", "load"), ("yaml", "load"), ("tarfile", "extractall"), ("zipfile", "extractall")}
MOST_LINES = 400


def calls(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
                yield function.value.id, function.attr
            elif isinstance(function, ast.Name):
                yield "", function.id


def test_import_transmeta_loads_neither_torch_nor_ray_nor_numpy():
    program = (
        "import sys, transmeta; print(sorted({'torch', 'ray', 'numpy', 'sklearn', 'sqlalchemy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_is_unpickled_or_evaluated(path):
    found = set(calls(path))

    assert not found & {("", "eval"), ("", "exec")}
    assert path == IMPORTER or not found & UNSAFE


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_is_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("group", ["transmeta.tasks", "transmeta.models", "transmeta.strategies"])
def test_every_entry_point_loads(group):
    points = [point for point in entry_points(group=group) if point.value.startswith("transmeta.")]
    assert points
    for point in points:
        assert point.load()() is not None
