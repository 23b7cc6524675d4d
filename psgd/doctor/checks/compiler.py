"""numba: whether it compiles, and where it keeps compiled code."""

import os
from importlib import metadata
from pathlib import Path

import psgd
from psgd.doctor.finding import Finding, note, ok, wrong


def check() -> list[Finding]:
    try:
        version = metadata.version("numba")
    except metadata.PackageNotFoundError:
        return []  # the check of packages says so
    if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        return [note("numba", f"{version}, turned off by NUMBA_DISABLE_JIT", "unset it")]
    try:
        from psgd.backends.numba.compiler import inlined

        doubled = inlined(lambda number: 2 * number)(21)
    except Exception as error:  # a broken numba may raise anything
        reason = " ".join(str(error).split())
        return [wrong("numba", f"{version} does not work: {reason}", "pip install -U numba, or set compile: never")]
    assert doubled == 42
    cache = cache_directory()
    if cache is None:
        text = f"{version} compiles, but no directory for its cache can be written to: every run compiles for seconds"
        return [note("numba", text, "set NUMBA_CACHE_DIR to a directory that can")]
    return [ok("numba", f"{version} compiles; its cache is {cache}", version=version, cache=str(cache))]


def cache_directory() -> Path | None:
    """Where numba keeps the code of psgd's kernels; None if it can write nowhere."""
    return next((place for place in cache_places() if _writable(place)), None)


def cache_places() -> list[Path]:
    """The directories that numba tries, best first."""
    if given := os.environ.get("NUMBA_CACHE_DIR"):
        return [Path(given)]
    users = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return [Path(psgd.__file__).parent / "backends" / "numba" / "__pycache__", Path(users) / "numba"]


def _writable(place: Path) -> bool:
    """Whether a file could be made in a directory, which may have to be made itself."""
    while not place.exists():
        place = place.parent
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)
