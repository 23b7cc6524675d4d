"""The directory of a comparison: its config, its base, its runs, its results. Made once, locked, and called again for
what is missing."""

from pathlib import Path
from typing import Any

from psgd.compare.plan import differences
from psgd.compare.results_file import RESULTS, read_results
from psgd.config.comparison import Comparison
from psgd.config.document import read_file, to_yaml
from psgd.config.resolve import NO_EFFECT, dump, resolve
from psgd.config.settings import Settings
from psgd.core.errors import StorageError, UsageError
from psgd.core.files import refuse_non_directory, write_text
from psgd.core.log import LOG
from psgd.jobs.files.locks import lock

CONFIG, BASE = "comparison.yaml", "base.yaml"  # the first names the second, so that it can be run as it is
# What may change when a comparison is called again: none of it changes a result that is there.
MAY_CHANGE = ("question", "seeds", "price", "reference", "exclude")


def open_comparison(path: Path, comparison: Comparison, base: Settings) -> None:
    """Make and lock the directory of a comparison, or find the one that was begun there. UsageError as
    `check_directory`."""
    check_directory(path, comparison, base)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock(path)
    except OSError as error:
        raise _unusable(path, error) from None
    check_directory(path, comparison, base)  # since another call may have begun one before this one had the lock
    if left_out := _left_out(path, comparison):
        LOG.info("psgd: %s left out now; the runs stay in %s", left_out, path / "runs")
    write_text(path / BASE, dump(base))
    write_text(path / CONFIG, to_yaml(_given(comparison)))


def check_directory(path: Path, comparison: Comparison, base: Settings) -> None:
    """UsageError if there is another comparison, or something else; nothing is made or changed."""
    try:
        refuse_non_directory(path, "a comparison")
        there = {each.name for each in path.iterdir()} if path.exists() else set()
    except OSError as error:
        raise _unusable(path, error) from None
    if CONFIG in there:
        _check_same(path, _given(comparison), base)
    elif there - {f".{CONFIG}.partial", BASE, f".{BASE}.partial"}:
        raise UsageError(f"{path} exists and is not the directory of a comparison; choose another --output")


def earlier_results(path: Path) -> dict[str, Any] | None:
    """The results of an earlier call; None if there are none yet."""
    return read_results(path) if (path / RESULTS).is_file() else None


def _given(comparison: Comparison) -> dict[str, Any]:
    """The comparison as its directory has it."""
    return comparison.replace(base=BASE).model_dump(mode="json")


def _unusable(path: Path, error: OSError) -> StorageError:
    return StorageError(f"cannot use {path} as the directory of a comparison: {error.strerror}")


def _check_same(path: Path, now: dict[str, Any], base: Settings) -> None:
    """UsageError unless the comparison is the one in the directory, perhaps with more or fewer arms, points of the grid
    and seeds, or with other prices or another value of the target."""
    before = read_file(str(path / CONFIG))
    parts = (*MAY_CHANGE, "arms", "grid", "target")
    changed = [key for key in now if key not in parts and before.get(key) != now[key]]
    metric = before.get("target", {}).get("metric")
    if metric != now["target"]["metric"]:  # tuning judges by it; the target's value trains nothing
        changed.append("target.metric")
    old, new = _named(before), _named(now)
    changed += [name for name in new if old.get(name, new[name]) != new[name]]
    others = differences(resolve(str(path / BASE), []).settings, base)
    changed += [f"{name} of the base" for name in others if name not in NO_EFFECT]
    if changed:
        raise UsageError(
            f"{path} has another comparison: what differs from its {CONFIG} is {', '.join(changed)}; choose another "
            "--output, or give what is changed in arms or grid another name"
        )


def _named(given: dict[str, Any]) -> dict[str, Any]:
    """The arms, and the points of the grid that have names of their own, by full name."""
    axes = {axis: points for axis, points in given.get("grid", {}).items() if isinstance(points, dict)}
    groups = {"arms": given.get("arms", {}), **{f"grid.{axis}": points for axis, points in axes.items()}}
    return {f"{group}.{name}": value for group, names in groups.items() for name, value in names.items()}


def _left_out(path: Path, comparison: Comparison) -> str:
    """The arms and seeds of the call before that this one does not have, in words; empty if there are none."""
    before = read_file(str(path / CONFIG)) if (path / CONFIG).exists() else {}
    arms = [f"arm {arm}" for arm in before.get("arms", {}) if arm not in comparison.arms]
    return ", ".join(arms + [f"seed {seed}" for seed in before.get("seeds", []) if seed not in comparison.seeds])
