"""What is to be done: read from the command line and the config by the first process, and received by the others."""

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple

from psgd.core.errors import UsageError

Settings = dict[str, Any]


class RunRequest(NamedTuple):
    settings: Settings
    directory: Path | None  # None: a dry run, which is over
    config: str = ""  # the text of config.yaml
    quiet: bool = False
    resume: bool = False


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m psgd.train",
        description="Train a network with parallel SGD. Without CONFIG: the embedded handwritten digits, 4 workers.",
    )
    parser.add_argument("config", nargs="?", metavar="CONFIG", help="a YAML file (see configs/)")
    parser.add_argument("overrides", nargs="*", metavar="key.path=value", help="settings that come before the file's")
    parser.add_argument("--output", metavar="DIR", help="the run directory, exactly; it must be new or empty")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint of the run")
    parser.add_argument("--overwrite", action="store_true", help="replace the run in the directory of --output")
    parser.add_argument("--dry-run", action="store_true", help="print the resolved config, and whether to parallelise")
    parser.add_argument("--no-probe", action="store_true", help="with --dry-run: the resolved config alone, at once")
    parser.add_argument("--quiet", action="store_true", help="say nothing but errors and the summary")
    options = parser.parse_intermixed_args(arguments)
    if options.resume and options.overwrite:
        raise UsageError("--resume goes on with a run and --overwrite replaces it: choose one")
    if options.overwrite and not options.output:
        raise UsageError("--overwrite replaces the run in the directory of --output DIR: name it")
    if options.no_probe and not options.dry_run:
        raise UsageError("--no-probe is for --dry-run, which probes; without it nothing is probed")
    return options


def read_request(options: argparse.Namespace, processes: int, launched: bool) -> tuple[RunRequest, Any]:
    """On the first process: the order, and the data (None in a dry run). A directory is made or touched only when
    nothing that the user gave is wrong."""
    from psgd.config import dump, resolve
    from psgd.core.files import write_text
    from psgd.jobs import run_directory

    config, overrides = _config_and_overrides(options)
    settings, notes = resolve(config, overrides)
    asked = dict(settings)  # what is saved: another group may be chosen when the run goes on elsewhere
    notes += resolve_auto(settings, processes, launched)
    asked["workers"] = settings["workers"]
    if options.dry_run:
        print(dump(asked), end="", flush=True)
        if not options.no_probe:
            print_probe(settings, launched)
        return RunRequest(settings, None), None
    from psgd.jobs.build import build_job, check_job, load_data

    data = load_data(settings)
    # Errors are found before a directory is made; and what is compiled here, other processes find in numba's cache.
    (build_job if settings["compile"] == "always" else check_job)(settings, data)
    if options.resume:
        directory = Path(options.output) if options.output else run_directory.latest(settings["output"])
        run_directory.check_continues(directory, resolve(str(directory / "config.yaml"), []).settings, settings)
    else:
        directory = (
            run_directory.exact(Path(options.output), options.overwrite)
            if options.output
            else run_directory.fresh(asked["output"])
        )
        write_text(directory / "config.yaml", dump(asked))
    run_directory.lock(directory)
    if not options.quiet:
        for note in notes:
            print(f"[0] {note}", file=sys.stderr)
        print(f"[0] run directory {directory}", file=sys.stderr, flush=True)
    return RunRequest(settings, directory.absolute(), dump(asked), options.quiet, options.resume), data


def resolve_auto(settings: Settings, processes: int, launched: bool) -> list[str]:
    """Decide what depends on where we run: the group, and `workers: auto`. Notes on what was chosen and why."""
    from psgd.jobs.choose_group import choose_group, cores

    notes = []
    group, cluster = settings["group"], settings["cluster"]
    if launched and group not in ("auto", "mpi"):
        raise UsageError(
            f"group is {group}, but an MPI launcher started this: each of its processes would train alone; "
            "use group: auto or mpi, or start python without mpirun"
        )
    if group == "ray":
        from psgd.group.ray.transport import library

        library()  # that it is missing is said before anything is read or made
    if settings["workers"] == "auto":
        settings["workers"] = processes if launched else cores()
        notes.append(f"workers: auto is {settings['workers']} here: the experiment depends on the machine")
    if group == "auto":
        settings["group"], reason = ("mpi", "a launcher started us") if launched else choose_group(settings)
        notes.append(f"group: {settings['group']} ({reason})")
    if launched and cluster["processes"] is not None:
        notes.append(f"cluster.processes: {cluster['processes']} does not count here, mpirun started {processes}")
    return notes


def _config_and_overrides(options: argparse.Namespace) -> tuple[str | None, list[str]]:
    config, overrides = options.config, list(options.overrides)
    if config and "=" in config and not Path(config).exists():
        if config.split("=")[0].count("/") or config.endswith((".yaml", ".yml")):
            raise UsageError(f"there is no config file {config}")
        config, overrides = None, [config, *overrides]
    if options.resume and options.output:
        saved = Path(options.output) / "config.yaml"
        if not saved.is_file():
            raise UsageError(f"there is no run to resume in {options.output}: it has no config.yaml")
        config = config or str(saved)
    return config, overrides


def print_probe(settings: Settings, launched: bool) -> None:
    """Should this be parallelised? After the config and as comments of it, so that what is printed can be run."""
    from psgd.backends.blas import limit_after_numpy
    from psgd.jobs.build import load_data
    from psgd.jobs.probe.probe import lines, probe, use_every_core

    limit_after_numpy()
    if launched:
        use_every_core()  # some launchers bind a process to one
    print("\n".join(lines(probe(settings, load_data(settings)))), flush=True)
