"""Downloading the files of a data source into a directory: all of them, with the right checksums, or none.

Plain urllib: a library that downloads (pooch) would save few of these lines, and its messages are longer and vaguer.
"""

import hashlib
import http.client
import os
import shutil
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

from psgd.core.clock import real_clock
from psgd.core.errors import DataError
from psgd.core.log import LOG

TIMEOUT_SECONDS = 10.0  # without a byte, after which a server is given up; raised, a dead mirror delays longer
READ_BYTES = 1 << 16  # of one read
FILE_SECONDS = 600.0  # for one file; raised, slower connections suffice, and a server that trickles delays longer
MIRROR = "PSGD_MIRROR"  # environment variable: a URL that replaces all mirrors


class RemoteFile(NamedTuple):
    size: int  # bytes; no more are read
    checksum: str  # SHA-256


class Remote(NamedTuple):
    mirrors: tuple[str, ...]  # URLs of directories, tried in this order
    files: dict[str, RemoteFile]  # by name


REMOTES = {
    "mnist": Remote(
        ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist"),
        {
            "train-images-idx3-ubyte.gz": RemoteFile(
                9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
            ),
            "train-labels-idx1-ubyte.gz": RemoteFile(
                28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
            ),
            "t10k-images-idx3-ubyte.gz": RemoteFile(
                1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
            ),
            "t10k-labels-idx1-ubyte.gz": RemoteFile(
                4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
            ),
        },
    )
}


def download(source: str, remote: Remote, directory: Path) -> None:
    """Download the files of `source` into the new `directory`. DataError, which names the failure of every mirror, if
    they do not have all files; then nothing is left behind."""
    override = os.environ.get(MIRROR)
    mirrors = (f"{override.rstrip('/')}/{source}",) if override else remote.mirrors
    LOG.info("psgd: downloading %s to %s", source, directory)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{source}-", dir=directory.parent))
    except OSError as error:
        raise DataError(f"cannot write to {directory.parent}: {error.strerror}; set XDG_CACHE_HOME") from None
    try:
        partial.chmod(0o755)  # mkdtemp lets only the owner in
        _fetch_all(mirrors, remote.files, partial)
        os.replace(partial, directory)
    except OSError as error:
        if not directory.is_dir():  # if it is one, another process was quicker, with the same files
            raise DataError(f"cannot make {directory}: {error.strerror}; set XDG_CACHE_HOME") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _fetch_all(mirrors: tuple[str, ...], files: dict[str, RemoteFile], directory: Path) -> None:
    """Fetch each file from the first mirror that has it."""
    failures = []
    for mirror in mirrors:
        try:
            for name, file in files.items():
                if not (directory / name).exists():
                    _fetch(f"{mirror}/{name}", file, directory / name)
            return
        except DataError as error:
            failures.append(str(error))
    raise DataError("; ".join(failures))


def _fetch(url: str, file: RemoteFile, path: Path) -> None:
    """Fetch one file; `path` exists only if its checksum is right."""
    partial = path.with_suffix(".partial")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response, open(partial, "wb") as out:
            announced = response.headers.get("Content-Length")
            if announced not in (None, str(file.size)):
                what = f"the server announces {announced[:20]!r} bytes, but the file has {file.size}"
                raise DataError(f"{url}: {what}: these are other data, or it was changed")
            digest, received = hashlib.sha256(), 0
            deadline = real_clock() + FILE_SECONDS
            while block := response.read1(READ_BYTES):
                received += len(block)
                if received > file.size:
                    raise DataError(f"{url}: more than its {file.size} bytes came: these are other data")
                if real_clock() > deadline:
                    what = f"{received} of {file.size} bytes in {FILE_SECONDS:g} seconds"
                    raise DataError(f"{url}: timed out: {what}; download it yourself, and set data.path")
                digest.update(block)
                out.write(block)
    except urllib.error.HTTPError as error:
        error.close()
        raise DataError(f"{url}: the server answers {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise DataError(f"{url}: {error.reason}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:  # a broken connection, a time-out, an invalid URL
        raise DataError(f"{url}: {error}") from None
    if received < file.size:
        raise DataError(f"{url}: truncated: {received} of {file.size} bytes came")
    if (found := digest.hexdigest()) != file.checksum:
        raise DataError(f"{url}: its SHA-256 is {found}, not {file.checksum}: these are other data, or it was changed")
    os.replace(partial, path)
