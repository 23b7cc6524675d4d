"""The training loop: local steps, exchange of reports, combination, evaluation. The same for every strategy and group.

Starting, resuming and joining are one path (`_begin`), and so are all ways to end: what one process finds out alone
travels as a notice with the next exchange of reports, and all processes leave together.
"""

from typing import final

import numpy as np

from psgd.core.clock import Clock, real_clock
from psgd.core.errors import Diverged, ProcessLost, PsgdError
from psgd.core.replica import Progress, Replica
from psgd.group.failure import Agreement
from psgd.group.group import Group
from psgd.group.reports import SEGMENT_SECONDS, Notice, Report, RoundReports, drift
from psgd.group.transport import Transport
from psgd.training.checkpoints import Checkpoints, Saving
from psgd.training.combination import Combination
from psgd.training.early_stop import EarlyStop
from psgd.training.evaluation import Evaluator, reaches
from psgd.training.finite import check_replica_finite, learning_rates, nonfinite_worker
from psgd.training.hooks import NO_HOOKS, Hooks
from psgd.training.job import Job, Start
from psgd.training.recorder import Recorder
from psgd.training.signals import CALLBACK_END, Signals, Stopped
from psgd.training.steps.batches import StepCounts
from psgd.training.steps.local_steps import LocalSteps
from psgd.training.stopwatch import Stopwatch

MAX_EMPTY_ROUNDS = 10  # rounds in a row in which all workers were excluded; then the job has diverged
MAX_PROCESS_LOSSES = 8  # without a completed round between them; then something other than bad luck is wrong
NOBODY = -1  # no process


