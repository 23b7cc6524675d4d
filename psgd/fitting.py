"""`psgd.fit`: a user's own numpy function as the learner. (Not called fit.py: `psgd.fit` is the function.)"""

import hashlib
import json
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from psgd.agreement import Ended
from psgd.blas import describe
from psgd.build import build_optimizer, build_strategy
from psgd.choose import thread_count
from psgd.config.checks import check_together
from psgd.config.problems import Problem, check_values, related
from psgd.data.dataset import Data
from psgd.data.deal import Shuffle
from psgd.data.rows import Rows, rows_of
from psgd.data.split import hold_out
from psgd.errors import PsgdError, UsageError
from psgd.group import mpi
from psgd.group.serial import Serial
from psgd.group.threads import run_threads
from psgd.group.transport import Transport
from psgd.job import Job
from psgd.launcher import launched
from psgd.learners.own import Gradient, Measure, OwnLearner
from psgd.learners.structure import Structure
from psgd.loop import Loop
from psgd.record import Record
from psgd.signals import Signals
from psgd.sizes import shared_bytes
from psgd.strategy.naming import Naming
from psgd.summary import summarize

Settings = dict[str, Any]
_HELD_OUT = 0.05
_SAMPLE = 1000  # rows of the data that processes compare


@final
@dataclass(frozen=True, eq=False)
class Fitted:
    """What training gives, the same on every process."""

    parameters: Any  # arrays of your own, in the structure that you gave
    summary: dict[str, Any]  # as in summary.json: parameters_sha256, train_seconds, ...
    first: bool  # whether this process is the one to print and save, where there are several


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
) -> Fitted:
    """Train `parameters` with your own function, in parallel. Under mpirun all processes call it, with the same.

    gradient(parameters, X, y): the mean gradient over the rows of X and y, like the parameters; or (gradient, loss).
        It gets views of the parameters that cannot be written to, and rows of the data in their own dtype.
    parameters: where to begin; an array, or lists, tuples, dicts of arrays, all float32 or all float64.
    dataset: (X, y), arrays with a row an example.
    strategy, optimizer: a name, or a mapping as in a config ({"name": "adam", "beta1": 0.8}); `period` and
        `learning_rate` are theirs. Regularisation (l1, l2) belongs into your gradient.
    batch_size_per_worker, epochs: an epoch is one use of every example, over all workers.
    group: serial, threads, mpi; auto is mpi under mpirun, else serial. Threads call your function several at a time:
        take them if it keeps nothing between calls (no self.activations). `processes`: how many threads.
    speeds: of the workers, relative to the fastest (weighted-averaging).
    test: (X, y), scored once an epoch by loss(parameters, X, y), a mean, and by score(parameters, X, y), the share of
        right answers; one of both is enough (without `loss`, test_loss is the share of wrong ones).
    progress: lines on stderr; `gradient` must return its loss then.

    What your function raises is raised here, with a note that names worker and round; under mpirun the other processes
    leave by SystemExit(1). UsageError, DataError: what was given cannot be. Diverged: something is not finite.
    """
    task, failure = None, None
    try:
        settings = _settings(
            {
                "strategy": _section("strategy", strategy, "period", period),
                "optimizer": _section("optimizer", optimizer, "learning_rate", learning_rate),
                "workers": _plain(workers),
                "group": group,
                "cluster": {"processes": _plain(processes), "speeds": _plain(speeds)},
                "training": {
                    "epochs": _plain(epochs),
                    "batch_size_per_worker": _plain(batch_size_per_worker),
                    "seed": _plain(seed),
                    "on_nonfinite": on_nonfinite,
                },
            }
        )
        task = _task(settings, gradient, parameters, dataset, test, loss, score, progress)
    except Exception as error:
        failure = error
    with _one_blas_thread() as (threads, note):
        if launched() or (task and task.settings["group"] == "mpi"):
            return _with_mpi(task, failure, threads, note)
        if failure or not task:
            assert failure
            raise failure
        if note:
            print(note, file=sys.stderr, flush=True)
        signals = Signals()
        if task.settings["group"] != "threads":
            return _Fitting(task, Serial(), signals).run(threads)
        return _with_threads(task, signals, threads)


