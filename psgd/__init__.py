"""psgd: parallel SGD whose strategies, groups and bits can be compared. Importing it imports no numpy."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psgd.fitting import Fitted, fit
    from psgd.model import Model, load

__all__ = ["Fitted", "Model", "__version__", "fit", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`psgd.fit`, `psgd.load` and what they give are imported when they are asked for."""
    if name in ("Model", "load"):
        import psgd.model

        return getattr(psgd.model, name)
    if name not in ("Fitted", "fit"):
        raise AttributeError(f"module 'psgd' has no attribute {name!r}")
    import psgd.fitting

    return getattr(psgd.fitting, name)
