"""One stage of gpu_check, in a process of its own: python gpu_check_stage.py NAME --rows FILE [--pretend]"""

import argparse
import importlib
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

MODULES = {
    **dict.fromkeys(("device", "gemm", "capture"), "gpu_check_device"),
    **dict.fromkeys(("kernels", "steps", "whole", "loop"), "gpu_check_tests"),
    **dict.fromkeys(("parity", "wide"), "gpu_check_parity"),
    **dict.fromkeys(("staged", "ipc", "bench", "mnist", "sanitizer"), "gpu_check_commands"),
}


class SkippedError(Exception):
    """A stage that cannot be had here, with the reason."""


class Record:
    """The rows of a stage, in a file that is rewritten with each, so that a crash leaves those before it."""

    def __init__(self, file: Path, pretend: bool) -> None:
        self.pretend = pretend
        self._file = file
        self._written: dict[str, Any] = {"rows": []}

    def at(self, what: str) -> None:
        """What is being done, for the case that it does not end."""
        self._written["at"] = what
        self._file.write_text(json.dumps(self._written))

    def check(self, what: str, ok: bool, value: str = "", wanted: str = "") -> None:
        self._add({"what": what, "ok": bool(ok), "value": value, "wanted": wanted})

    def within(self, what: str, value: float, most: float) -> None:
        """A check of a number, which may be nan."""
        self.check(what, value <= most, f"{value:.2g}", f"<= {most:g}")

    def figure(self, what: str, value: str) -> None:
        self._add({"what": what, "ok": None, "value": value, "wanted": ""})

    def speed(self, what: str, value: str, met: bool, wanted: str) -> None:
        """A figure that psgd is to reach: it is no check of correctness, and never fails."""
        self._add({"what": what, "ok": None, "value": value, "wanted": wanted, "met": bool(met)})

    def skip(self, why: str) -> None:
        self._written["skipped"] = why
        self.at("its end")

    @property
    def failed(self) -> bool:
        return any(row["ok"] is False for row in self._written["rows"])

    def _add(self, row: dict[str, Any]) -> None:
        self._written["rows"].append(row)
        self.at(f"what follows {row['what']}")
        print(row, flush=True)


def opener(pretend: bool) -> Callable[[], Any]:
    """What opens a device: this machine's first GPU, or a pretended one."""
    if pretend:
        from pretend.device import Pretend

        return Pretend
    from psgd.backends.cuda.cupy_device import open_device

    return lambda: open_device(0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=MODULES)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--pretend", action="store_true")
    options = parser.parse_args()
    # This file is imported as a module, because the stages import it too: a class of the script would be another one.
    record = importlib.import_module("gpu_check_stage").Record(options.rows, options.pretend)
    skipped = importlib.import_module("gpu_check_stage").SkippedError
    record.at("its start")
    try:
        getattr(importlib.import_module(MODULES[options.stage]), options.stage)(record)
    except skipped as reason:
        record.skip(str(reason))
    except Exception as error:
        traceback.print_exc()
        record.check(f"{type(error).__name__}: {error}"[:500], ok=False)
    return int(record.failed)


if __name__ == "__main__":
    sys.exit(main())
