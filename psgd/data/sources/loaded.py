"""What a source of data gives, before anything is set aside for validation."""

from typing import Any, NamedTuple

from psgd.data.dataset import Examples


class LoadedData(NamedTuple):
    train: Examples
    test: Examples | None
    origin: str  # for people: where from, and what was made of it
    preparation: dict[str, Any]  # how new inputs are to be made like these; plain JSON
