"""Copies files that come with psgd to where the user can change them."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from psgd.config.document import read_file
from psgd.config.shipped import ROOT, shipped
from psgd.core.errors import StorageError
from psgd.core.files import write_text

_SCHEMAS = re.compile(r"(?<=\$schema=)\S*/")  # the directory in a config's line for editors


def copy(names: Iterable[str], directory: Path) -> list[Path]:
    """Copy files that come with psgd, and the bases of comparisons, into a directory, and return their paths there.
    StorageError, before anything is copied, if that would overwrite a file with another content."""
    sources = {source for name in names for source in _with_base(shipped()[name])}
    files = {directory / _place(source): source for source in sorted(sources)}
    try:
        if changed := [path for path, source in files.items() if path.exists() and not _equal(path, source)]:
            there = ", ".join(map(str, changed))
            raise StorageError(f"already there, and not as it comes with psgd: {there}; copy to another directory")
        for path, source in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                write_text(path, _SCHEMAS.sub(f"{Path(__file__).parent}/", source.read_text("utf-8")))
                shutil.copymode(source, path)  # a script stays one
    except OSError as error:
        raise StorageError(f"cannot copy to {directory}: {error.strerror}: {error.filename}") from None
    return list(files)


def _with_base(source: Path) -> list[Path]:
    """A file, and the config of a job that it names as its base."""
    base = read_file(str(source)).get("base") if source.suffix == ".yaml" else None
    named = source.parent / base if base else None
    return [source, *(other for other in shipped().values() if named and other.samefile(named))]


def _place(source: Path) -> Path:
    """Where a copy lies in the directory of the copies: comparisons name their bases relative to themselves."""
    return source.relative_to(ROOT if source.is_relative_to(ROOT / "launch") else ROOT / "configs")


def _equal(path: Path, source: Path) -> bool:
    """Whether two files have the same content, wherever they find their schema."""
    return path.is_file() and len({_SCHEMAS.sub("", each.read_text("utf-8")) for each in (path, source)}) == 1
