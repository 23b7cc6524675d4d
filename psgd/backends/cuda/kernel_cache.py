"""Compiled kernels in the user's cache directory: the compiler takes a second or two for them."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from psgd.core import user_cache
from psgd.core.files import write_atomically

_DIGEST_BYTES = 32


def cached(key: str, compile: Callable[[], bytes]) -> bytes:
    """What `compile` returns, or returned before for this key: the text, the compiler and all that it was told. A
    file that is damaged is made again; without a cache directory nothing is kept."""
    try:
        path = user_cache.directory() / "kernels" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.cubin"
    except OSError:
        return compile()
    with suppress(OSError):
        found = path.read_bytes()
        if hashlib.sha256(found[_DIGEST_BYTES:]).digest() == found[:_DIGEST_BYTES]:
            return found[_DIGEST_BYTES:]
    compiled = compile()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda partial: _write(partial, compiled))
    return compiled


def _write(partial: Path, compiled: bytes) -> None:
    partial.write_bytes(hashlib.sha256(compiled).digest() + compiled)
