"""The file of metrics, metrics.jsonl: lines are held back for a moment and written together, so that short rounds do
not wait for the disk."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any, final

from psgd.core.errors import StorageError
from psgd.core.files import device_and_inode, to_json, write_text

HOLD_SECONDS = 0.5  # between two writes; the most that a process loses if it is killed

Row = dict[str, Any]


@final
class Metrics:
    """Without a directory nothing is written. `history`: a list of all lines, if it is wanted."""

    def __init__(self, directory: Path | None, history: list[Row] | None = None) -> None:
        self.history = history
        self._directory = directory
        self._inode = device_and_inode(directory) if directory else None  # None also on a host that does not have it
        self._path = directory / "metrics.jsonl" if directory else None
        self._held: list[Callable[[], Row]] = []
        self._written = -HOLD_SECONDS

    def add(self, row: Callable[[], Row], write: bool = True) -> None:
        """Write what `row` returns, later, if this process is to `write`. StorageError if writing fails."""
        if self.history is not None:
            self.history.append(row())
        if self._path is None or not write:
            return
        self._held.append(row)
        if time.perf_counter() - self._written >= HOLD_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is held back. StorageError if that fails, or if the run directory is not the one that it was: a
        user may have removed it and begun another run there, whose files are not to be changed."""
        held, self._held = self._held, []
        if self._directory and self._inode and device_and_inode(self._directory) != self._inode:
            raise StorageError(
                f"the run directory {self._directory} was removed, moved or replaced while this run was at work, which "
                "ends here; begin it anew in another --output"
            )
        if self._path is None or not held:
            return
        self._written = time.perf_counter()
        try:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write("".join([to_json(row()) + "\n" for row in held]))
        except OSError as error:
            raise StorageError(f"cannot write {self._path}: {error.strerror}") from None

    def truncate(self, stays: Callable[[Row], bool], write: bool = True) -> int:
        """Remove the lines from the first one that does not stay, where the run goes on. If this process is to `write`
        from now on in place of one that was lost, what that one held back is written from the history. Returns the
        examples dealt up to the last line. StorageError if the file cannot be read or written."""
        self.flush()
        rows = list(takewhile(stays, self.history or []))
        if self._path and write:
            rows = self._truncate_file(self._path, stays, rows)
        if self.history is not None:
            self.history[:] = rows
        return int(rows[-1]["examples"]) if rows else 0

    def _truncate_file(self, path: Path, stays: Callable[[Row], bool], known: list[Row]) -> list[Row]:
        """Returns the rows of the file. `known`: rows of this process, the file's and later ones."""
        kept: list[str] = []
        rows: list[Row] = []
        try:
            for line in path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []:
                if not line.endswith("\n") or not stays(row := json.loads(line)):
                    break
                int(row["examples"])
                kept.append(line)
                rows.append(row)
            held_back = [row for row in known if not rows or _order(row) > _order(rows[-1])]
            if kept or held_back or path.exists():
                write_text(path, "".join(kept) + "".join(to_json(row) + "\n" for row in held_back))
        except (OSError, ValueError, KeyError, TypeError) as error:
            what = f"cannot read {path}, line {len(kept) + 1}: {error}"
            raise StorageError(f"{what}; correct it, or move the file away to go on without it") from None
        return rows + held_back

    def close(self) -> None:
        # Another failure came first, and that one is reported.
        with suppress(StorageError):
            self.flush()


def _order(row: Row) -> tuple[int, bool]:
    """The key that sorts lines: that of an evaluation follows that of its round."""
    return row["round"], "weights" not in row
