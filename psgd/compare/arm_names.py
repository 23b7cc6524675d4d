"""Names of arms for readers who do not know the config."""

from collections.abc import Iterable, Mapping
from typing import Any, final


@final
class ArmNames:
    """Gives each arm's name, followed at the first mention by its strategy, where that tells arms apart and the name
    does not say it."""

    def __init__(self, cells: Iterable[Mapping[str, Any]]) -> None:
        found: dict[str, set[str]] = {}
        for cell in cells:
            found.setdefault(cell["arm"], set()).add(cell["strategy"])
        several = len(set().union(*found.values())) > 1
        self._strategies = {
            arm: next(iter(names)) for arm, names in found.items() if several and len(names) == 1 and arm not in names
        }

    def __call__(self, arm: str) -> str:
        strategy = self._strategies.pop(arm, None)
        return f"{arm} ({strategy})" if strategy else arm
