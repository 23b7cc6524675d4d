"""The one loop: leg, meeting, combination, evaluation. The same for every strategy and group.

Starting, resuming and joining are one path (`_begin`); so are all ways to end: what a process finds out alone travels
as a notice on the next meeting, and all leave together.
"""

from collections.abc import Callable
from operator import add
from pathlib import Path
from typing import final

import numpy as np

from psgd.core.errors import Diverged, ProcessLost, PsgdError
from psgd.core.replica import Progress, Replica, Replicas
from psgd.group.failure import Agreement
from psgd.group.group import Group, VectorShape
from psgd.group.reports import Notice, Report, RoundReports, WorkDone, drift, work_done
from psgd.group.transport import Transport
from psgd.training.checkpoints import Checkpoints, check_finite
from psgd.training.evaluation import Evaluator
from psgd.training.job import Job
from psgd.training.local_steps import LocalSteps
from psgd.training.recorder import Recorder
from psgd.training.signals import Signals, exit_code

MAX_EMPTY_ROUNDS = 10  # rounds in which all workers were excluded: going on is of no use
MANY = 8  # losses without a completed round: something other than bad luck


class Stopped(PsgdError):
    """A signal asked for it, and a checkpoint was saved if there is a place for one."""

    def __init__(self, number: int, where: Path | None) -> None:
        super().__init__(
            f"stopped by signal {number}" + (f"; continue with --resume --output {where}" if where else "")
        )
        self.code = exit_code(number)


