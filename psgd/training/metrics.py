"""The file of metrics: lines of JSON. They are held back for a moment, so that quick rounds do not wait for the disk;
and many are made faster than one after the other.
"""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, final

from psgd.core.errors import StorageError
from psgd.core.files import to_json, write_text

HOLD = 0.5  # seconds: the most that a process that dies takes with it

Row = dict[str, Any]


@final
class Metrics:
    """Of a run without a directory, nothing is kept."""

    def __init__(self, directory: Path | None) -> None:
        self._path = directory / "metrics.jsonl" if directory else None
        self._held: list[Callable[[], Row]] = []
        self._written = -HOLD

    def add(self, row: Callable[[], Row]) -> None:
        """What `row` returns, later. StorageError."""
        if self._path is None:
            return
        self._held.append(row)
        if time.perf_counter() - self._written >= HOLD:
            self.flush()

    def flush(self) -> None:
        """Write what is held. StorageError."""
        held, self._held = self._held, []
        if self._path is None or not held:
            return
        self._written = time.perf_counter()
        try:
            with open(self._path, "a") as file:
                file.write("".join([to_json(row()) + "\n" for row in held]))
        except OSError as error:
            raise StorageError(f"cannot write {self._path}: {error.strerror}") from None

    def cut(self, round: int) -> int:
        """Forget the lines after `round`: the run goes on from there -> the examples dealt by the last line that
        stays. StorageError."""
        self.flush()
        kept, examples = [], 0
        if self._path is None or not self._path.exists():
            return 0
        try:
            for line in self._path.read_text().splitlines(keepends=True):
                row = json.loads(line) if line.endswith("\n") else {"round": round + 1}
                if row["round"] > round:
                    break
                kept.append(line)
                examples = int(row["examples"])
            write_text(self._path, "".join(kept))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError(f"cannot read {self._path}, line {len(kept) + 1}: {error}") from None
        return examples

    def close(self) -> None:
        """Where writing fails now, something worse has happened before, or it would have been flushed."""
        with suppress(StorageError):
            self.flush()
