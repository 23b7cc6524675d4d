"""Trains the runs of a comparison: ordinary runs in a directory each, several side by side, each in its own process.

A run that is done is kept; one that was interrupted goes on from its checkpoint; one that failed is tried again when
the comparison is called again.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple, final

from psgd.compare.finished_run import ENDED, status
from psgd.compare.plan import Trial
from psgd.config.resolve import dump
from psgd.core.errors import Diverged, StorageError
from psgd.core.files import write_text
from psgd.core.log import LOG
from psgd.jobs.files.locks import is_locked

SERIAL = ("group=serial", "cluster.processes=null")  # overrides: in one process, whatever the base says
ERROR_CHARACTERS = 500  # of a failed run's last line
POLL_SECONDS = 0.1  # between two checks of a run that an earlier call left at work


class Outcome(NamedTuple):
    directory: Path
    error: str | None  # the last line that the run said, if it failed
    diverged: bool = False


Watch = Callable[[str, int, int], None]  # called with (what is done, runs that have ended, all runs)


@final
class Runs:
    def __init__(self, directory: Path, side_by_side: int, watch: Watch = lambda what, done, count: None) -> None:
        """`side_by_side`: how many runs are trained at once, each on one core."""
        self._directory, self._side_by_side, self.watch = directory / "runs", side_by_side, watch
        self.wanted, self.trained = set[Path](), set[Path]()  # directories of all runs, and of those not there before
        self._children: set[subprocess.Popen[str]] = set()
        self._stopping = False

    def train(self, trials: Sequence[Trial], what: str) -> dict[str, Outcome]:
        """Train the distinct runs among `trials`, as far as they are not done yet; outcomes by identity. `what`: the
        step of the comparison, in a word. On an interrupt, the runs under way save a checkpoint and end."""
        distinct = {trial.identity: trial for trial in trials}
        self.wanted.update(self._directory / identity for identity in distinct)
        outcomes: dict[str, Outcome] = {}
        with ThreadPoolExecutor(self._side_by_side) as pool:
            try:
                waiting: set[Future[Outcome]] = {pool.submit(self._train, trial) for trial in distinct.values()}
                while waiting:
                    ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in ended:
                        outcome = future.result()
                        outcomes[outcome.directory.name] = outcome
                    if not self.trained.isdisjoint(each.directory for each in outcomes.values()):
                        self.watch(what, len(outcomes), len(distinct))
            except BaseException:
                self._stop()
                pool.shutdown(cancel_futures=True)
                raise
        return outcomes

    def timed(self, trial: Trial) -> Outcome:
        """Train a run again from its beginning, alone on this machine, in order to measure its time."""
        directory = self.timed_directory(trial)
        self._wait_for(directory)
        return self._run(trial, directory, ["--overwrite"])

    def is_timed(self, trial: Trial) -> bool:
        return status(self.timed_directory(trial)) in ENDED

    def timed_directory(self, trial: Trial) -> Path:
        return self._directory.with_name("timed") / trial.identity

    def _train(self, trial: Trial) -> Outcome:
        directory = self._directory / trial.identity
        self._wait_for(directory)
        before = status(directory)
        if before in ENDED:
            return Outcome(directory, None, before == "diverged")
        begun = (directory / "config.yaml").exists()
        return self._run(trial, directory, [*SERIAL, *(["--resume"] if begun else [])])

    def _run(self, trial: Trial, directory: Path, arguments: list[str]) -> Outcome:
        if self._stopping:
            return Outcome(directory, "stopped before it began")
        self.trained.add(directory)
        try:
            directory.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot make {directory.parent}: {error.strerror}") from None
        config = directory.with_suffix(".yaml")
        write_text(config, dump(trial.settings))
        command = [sys.executable, "-m", "psgd.train", str(config), *arguments, "--quiet", "--output", str(directory)]
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            errors="replace",
        )  # fmt: skip
        self._children.add(child)
        if self._stopping:  # meanwhile
            child.terminate()
        try:
            _, said = child.communicate()
        except BaseException:  # an interrupt, if this is the main thread
            self._stop()
            child.wait()
            raise
        self._children.discard(child)
        if child.returncode == 0:
            return Outcome(directory, None)
        lines = said.strip().splitlines() or [f"it ended with code {child.returncode} and said nothing"]
        words = lines[-1].removeprefix("[0] ").removeprefix("psgd: ")[:ERROR_CHARACTERS]
        return Outcome(directory, words, child.returncode == Diverged.code)

    def _wait_for(self, directory: Path) -> None:
        """Wait for a run that an earlier call left at work when it was killed: what it does need not be done again."""
        said = False
        while not self._stopping and is_locked(directory):
            if not said:
                LOG.info("psgd: an earlier call left a run at work in %s; waiting for its end", directory)
            said = True
            time.sleep(POLL_SECONDS)

    def _stop(self) -> None:
        """Ask the runs under way to save a checkpoint and end."""
        self._stopping = True
        for child in list(self._children):
            child.terminate()
