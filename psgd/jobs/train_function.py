"""`psgd.train`: a run from Python or a notebook, in this process, on threads or on Ray."""

import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from psgd.backends.blas import one_blas_thread, several_threads
from psgd.config.document import read_file
from psgd.config.overrides import named_overrides
from psgd.config.resolve import Resolved, resolve_document
from psgd.config.shipped import find_config
from psgd.core.errors import INTERRUPTED, PsgdError, UsageError, raised_at_the_call, reworded
from psgd.core.launcher import launched
from psgd.core.log import LOG, say_once
from psgd.group.failure import out_of_memory
from psgd.jobs.choose.gpus import check_device
from psgd.jobs.launch.without_mpi import run_without_mpi
from psgd.jobs.plain_values import path_of, plain
from psgd.jobs.prepare import config_of_run, request_for
from psgd.jobs.process import Result, run_raising, run_returning
from psgd.jobs.request import DirectoryOptions, RunRequest
from psgd.jobs.run import Run
from psgd.training.signals import Signals, Stopped

# Options of the command, as messages of other parts name them -> arguments of psgd.train.
_ARGUMENTS = {
    "--output DIR": "output=DIR",
    "--output": "output",
    "--accept-changes": "accept_changes=True",
    "--quiet": "progress=False",
}
_OPTION = re.compile(r"--output DIR\b|--(?:output|resume|overwrite|accept-changes|quiet)\b")
_MEANT = re.compile(r"^(call: .*did you mean \w+)\.(\w+\?)$", re.MULTILINE)  # a setting that is an argument
_CONTINUE = re.compile(r"--resume --output (.+)")  # the end of a message, with the directory


@raised_at_the_call
def train(
    config: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    *,
    output: str | os.PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    accept_changes: bool = False,
    progress: bool = True,
    **overrides: Any,
) -> Run:
    """Train as the command `psgd train` does, with the same files and the same bits, and return the finished run.

    config: a YAML file, the name of a config that comes with psgd, or nested mappings as in a file; None is the
        embedded handwritten digits.
    overrides: settings that override those of `config`: sections as mappings, training={"epochs": 3}, or single
        settings, training__epochs=3 or **{"training.epochs": 3}.
    output: the run directory, exactly; it must be new or empty, unless `resume` or `overwrite` is set. By default the
        config's `output` gets the next number: runs/run-001.
    resume: continue from the newest checkpoint of the run in `output`, whose own config is taken if none is given; if
        one is given, a run that is not there yet is begun.
    overwrite: replace the run in `output`. accept_changes: resume with other settings or data.
    progress: show a bar on a terminal and in notebooks, lines elsewhere; False: show nothing.

    Errors are raised as PsgdError: UsageError for settings, DataError, StorageError, Diverged. Ctrl-C saves a
    checkpoint and raises KeyboardInterrupt; SIGTERM, SIGUSR1 and SIGHUP save one and raise SystemExit(75); outside the
    main thread no signals are handled. BLAS has one thread during the call.
    """
    with reworded(_translated), one_blas_thread() as blas:
        if progress and (note := several_threads(blas, "psgd.train")):
            say_once(note)
        name = path_of(output)
        options = DirectoryOptions(Path(name) if name else None, resume, overwrite, accept_changes)
        request = _request(config, options, overrides, quiet=not progress)
        signals = Signals()
        try:
            result = run_without_mpi(request, signals, signals.listening, run_raising, run_returning)
        except Stopped as stopped:
            _leave(stopped)
        except MemoryError as error:
            raise out_of_memory(error) from None
        _check(result)
    return Run(result.directory)


def _request(
    config: str | os.PathLike[str] | Mapping[str, Any] | None,
    options: DirectoryOptions,
    overrides: Mapping[str, Any],
    quiet: bool,
) -> RunRequest:
    if launched():
        raise UsageError(
            "an MPI launcher started this process, and psgd.train runs in one process, on threads or on Ray; under "
            "mpirun use the command: mpirun -n 4 psgd train CONFIG key.path=value ..."
        )
    options.check()
    if config is None and options.resume and options.output:
        config = config_of_run(options.output)
    resolved = _resolve(config, overrides)
    if resolved.settings.group == "mpi":
        raise UsageError(
            "group is mpi, but psgd.train runs in one process, on threads or on Ray; use the command: mpirun -n 4 psgd "
            "train CONFIG, or set group to auto, serial, threads or ray"
        )
    check_device(resolved.settings)
    return request_for(resolved, 1, options, quiet)


def _resolve(config: str | os.PathLike[str] | Mapping[str, Any] | None, overrides: Mapping[str, Any]) -> Resolved:
    """Read the config and apply the overrides. UsageError with one line for each problem."""
    found: list[str] = []
    if config is None:
        document, origin = {}, "defaults"
    elif isinstance(config, str | os.PathLike):
        origin, found = find_config(os.fspath(config))
        document = read_file(origin)
    elif isinstance(config, Mapping):
        document, origin = plain(config), "config"
        _check_names(document)
    else:
        raise UsageError(f"config is {type(config).__name__}; it must be a path, a mapping of settings, or None")
    given = plain(overrides)
    _check_names(given)
    settings, notes = resolve_document(document, origin, *named_overrides(given), by="the call")
    return Resolved(settings, found + notes)


def _check_names(settings: Mapping[Any, Any]) -> None:
    """UsageError if a key of nested mappings is not text, which is always so in a file."""
    for key, value in settings.items():
        if not isinstance(key, str):
            raise UsageError(f"the key {key!r} is no name of a section or a setting")
        if isinstance(value, Mapping):
            _check_names(value)


def _check(result: Result) -> None:
    """Raise what ended a job on Ray early, if no error said so."""
    if result.code == INTERRUPTED:
        raise KeyboardInterrupt
    if result.code:
        raise PsgdError(f"a process of the job on Ray ended it with exit code {result.code}, and said why above")


def _leave(stopped: Stopped) -> NoReturn:
    """Raise KeyboardInterrupt after Ctrl-C, SystemExit after another signal; a checkpoint has been saved."""
    if stopped.number == signal.SIGINT:
        raise KeyboardInterrupt(_translated(str(stopped))) from None
    LOG.info("psgd: %s", _translated(str(stopped)))
    raise SystemExit(stopped.code) from None


def _translated(message: str) -> str:
    message = _MEANT.sub(r"\1__\2", message)
    message = _CONTINUE.sub(lambda found: f"resume=True, output={found[1]!r}", message)
    return _OPTION.sub(lambda found: _ARGUMENTS.get(found[0], f"{found[0][2:]}=True"), message)
