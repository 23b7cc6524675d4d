"""The results.json of a comparison: its name, its version, and how it is read."""

import json
from pathlib import Path
from typing import Any

from psgd.core.errors import DataError

RESULTS, SCHEMA = "results.json", 2
NEEDED = ("arms", "axes", "base", "budget", "cells", "prices", "reference", "seeds", "target")  # by all that reads it
Json = dict[str, Any]  # all of it, or a part such as a cell


def read_results(path: Path) -> Json:
    """Read the file `path`, or results.json in the directory `path`. DataError if it is missing, broken, not of
    psgd.compare or of another schema. Its findings may be those of an earlier psgd: analysis/findings.py computes them
    anew."""
    if path.suffix != ".json" and path.is_file():
        raise DataError(f"{path} is a file; give the directory of a comparison, such as {path.parent}")
    file = path if path.suffix == ".json" and not path.is_dir() else path / RESULTS
    try:
        results = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise DataError(f"{file} does not exist: give the directory of a comparison that psgd compare made") from None
    except json.JSONDecodeError as error:
        raise DataError(
            f"{file}:{error.lineno}: not JSON ({error.msg}); remove it and call psgd compare again"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}") from None
    if not isinstance(results, dict) or "schema" not in results:
        raise DataError(f"{file} has no schema version: it is not of psgd compare")
    if results["schema"] != SCHEMA:
        raise DataError(f"{file} has schema {results['schema']}; this psgd reads {SCHEMA}: use the psgd that wrote it")
    if missing := [name for name in NEEDED if name not in results]:
        raise DataError(f"{file} has no {', '.join(missing)}; remove it and call psgd compare again")
    return results
