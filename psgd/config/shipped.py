"""Finds the files that come with psgd: configs of jobs and of comparisons by name, and scripts to begin with."""

import difflib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from psgd.core.errors import UsageError

ROOT = Path(__file__).parents[1] / "shipped"
COMPARISON = "compare/"  # the directory of the comparisons, and the beginning of their names
DATA = {".csv": "csv", ".npz": "npz", ".npy": "npz", ".libsvm": "libsvm", ".svm": "libsvm"}  # data.source, by suffix


class FoundConfig(NamedTuple):
    """The path of a config, and a note if it is one that comes with psgd."""

    path: str
    notes: list[str]


@cache
def shipped() -> dict[str, Path]:
    """The files that come with psgd, by name: configs without their suffix, comparisons as compare/NAME, scripts."""
    return dict(sorted(_files(), key=lambda item: (item[0].endswith(".py"), item[0].startswith(COMPARISON), item[0])))


def _files() -> Iterator[tuple[str, Path]]:
    configs, launch = ROOT / "configs", ROOT / "launch"
    yield from ((path.stem, path) for path in configs.glob("*.yaml"))
    yield from ((COMPARISON + path.stem, path) for path in (configs / COMPARISON).glob("*.yaml"))
    yield from ((path.name, path) for path in configs.glob("*.py"))
    yield from ((f"launch/{path.name}", path) for path in launch.glob("*.py"))


def about(name: str) -> str:
    """The first line of the comment at the top of a file that comes with psgd."""
    with open(shipped()[name], encoding="utf-8") as file:
        lines = (line.strip() for line in file)
        return next(line.lstrip('#" ') for line in lines if not line.startswith("#!"))


def configs(comparisons: bool) -> list[str]:
    """The names of the configs that come with psgd: those of comparisons, or those of jobs."""
    return [name for name in shipped() if not name.endswith(".py") and name.startswith(COMPARISON) == comparisons]


def find_config(given: str) -> FoundConfig:
    """Find the config of a job: a file, or else the name of one that comes with psgd. UsageError for neither."""
    return _find(given, given, comparisons=False)


def find_comparison(given: str) -> FoundConfig:
    """Find the config of a comparison, as `find_config` does; its name may begin with compare/."""
    return _find(given, COMPARISON + given.removeprefix(COMPARISON), comparisons=True)


def find_base(given: str, directory: Path) -> FoundConfig:
    """Find the config of a job that a file in `directory` names, as `find_config` does."""
    return _find(str(directory / given), given, comparisons=False)


def find_named(given: str) -> str:
    """Find the name of a file that comes with psgd. UsageError if there is none."""
    for name in (given, given.removesuffix(".yaml"), COMPARISON + given.removesuffix(".yaml"), f"launch/{given}"):
        if name in shipped():
            return name
    hint = _similar(given, list(shipped()))
    raise UsageError(f"{given}: nothing of this name comes with psgd; {hint}`psgd configs` lists what does")


def _find(path: str, name: str, comparisons: bool) -> FoundConfig:
    if os.path.exists(path) and not os.path.isdir(path):
        if kind := DATA.get(Path(path).suffix):
            how = f"name it by data.source={kind} data.path={path}{' in the base of a comparison' * comparisons}"
            raise UsageError(f"{path} is a file of data, not a config; {how}")
        return FoundConfig(path, [])
    if os.path.isfile(os.path.join(path, "config.yaml")) and not comparisons:
        raise UsageError(f"{path} is the directory of a run, not a config; to go on with it: --resume --output {path}")
    name = name.removesuffix(".yaml")
    if name in configs(comparisons):
        return FoundConfig(str(shipped()[name]), [f"config: {name}, which comes with psgd ({shipped()[name]})"])
    if os.path.isdir(path) or "\0" in path:
        return FoundConfig(path, [])  # whoever reads it says what is wrong
    raise UsageError(
        f"{path}: there is neither such a file nor a config of psgd of this name; {_hint(name, comparisons)}"
    )


def _hint(name: str, comparisons: bool) -> str:
    """What may be meant by a name, or where the names are."""
    meant = Path(name).name
    if meant in {Path(other).name for other in configs(not comparisons)}:
        return f"did you mean: psgd {'train' if comparisons else 'compare'} {meant}?"
    return f"{_similar(name, configs(comparisons))}`psgd configs` lists them"


def _similar(name: str, names: list[str]) -> str:
    """What may be meant by a name, as the beginning of a sentence; the directories do not count."""
    close = difflib.get_close_matches(Path(name).name, [Path(each).name for each in names], 1, 0.5)
    return f"did you mean {close[0]}? " if close else ""
