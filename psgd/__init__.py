"""psgd: parallel SGD whose strategies, groups and bits can be compared. Importing it imports no numpy."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from psgd.core.version import __version__

if TYPE_CHECKING:
    from psgd.core import errors
    from psgd.jobs.fit.fit import fit
    from psgd.jobs.fit.launch import Fitted
    from psgd.jobs.run import Run
    from psgd.jobs.train_function import train
    from psgd.learners.model import Model
    from psgd.learners.model_file import load

__all__ = ["Fitted", "Model", "Run", "__version__", "errors", "fit", "load", "train"]
_HOMES = {
    "Fitted": "psgd.jobs.fit.launch",
    "Model": "psgd.learners.model",
    "Run": "psgd.jobs.run",
    "fit": "psgd.jobs.fit.fit",
    "load": "psgd.learners.model_file",
    "train": "psgd.jobs.train_function",
}


def __dir__() -> list[str]:
    """The names that completion offers before their first use."""
    return __all__


def __getattr__(name: str) -> Any:
    """Import `psgd.fit`, `psgd.load`, the types that they return and the errors that they raise at their first use."""
    if name == "errors":
        return import_module("psgd.core.errors")
    if name not in _HOMES:
        raise AttributeError(f"module 'psgd' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
