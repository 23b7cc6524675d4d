"""The one loop: leg, meeting, combination, evaluation. The same for every strategy and group.

Starting, resuming and joining are one path (`_begin`); so is every way to end: what a process finds out alone travels
as a notice on the next meeting, and all leave together.
"""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import final

import numpy as np

from psgd.checkpoint import Store, Tag
from psgd.errors import Diverged, ProcessLost, PsgdError
from psgd.evaluation import Evaluator, Score
from psgd.group.group import Group, Shape
from psgd.group.transport import Transport
from psgd.job import Job
from psgd.legs import Legs
from psgd.record import Record
from psgd.replica import Progress, Replica
from psgd.roster import NOTICE, REPORT, Roster, Work
from psgd.signals import Signals

MANY = 8  # losses without a completed round: something other than bad luck


class Ended(PsgdError):
    """Another process said why this job ends; this one leaves silently with the same code."""

    def __init__(self, code: int) -> None:
        super().__init__("ended by another process")
        self.code = code


class Stopped(PsgdError):
    """A signal asked for it, and a checkpoint was saved if there is a place for one."""

    def __init__(self, number: int, where: Path | None) -> None:
        super().__init__(
            f"stopped by signal {number}" + (f"; continue with --resume --output {where}" if where else "")
        )
        self.number = number


