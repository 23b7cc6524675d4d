"""Runs a call of `psgd.fit` on Ray: the function and the data are sent to actors, and the result comes back."""

import pickle
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TextIO, cast

from psgd.core.errors import INTERRUPTED, ProcessLost, UsageError
from psgd.group.failure import Agreement, exit_code
from psgd.group.ray.library import import_ray
from psgd.group.ray.transport import Ray
from psgd.jobs.files.locks import unlock
from psgd.jobs.fit.callback import TrainingProgress
from psgd.jobs.fit.callback import call as call_callback
from psgd.jobs.fit.directory import open_run
from psgd.jobs.fit.launch import FitCall, Fitted, exception_after, train
from psgd.jobs.fit.task import Task
from psgd.jobs.launch.ray import run_on_ray
from psgd.jobs.process import Result
from psgd.jobs.request import RunRequest
from psgd.learners.user_function import UserFunction
from psgd.training.signals import Signals, Stopped


def fit_on_ray(call: FitCall) -> Fitted:
    """Train on actors of Ray; the callback is called here. Raises what a call in one process does."""
    output = call.request.options.output
    signals = Signals() if output else None  # without a run directory, nothing could be saved
    functions, task = _pickled(call.task), call.task._replace(learner=_sent_apart)
    work = partial(_fit_on_actor, task, functions, call.request, call.threads, call.callback is not None)
    try:
        with signals.listening() if signals else nullcontext():
            opened, answer = partial(_opened, call), partial(_answer, call, sys.stdout)
            result = run_on_ray(call.task.settings, False, opened, signals, work, answer)
    except Stopped as stopped:
        raise exception_after(stopped, True) from None
    except ProcessLost as error:
        if not output:
            error.args = (str(error).replace("continue with --resume", "with output=DIR, resume=True could go on"),)
        raise
    if result.code:
        raise KeyboardInterrupt if result.code == INTERRUPTED else SystemExit(result.code)
    return cast(Fitted, pickle.loads(result.fitted))


def _pickled(task: Task) -> bytes:
    """The functions of the user's, in what makes their learner. UsageError if they cannot be sent to a process."""
    try:
        pickled: bytes = import_ray().cloudpickle.dumps(task.learner)
        return pickled
    except Exception as error:  # of many types
        raise UsageError(
            f"gradient, loss or score cannot be sent to Ray's processes: {error}; put locks, open files and the like "
            "into a module, which each process then imports"
        ) from None


def _unpickled(functions: bytes) -> Callable[[], UserFunction]:
    """UsageError if a module of theirs is missing here."""
    try:
        return cast(Callable[[], UserFunction], pickle.loads(functions))
    except ImportError as error:
        raise UsageError(
            f"on {socket.gethostname()}, gradient, loss or score cannot be imported: {error}; modules of yours must "
            "be installed on all machines of Ray, or be sent there: call ray.init(runtime_env={'working_dir': DIR}), "
            "with their directory, before psgd.fit, or use ray job submit --working-dir"
        ) from None


def _sent_apart() -> NoReturn:
    raise AssertionError


@contextmanager
def _opened(call: FitCall) -> Iterator[Path]:
    """Open the run directory, if there is to be one, and unlock it afterwards."""
    directory = open_run(call.request, call.task)
    try:
        yield directory or Path()
    finally:
        if directory:
            unlock(directory)


def _answer(call: FitCall, stdout: TextIO, progress: TrainingProgress) -> bool:
    """Call the callback for an actor; return whether it wants to end the training. `stdout`: where it prints, since
    what Ray prints goes elsewhere."""
    assert call.callback
    structure = call.task.structure

    def copies() -> Any:  # of arrays in Ray's memory, which are read-only
        return structure.copies(structure.flatten(progress.parameters))

    try:
        with redirect_stdout(stdout):
            return call_callback(call.callback, replace(progress, _read=copies))
    except _AskerLost:  # with the parameters; another process asks again, or there is none left
        return False


class _AskerLost(Exception):
    """The process that asked was lost before its parameters were read."""


def _fit_on_actor(
    task: Task,
    functions: bytes,
    request: RunRequest,
    threads: int | None,
    with_callback: bool,
    transport: Ray,
    directory: Path,
    signals: Signals,
) -> Result:
    """The work of one actor. `functions`: make the learner of the task. `threads`: of BLAS in the caller's process."""
    agreement = Agreement(transport)
    try:
        task = task._replace(learner=agreement.together(lambda: _unpickled(functions)))
        callback = partial(_ask, transport) if with_callback else None
        call = FitCall(task, request, callback, threads, agreement.together(task.job))
        fitted = train(transport, call, call.job, directory if request.options.output else None, signals, agreement)
    except Exception as error:
        # Ray's pickle also sends exceptions whose class is defined in the caller's script.
        return Result(exit_code(error), None, directory, agreement.report(error, import_ray().cloudpickle.dumps))
    if not fitted.first:  # should the first be lost only now, there is no result
        return Result(0, None, directory)
    # Pickled here, since arrays that Ray itself sends lie in its memory, which ends with the connection.
    return Result(0, fitted.summary, directory, fitted=pickle.dumps(fitted))


def _ask(transport: Ray, progress: TrainingProgress) -> bool:
    """Have the callback called where psgd.fit was. Its parameters stay here unless they are read there."""
    parameters = import_ray().put(progress.parameters)
    return bool(transport.ask_driver(replace(progress, _read=partial(_fetch, parameters))))


def _fetch(reference: Any) -> Any:
    ray = import_ray()
    try:
        return ray.get(reference)
    except ray.exceptions.ObjectLostError:
        raise _AskerLost("the process with these parameters was lost; the next one calls this function again") from None
