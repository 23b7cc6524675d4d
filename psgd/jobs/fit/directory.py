"""The run directory of a call of `psgd.fit`: the same as that of the command, and resumed by the same rules."""

from pathlib import Path

from psgd.config.resolve import dump
from psgd.config.settings import Settings
from psgd.core.errors import UsageError
from psgd.data.user_arrays import UserArrays
from psgd.jobs.files.open_directory import open_directory
from psgd.jobs.fit.task import Task
from psgd.jobs.request import DirectoryOptions, RunRequest
from psgd.learners.model_file import about_parameters

_HEAD = """\
# The settings of a call of psgd.fit. Only the script that makes the call has the function, its initial parameters and
# the data: psgd train cannot run this. Run the script again, with resume=True, to go on.
"""


def make_request(settings: Settings, group: str, options: DirectoryOptions) -> RunRequest:
    """`group`: as given, since the run may be resumed elsewhere. UsageError if the options contradict each other."""
    options.check()
    if options.resume and not options.output:
        raise UsageError("psgd.fit: resume=True goes on with the run in output=DIR: name it")
    text = _HEAD + dump(settings.replace(group=group))
    return RunRequest(settings, text, [], options, False)


def check_can_be_kept(task: Task) -> None:
    """UsageError unless a model file can keep the structure of the parameters, and checkpoints can know the data."""
    about_parameters(task.structure.views(task.start))
    for part in (task.data.train, task.data.validation, task.data.test):
        for letter in "Xy" if isinstance(part, UserArrays) else "":
            if getattr(part, letter).dtype.hasobject:
                raise UsageError(
                    f"psgd.fit: {letter} holds Python objects, of which checkpoints cannot have a fingerprint; make it "
                    "an array of numbers or text, or leave out output"
                )


def open_run(request: RunRequest, task: Task) -> Path | None:
    """On the first process: open the run directory, if there is to be one. UsageError and StorageError as with the
    command."""
    return open_directory(request, task.data, task.fingerprints()) if request.options.output else None
