"""Every command of the README runs as it stands, and its config is the one in configs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ROOT, environment

README = (ROOT / "README.md").read_text()
NOT_HERE = {
    "scripts/test": "it runs this test",
    "source .venv/bin/activate": "the tests have an environment",
}


def commands() -> list[str]:
    lines = [line for block in re.findall(r"```sh\n(.*?)```", README, re.S) for line in block.splitlines()]
    return [command for line in lines if (command := line.split("  #")[0].strip()) and command not in NOT_HERE]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A directory with links to all that the commands need; they write to runs/ in it."""
    directory = tmp_path_factory.mktemp("checkout")
    for name in ("psgd", "configs", "scripts", "launch", "pyproject.toml", "README.md", "LICENSE", ".venv"):
        if (ROOT / name).exists():
            (directory / name).symlink_to(ROOT / name)
    return directory


@pytest.mark.timeout(120)
@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_readme(checkout, command):
    if command.startswith("launch/ray_train.py"):
        pytest.importorskip("ray", reason="the ray extra is not installed")
    if "titanic" in command and not os.environ.get("PSGD_DATA"):
        pytest.skip("PSGD_DATA is not set: no Titanic table here")
    variables = environment(PATH=f"{Path(sys.executable).parent}:{environment()['PATH']}", PYTHONPATH="")
    finished = subprocess.run(
        ["bash", "-c", command], cwd=checkout, env=variables, capture_output=True, text=True, timeout=110
    )
    assert finished.returncode == 0, finished
    if "psgd.train" in command and "--dry-run" not in command:
        assert json.loads(finished.stdout)["status"] == "done"


def test_the_comparison_of_the_readme_can_be_planned(tmp_path):
    from psgd.compare.plan import Plan
    from psgd.config.comparison_file import read_comparison

    (block,) = re.findall(r"```yaml compare\n(.*?)```", README, re.S)
    (tmp_path / "compare").mkdir()
    (tmp_path / "mnist_small.yaml").write_text((ROOT / "configs" / "mnist_small.yaml").read_text())
    (tmp_path / "compare" / "readme.yaml").write_text(block)
    assert len(Plan(read_comparison(str(tmp_path / "compare" / "readme.yaml"))).cells) == 15


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "compare").glob("*.yaml")), ids=lambda path: path.name)
def test_every_comparison_in_configs_can_be_planned(path):
    from psgd.compare.plan import Plan
    from psgd.config.comparison_file import read_comparison

    assert path.read_text().startswith("# ")
    assert Plan(read_comparison(str(path))).cells


def test_there_are_commands():
    assert len(commands()) >= 6


def test_the_config_of_the_readme_is_the_mnist_config(tmp_path):
    from psgd.config.resolve import resolve

    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.S)
    (tmp_path / "readme.yaml").write_text(block)
    ours, theirs = (resolve(str(p), []).settings for p in (tmp_path / "readme.yaml", ROOT / "configs" / "mnist.yaml"))
    assert ours == theirs
