"""`psgd.fit`: trains a user's own numpy function."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from psgd.backends.blas import one_blas_thread, several_threads
from psgd.core.errors import PsgdError
from psgd.core.launcher import launched
from psgd.core.log import LOG
from psgd.group.serial import Serial
from psgd.jobs.fit.check_gradient import check_gradient
from psgd.jobs.fit.session import Fitted, fit_on, fit_with_mpi, fit_with_threads
from psgd.jobs.fit.settings import check_settings, in_words_of_fit, section_of
from psgd.jobs.fit.task import build_task
from psgd.jobs.plain_values import plain
from psgd.learners.user_function import Gradient, Measure


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
    speeds: Sequence[float] | None = None,
    test: tuple[Any, Any] | None = None,
    loss: Measure | None = None,
    score: Measure | None = None,
    on_nonfinite: str = "stop",
    progress: bool = False,
    check: bool = True,
) -> Fitted:
    """Train `parameters` with your own function, in parallel. Under mpirun every process calls it with equal arguments.

    gradient(parameters, X, y): the mean gradient over the rows of X and y, in the structure of the parameters; or
        (gradient, loss). It gets read-only views of the parameters, and rows of the data in their own dtype.
    parameters: the initial values; an array, or lists, tuples, dicts of arrays, all float32 or all float64.
    dataset: (X, y), arrays with one row for each example.
    strategy, optimizer: a name, or a mapping as in a config ({"name": "adam", "beta1": 0.8}); `period` and
        `learning_rate` are settings of theirs. Regularisation (l1, l2) belongs into your gradient.
    epochs: uses of every example, over all workers together.
    group: serial, threads, mpi; auto is mpi under mpirun, else serial. Threads call your function concurrently: choose
        them if it keeps nothing between calls (no self.activations). `processes`: the number of threads.
    speeds: of the workers, relative to the fastest (weighted-averaging).
    test: (X, y), evaluated once an epoch by loss(parameters, X, y), a mean, and by score(parameters, X, y), the share
        of right answers; one of them is enough (without `loss`, test_loss is the share of wrong answers).
    progress: show the loss on stderr, as a bar on a terminal or in a notebook, else in lines; `gradient` must then
        return it.
    check: before training, call gradient some ten times on one batch: equal calls must give equal bits, the gradient
        must be the slope of the loss that is returned with it, and a mean over the rows; with threads, calls at the
        same time must not disturb each other. False for a function that means not to, with dropout or clipping.

    An exception of your function is raised here, with a note that names worker and round; under mpirun the other
    processes raise SystemExit(1). UsageError and DataError for wrong arguments, Diverged if a value is not finite.
    """
    built, failure = None, None
    with _arguments_in_messages(), one_blas_thread() as blas:
        note, threads = several_threads(blas, "psgd.fit"), max((info["num_threads"] for info in blas), default=None)
        try:
            settings = check_settings(
                {
                    "strategy": section_of("strategy", strategy, "period", period),
                    "optimizer": section_of("optimizer", optimizer, "learning_rate", learning_rate),
                    "workers": plain(workers),
                    "group": group,
                    "cluster": {"processes": plain(processes), "speeds": plain(speeds)},
                    "training": {
                        "epochs": plain(epochs),
                        "batch_size_per_worker": plain(batch_size_per_worker),
                        "seed": plain(seed),
                        "on_nonfinite": on_nonfinite,
                    },
                }
            )
            task = build_task(settings, gradient, parameters, dataset, test, loss, score, progress)
            built = task, task.job()
            if check:
                check_gradient(task)
        except Exception as error:
            failure = error
        if launched() or (built and built[0].settings.group == "mpi"):
            return fit_with_mpi(built, failure, threads, note)
        if failure:
            raise failure
        assert built
        task, job = built
        if note:
            LOG.info(note)
        if group == "auto" and workers > 1:
            _say_once(
                f"psgd: {workers} workers take turns in this one process; to run them in parallel, use group='threads' "
                f"(if gradient keeps nothing between calls) or mpirun -n {workers} python script.py"
            )
        if task.settings.group == "threads":
            return fit_with_threads(task, job, threads)
        return fit_on(Serial(), task, job, threads)


@cache
def _say_once(text: str) -> None:
    LOG.info(text)


@contextmanager
def _arguments_in_messages() -> Iterator[None]:
    try:
        yield
    except PsgdError as error:
        error.args = (in_words_of_fit(str(error)),)
        raise
