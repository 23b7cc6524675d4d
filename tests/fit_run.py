"""A call of psgd.fit with a run directory, as a script: `[mpirun -n 2] python tests/fit_run.py DIR EVENT [GROUP]`.

EVENT: end; kill-3: the first process kills itself before it completes its third checkpoint; SIGTERM-4 and others: it
sends itself that signal before its fourth segment; SIGINT-in-gradient. GROUP: as the argument `group`.
"""

import itertools
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import user_function as own

import psgd
from psgd.training.checkpoint_files import CheckpointFiles
from psgd.training.steps.local_steps import LocalSteps


def fit(output: Path | str | None, **changes: Any) -> psgd.Fitted:
    """Train for 12 rounds."""
    parameters, dataset = own.problem()
    arguments = {
        "strategy": {"name": "weighted-averaging", "period": 6}, "optimizer": {"name": "adam"}, "learning_rate": 0.05,
        "speeds": [1, 0.5, 1], "workers": 3, "epochs": 8, "batch_size_per_worker": 4, "test": dataset,
        "score": own.score, "check": False,
    }  # fmt: skip
    gradient = changes.pop("gradient", own.gradient)
    return psgd.fit(gradient, parameters, dataset, output=output, **arguments | changes)


def at_call(kind: type, name: str, number: int, sent: int) -> None:
    """Let this process send itself a signal at the call `number` of a method."""
    before, calls = getattr(kind, name), itertools.count(1)

    def signalled(*arguments: Any) -> Any:
        if next(calls) == number:
            os.kill(os.getpid(), sent)
        return before(*arguments)

    setattr(kind, name, signalled)


def main(output: str, event: str, group: str = "auto") -> None:
    what, _, number = event.partition("-")
    if what == "kill":
        at_call(CheckpointFiles, "complete", int(number), signal.SIGKILL)
    elif what != "end" and own.RANK == 0:
        at_call(LocalSteps, "run", int(number), getattr(signal, what))
    try:
        processes = 2 if group == "threads" else None
        fitted = fit(output, group=group, processes=processes, resume=event == "end", checkpoint_seconds=0.0)
        if fitted.first:
            print(json.dumps(fitted.summary), flush=True)
    finally:
        if own.RANK == 0:
            print("finally", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
