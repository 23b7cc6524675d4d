"""What to install where a package that psgd can do without is missing or broken."""

import sys
from shlex import quote

LONGEST = 300  # characters of a reason: some libraries explain themselves at length


def what_to_install(error: Exception, package: str, by: str) -> str:
    """The end of a message that says that something needs `package`, whose import raised `error`: of any type, since
    the import of a broken package, or of one that is too old for another, may raise anything. `by`: what to install if
    it is missing, an extra of psgd or the package itself."""
    reason = " ".join(str(error).split())
    if isinstance(error, ModuleNotFoundError):
        top = str(error.name).partition(".")[0]
        # Else the package is there and lacks a module, as one that is older or newer than its user expects.
        if error.name == top or not sys.modules.get(top):
            return f"{package} ({reason}): pip install {quote(by)}"
    reason = f"{type(error).__name__}: {reason}"
    if len(reason) > LONGEST:
        reason = f"{reason[: LONGEST - 3]}..."
    return f"{package}, which cannot be imported ({reason}): pip install -U {package}"
