"""The command `python -m psgd.train [CONFIG] [key.path=value ...]`, alone or under mpirun."""

from psgd.blas import limit_before_numpy

limit_before_numpy()  # must come before anything that imports numpy

import argparse  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any, NamedTuple, cast  # noqa: E402

from psgd.errors import PsgdError, UsageError  # noqa: E402
from psgd.group import mpi  # noqa: E402

Settings = dict[str, Any]


class Order(NamedTuple):
    """What the first process read, and the others receive."""

    settings: Settings
    directory: str | None  # None: a dry run
    quiet: bool


def main(arguments: list[str] | None = None) -> int:
    """The exit code; what went wrong has been said."""
    process = 0
    try:
        options = _parser().parse_intermixed_args(arguments)
        if mpi.launched():
            process, processes = mpi.process_and_processes()
            return _under_mpi(options, process, processes)
        order, data = _read(options, 1, launched=False)
        return _alone(order, data) if order.directory else 0
    except PsgdError as error:
        if process == 0:
            print(f"psgd: {error}", file=sys.stderr, flush=True)
        return error.code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m psgd.train",
        description="Train a network with parallel SGD. Without CONFIG: the embedded handwritten digits, 4 workers.",
    )
    parser.add_argument("config", nargs="?", metavar="CONFIG", help="a YAML file (see configs/)")
    parser.add_argument("overrides", nargs="*", metavar="key.path=value", help="settings that come before the file's")
    parser.add_argument("--output", metavar="DIR", help="the run directory, exactly; it must be new or empty")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint of the run")
    parser.add_argument("--overwrite", action="store_true", help="replace the run in the directory of --output")
    parser.add_argument("--dry-run", action="store_true", help="print the resolved config and stop")
    parser.add_argument("--quiet", action="store_true", help="say nothing but errors and the summary")
    return parser


def _read(options: argparse.Namespace, processes: int, launched: bool) -> tuple[Order, Any]:
    """On the first process: the config, read, resolved and checked; the data (None in a dry run); and then, when
    nothing the user gave is wrong, a directory to write to."""
    from psgd import rundir
    from psgd.build import build_job
    from psgd.config import dump, resolve

    config, overrides = options.config, list(options.overrides)
    if config and "=" in config and not Path(config).exists():  # an override, and no file
        config, overrides = None, [config, *overrides]
    if options.resume and options.overwrite:
        raise UsageError("--resume goes on with a run and --overwrite replaces it: choose one")
    if options.overwrite and not options.output:
        raise UsageError("--overwrite replaces the run in the directory of --output DIR: name it")
    if options.resume and not config and options.output:
        config = str(Path(options.output) / "config.yaml")
    settings, notes = resolve(config, overrides)
    notes += _settle(settings, processes, launched)
    if options.dry_run:
        print(dump(settings), end="")
        return Order(settings, None, options.quiet), None
    data = _load(settings)
    build_job(settings, data)  # what cannot be is said before a directory is made
    if options.resume:
        directory = Path(options.output) if options.output else rundir.latest(settings["output"])
        rundir.check_continues(directory, resolve(str(directory / "config.yaml"), []).settings, settings)
    elif options.output:
        directory = rundir.exact(Path(options.output), options.overwrite)
    else:
        directory = rundir.fresh(settings["output"])
    rundir.write_text(directory / "config.yaml", dump(settings))
    if not options.quiet:
        for note in notes:
            print(f"[0] {note}", file=sys.stderr)
        print(f"[0] run directory {directory}", file=sys.stderr, flush=True)
    return Order(settings, str(directory), options.quiet), data


def _settle(settings: Settings, processes: int, launched: bool) -> list[str]:
    """Decide what depends on where we run: the group, and `workers: auto`. Notes on what was chosen and why."""
    from psgd.choose import choose_group, cores

    notes = []
    group = settings["group"]
    if launched and group not in ("auto", "mpi"):
        raise UsageError(
            f"group is {group}, but an MPI launcher started this: each of its processes would train alone; "
            "use group: auto or mpi, or start python without mpirun"
        )
    if group == "ray":
        from psgd.group.ray import library

        library()  # that it is missing is said before anything is read or made
    if settings["workers"] == "auto":
        settings["workers"] = processes if launched else cores()
        notes.append(f"workers: auto is {settings['workers']} here: the experiment depends on the machine")
    if group == "auto":
        settings["group"], reason = ("mpi", "a launcher started us") if launched else choose_group(settings)
        notes.append(f"group: {settings['group']} ({reason})")
    return notes


def _alone(order: Order, data: Any) -> int:
    """Serial, threads or Ray; or MPI without a launcher, which is one process."""
    from psgd.choose import thread_count
    from psgd.group.serial import Serial
    from psgd.group.threads import run_threads
    from psgd.session import Result, run_session

    settings, directory = order.settings, Path(order.directory or "")
    if settings["group"] == "ray":
        from psgd.ray_driver import run_ray

        return _report(run_ray(settings, directory, order.quiet))
    if settings["group"] == "mpi":
        return _with_mpi(order, data)
    signals = _listen()
    if settings["group"] == "serial":
        return _report(run_session(settings, data, Serial(), directory, signals, order.quiet))
    results: list[Result] = run_threads(
        thread_count(settings),
        settings["cluster"]["patience"],
        lambda transport: run_session(settings, data, transport, directory, signals, order.quiet),
    )
    return _report(results[0])


def _under_mpi(options: argparse.Namespace, process: int, processes: int) -> int:
    """The first process reads the config; the others receive it, or its failure's code."""
    message: tuple[Order | None, int] = (None, 0)
    data = None
    if process == 0:
        try:
            order, data = _read(options, processes, launched=True)
            message = (order, 0)
        except PsgdError as error:
            print(f"psgd: {error}", file=sys.stderr, flush=True)
            message = (None, error.code)
        except BaseException:
            mpi.broadcast((None, 1))
            raise
    received, code = cast(tuple[Order | None, int], mpi.broadcast(message))
    return _with_mpi(received, data) if received and received.directory else code


def _with_mpi(order: Order, data: Any) -> int:
    from psgd.session import run_session
    from psgd.sizes import shared_bytes

    data, signals = data or _load(order.settings), _listen()
    transport = mpi.Mpi(order.settings["cluster"]["patience"], shared_bytes(order.settings, data))
    result = run_session(order.settings, data, transport, Path(order.directory or ""), signals, order.quiet)
    transport.close()
    return _report(result)


def _load(settings: Settings) -> Any:
    from psgd.build import load_data

    return load_data(settings)


def _listen() -> Any:
    from psgd.blas import limit_after_numpy
    from psgd.signals import Signals

    if note := limit_after_numpy():
        print(f"psgd: {note}", file=sys.stderr)
    signals = Signals()
    signals.listen()
    return signals


def _report(result: Any) -> int:
    """The summary to stdout: results go there, all else to stderr."""
    if result.summary is not None:
        print(json.dumps(result.summary, indent=2), flush=True)
    return int(result.code)


if __name__ == "__main__":
    sys.exit(main())
