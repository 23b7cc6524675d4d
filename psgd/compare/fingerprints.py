"""Fingerprints of the data of settings, so that runs on other data are other runs."""

from typing import final

from psgd.config.settings import Settings
from psgd.data.fingerprint import fingerprint
from psgd.data.sources.load import load


@final
class Fingerprints:
    """Reads each data set once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def __call__(self, settings: Settings) -> str:
        """The fingerprint of all data, however they are split and sampled. DataError if they cannot be read."""
        source = settings.data.replace(validation=0.0, mode="shuffle")
        key = source.model_dump_json()
        if key not in self._known:
            self._known[key] = "".join(fingerprint(load(source)).values())
        return self._known[key]