@final
class Loop:
    """One process's part in a job. `run` is collective and returns the final replica to all."""

    def __init__(
        self,
        job: Job,
        transport: Transport,
        record: Record,
        directory: Path | None = None,
        checkpoint_seconds: float = 60.0,
        leg_seconds: float = 1.0,
        signals: Signals | None = None,
    ) -> None:
        needs, learner = job.strategy.needs, job.learner
        self._job, self._needs, self._record = job, needs, record
        self._shape = Shape(job.workers, learner.size, needs.state_rows, needs.contribution_rows, learner.dtype)
        self._group = Group(transport, self._shape)
        self._legs = Legs(job, self._group, leg_seconds)
        self._evaluator = Evaluator(learner, self._group, job.outputs)
        self._directory = directory
        self._store = Store(directory / "checkpoints") if directory else None
        self._checkpoint_seconds = checkpoint_seconds
        self._signals = signals or Signals()
        self._saved = 0.0  # seconds of training at the last checkpoint
        self._losses = 0  # of processes, since a round was completed
        self._failure: Exception | None = None  # this process's own, of which the next meeting tells
        self._begun = False
        self._which, self._progress = 0, Progress()  # the replica that is: which buffer, and how far
        self._before = self._which, self._progress  # and the one before it
        record.writes = self._group.first

    @property
    def speaks(self) -> bool:
        """Whether it is this process that reports how the job ended: the one that failed, or the first."""
        return self._failure is not None or self._group.first

    @property
    def failure(self) -> Exception | None:
        """What this process raised and told the others of."""
        return self._failure

    @property
    def group(self) -> Group:
        return self._group

    @property
    def replica(self) -> Replica:
        return Replica(self._group.replicas[self._which], self._progress)

    @property
    def _next(self) -> Replica:
        return Replica(self._group.replicas[1 - self._which], self._progress)

    def run(self, finish: Callable[["Loop"], None] = lambda loop: None) -> Replica:
        """Train to the end; the first process then calls `finish`, whose failure is everyone's."""
        try:
            with np.errstate(all="ignore"):  # what is not finite is found out at the meetings, and named
                return self._run(finish)
        finally:
            self._record.close()

    def _run(self, finish: Callable[["Loop"], None]) -> Replica:
        while True:
            try:
                if not self._begun:
                    self._begin()
                self._evaluate_if_due()
                while not self._finished():
                    self._round()
                    self._losses = 0
                    self._evaluate_if_due()
                return self._end(finish)
            except ProcessLost as loss:
                self._recover(loss)

    def _begin(self) -> None:
        """Start, resume or join: from the newest checkpoint that the first process sees, or from the seed."""
        self._begun = False
        newest = (self._store.newest() if self._store else None) or Tag(-1, 0)
        rows = self._group.exchange(np.array(newest, np.int64).tobytes())
        tag = Tag(*np.frombuffer(rows[0], np.int64).tolist())
        nothing = (0,) * self._job.workers
        self._which, self._progress = 0, Progress(dealt=nothing, worker_steps=nothing)
        self._together(lambda: self._load(tag) if tag.round >= 0 else self._initialize())
        self._before = self._which, self._progress
        if self._group.first:
            self._record.cut(self._progress.round)
        self._record.lap("other")
        self._begun = True

    def _initialize(self) -> None:
        # Every process of a host writes the same bytes to the same place.
        self.replica.vectors[0] = self._job.learner.initial(self._job.seed)
        self.replica.vectors[1:] = 0
        for mine in self._legs.workers.values():
            mine.restart()
            mine.forget()

    def _load(self, tag: Tag) -> None:
        assert self._store
        self._progress, record = self._store.load_replica(tag, self.replica.vectors)
        self._record.restore(record)
        self._saved = self._record.train_seconds
        for mine in self._legs.workers.values():
            self._store.load_worker(tag, mine)

    def _finished(self) -> bool:
        return self._progress.position >= self._job.end or self._progress.reached

    def _round(self) -> None:
        plan = self._job.strategy.plan(self._progress.round)
        self._record.lap("other")
        while True:
            reports = self._try(lambda: self._legs.run(self.replica, plan))
            self._record.lap("compute")
            roster = self._meet(reports)
            if (roster.reports["done"] == plan).all():
                break
        work = self._work(plan, roster)
        self._record.lap("wait")
        weights = self._combine(plan, work) if work.steps.any() else None
        self._commit(plan, work, weights)
        self._record.lap("combine")
        loss = float(roster.reports["loss"][work.steps > 0].sum())
        self._failing(lambda: self._record.round(self._progress, loss, int(work.examples.sum()), self.bytes_sent))

    def _meet(self, reports: np.ndarray) -> Roster:
        """Everyone gets the same roster, and does what its notices ask."""
        notice = np.zeros((), NOTICE)
        notice["process"], notice["round"] = self._group.transport.process, self._progress.round
        notice["digest"] = self._digest()
        notice["signal"] = self._signals.asked
        notice["save"] = self._record.train_seconds - self._saved >= self._checkpoint_seconds
        notice["error"] = _code(self._failure)
        roster = self._group.meet(reports, notice)
        notices = roster.notices
        if notices["error"].any():
            self._leave(notices["error"])
        if (notices["digest"] != notices["digest"][0]).any() or (notices["round"] != notices["round"][0]).any():
            raise PsgdError(_drift(notices))
        self._look_for_divergence(roster)
        asked = int(notices["signal"].max())
        if self._store and (asked or notices["save"][0]):
            self._record.lap("wait")
            self._save(Tag(self._progress.round, int(roster.reports["done"].sum())))
            self._record.lap("other")
        if asked:
            raise Stopped(asked, self._directory)
        return roster

    def _look_for_divergence(self, roster: Roster) -> None:
        bad = roster.reports[roster.reports["bad"] >= 0]
        if len(bad) and not self._job.exclude:
            where = self._job.learner.name(int(bad[0]["bad"]))
            raise Diverged(
                f"worker {bad[0]['worker']}, round {self._progress.round}: {where} is not finite. Lower "
                "optimizer.learning_rate or set optimizer.clip_norm; training.on_nonfinite: exclude goes on without it"
            )

    def _work(self, plan: np.ndarray, roster: Roster) -> Work:
        """What was done, less what is not finite: such a worker was idle, and begins anew."""
        excluded = roster.reports["bad"] >= 0
        for worker in np.flatnonzero(excluded).tolist():
            if worker in self._legs.workers:
                self._legs.workers[worker].forget()
        steps = np.where(excluded, 0, plan)
        return Work(steps, steps * self._job.batch)

    def _combine(self, plan: np.ndarray, work: Work) -> np.ndarray:
        """The next replica from the contributions -> the weights used."""
        candidates = self._job.strategy.weights(self._progress, work)
        if (candidates == candidates[0]).all():
            candidates = candidates[:1]
        dealt = int(plan.sum()) * self._job.batch
        epoch = (self._progress.position + dealt / 2) / self._job.deal.examples
        old, new, losses = self.replica, self._next, []

        def apply(folded: np.ndarray, where: slice, norm: float) -> None:
            self._job.strategy.apply(old, new, epoch, folded, where, norm)

        for weights in candidates:
            self._group.combine(weights, apply, self._needs.norm)
            if len(candidates) > 1:
                assert self._job.data.validation, "candidates are chosen between on validation data"
                losses.append(self._evaluator.score(new.parameters, self._job.data.validation).loss)
        best = int(np.argmin(np.nan_to_num(losses, nan=np.inf))) if losses else 0
        if best < len(candidates) - 1:
            self._group.combine(candidates[best], apply, self._needs.norm)
        return np.asarray(candidates[best])

    def _commit(self, plan: np.ndarray, work: Work, weights: np.ndarray | None) -> None:
        """The next replica becomes the replica; the one before it is kept until the next round's end."""
        self._before = self._which, self._progress
        done = self._progress
        self._progress = done._replace(
            round=done.round + 1,
            position=done.position + int(plan.sum()) * self._job.batch,
            steps=done.steps + int(work.steps.max()),
            combinations=done.combinations + (weights is not None),
            examples=done.examples + int(work.examples.sum()),
            dealt=tuple((np.array(done.dealt) + plan).tolist()),
            worker_steps=tuple((np.array(done.worker_steps) + work.steps).tolist()),
            last_weights=done.last_weights if weights is None else tuple(weights.tolist()),
        )
        if weights is not None:
            self._which = 1 - self._which
        self._legs.restart()

    def _evaluate_if_due(self) -> None:
        mark = self._job.marks(self._progress.position)
        if mark > self._progress.evaluated:
            scores = self._scores()
            self._progress = self._progress._replace(evaluated=mark, reached=self._reached(scores))
            self._failing(lambda: self._record.score(self._progress, scores, self._finished()))
            self._record.lap("other")

    def _scores(self) -> dict[str, Score]:
        data = self._job.data
        parts = {"validation": data.validation, "test": data.test}
        return {n: self._evaluator.score(self.replica.parameters, part) for n, part in parts.items() if part}

    def _reached(self, scores: dict[str, Score]) -> bool:
        """Judged on validation data where there are any."""
        if self._job.target is None or not scores:
            return False
        score = next(iter(scores.values()))
        return score.loss <= self._job.target if score.accuracy is None else score.accuracy >= self._job.target

    def _end(self, finish: Callable[["Loop"], None]) -> Replica:
        if not np.isfinite(self.replica.parameters).all():
            raise Diverged(f"round {self._progress.round}: the combined parameters are not finite")
        if self._store:
            self._save(Tag(self._progress.round, 0))
        self._together(lambda: finish(self) if self._group.first else None)
        return self.replica

    def _save(self, tag: Tag) -> None:
        """Collective: every process writes its workers, the first the replica; then the first completes it."""
        store = self._store
        assert store
        if not np.isfinite(self.replica.parameters).all():
            raise Diverged(f"round {self._progress.round}: the combined parameters are not finite; nothing was saved")

        def write() -> None:
            for mine in self._legs.workers.values():
                store.write_worker(tag, mine)
            if self._group.first:
                store.write_replica(tag, self.replica)

        self._together(write)
        self._together(lambda: store.finish(tag, self.replica, self._record.state()) if self._group.first else None)
        self._saved = self._record.train_seconds

    def _recover(self, loss: ProcessLost) -> None:
        """Survivors agree on the lowest round; those ahead step back; orphans are adopted and begin it anew. Where
        private state was lost with its process, all go back to the last checkpoint, or to the beginning."""
        while True:
            self._losses += 1
            if self._losses > MANY:
                raise loss
            try:
                self._group.recover()
                self._record.writes = self._group.first
                self._record.say(f"{loss}; {len(self._group.transport.members)} processes go on")
                mine = self._progress.round if self._begun else -1, self._progress.evaluated
                rows = self._group.exchange(np.array(mine, np.int64).tobytes())
                lowest = min(tuple(np.frombuffer(row, np.int64).tolist()) for row in rows)
                self._legs.host()
                if self._needs.carries or lowest[0] < self._before[1].round:
                    self._begin()
                else:
                    self._step_back(lowest)
                return
            except ProcessLost as another:
                loss = another

    def _step_back(self, lowest: tuple[int, int]) -> None:
        round, evaluated = lowest
        if self._progress.round > round:
            self._which, self._progress = self._before
            self._legs.restart()
        self._progress = self._progress._replace(evaluated=evaluated, reached=False)
        if self._group.first:
            self._record.cut(round)

    def _try(self, act: Callable[[], np.ndarray]) -> np.ndarray:
        """Reports of local work; its failure becomes a notice, since the others wait at the meeting."""
        try:
            return act()
        except Exception as failure:
            self._failure = failure
            return np.zeros(0, REPORT)

    def _failing(self, act: Callable[[], None]) -> None:
        """Local work between meetings, of which the next one tells if it fails."""
        try:
            act()
        except Exception as failure:
            self._failure = self._failure or failure

    def _together(self, act: Callable[[], None]) -> None:
        """Collective: do it, and go on only if nobody failed."""
        self._failing(act)
        rows = self._group.exchange(np.int64(_code(self._failure)).tobytes())
        codes = np.array([np.frombuffer(row, np.int64)[0] for row in rows])
        if codes.any():
            self._leave(codes)

    def _leave(self, codes: np.ndarray) -> None:
        """The first process that failed speaks; the others leave with its code."""
        first = int(np.flatnonzero(codes)[0])
        if self._failure and self._group.transport.members[first] == self._group.transport.process:
            raise self._failure
        raise Ended(int(codes[first]))

    def _digest(self) -> int:
        """Of a part of the parameters that rotates with the rounds: replicas that drift apart are found out."""
        part = 1024
        start = self._progress.round * part % self._shape.parameters
        return zlib.crc32(self.replica.parameters[start : start + part].data)

    @property
    def bytes_sent(self) -> int:
        """Of contributions, by one worker so far: what crosses the wire if it is alone on its host."""
        shape = self._shape
        one = shape.contribution_rows * shape.parameters * shape.dtype.itemsize
        return self._progress.combinations * one


def _code(failure: Exception | None) -> int:
    if failure is None:
        return 0
    return failure.code if isinstance(failure, PsgdError) else 1


def _drift(notices: np.ndarray) -> str:
    """Which processes differ from what most have."""
    states = [(int(n["round"]), int(n["digest"])) for n in notices]
    usual = max(states, key=states.count)
    odd = [str(n["process"]) for n, state in zip(notices, states, strict=True) if state != usual]
    return (
        f"replicas drifted apart: process {', '.join(odd)} differs from the others in round {usual[0]}. Unlike CPUs or "
        "libraries, or memory that fails: compare environment.json of the hosts"
    )
