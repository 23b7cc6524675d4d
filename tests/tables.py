"""CSV tables and their data."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from psgd.config.resolve import resolve
from psgd.data.dataset import Data, Dataset
from psgd.data.sources.load import load_data

PEOPLE = """age,city,ward,y
20,Rome,1,no
40,Oslo,2,yes
,Rome,1,no
60,,2,yes
100,Bern,9,yes
"""


def table(tmp_path: Path, text: str, **settings: Any) -> Data:
    """Rows of `text` by the settings of a config, all others at their defaults but for the loss of a regression."""
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode())
    overrides = [f"data.{name}={json.dumps(value)}" for name, value in settings.items()]
    if settings.get("task") == "regression":
        overrides.append("model.loss=squared-error")
    return load_data(resolve(None, ["data.source=csv", f"data.path={path}", "data.target=y", *overrides]).settings)


def arrays(data: Data) -> tuple[np.ndarray, np.ndarray]:
    assert isinstance(data.train, Dataset)
    return data.train.inputs, data.train.targets
