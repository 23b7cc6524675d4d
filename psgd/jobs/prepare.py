"""Prepares a run on the first process: reads the command line and the config, and probes for a dry run."""

import argparse
import os
import sys
from contextlib import suppress
from pathlib import Path

from psgd.config.resolve import Resolved, dump, resolve
from psgd.config.settings import Settings
from psgd.config.shipped import find_config
from psgd.core.cores import cores
from psgd.core.errors import StorageError, UsageError
from psgd.core.files import print_result
from psgd.core.launcher import launched
from psgd.core.log import LOG
from psgd.jobs.choose.gpus import check_device, count_gpus
from psgd.jobs.choose.group import check_launched, choose_group
from psgd.jobs.request import DirectoryOptions, RunRequest
from psgd.jobs.trackers.choose import check_installed


def read_request(options: argparse.Namespace, processes: int) -> RunRequest | None:
    """Read the config and return the request for a run; None after a dry run. `processes`: how many an MPI launcher
    started, or 1. UsageError for a wrong config."""
    config, overrides, found = _config_and_overrides(options)
    settings, notes = resolve(config, overrides)
    request = request_for(Resolved(settings, found + notes), processes, options.directory, options.quiet)
    if options.dry_run:
        for note in [] if options.quiet else found:
            LOG.info("psgd: %s", note)
        if options.no_probe:
            print_result(request.config.rstrip("\n"))
        else:
            print_probe(request.settings)
        return None
    check_device(request.settings)  # before any data are read; a dry run needs no GPU
    return request


def request_for(resolved: Resolved, processes: int, options: DirectoryOptions, quiet: bool) -> RunRequest:
    """Make the request for a run of resolved settings. UsageError for a group or a tracker that cannot be used
    here."""
    check_installed(resolved.settings)
    settings, notes = resolve_auto(resolved.settings, processes)
    saved = dump(resolved.settings.replace(workers=settings.workers))
    return RunRequest(settings, saved, resolved.notes + notes, options, quiet)


def resolve_auto(settings: Settings, processes: int) -> Resolved:
    """Replace `group: auto` and `workers: auto` by values for this machine, with notes that say why. UsageError for a
    group that cannot be used here."""
    notes, group = [], settings.group
    check_launched(group, "group: auto or mpi")
    if group == "ray":
        from psgd.group.ray.library import import_ray

        import_ray()  # fails if Ray is missing, before any data are read
    if settings.workers == "auto":
        settings = settings.replace(workers=processes if launched() else cores())
        notes.append(f"workers: auto is {settings.workers} here: the experiment depends on the machine")
    if group == "auto":
        by_launcher = ("mpi", "a launcher started us") if launched() else None
        chosen, reason = by_launcher or _one_for_gpus(settings) or choose_group(settings)
        settings = settings.replace(group=chosen)
        notes.append(f"group: {chosen} ({reason})")
    if launched() and settings.cluster.processes is not None:
        notes.append(f"cluster.processes: {settings.cluster.processes} is ignored, mpirun started {processes}")
    return Resolved(settings, notes)


def _one_for_gpus(settings: Settings) -> tuple[str, str] | None:
    """Choose (group, reason) for a job that trains on GPUs; None for one that does not."""
    gpus, _ = count_gpus(settings)
    if not gpus:
        return None
    more = f"; mpirun -n {gpus} uses all {gpus} GPUs" if gpus > 1 else ""
    return "serial", f"a GPU takes the steps of all workers side by side{more}"


def print_probe(settings: Settings) -> None:
    """Probe and print whether this job should be parallelised."""
    from psgd.backends.blas import limit_after_numpy
    from psgd.data.sources.load import load_data
    from psgd.jobs.probe.probe import lines, probe

    limit_after_numpy()
    if launched() and sys.platform == "linux":  # the launcher may have bound this process to fewer cores than it has
        with suppress(OSError):
            os.sched_setaffinity(0, os.sched_getaffinity(os.getppid()))
    data = load_data(settings)
    if settings.group == "ray":
        LOG.info("psgd: GPUs and other machines of Ray are not measured: forecasting training on this machine's CPU")
    elif count_gpus(settings)[0]:
        from psgd.jobs.probe.device import device_lines, probe_device

        if findings := probe_device(settings, data):
            print_result("\n".join(device_lines(findings)))
            return
    elif settings.device == "cuda":
        LOG.info("psgd: device is cuda, but there is no GPU that can train this here: forecasting training on the CPU")
    print_result("\n".join(lines(probe(settings.replace(device="cpu"), data))))


def _config_and_overrides(options: argparse.Namespace) -> tuple[str | None, list[str], list[str]]:
    """The path of the config, if there is one; the overrides; and notes on where the config was found."""
    config, overrides = options.config, list(options.overrides)
    # os.path: an override may be longer than a file's name can be, for which Path raises.
    if config and "=" in config and not os.path.exists(config) and not _is_path(config):
        config, overrides = None, [config, *overrides]
    if config is None and options.resume and options.directory.output:
        config = config_of_run(options.directory.output)
    if config is None:
        return None, overrides, []
    path, notes = find_config(config)
    return path, overrides, notes


def _is_path(argument: str) -> bool:
    """Whether an argument with an equals sign looks like the path of a config rather than like an override."""
    return "/" in argument.split("=")[0] or argument.endswith((".yaml", ".yml"))


def config_of_run(directory: Path) -> str:
    """Return the path of the config of the run to resume in `directory`. UsageError if there is none."""
    saved = directory / "config.yaml"
    try:
        found = saved.is_file()
    except OSError as error:
        raise StorageError(f"{saved}: cannot be read: {error.strerror}") from None
    if not found:
        raise UsageError(f"there is no run to resume in {directory}: no config.yaml; to begin one, name a config")
    return str(saved)
