"""Opens the directory of a run on the first process: a new one, or that of the run to resume or overwrite."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from psgd.core.errors import UsageError
from psgd.core.files import write_text
from psgd.core.log import LOG
from psgd.data.dataset import Data
from psgd.jobs.files import locks, run_directory
from psgd.jobs.files.continuing import check_continues, keep_metrics
from psgd.jobs.prepare import config_of_run
from psgd.jobs.request import RunRequest


def open_directory(request: RunRequest, data: Data, fingerprints: Mapping[str, str] | None = None) -> Path:
    """Make and lock the run directory, or find and lock the one to resume; one that was named and is not there yet is
    begun, so that the same command can be started again and again. To be called after the job has been built, so that
    wrong input leaves no directory. `fingerprints`: of what must be the same besides the data.
    UsageError if it cannot be used, StorageError if it cannot be written; then it is not locked."""
    settings, options, notes = request.settings, request.options, list(request.notes)
    output = options.output
    if options.resume and not (output and run_directory.is_new(output)):
        directory = output or run_directory.latest(settings.output)
        config_of_run(directory)  # UsageError if there is none
        locks.lock(directory)
        with locks.unlocked_on_failure(directory):
            notes += check_continues(directory, settings, data, options.accept_changes, fingerprints)
            if kept := keep_metrics(directory):
                notes.append(kept)
    else:
        if not output:
            _check_name(settings.output)
        directory = run_directory.exact(output, options.overwrite) if output else run_directory.fresh(settings.output)
        with locks.unlocked_on_failure(directory):
            write_text(directory / "config.yaml", request.config)
    if not request.quiet:
        for note in (*notes, f"run directory {directory}"):
            LOG.info("[0] %s", note)
    return directory.absolute()


@contextmanager
def opened_directory(request: RunRequest, data: Data) -> Iterator[Path]:
    """Open the run directory as `open_directory` does, and unlock it afterwards."""
    directory = open_directory(request, data)
    try:
        yield directory
    finally:
        locks.unlock(directory)


def _check_name(name: str) -> None:
    """UsageError for a name in a config that this locale cannot express. Arguments are always names."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError as error:
        what = f"output is {name!r}, which is not a name in this locale's encoding, {error.encoding}"
        raise UsageError(f"{what}; set LC_ALL=C.UTF-8 or name a directory by --output") from None
