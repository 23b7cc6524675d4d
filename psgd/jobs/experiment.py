"""What a checkpoint says about the training that it belongs to."""

from collections.abc import Mapping
from typing import Any

from psgd.config.settings import Settings
from psgd.data.dataset import Data
from psgd.data.fingerprint import fingerprint


def experiment(settings: Settings, data: Data, more: Mapping[str, str]) -> dict[str, Any]:
    """All settings, and fingerprints of the data and of what there is besides: plain JSON."""
    return {"settings": settings.model_dump(mode="json"), "data": {**fingerprint(data), **more}}
