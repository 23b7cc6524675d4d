"""The command `psgd train [CONFIG] [key.path=value ...]`, alone or under mpirun."""

from psgd.backends.blas import limit_before_numpy

limit_before_numpy()  # must come before anything that imports numpy

import argparse  # noqa: E402

from psgd.core.launcher import launched  # noqa: E402
from psgd.core.log import open_missing_streams  # noqa: E402
from psgd.group.failure import Agreement  # noqa: E402
from psgd.group.serial import Serial  # noqa: E402
from psgd.training.signals import Signals  # noqa: E402


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    from psgd.jobs import request

    return request.parser()


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code after errors have been printed."""
    open_missing_streams()
    signals = Signals()
    signals.listen(leave_at_once=not launched())
    if launched():
        from psgd.jobs.launch.mpi import launch
    else:
        from psgd.jobs.launch.without_mpi import launch
    return Agreement(Serial(), prefix="").conclude(lambda: launch(arguments, signals))