@final
class Loop:
    """One process's part in a job. `run` is collective and returns the result on all processes."""

    def __init__(
        self,
        job: Job,
        transport: Transport,
        recorder: Recorder,
        saving: Saving | None = None,
        segment_seconds: float = SEGMENT_SECONDS,
        signals: Signals | None = None,
        agreement: Agreement | None = None,
        clock: Clock = real_clock,
    ) -> None:
        self._job, self._needs, self._recorder = job, job.strategy.needs, recorder
        self._directory = saving.directory if saving else None
        self.group = Group(transport, job.vectors)
        self.agreement = agreement or Agreement(transport)
        self.stopwatch = Stopwatch(clock)
        self.early_stop = EarlyStop(job.early_stop, job.learner.size, job.learner.dtype)
        self._scores: dict[str, float] = {}  # of the last evaluation
        self.ended_by_callback = False  # whether the caller's callback asked to end the training
        self._local_steps = LocalSteps(job, self.group, clock, segment_seconds)
        self._checkpoints = Checkpoints(
            saving, self.group, self.agreement, self._local_steps, self.early_stop, recorder, self.stopwatch
        )
        holder = self._local_steps.holder
        self._evaluator = Evaluator(self.group, holder)
        self._combination = Combination(job, holder, self._evaluator)
        self._replicas = holder.replicas()
        self._signals = signals or Signals()
        self._begun = self._resumed = False
        self._announced_by = NOBODY  # the process that called hooks.started
        self._evaluated, self._next_evaluation = -1, 0  # positions
        self._losses = 0  # of processes, since a round was completed
        recorder.writes = self.group.first

    @property
    def replica(self) -> Replica:
        return self._replicas.now

    @property
    def result(self) -> Replica:
        """The replica; once training has ended, with the parameters of the best evaluation if it may stop early."""
        return self.early_stop.result(self.replica) if self.finished else self.replica

    @property
    def scores(self) -> dict[str, float]:
        """The scores of the result, such as test_loss; during training those of the last evaluation."""
        return self.early_stop.best.scores if self.early_stop.best and self.finished else self._scores

    @property
    def bytes_sent(self) -> int:
        """The bytes that one worker has sent in all combinations, if each has a host of its own; 0 for a single one."""
        return self.replica.progress.combinations * self._job.vectors.contribution_bytes * (self._job.workers > 1)

    def run(self, hooks: Hooks = NO_HOOKS) -> Replica:
        """Train to the end."""
        try:
            with np.errstate(all="ignore"):  # what is not finite is found and named at the exchange of reports
                while True:
                    try:
                        return self._run(hooks)
                    except ProcessLost as loss:
                        self._recover(loss)
        finally:
            self._recorder.close()

    def _run(self, hooks: Hooks) -> Replica:
        if not self._begun:
            self._begin()
        first = self.group.transport.members[0]
        if self._announced_by != first:
            self.agreement.together(lambda: hooks.started(self._resumed) if self.group.first else None)
            self._announced_by = first
            self.stopwatch.lap("other")
        self._evaluate_if_due()
        steps_done = 0
        while not self.finished:
            steps_done = self._round()
            self._losses = 0
            self._evaluate_if_due()
        if self.replica.progress.round and not self.replica.progress.combinations:
            lower = learning_rates(self._job.strategy)
            raise Diverged(f"no worker was finite in any round, so that nothing was learnt; lower {lower}")
        for replica in (self.replica, self.result):
            check_replica_finite(replica)
        self.agreement.check()  # what failed after the last exchange of reports
        # Before the checkpoint: a full disk may have room for the result.
        self.agreement.together(lambda: hooks.finish() if self.group.first else None)
        hooks.share()
        self._checkpoints.save(self.replica, steps_done, self._scores)
        self.group.confirm_end()
        return self.result

    def _begin(self) -> None:
        """Start, resume or join: from the newest checkpoint, or from the seed."""
        self._begun = self.ended_by_callback = False
        self._signals.forget_callback()
        self.early_stop.forget()
        nothing = (0,) * self._job.workers
        steps = self._job.start.steps if self._job.start else 0
        self._replicas.begin(Progress(steps=steps, dealt=nothing, worker_steps=nothing))
        restored = self._checkpoints.load(self.replica.vectors)
        progress = restored.progress if restored else self.replica.progress
        self.agreement.attempt(lambda: self._recorder.truncate(progress), None)
        if restored:
            self._recorder.restore(restored.record)
            self._scores = dict(restored.record["last_score"])
            if self.early_stop.must_catch_up(restored.record):
                progress = progress._replace(evaluated=-1)  # an evaluation is due at once
            # The target may have changed.
            self._replicas.begin(progress._replace(reached=reaches(self._job.target, self._scores)))
        else:
            self.agreement.together(self._initialize)
        self.stopwatch.lap("other")
        self._begun, self._resumed, self._announced_by = True, restored is not None, NOBODY

    def _initialize(self) -> None:
        # Every process of a host writes the same bytes to the same memory.
        start = self._job.start or Start(self._job.learner.initial(self._job.seed)[None])
        self.replica.vectors[:] = 0
        self.replica.vectors[: len(start.vectors)] = start.vectors
        self._local_steps.reset()

    @property
    def finished(self) -> bool:
        """Whether there is nothing more to train."""
        progress = self.replica.progress
        return progress.position >= self._job.end or progress.reached or self.early_stop.over or self.ended_by_callback

    def _round(self) -> int:
        """Returns 0; where the callback ends the training, the steps of a round that is not completed."""
        progress, lap = self.replica.progress, self.stopwatch.lap
        plan = self._job.strategy.plan.steps(progress.round)
        while True:
            try:
                segment = self._local_steps.run(self.replica, plan)
            except Exception as failure:
                self.agreement.keep(failure)
                segment = []
            lap("compute")
            reports = self._exchange(segment)
            lap("wait")
            if self.ended_by_callback:
                return sum(reports.steps_done)
            if reports.steps_done == plan:
                break
            self._recorder.segment(progress, sum(reports.steps_done) / sum(plan))
        excluded, steps, losses = reports.nonfinite_workers, plan, reports.loss
        if excluded:
            self._exclude(excluded)
            steps = tuple(0 if worker in excluded else taken for worker, taken in enumerate(plan))
            losses = tuple(0.0 if worker in excluded else loss for worker, loss in enumerate(losses))
        weights, made = self._combination.combine(plan, steps, self.replica, self._replicas.next)
        self._commit(plan, steps, weights, made)
        lap("combine")
        try:
            examples = sum(steps) * self._job.batch
            self._recorder.round(self.replica.progress, sum(losses), examples, self.bytes_sent, self.stopwatch)
        except Exception as failure:
            self.agreement.keep(failure)
        lap("combine")
        return 0

    def _exchange(self, segment: list[Report]) -> RoundReports:
        """Everyone gets the same reports, and does what the notices ask."""
        replica = self.replica
        digest = self.agreement.attempt(replica.digest, 0)  # of a replica on a device that may have failed
        notice = Notice(replica.progress.round, digest, self._signals.asked, self._checkpoints.due, self.agreement.code)
        reports = self.group.exchange_reports(segment, notice)
        if not reports.routine:
            self.agreement.raise_if_failed([n.error for n in reports.notices])
            if difference := drift(reports, self.group.transport.members):
                raise PsgdError(difference)
        if max(reports.first_nonfinite) >= 0 and not self._job.exclude_nonfinite:
            raise nonfinite_worker(reports, self._job.learner, self._job.strategy, replica.progress.round)
        if not reports.routine:
            self._save_or_stop(reports)
        return reports

    def _save_or_stop(self, reports: RoundReports) -> None:
        asked = max(n.signal for n in reports.notices)
        if asked == CALLBACK_END:
            self.ended_by_callback = True
            return
        if asked or reports.notices[0].save:
            self.stopwatch.lap("wait")
            self._checkpoints.save(self.replica, sum(reports.steps_done), self._scores)
            self.stopwatch.lap("other")
        if asked:
            raise Stopped(asked, self._directory)

    def _exclude(self, workers: list[int]) -> None:
        """Workers that are not finite count as absent in this round, and start again from the replica."""
        progress = self.replica.progress
        self._local_steps.reset(workers)
        self._recorder.warn(f"round {progress.round}: not finite and excluded: worker {', '.join(map(str, workers))}")
        if len(workers) == self._job.workers and progress.skipped + 1 >= MAX_EMPTY_ROUNDS:
            raise Diverged(f"no worker was finite in the last {MAX_EMPTY_ROUNDS} rounds, up to round {progress.round}")

    def _commit(self, plan: StepCounts, steps: StepCounts, weights: np.ndarray | None, combinations: int) -> None:
        used = None if weights is None else tuple(weights.tolist())
        after = self.replica.progress.after_round(plan, steps, self._job.batch, used, combinations)
        self._replicas.commit(after, combined=weights is not None)
        self._local_steps.restart_round()

    def _evaluate_if_due(self) -> None:
        progress = self.replica.progress
        if self._evaluated != progress.evaluated:
            self._evaluated, self._next_evaluation = progress.evaluated, self._job.next_evaluation(progress.evaluated)
        last_is_missing = self.ended_by_callback and progress.evaluated < progress.position
        if progress.position < self._next_evaluation and not last_is_missing:
            return
        scores = self._evaluator.scores(self.replica, self._job.data)
        reached = reaches(self._job.target, scores)
        self._scores, self.replica.progress = scores, progress._replace(evaluated=progress.position, reached=reached)
        self.early_stop.judge(self.replica, scores)
        last = self.finished
        self.agreement.attempt(lambda: self._recorder.scores(progress, scores, last, self.stopwatch), None)
        self.stopwatch.lap("other")

    def _recover(self, loss: ProcessLost) -> None:
        """The survivors agree on the lowest round; those ahead step back; orphaned workers are adopted and start that
        round again. If worker states were lost with their process, all go back to the last checkpoint or the start."""
        while True:
            self._losses += 1
            if self._losses > MAX_PROCESS_LOSSES:
                raise loss
            try:
                what_was_lost = self.group.recover()
                self._recorder.writes = self.group.first
                self._recorder.say(what_was_lost)
                own = self.replica.progress.round if self._begun else -1, self.replica.progress.evaluated
                rows = self.group.all_gather(np.array((*own, self._announced_by), np.int64).tobytes())
                states = [tuple(np.frombuffer(row, np.int64).tolist()) for row in rows]
                round, evaluated, _ = min(states)
                self._announced_by = min(state[2] for state in states)
                self.agreement.together(self._local_steps.host_workers)  # a device may have no room for the orphans
                if self._needs.keeps_worker_state or round < 0:
                    self._recorder.say("all go back to the last checkpoint, or to the start")
                    self._begun = False
                else:
                    self._step_back(round, evaluated)
                    self._resumed = True
                self.stopwatch.lap("other")
                return
            except ProcessLost as another:
                loss = another

    def _step_back(self, round: int, evaluated: int) -> None:
        if self.replica.progress.round > round:
            self._replicas.step_back()
            self._local_steps.restart_round()
            self._signals.forget_callback()  # it will hear of the round again
        self.ended_by_callback = False  # maybe only some know that it is to end; whoever wants that says so again
        progress = self.replica.progress
        reached = progress.reached and progress.evaluated == evaluated  # else it is evaluated again
        self.replica.progress = progress._replace(evaluated=evaluated, reached=reached)
        self.agreement.attempt(lambda: self._recorder.truncate(self.replica.progress), None)
