"""What a checkpoint says about the training that it belongs to."""

from typing import Any

from psgd.config.settings import Settings
from psgd.data.dataset import Data
from psgd.data.fingerprint import fingerprint


def experiment(settings: Settings, data: Data) -> dict[str, Any]:
    """All settings, and fingerprints of the data: plain JSON."""
    return {"settings": settings.model_dump(mode="json"), "data": fingerprint(data)}
