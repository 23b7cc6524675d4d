"""What every reader and generator returns."""

from typing import Any, NamedTuple

from psgd.data.dataset import Examples


class LoadedData(NamedTuple):
    """The data of a source, before a validation part is split off."""

    train: Examples
    test: Examples | None
    origin: str  # for people: where the data came from, and how they were prepared
    preparation: dict[str, Any]  # how to prepare new inputs in the same way: plain JSON
