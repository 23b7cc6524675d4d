"""Imports point down, one module imports each optional package, and importing psgd is cheap."""

import ast
import re
import sys
from functools import cache
from pathlib import Path

import pytest
from processes import ROOT, python

PACKAGE = ROOT / "psgd"

# The packages from top to bottom (DESIGN, section 3). A module may import from its own package and from the levels
# below it, but not from another package of the same level.
LEVELS = (
    ("__main__", "train", "predict", "plot", "report", "explain", "configs", "completion", "export", "sklearn"),
    ("compare", "doctor"),
    ("jobs",),
    ("training",),
    ("strategy",),
    ("group", "learners"),
    ("optimizers", "data"),
    ("backends", "config"),
    ("core",),
)
LEVEL = {package: len(LEVELS) - number for number, packages in enumerate(LEVELS) for package in packages}
DOORS = {
    "mpi4py": {"psgd.group.mpi.library"},
    "ray": {"psgd.group.ray.library"},
    "pydantic": {
        "psgd.config.comparison",
        "psgd.config.comparison_file",
        "psgd.config.settings",
        "psgd.config.value_checks",
        "psgd.config.value_types",
        "psgd.learners.model_about",
        "psgd.learners.saved_structure",
    },
    "yaml": {"psgd.config.document"},
    "cupy": {"psgd.backends.cuda.cupy_device"},
    "packaging": {"psgd.doctor.checks.packages"},
    "matplotlib": {"psgd.compare.single_run.picture", "psgd.compare.report.png"},
    "rich": {"psgd.training.progress_bar"},
    "mlflow": {"psgd.jobs.trackers.mlflow"},
    "tensorboardX": {"psgd.jobs.trackers.tensorboard"},
    "onnx": {"psgd.jobs.export.onnx_graph"},
    "pandas": {"psgd.jobs.export.sklearn_library", "psgd.jobs.run"},
    "sklearn": {"psgd.jobs.estimators.scikit_learn", "psgd.jobs.export.sklearn_library"},
    "shtab": {"psgd.completion"},
    "scipy": {"psgd.backends.numpy.products", "psgd.backends.native", "psgd.compare.analysis.statistics"},
}


@cache
def modules() -> dict[str, Path]:
    paths = (p for p in PACKAGE.rglob("*.py") if "__pycache__" not in p.parts)
    return {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in paths}


@cache
def imports(path: Path) -> list[tuple[str, bool]]:
    """The modules that a file imports, each with whether it is imported when the file is."""
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


def package(module: str) -> str | None:
    return module.split(".")[1] if module.startswith("psgd.") else None


def forbidden(module: str, imported: str) -> str | None:
    """Why an import between two modules of psgd is forbidden; None if it is allowed."""
    here, there = package(module), package(imported)
    if there is None or there == here:
        return None
    if here is None:
        return None if there == "core" else f"{module} imports {imported} when psgd is imported"
    if LEVEL[there] > LEVEL[here]:
        return f"{module} imports {imported}, which stands above it"
    if LEVEL[there] == LEVEL[here]:
        return f"{module} imports {imported}, another package of the same level"
    return None


def circle(edges: dict[str, set[str]]) -> list[str] | None:
    """A circle of imports, if there is one."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str] | None:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return None
        for imported in sorted(edges.get(module, ())):
            if found := visit(imported, [*path, module]):
                return found
        done.add(module)
        return None

    return next((found for module in sorted(edges) if (found := visit(module, []))), None)


def edges() -> dict[str, set[str]]:
    """The imports among psgd's own modules, those within functions included."""
    return {
        m: {n for n, _ in imports(p) if n in modules() and n != "psgd"} for m, p in modules().items() if m != "psgd"
    }


@pytest.mark.parametrize("module", sorted(set(modules()) - {"psgd"}))
def test_imports_point_down(module):
    assert package(module) in LEVEL, f"{module} is in no package: say in this test where it stands"
    wrong = [text for name, _ in imports(modules()[module]) if (text := forbidden(module, name))]
    assert not wrong, "; ".join(wrong)


def test_no_import_is_circular():
    assert circle(edges()) is None


def test_forbidden_imports_are_found():
    assert (
        forbidden("psgd.data.dataset", "psgd.group.group")
        == "psgd.data.dataset imports psgd.group.group, which stands above it"
    )
    assert forbidden("psgd.group.group", "psgd.learners.mlp") is not None
    assert forbidden("psgd.learners.mlp", "psgd.data.dataset") is None
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None


def test_there_are_at_most_ten_levels():
    assert max(LEVEL.values()) <= 10


def test_files_have_at_most_300_lines():
    paths = (*modules().values(), *(ROOT / "tests").rglob("*.py"))
    assert not {path: lines for path in paths if (lines := len(path.read_text().splitlines())) > 300}


@pytest.mark.parametrize("package", DOORS)
def test_one_module_imports_an_optional_package(package):
    users = {m for m, path in modules().items() for name, _ in imports(path) if name.split(".")[0] == package}
    assert users == DOORS[package]


def test_compiled_code_stays_in_its_backend():
    for module, path in modules().items():
        used = {name.split(".")[0] for name, _ in imports(path)} & {"numba", "llvmlite"}
        assert not used or module.startswith("psgd.backends.numba"), module


@pytest.mark.parametrize(
    "package", ["mpi4py", "ray", "matplotlib", "rich", "scipy", "pandas", "onnx", "mlflow", "shtab"]
)
def test_optional_packages_are_imported_lazily(package):
    for module, path in modules().items():
        at_once = {name.split(".")[0] for name, at_once in imports(path) if at_once}
        assert package not in at_once, module


def test_importing_psgd_imports_no_numpy():
    code = "import sys, psgd; assert 'numpy' not in sys.modules and 'psgd.core.errors' not in sys.modules"
    assert python("-c", code).code == 0


def test_completion_offers_the_names_of_psgd_before_their_first_use():
    finished = python("-c", "import psgd; print(*[name for name in dir(psgd) if name[0] != '_'])")
    assert finished.stdout.split() == ["Fitted", "Model", "Run", "errors", "fit", "load", "train"]


def test_psgd_imports_only_the_standard_library_and_its_dependencies():
    allowed = {"psgd", "numpy", "safetensors", "threadpoolctl", "numba", "llvmlite", *DOORS, *sys.stdlib_module_names}
    used = {name.split(".")[0] for path in modules().values() for name, _ in imports(path)}
    assert used <= allowed


@pytest.mark.parametrize("page", ["docs/comparing.md", "docs/architecture.md"])
def test_files_named_in_the_documentation_exist(page):
    named = set(re.findall(r"`((?:psgd|tests|scripts|configs|launch|docs)/[\w./]*)`", (ROOT / page).read_text()))
    assert named
    assert not [name for name in sorted(named) if not (ROOT / name).exists()]


def test_the_architecture_page_is_short_and_names_every_package():
    text = (ROOT / "docs" / "architecture.md").read_text()
    assert len(text.splitlines()) <= 80
    packages = {package for packages in LEVELS for package in packages if (PACKAGE / package).is_dir()}
    assert not [package for package in sorted(packages) if f"`psgd/{package}`" not in text]
