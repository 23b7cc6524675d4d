"""`psgd.fit`: trains a user's own numpy function."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from psgd.backends.blas import one_blas_thread, several_threads
from psgd.core.errors import UsageError, raised_at_the_call, reworded
from psgd.core.launcher import launched
from psgd.core.log import LOG, first_time, say_once
from psgd.jobs.fit.advice import DOUBT, advice, call_seconds, doubt
from psgd.jobs.fit.callback import TrainingProgress
from psgd.jobs.fit.check_gradient import check_gradient
from psgd.jobs.fit.directory import check_can_be_kept, make_request
from psgd.jobs.fit.launch import FitCall, Fitted, fit_in_process, fit_with_mpi
from psgd.jobs.fit.misplaced import misplaced
from psgd.jobs.fit.settings import check_settings, in_words_of_fit, section_of
from psgd.jobs.fit.task import build_task
from psgd.jobs.plain_values import path_of, plain
from psgd.jobs.request import DirectoryOptions
from psgd.learners.user_function import Gradient, Measure


@partial(raised_at_the_call, hint=misplaced)
def fit(
    gradient: Gradient,
    parameters: Any,
    dataset: tuple[Any, Any],
    *,
    strategy: str | Mapping[str, Any] = "weighted-averaging",
    period: int | str | None = None,
    optimizer: str | Mapping[str, Any] = "sgd",
    learning_rate: float | None = None,
    workers: int = 4,
    epochs: float = 1.0,
    batch_size_per_worker: int = 10,
    seed: int = 0,
    group: str = "auto",
    processes: int | None = None,
    device: str = "auto",
    speeds: Sequence[float] | None = None,
    test: tuple[Any, Any] | None = None,
    loss: Measure | None = None,
    score: Measure | None = None,
    on_nonfinite: str = "stop",
    mode: str = "shuffle",
    progress: bool = False,
    callback: Callable[[TrainingProgress], Any] | None = None,
    check: bool = True,
    output: str | PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    accept_changes: bool = False,
    checkpoint_seconds: float = 60.0,
) -> Fitted:
    """Train `parameters` with your own function, in parallel. Under mpirun every process calls it with equal arguments.

    gradient(parameters, X, y): the mean gradient over the rows of X and y, in the structure of the parameters; or
        (gradient, loss). It gets read-only views of the parameters, and rows of the data in their own dtype.
    parameters: the initial values; an array, or lists, tuples, dicts of arrays, all float32 or all float64.
    dataset: (X, y), arrays with one row for each example.
    strategy, optimizer: a name, or a mapping as in a config ({"name": "adam", "beta1": 0.8}, {"momentum": 0.9} of sgd);
        `period` and `learning_rate` are settings of theirs. Regularisation (l1, l2) belongs into your gradient.
    epochs: uses of every example, over all workers together; training ends with the round that gets there.
    group: serial, threads, mpi, ray; auto is mpi under mpirun, else serial. Threads call your function concurrently:
        choose them if it keeps nothing between calls (no self.activations). Ray's actors get copies of your functions
        and data. `processes`: the number of threads or actors.
    device: auto and cpu are both the CPU: your function computes with numpy, and cuda is refused.
    speeds: of the workers, relative to the fastest (weighted-averaging).
    mode: shuffle uses every example once an epoch; partition gives each worker a shard of its own; replacement draws
        examples with replacement.
    test: (X, y), evaluated once an epoch by loss(parameters, X, y), a mean, and by score(parameters, X, y), the share
        of right answers; one of them is enough (without `loss`, test_loss is the share of wrong answers).
    progress: show the loss on stderr, as a bar on a terminal or in a notebook, else in lines; `gradient` must then
        return it.
    check: before training, call gradient some ten times on one batch: equal calls must give equal bits, the gradient
        must be the slope of the loss that is returned with it, and a mean over the rows; with threads, calls at the
        same time must not disturb each other. False for a function that means not to, with dropout or clipping.

    callback(progress): called on the first process (with Ray, in this one) with each line of metrics (at most a hundred
        an epoch and a thousand in all) and each evaluation. progress has round, epoch, examples, seconds, loss, scores
        and parameters, a copy in your structure. If it returns True, training ends there, with the parameters that it
        saw; resumed, it is asked again.
    output: a run directory, which must be new or empty unless resume or overwrite is given: checkpoints every
        `checkpoint_seconds` of training, metrics, a summary, and the parameters, which psgd.load(output) returns.
        SIGTERM, SIGUSR1 and SIGHUP then save a checkpoint and raise SystemExit(75), Ctrl-C KeyboardInterrupt.
    resume: go on from the newest checkpoint in `output`, on any number of processes, with the bits of a call that was
        never interrupted; without a checkpoint, start. Settings, data and initial parameters must be the same (with
        accept_changes=True, the learning rate and the data may be others); that your functions are, psgd cannot see.

    An exception of your function is raised here, with a note that names worker and round; under mpirun the other
    processes raise SystemExit(1). UsageError and DataError for wrong arguments, Diverged if a value is not finite.
    """
    call, failure, doubted = None, None, None
    with reworded(in_words_of_fit), one_blas_thread() as blas:
        note, threads = several_threads(blas, "psgd.fit"), max((info["num_threads"] for info in blas), default=None)
        try:
            directory = path_of(output)
            settings = check_settings(
                {
                    "strategy": section_of("strategy", strategy, "weighted-averaging", "period", period),
                    "optimizer": section_of("optimizer", optimizer, "sgd", "learning_rate", learning_rate),
                    "data": {"source": "psgd.fit", "mode": mode},
                    "workers": plain(workers),
                    "group": group,
                    "device": device,
                    "cluster": {"processes": plain(processes), "speeds": plain(speeds)},
                    "training": {
                        "epochs": plain(epochs),
                        "batch_size_per_worker": plain(batch_size_per_worker),
                        "seed": plain(seed),
                        "on_nonfinite": on_nonfinite,
                        "checkpoint_seconds": plain(checkpoint_seconds),
                    },
                    **({} if directory is None else {"output": directory}),
                }
            )
            task = build_task(settings, gradient, parameters, dataset, test, loss, score, progress)
            options = DirectoryOptions(Path(directory) if directory else None, resume, overwrite, accept_changes)
            if callback is not None and not callable(callback):
                raise UsageError(f"callback is {type(callback).__name__}; it must be a function of (progress)")
            request = make_request(task.settings, group, options)
            if directory:
                check_can_be_kept(task)
            call = FitCall(task, request, callback, threads, task.job())
            if check:
                check_gradient(task)
                doubted = doubt(task)
        except Exception as error:
            failure = error
        if launched() or (call and call.task.settings.group == "mpi"):
            return fit_with_mpi(call, failure, note, doubted)
        if failure:
            raise failure
        assert call
        if note:
            say_once(note)
        if doubted and first_time(DOUBT):
            LOG.info(doubted)
        if group == "auto" and workers > 1 and first_time(("workers take turns", workers)):
            # Without the check, a call more might change what a function draws or keeps.
            LOG.info(advice(call.task, call_seconds(call.task) if check else math.inf))
        if group == "ray":
            from psgd.jobs.fit.on_ray import fit_on_ray  # which imports what other groups do without

            return fit_on_ray(call)
        return fit_in_process(call)