@final
class Loop:
    """One process's part in a job. `run` is collective and returns the final replica to all."""

    def __init__(
        self,
        job: Job,
        transport: Transport,
        record: Recorder,
        directory: Path | None = None,
        checkpoint_seconds: float = 60.0,
        segment_seconds: float = 1.0,
        signals: Signals | None = None,
        started: Callable[["Loop", bool], None] = lambda loop, resumed: None,
        agreement: Agreement | None = None,
    ) -> None:
        needs, learner = job.strategy.needs, job.learner
        self._job, self._needs, self._record, self._directory = job, needs, record, directory
        self._shape = VectorShape(job.workers, learner.size, needs.state_rows, needs.contribution_rows, learner.dtype)
        self.group = Group(transport, self._shape)
        self.agreement = agreement or Agreement(transport)
        self._local_steps = LocalSteps(job, self.group, segment_seconds)
        self._saving = Checkpoints(directory, checkpoint_seconds, self.group, self.agreement, self._local_steps, record)
        self._evaluator = Evaluator(learner, self.group, job.outputs)
        self._replicas = Replicas(self.group.replicas)
        self._signals = signals or Signals()
        self._started = started
        self._begun = False
        self._mark = -1, 0  # (position of the last evaluation, where the next is due)
        self._losses = 0  # of processes, since a round was completed
        record.writes = self.group.first

    @property
    def replica(self) -> Replica:
        return self._replicas.now

    @property
    def bytes_sent(self) -> int:
        """Of contributions, by one worker so far: what crosses the wire if it is alone on its host."""
        one = self._shape.contribution_rows * self._shape.parameters * self._shape.dtype.itemsize
        return self.replica.progress.combinations * one

    def run(self, finish: Callable[["Loop"], None] = lambda loop: None) -> Replica:
        """Train to the end; the first process then calls `finish`, whose failure is everyone's."""
        try:
            with np.errstate(all="ignore"):  # what is not finite is found out at the meetings, and named
                while True:
                    try:
                        return self._run(finish)
                    except ProcessLost as loss:
                        self._recover(loss)
        finally:
            self._record.close()

    def _run(self, finish: Callable[["Loop"], None]) -> Replica:
        if not self._begun:
            self._begin()
        self._evaluate_if_due()
        while not self._finished():
            self._round()
            self._losses = 0
            self._evaluate_if_due()
        check_finite(self.replica)
        self._saving.save(self.replica, done=0)
        self.agreement.together(lambda: finish(self) if self.group.first else None)
        return self.replica

    def _begin(self) -> None:
        """Start, resume or join: from the newest checkpoint, or from the seed. The first process then calls `started`
        with whether there was a checkpoint; its failure is everyone's."""
        self._begun = False
        tag = self._saving.newest()
        if self.group.first:
            self.agreement.attempt(lambda: self._record.cut(tag.round if tag else 0), None)
        nothing = (0,) * self._job.workers
        self._replicas.begin(Progress(dealt=nothing, worker_steps=nothing))

        def fill() -> None:
            if tag:
                self._replicas.begin(self._saving.load(tag, self.replica.vectors))
                self._aim()  # the target may be another now
                return
            # Every process of a host writes the same bytes to the same place.
            self.replica.vectors[0] = self._job.learner.initial(self._job.seed)
            self.replica.vectors[1:] = 0
            self._local_steps.forget()

        self.agreement.together(fill)
        self.agreement.together(lambda: self._started(self, tag is not None) if self.group.first else None)
        self._record.lap("other")
        self._begun = True

    def _finished(self) -> bool:
        return self.replica.progress.position >= self._job.end or self.replica.progress.reached

    def _round(self) -> None:
        plan = self._job.strategy.plan(self.replica.progress.round)
        planned = plan.tolist()
        while True:
            nothing: list[Report] = []
            segments = self.agreement.attempt(lambda: self._local_steps.run(self.replica, plan), nothing)
            self._record.lap("compute")
            reports = self._meet(segments)
            if list(reports.done) == planned:
                break
            self._record.leg(self.replica.progress, sum(reports.done) / sum(planned))
        self._record.lap("wait")
        excluded, steps, losses = reports.nonfinite_workers, planned.copy(), list(reports.loss)
        self._exclude(excluded)
        for worker in excluded:
            steps[worker], losses[worker] = 0, 0.0
        work = work_done(tuple(steps), self._job.batch)
        weights = self._combine(planned, work) if len(excluded) < self._job.workers else None
        self._commit(planned, steps, weights)
        self._record.lap("combine")
        loss, examples = sum(losses), sum(steps) * self._job.batch
        self.agreement.attempt(lambda: self._record.round(self.replica.progress, loss, examples, self.bytes_sent), None)
        self._record.lap("combine")

    def _meet(self, segments: list[Report]) -> RoundReports:
        """Everyone gets the same roster, and does what its notices ask."""
        replica = self.replica
        notice = Notice(
            round=replica.progress.round,
            digest=replica.digest(),
            signal=self._signals.asked,
            save=self._saving.due,
            error=self.agreement.code,
        )
        reports = self.group.meet(segments, notice)
        self.agreement.leave_if([n.error for n in reports.notices])
        if difference := drift(reports, self.group.transport.members):
            raise PsgdError(difference)
        self._look_for_divergence(reports)
        asked = max(n.signal for n in reports.notices)
        if asked or reports.notices[0].save:
            self._record.lap("wait")
            self._saving.save(self.replica, sum(reports.done))
            self._record.lap("other")
        if asked:
            raise Stopped(asked, self._directory)
        return reports

    def _look_for_divergence(self, reports: RoundReports) -> None:
        bad = reports.nonfinite_workers
        if bad and not self._job.exclude:
            where = self._job.learner.name(reports.bad[bad[0]])
            raise Diverged(
                f"worker {bad[0]}, round {self.replica.progress.round}: {where} is not finite. Lower "
                "optimizer.learning_rate or set optimizer.clip_norm; training.on_nonfinite: exclude goes on without it"
            )

    def _exclude(self, workers: list[int]) -> None:
        """Who is not finite was idle in this round, and begins anew."""
        if not workers:
            return
        progress = self.replica.progress
        self._local_steps.forget(workers)
        self._record.warn(f"round {progress.round}: not finite and excluded: worker {', '.join(map(str, workers))}")
        if len(workers) == self._job.workers and progress.skipped + 1 >= MAX_EMPTY_ROUNDS:
            raise Diverged(f"no worker was finite in the last {MAX_EMPTY_ROUNDS} rounds, up to round {progress.round}")

    def _combine(self, planned: list[int], work: WorkDone) -> np.ndarray:
        """The next replica from the contributions -> the weights used."""
        candidates = self._job.strategy.weights(self.replica.progress, work)
        if len(candidates) > 1 and (candidates == candidates[0]).all():
            candidates = candidates[:1]
        dealt = sum(planned) * self._job.batch
        epoch = (self.replica.progress.position + dealt / 2) / self._job.sampler.examples
        old, new, losses = self.replica, self._replicas.next, []

        def apply(reduced: np.ndarray, where: slice, norm: float) -> None:
            self._job.strategy.apply(old, new, epoch, reduced, where, norm)

        for weights in candidates:
            self.group.combine(weights, apply, self._needs.norm)
            if len(candidates) > 1:
                assert self._job.data.validation, "candidates are chosen between on validation data"
                losses.append(self._evaluator.score(new.parameters, self._job.data.validation).loss)
        best = int(np.argmin(np.nan_to_num(losses, nan=np.inf))) if losses else 0
        if best < len(candidates) - 1:
            self.group.combine(candidates[best], apply, self._needs.norm)
        return np.asarray(candidates[best])

    def _commit(self, planned: list[int], steps: list[int], weights: np.ndarray | None) -> None:
        done, batch = self.replica.progress, self._job.batch
        after = done._replace(
            round=done.round + 1,
            position=done.position + sum(planned) * batch,
            steps=done.steps + max(steps),
            combinations=done.combinations + (weights is not None),
            skipped=done.skipped + 1 if weights is None else 0,
            examples=done.examples + sum(steps) * batch,
            dealt=tuple(map(add, done.dealt, planned)),
            worker_steps=tuple(map(add, done.worker_steps, steps)),
            last_weights=done.last_weights if weights is None else tuple(weights.tolist()),
        )
        self._replicas.commit(after, combined=weights is not None)
        self._local_steps.restart()

    def _evaluate_if_due(self) -> None:
        progress, data = self.replica.progress, self._job.data
        if self._mark[0] != progress.evaluated:
            self._mark = progress.evaluated, self._job.mark(progress.evaluated)
        if progress.position < self._mark[1]:
            return
        parts = {"validation": data.validation, "test": data.test}
        scores = {n: self._evaluator.score(self.replica.parameters, part) for n, part in parts.items() if part}
        self.replica.progress = progress._replace(evaluated=progress.position)
        self.agreement.attempt(lambda: self._record.score(self.replica.progress, scores, self._finished()), None)
        self._aim()
        self._record.lap("other")

    def _aim(self) -> None:
        """Is the target reached? Judged by the last evaluation, on validation data where there are any."""
        found, target, reached = self._record.last_score, self._job.target, False
        for name in ("validation", "test"):
            if target is not None and f"{name}_loss" in found:
                accuracy = found.get(f"{name}_accuracy")
                reached = found[f"{name}_loss"] <= target if accuracy is None else accuracy >= target
                break
        self.replica.progress = self.replica.progress._replace(reached=reached)

    def _recover(self, loss: ProcessLost) -> None:
        """Survivors agree on the lowest round; those ahead step back; orphans are adopted and begin it anew. Where
        private state was lost with its process, all go back to the last checkpoint, or to the beginning."""
        while True:
            self._losses += 1
            if self._losses > MANY:
                raise loss
            try:
                self.group.recover()
                self._record.writes = self.group.first
                self._record.say(f"{loss}; {len(self.group.transport.members)} processes go on")
                mine = self.replica.progress.round if self._begun else -1, self.replica.progress.evaluated
                rows = self.group.all_gather(np.array(mine, np.int64).tobytes())
                round, evaluated = min(tuple(np.frombuffer(row, np.int64).tolist()) for row in rows)
                self._local_steps.host()
                if self._needs.keeps_worker_state or round < 0:
                    self._begin()
                else:
                    self._step_back(round, evaluated)
                self._record.lap("other")
                return
            except ProcessLost as another:
                loss = another

    def _step_back(self, round: int, evaluated: int) -> None:
        if self.replica.progress.round > round:
            self._replicas.step_back()
            self._local_steps.restart()
        self.replica.progress = self.replica.progress._replace(evaluated=evaluated, reached=False)
        if self.group.first:
            self._record.cut(round)
