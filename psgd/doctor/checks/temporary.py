"""The directory for temporary files: whether it can be written to, and whether Ray's sockets fit in its name."""

import os
import tempfile
from importlib.util import find_spec

from psgd.doctor.finding import Finding, note, ok, wrong

_SOCKET_BYTES = 107  # that the path of a Unix socket may have
_OF_RAY = "/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"


def check() -> list[Finding]:
    given = os.environ.get("TMPDIR")
    if given and not _writable(given):
        return [wrong("temporary", f"TMPDIR={given} is no directory that can be written to", "unset it, or make it")]
    try:
        directory = tempfile.gettempdir()
    except OSError:
        return [wrong("temporary", "no directory for temporary files can be written to", "set TMPDIR to one")]
    found = [ok("temporary", f"{directory} can be written to")]
    if find_spec("ray"):
        found += judge_ray(os.environ.get("RAY_TMPDIR") or directory)
    return found


def judge_ray(directory: str) -> list[Finding]:
    """Whether the paths of the sockets that a Ray started here makes below `directory` are too long."""
    length = len(os.fsencode(directory + _OF_RAY))
    if length <= _SOCKET_BYTES:
        return []
    text = f"{directory} is too long for Ray's sockets: {length} bytes, of which {_SOCKET_BYTES} are allowed"
    return [note("temporary", text, "set RAY_TMPDIR to a short path such as /tmp")]


def _writable(directory: str) -> bool:
    return os.path.isdir(directory) and os.access(directory, os.W_OK | os.X_OK)