@final
@dataclass(frozen=True, eq=False)
class _Task:
    """All that was asked for, checked."""

    settings: Settings
    gradient: Gradient
    structure: Structure
    start: np.ndarray
    data: Data
    loss: Measure | None
    score: Measure | None
    progress: bool

    def job(self) -> Job:
        """With a learner of its own."""
        training, examples = self.settings["training"], len(self.data.train)
        learner = OwnLearner(self.gradient, self.structure, self.start, self.loss, self.score, self.progress)
        optimizer = build_optimizer(self.settings, examples, learner)
        return Job(
            workers=self.settings["workers"],
            strategy=Naming(build_strategy(self.settings, examples, optimizer)),
            learner=learner,
            data=self.data,
            deal=Shuffle(examples, training["batch_size_per_worker"], training["seed"]),
            outputs=self.data.train.outputs,
            epochs=training["epochs"],
            seed=training["seed"],
            exclude=training["on_nonfinite"] == "exclude",
        )

    def digests(self) -> list[bytes]:
        """Of what must be the same on every process; of large data, a sample."""
        data = hashlib.sha256()
        for part in (self.data.train, self.data.validation, self.data.test):
            if isinstance(part, Rows):
                rows = np.linspace(0, len(part) - 1, min(_SAMPLE, len(part)), dtype=np.int64)
                for array in (part.X, part.y):
                    data.update(f"{array.shape} {array.dtype}".encode())
                    data.update(np.ascontiguousarray(array[rows]).tobytes())
        described = json.dumps([self.settings, str(self.start.dtype), [leaf.path for leaf in self.structure.leaves]])
        return [hashlib.sha256(part).digest() for part in (self.start.tobytes(), data.digest(), described.encode())]


@final
class _Fitting:
    """One process's part."""

    def __init__(self, task: _Task, transport: Transport, signals: Signals) -> None:
        job = task.job()
        self._task = task
        self._examples = job.deal.examples
        self._record = Record(None, self._examples, job.epochs, str(transport.process), not task.progress)
        self.loop = Loop(job, transport, self._record, signals=signals)

    def run(self, threads: int | None) -> Fitted:
        """Collective."""
        transport = self.loop.group.transport
        if self._task.progress:
            self._record.say(
                f"{self._task.data.note}; {self._task.structure.size:,} parameters; {self._task.settings['workers']} "
                f"workers on {len(transport.members)} {transport.kind} process{'es' * (len(transport.members) > 1)}"
            )
        replica = self.loop.run()
        summary = summarize(self._task.settings, self.loop, self._record, self._examples, "done")
        summary["blas_threads"] = threads  # before they were limited to one
        return Fitted(self._task.structure.copies(replica.parameters), summary, self.loop.group.first)


def _with_threads(task: _Task, signals: Signals, threads: int | None) -> Fitted:
    def main(transport: Transport) -> Fitted | None:
        try:
            return _Fitting(task, transport, signals).run(threads)
        except Ended:  # the thread that failed says why
            return None

    try:
        results = run_threads(thread_count(task.settings), task.settings["cluster"]["patience"], main)
    except KeyboardInterrupt:
        signals.asked = 2  # the threads end at their next meeting
        raise
    fitted: Fitted = results[0]
    return fitted


