"""psgd: parallel SGD whose strategies, groups and bits can be compared. Importing it imports no numpy."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psgd.fit_session import Fitted
    from psgd.fitting import fit
    from psgd.model import Model, load

__all__ = ["Fitted", "Model", "__version__", "fit", "load"]
__version__ = "0.1.0"
_HOMES = {"Fitted": "psgd.fit_session", "Model": "psgd.model", "fit": "psgd.fitting", "load": "psgd.model"}


def __getattr__(name: str) -> Any:
    """`psgd.fit`, `psgd.load` and what they give are imported when they are asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'psgd' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
