"""The encodings of file names and of standard output."""

import sys

from psgd.doctor.finding import Finding, note, ok


def check() -> list[Finding]:
    return [judge(sys.getfilesystemencoding())]


def judge(names: str) -> Finding:
    """`names`: the encoding of file names."""
    if names.lower().replace("-", "") != "utf8":
        text = f"file names are encoded as {names}: a file with other letters in its name cannot be opened"
        return note("locale", text, "export LC_ALL=C.UTF-8")
    return ok("locale", f"file names are encoded as {names}")
