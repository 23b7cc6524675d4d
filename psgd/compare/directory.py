"""The directory of a comparison: its config, its runs, its results. Made once, locked, and called again for what is
missing."""

import json
from pathlib import Path
from typing import Any

from psgd.config.comparison import Comparison
from psgd.config.document import read_file, write
from psgd.core.errors import DataError, StorageError, UsageError
from psgd.core.files import write_text
from psgd.jobs.run_directory import lock

CONFIG, RESULTS = "comparison.yaml", "results.json"
# What may change when a comparison is called again: none of it changes a result that is there.
FREE = ("question", "seeds", "price", "reference")


def open_directory(path: Path, comparison: Comparison) -> None:
    """Make and lock the directory of a comparison, or find the one that was begun there. UsageError if another one was,
    or if there is something else."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not path.is_dir():
            raise UsageError(f"{path} is a file; a comparison needs a directory")
        lock(path)
        there = [each.name for each in path.iterdir()]
    except OSError as error:
        raise StorageError(f"cannot use {path} as the directory of a comparison: {error.strerror}") from None
    given = comparison.model_dump(mode="json")
    if (path / CONFIG).is_file():
        _check_same(path, read_file(str(path / CONFIG)), given)
    elif set(there) - {f".{CONFIG}.partial"}:
        raise UsageError(f"{path} exists and is not the directory of a comparison; choose another --output")
    write_text(path / CONFIG, write(given))


def read_results(path: Path) -> dict[str, Any]:
    """Read results.json in the directory `path`. DataError if it is missing or broken."""
    file = path / RESULTS if path.is_dir() else path
    try:
        results = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise DataError(f"{file} does not exist; python -m psgd.compare CONFIG --output {path} makes it") from None
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise DataError(f"{file}: not JSON ({error}); it is not as psgd.compare wrote it") from None
    if not isinstance(results, dict) or results.get("schema") != 1:
        found = results.get("schema") if isinstance(results, dict) else None
        raise DataError(f"{file}: results of schema {found!r}; this psgd reads schema 1")
    return results


def fixed_target(path: Path) -> float | None:
    """The automatic target that an earlier call has set, which more seeds do not change."""
    if not (path / RESULTS).is_file():
        return None
    target = read_results(path)["target"]
    return float(target["value"]) if target["origin"] == "auto" and target["value"] is not None else None


def _check_same(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """UsageError unless `now` is the comparison `before`, perhaps with more arms and seeds, or with other prices."""
    changed = [key for key in now if key not in (*FREE, "arms") and before.get(key) != now[key]]
    arms = before.get("arms", {})
    changed += [f"arms.{arm}" for arm, given in arms.items() if now["arms"].get(arm) != given]
    if not set(before.get("seeds", [])) <= set(now["seeds"]):
        changed.append("seeds")
    if changed:
        raise UsageError(
            f"{path} has another comparison: {', '.join(changed)} differ from its {CONFIG}; choose another --output"
        )
