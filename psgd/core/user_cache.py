"""The user's cache: what can be made or fetched again."""

import os
from pathlib import Path


def directory() -> Path:
    """psgd's own, by the XDG rules: under $XDG_CACHE_HOME, unless that is relative, or else ~/.cache. OSError where
    there is no home."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    cache = given if os.path.isabs(given) else os.path.expanduser("~/.cache")
    if not os.path.isabs(cache):
        raise OSError("there is no home directory, and XDG_CACHE_HOME names no other")
    return Path(cache) / "psgd"
