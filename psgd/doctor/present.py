"""Shows findings: one line each, in colour on a terminal."""

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence

from psgd.core.wording import counted
from psgd.doctor.finding import Finding

_COLOURS = {"ok": "32", "note": "33", "wrong": "31;1"}  # green, yellow, bold red
_NAME_WIDTH = 13  # of the longest name of a check, which is [tensorboard]


def show(finding: Finding, terminal: bool) -> str:
    """Show a finding as one line. On a terminal, a long one is wrapped."""
    begin = f"{finding.level:5}  {finding.check:{_NAME_WIDTH}}  "
    if not terminal:
        return begin + finding.line()
    width = max(60, shutil.get_terminal_size().columns)
    lines = textwrap.wrap(
        begin + finding.line(),
        width,
        subsequent_indent=" " * len(begin),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return _coloured("\n".join(lines), finding.level)


def summary(findings: Sequence[Finding]) -> str:
    """Say how many findings are wrong, and how many are notes."""
    count = {level: sum(finding.level == level for finding in findings) for level in _COLOURS}
    notes = f"{counted(count['note'], 'note')}"
    return f"{count['wrong'] or 'nothing'} {'are' if count['wrong'] > 1 else 'is'} wrong; {notes}; {count['ok']} ok"


def on_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()  # it is None where the caller has closed it


def _coloured(text: str, level: str) -> str:
    """Colour the first word of a line, unless the environment asks for none (no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\033[{_COLOURS[level]}m{level}\033[0m{text.removeprefix(level)}"
