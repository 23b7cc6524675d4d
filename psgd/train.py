"""The command `python -m psgd.train [CONFIG] [key.path=value ...]`, alone or under mpirun."""

from psgd.backends.blas import limit_before_numpy

limit_before_numpy()  # must come before anything that imports numpy

import argparse  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from typing import Any, cast  # noqa: E402

from psgd.core.errors import PsgdError, StorageError  # noqa: E402
from psgd.core.files import to_json  # noqa: E402
from psgd.core.launcher import launched  # noqa: E402
from psgd.jobs.request import RunRequest, parse  # noqa: E402
from psgd.training.signals import Signals  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    """The exit code; what went wrong has been said."""
    process, signals = 0, Signals()
    try:
        options = parse(arguments)
        if launched():
            from psgd.group import mpi

            process, processes = mpi.process_and_processes()
            signals.listen()  # MPI has installed handlers of its own
            return _under_mpi(options, process, processes, signals)
        signals.listen(leave_at_once=True)
        from psgd.jobs.read_request import read_request

        order, data = read_request(options, 1, launched=False)
        return _alone(order, data, signals) if order.directory else 0
    except PsgdError as error:
        if process == 0:
            _complain(error)
        return error.code


def _alone(order: RunRequest, data: Any, signals: Signals) -> int:
    """Serial, threads or Ray; or MPI without a launcher, which is one process."""
    from psgd.group.serial import Serial
    from psgd.group.threads import run_threads
    from psgd.jobs.choose_group import thread_count
    from psgd.jobs.session import Result, run_session

    settings = order.settings
    if settings.group == "ray":
        from psgd.jobs.ray_driver import run_ray

        return _report(run_ray(order))
    if settings.group == "mpi":
        return _with_mpi(order, [data], signals)
    _limit_blas()
    signals.listen()
    if settings.group == "serial":
        return _report(run_session(order, data, Serial(), signals))
    results: list[Result] = run_threads(
        thread_count(settings),
        settings.cluster.patience,
        lambda transport: run_session(order, data, transport, signals),
    )
    return _report(results[0])


def _under_mpi(options: argparse.Namespace, process: int, processes: int, signals: Signals) -> int:
    """The first process reads the config; the others receive it, or its failure's code."""
    from psgd.group import mpi
    from psgd.jobs.read_request import read_request

    message: tuple[RunRequest | None, int] = (None, 0)
    loaded: list[Any] = []
    if process and options.dry_run:
        os.nice(19)  # the first process measures this machine meanwhile, and waiting is work to MPI
    if process == 0:
        try:
            order, data = read_request(options, processes, launched=True)
            loaded.append(data)
            del data
            message = (order, 0)
        except PsgdError as error:
            _complain(error)
            message = (None, error.code)
        except BaseException:
            mpi.broadcast((None, 1))
            raise
    received, code = cast(tuple[RunRequest | None, int], mpi.broadcast(message))
    return _with_mpi(received, loaded, signals) if received and received.directory else code


def _with_mpi(order: RunRequest, loaded: list[Any], signals: Signals) -> int:
    """Collective. One process of each host loads the data; the first has done so, and gives up its copy. What one of
    them cannot read ends all."""
    from psgd.data.sources.load import load_data
    from psgd.group import mpi
    from psgd.jobs.build import check_job
    from psgd.jobs.session import run_session

    settings, failure, data = order.settings, None, cast(Any, None)
    _limit_blas()
    signals.listen()
    try:
        data = mpi.load_once_per_host(lambda: loaded.pop() if loaded else load_data(settings))
    except PsgdError as error:
        failure = error
    codes = mpi.gather((failure.code if failure else 0) or (signals.asked and signals.code))
    if any(codes):
        first = next(i for i, code in enumerate(codes) if code)
        if failure and first == mpi.process_and_processes()[0]:
            _complain(failure, first)
        mpi.free_shared()
        return codes[first]
    transport = mpi.Mpi(settings.cluster.patience, check_job(settings, data).vectors.shared_bytes)
    result = run_session(order, data, transport, signals)
    transport.close()
    return _report(result)


def _limit_blas() -> None:
    from psgd.backends.blas import limit_after_numpy

    if note := limit_after_numpy():
        print(f"psgd: {note}", file=sys.stderr)


def _complain(error: PsgdError, process: int = 0) -> None:
    print(f"{f'[{process}] ' if process else ''}psgd: {error}", file=sys.stderr, flush=True)


def _report(result: Any) -> int:
    """The summary to stdout: results go there, all else to stderr."""
    if result.summary is not None:
        try:
            print(to_json(result.summary, indent=2), flush=True)
        except OSError as error:
            sys.stdout = open(os.devnull, "w")  # or the interpreter would try again when it leaves
            raise StorageError(f"cannot write the summary to standard output: {error.strerror}") from None
    return int(result.code)


if __name__ == "__main__":
    sys.exit(main())
