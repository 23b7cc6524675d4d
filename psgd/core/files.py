"""JSON, and text files that are written atomically."""

import io
import json
import math
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from psgd.core.errors import StorageError, UsageError

_NUMBERS = re.compile(r'\[\n\s+([^][{}"]+?)\n\s*\]')  # a list of them, in indented JSON


def to_json(value: Any, indent: int | None = None) -> str:
    """Serialise to standard JSON, in which numbers that are not finite become null. Indented, a list of numbers is one
    line."""
    try:
        text = json.dumps(value, indent=indent, allow_nan=False)
    except ValueError:  # some number is not finite; looking for it first would take longer than writing
        text = json.dumps(_finite(value), indent=indent, allow_nan=False)
    return _NUMBERS.sub(lambda found: "[" + " ".join(found[1].split()) + "]", text) if indent else text


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_result(text: str, what: str = "") -> None:
    """Print to standard output and flush. StorageError if that fails, as when the reader of a pipe has left."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A printed config is UTF-8 in any locale, like a saved one; and a path has the bytes that it was given with.
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    try:
        print(text, flush=True)
    except OSError as error:
        sys.stdout = open(os.devnull, "w")  # otherwise the interpreter tries to write again when it exits
        raise StorageError(f"cannot write {what}to standard output: {error.strerror}") from None


def device_and_inode(path: Path) -> tuple[int, int] | None:
    """Return the numbers of the device and the inode of what is at `path`; None if there is nothing. They differ once
    it was removed or moved and something else is there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def refuse_existing(path: Path) -> None:
    """UsageError if there is something at the path that --output names."""
    if path.is_dir():
        raise UsageError(f"{path} is a directory; name a file by --output")
    if os.path.lexists(path):
        raise UsageError(f"{path} exists already; remove it, or name another file by --output")


def refuse_non_directory(path: Path, what: str) -> None:
    """UsageError if there is something at the path that --output names, and it is no directory. `what` needs one."""
    if os.path.lexists(path) and not path.is_dir():
        found = "a file" if path.exists() else f"a link to {os.readlink(path)}, which does not exist"
        raise UsageError(f"{path} is {found}; {what} needs a directory that is new or empty")


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON file atomically. StorageError if that fails."""
    write_text(path, to_json(value, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically. StorageError if that fails."""

    def write(partial: Path) -> None:
        with open(partial, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    try:
        write_atomically(path, write)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from None


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` write a temporary file in the directory of `path`, and rename it to `path`. If that fails, remove it
    and raise the failure."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        write(partial)
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
