"""What a check found: one line for people, and details for programs."""

from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["ok", "note", "wrong"]


@dataclass(frozen=True)
class Finding:
    """`ok`: as it should be. `note`: nothing is broken, but the user should know. `wrong`: something will fail."""

    check: str
    level: Level
    text: str
    advice: str = ""  # what to do
    details: dict[str, Any] = field(default_factory=dict)  # JSON

    def line(self) -> str:
        """The text and the advice as one sentence."""
        return "; ".join(part for part in (self.text, self.advice) if part)


def ok(check: str, text: str, **details: Any) -> Finding:
    return Finding(check, "ok", text, "", details)


def note(check: str, text: str, advice: str = "", **details: Any) -> Finding:
    return Finding(check, "note", text, advice, details)


def wrong(check: str, text: str, advice: str = "", **details: Any) -> Finding:
    return Finding(check, "wrong", text, advice, details)
