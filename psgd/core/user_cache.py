"""The user's cache directory, for files that can be made or downloaded again."""

import os
from pathlib import Path


def directory() -> Path:
    """Return psgd's cache directory by the XDG rules: below $XDG_CACHE_HOME, or below ~/.cache where that is not set
    or is relative. OSError if there is no home directory."""
    configured = os.environ.get("XDG_CACHE_HOME", "")
    cache = configured if os.path.isabs(configured) else os.path.expanduser("~/.cache")
    if not os.path.isabs(cache):
        raise OSError("there is no home directory, and XDG_CACHE_HOME names no other")
    return Path(cache) / "psgd"
