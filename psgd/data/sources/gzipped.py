"""Opening files that may be gzipped, which their first bytes tell."""

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from psgd.core.errors import DataError


@contextmanager
def open_unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Open a file of bytes, unpacked if it is gzipped. DataError, in the `with` block too, if it cannot be read or its
    gzip data are damaged."""
    size = 0
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            yield cast(IO[bytes], gzip.open(file)) if packed else file
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path}: its gzip data are truncated or corrupt ({error}; {size} bytes found); replace it"
        ) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