def _with_mpi(task: _Task | None, failure: Exception | None, threads: int | None, note: str | None) -> Fitted:
    """Collective. What goes wrong is raised by one process, which says it; the others leave silently."""
    patience = task.settings["cluster"]["patience"] if task else 300.0
    transport = mpi.Mpi(patience, shared_bytes(task.job()) if task else 0)
    fitting: _Fitting | None = None
    try:
        _agree(transport, task, failure)
        assert task
        if note and transport.process == 0:
            print(note, file=sys.stderr, flush=True)
        fitting = _Fitting(task, transport, Signals())
        fitted = fitting.run(threads)
        summary = _first_one(transport, fitted.summary)
    except Ended:
        transport.close()
        raise SystemExit(1) from None
    except BaseException as error:
        if error is failure or (fitting and error is fitting.loop.agreement.failure):
            transport.close()  # the others know, and are there
            raise
        if isinstance(error, PsgdError):  # all found the same
            transport.close()
            if fitting is None or fitting.loop.group.first:
                raise
            raise SystemExit(1) from None
        traceback.print_exc()  # between two meetings: the others wait for this process and cannot be told
        sys.stderr.flush()
        transport.abort(1)
    transport.close()
    return Fitted(fitted.parameters, summary, fitted.first)


def _agree(transport: Transport, task: _Task | None, failure: Exception | None) -> None:
    """Collective: go on only if everyone was given the same, which can be."""
    parts = task.digests() if task else [bytes(32)] * 3
    rows = transport.exchange(bytes([failure is not None]) + b"".join(parts))
    failed = [process for process, row in enumerate(rows) if row[0]]
    if failed and failed[0] == transport.process:
        assert failure
        raise failure
    if failed:
        raise Ended(1)
    for number, what in enumerate(("initial parameters", "data", "settings")):
        seen = [row[1 + 32 * number : 33 + 32 * number] for row in rows]
        odd = [str(process) for process, digest in enumerate(seen) if digest != seen[0]]
        if odd and transport.process:
            raise Ended(1)
        if odd:
            raise UsageError(
                f"process {', '.join(odd)} called psgd.fit with other {what} than process 0; all must give the same: "
                "draw random numbers from a fixed seed, np.random.default_rng(0)"
            )


def _first_one(transport: Transport, summary: dict[str, Any]) -> dict[str, Any]:
    """Collective: the first process's, since clocks differ. Rows must be equally long."""
    text = json.dumps(summary).encode()
    longest = max(int.from_bytes(row, "little") for row in transport.exchange(len(text).to_bytes(8, "little")))
    first: dict[str, Any] = json.loads(transport.exchange(text.ljust(longest))[0])
    return first


def _task(
    settings: Settings,
    gradient: Gradient,
    parameters: Any,
    dataset: Any,
    test: Any,
    loss: Measure | None,
    score: Measure | None,
    progress: bool,
) -> _Task:
    for name, function in (("gradient", gradient), ("loss", loss), ("score", score)):
        if function is not None and not callable(function):
            raise UsageError(f"{name} is {type(function).__name__}; it must be a function of (parameters, X, y)")
    if test is not None and not (loss or score):
        raise UsageError("test is scored by loss=... or score=..., functions of (parameters, X, y); give one")
    structure = Structure(parameters)
    classes = 1 if score else 0
    examples = rows_of(dataset, "dataset", classes)
    scored = rows_of(test, "test", classes) if test is not None else None
    train, validation = _hold_out(settings, examples, loss or score)
    note = f"{len(train)} train{f', {len(validation)} validation' if validation else ''} examples"
    settings["group"] = _group(settings)
    data = Data(train, scored, validation, note)
    return _Task(settings, gradient, structure, structure.flatten(parameters), data, loss, score, progress)


