"""Text and JSON files, written whole or not at all."""

import json
import math
import os
from pathlib import Path
from typing import Any

from psgd.core.errors import StorageError


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON as everybody reads it: what is not finite becomes null."""
    try:
        return json.dumps(value, indent=indent, allow_nan=False)
    except ValueError:  # something is not: looking for it takes longer than writing
        return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, value: dict[str, Any]) -> None:
    write_text(path, to_json(value, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """All of it or nothing: written beside, then renamed."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with open(partial, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from None
