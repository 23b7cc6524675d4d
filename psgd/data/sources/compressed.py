"""Opening files that may be compressed, which their first bytes tell."""

import bz2
import gzip
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from psgd.core.errors import DataError

_FORMATS: dict[bytes, tuple[str, Callable[[IO[bytes]], Any]]] = {
    b"\x1f\x8b": ("gzip", gzip.open),
    b"BZh": ("bzip2", bz2.open),
    b"\xfd7zXZ\x00": ("xz", lzma.open),
}
_ZIP = b"PK\x03\x04"


def packing(path: Path) -> str | None:
    """Return the name of the format by which a file is compressed, or None. OSError if it cannot be read."""
    with open(path, "rb") as file:
        begin = file.read(6)
    return next((name for magic, (name, _) in _FORMATS.items() if begin.startswith(magic)), None)


@contextmanager
def open_unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Open a file of bytes, unpacked if it is compressed by gzip, bzip2 or xz. DataError, in the `with` block too, if
    it cannot be read, or if its compressed data are damaged."""
    size, packed = 0, None
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            begin = file.read(6)
            file.seek(0)
            if begin.startswith(_ZIP):
                raise DataError(f"{path}: a zip archive; unpack it first")
            packed = next((how for magic, how in _FORMATS.items() if begin.startswith(magic)), None)
            yield cast(IO[bytes], packed[1](file)) if packed else file
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise DataError(_damaged(path, packed, error, size)) from None
    except OSError as error:
        if packed and error.errno is None:  # bzip2 has no exception of its own
            raise DataError(_damaged(path, packed, error, size)) from None
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _damaged(path: Path, packed: tuple[str, object] | None, error: Exception, size: int) -> str:
    name = packed[0] if packed else "compressed"
    return f"{path}: its {name} data are truncated or corrupt ({error}; {size} bytes found); replace it"