def _hold_out(settings: Settings, examples: Rows, measure: Measure | None) -> tuple[Rows, Rows | None]:
    """As a config does: a contraction that is chosen needs data to choose on."""
    strategy, speeds = settings["strategy"], settings["cluster"]["speeds"]
    if strategy.get("contraction") != "holdout" or not speeds or set(speeds) == {1}:
        return examples, None
    if measure is None:
        raise UsageError(
            f"strategy.contraction is holdout: with speeds {speeds} it is chosen on {_HELD_OUT:.0%} of the data, set "
            "aside, by loss=... or score=...; give one, or strategy={'name': 'weighted-averaging', 'contraction': 0.9}"
        )
    train, validation = hold_out(examples, _HELD_OUT, settings["training"]["seed"])
    assert isinstance(train, Rows)
    assert isinstance(validation, Rows)
    return train, validation


def _group(settings: Settings) -> str:
    group: str = settings["group"]
    processes = settings["cluster"]["processes"]
    if launched():
        if group not in ("auto", "mpi"):
            raise UsageError(
                f"group is {group}, but an MPI launcher started this: each of its processes would train alone; "
                "use group='auto' or 'mpi', or start python without mpirun"
            )
        return "mpi"
    if group == "ray":
        raise UsageError("group is ray, on which psgd.fit does not run; use auto, serial, threads or mpi")
    if group == "auto" and processes:
        raise UsageError(f"processes is {processes}, but group auto is one process here; say group='threads' as well")
    # Not threads: a function that keeps its activations in an object would silently compute nonsense in them.
    return "serial" if group == "auto" else group


def _section(section: str, given: str | Mapping[str, Any], key: str, value: Any) -> Settings:
    if not isinstance(given, str | Mapping):
        raise UsageError(f"{section} is {given!r}; it must be a name, or a mapping such as {{'name': ...}}")
    mapping = {"name": given} if isinstance(given, str) else {k: _plain(v) for k, v in given.items()}
    if value is not None:
        if key in mapping:
            raise UsageError(f"{section}.{key} is given twice, {mapping[key]!r} and {value!r}; keep one")
        mapping[key] = _plain(value)
    return mapping


def _plain(value: Any) -> Any:
    """Numpy's numbers as Python's, sequences as lists, as the config's rules know them."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _settings(values: Settings) -> Settings:
    """Checked by the config's rules, with its defaults; UsageError says all that is wrong."""
    settings, problems = check_values(values)
    wrong = [problem.path for problem in problems]
    problems += [p for p in check_together(settings) if not any(related(p.path, path) for path in wrong)]
    optimizer = settings.optimizer
    for key, value in (("l1", optimizer.l1), ("l2", optimizer.l2)):
        if value:
            what = f"is {value}, but psgd does not know which of your parameters are weights; add it to your gradient"
            problems.append(Problem(("optimizer", key), what))
    if settings.workers == "auto":
        problems.append(Problem(("workers",), "is auto; it must be a whole number here"))
    if problems:
        lines = [f"psgd.fit: {_keyword(problem.path)} {problem.text}" for problem in problems]
        raise UsageError("\n".join(dict.fromkeys(lines)))
    return settings.model_dump()


def _keyword(path: tuple[str, ...]) -> str:
    return path[-1] if path[0] in ("training", "cluster") else ".".join(path)


@contextmanager
def _one_blas_thread() -> Iterator[tuple[int | None, str | None]]:
    """(threads that numpy's BLAS had, what to tell the user of it). numpy was imported long before us, so all that can
    be done is to limit it meanwhile."""
    from threadpoolctl import threadpool_info, threadpool_limits

    blas = describe()
    found = [info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"]
    threads, note = max(found, default=None), None
    if threads is not None and threads > 1:
        names = {"openblas": "OPENBLAS_NUM_THREADS", "mkl": "MKL_NUM_THREADS", "blis": "BLIS_NUM_THREADS"}
        name = names.get(blas["name"], "OMP_NUM_THREADS")
        note = (
            f"psgd: {blas['name']} has {threads} threads and is held to 1 during psgd.fit: a worker is one core, and "
            f'other numbers give other bits. Before numpy is imported, say os.environ["{name}"] = "1"'
        )
    with threadpool_limits(1, user_api="blas"):
        yield threads, note
