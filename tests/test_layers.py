"""Imports point down; optional packages each have one door; importing psgd is cheap."""

import ast
import sys
from functools import cache
from pathlib import Path

import pytest
from processes import ROOT, python

PACKAGE = ROOT / "psgd"

# The layer of each module or package of psgd (DESIGN, section 4).
LAYERS = {
    0: (
        "errors",
        "streams",
        "cache",
        "blas",
        "native",
        "kernels",
        "code_cache",
        "machine_code",
        "products",
        "numerics",
        "launcher",
    ),
    1: ("learners", "optimizer", "data", "replica", "roster"),
    2: ("strategy", "group"),
    3: (
        "job",
        "batches",
        "turns",
        "legs",
        "agreement",
        "saving",
        "loop",
        "evaluation",
        "checkpoint",
        "metrics",
        "record",
        "bar",
        "signals",
        "rundir",
        "environment",
        "curves",
        "abreast",
        "forecast",
    ),
    4: (
        "config",
        "build",
        "compiling",
        "choose",
        "sizes",
        "summary",
        "model",
        "probe",
        "fit_settings",
        "fit_task",
        "fit_session",
    ),
    5: ("order", "session", "train", "predict", "plot", "fitting", "ray_driver"),
}
LAYER = {name: layer for layer, names in LAYERS.items() for name in names}
DOORS = {
    "mpi4py": {"psgd.group.mpi"},
    "ray": {"psgd.group.ray"},
    "pydantic": {"psgd.config.schema", "psgd.config.problems"},
    "yaml": {"psgd.config.document"},
    "cupy": set(),
    "matplotlib": {"psgd.plot"},
    "sklearn": set(),
    "scipy": {"psgd.products", "psgd.native"},
    "numba": {"psgd.kernels.arrays", "psgd.kernels.calls", "psgd.kernels.passes", "psgd.kernels.__main__"},
    "llvmlite": {"psgd.kernels.calls", "psgd.kernels.__main__", "psgd.code_cache", "psgd.machine_code"},
}


@cache
def modules() -> dict[str, Path]:
    paths = (p for p in PACKAGE.rglob("*.py") if "__pycache__" not in p.parts)
    return {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in paths}


@cache
def imports(path: Path) -> list[tuple[str, bool]]:
    """(module imported, whether when `path` is) of a file."""
    tree = ast.parse(path.read_text())
    inside = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) not in inside) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{a.name}" for a in node.names if f"{node.module}.{a.name}" in modules()]
            found += [(name, id(node) not in inside) for name in names or [str(node.module)]]
    return found


def part(module: str) -> str | None:
    return module.split(".")[1] if module.startswith("psgd.") else None


@pytest.mark.parametrize("module", sorted(set(modules()) - {"psgd"}))
def test_imports_point_down(module):
    here = part(module)
    assert here in LAYER, f"{module} has no layer: say in this test where it stands"
    for name, _ in imports(modules()[module]):
        there = part(name)
        if there is None or there == here:
            continue
        assert LAYER[there] <= LAYER[here], f"{module} imports {name}, which stands above it"
        assert {here, there} != {"strategy", "group"}, f"{module} imports {name}: neither may know the other"


@pytest.mark.parametrize("package", DOORS)
def test_optional_packages_have_one_door(package):
    users = {m for m, path in modules().items() for name, _ in imports(path) if name.split(".")[0] == package}
    assert users == DOORS[package]


def test_what_is_compiled_is_imported_by_its_compiler_only():
    """But for what psgd tells it: no process of a training holds numba."""
    for module, path in modules().items():
        found = {name for name, _ in imports(path) if name.startswith("psgd.kernels")}
        assert part(module) == "kernels" or found <= {"psgd.kernels.records"}, module


@pytest.mark.parametrize("package", ["mpi4py", "ray", "matplotlib", "llvmlite"])
def test_optional_packages_are_imported_lazily(package):
    for module, path in modules().items():
        at_once = {name.split(".")[0] for name, at_once in imports(path) if at_once}
        assert part(module) == "kernels" or package not in at_once, module


def test_importing_psgd_imports_no_numpy():
    code = "import sys, psgd; assert 'numpy' not in sys.modules and 'psgd.errors' not in sys.modules"
    assert python("-c", code).code == 0


def test_a_process_other_than_the_first_reads_no_config():
    code = "import sys, psgd.train, psgd.session; assert not {'pydantic', 'yaml'} & set(sys.modules)"
    assert python("-c", code).code == 0


def test_the_standard_library_and_dependencies_are_all_there_is():
    allowed = {"psgd", "numpy", "safetensors", "threadpoolctl", *DOORS, *sys.stdlib_module_names}
    used = {name.split(".")[0] for path in modules().values() for name, _ in imports(path)}
    assert used <= allowed
