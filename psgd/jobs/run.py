"""A run that has ended, for Python programs and notebooks: its files as objects."""

import html
import json
import os
from functools import cached_property
from pathlib import Path
from typing import Any, final

from psgd.config.document import read_file
from psgd.core.errors import DataError
from psgd.jobs.files.metrics_file import read_rows
from psgd.learners.model import Model
from psgd.learners.model_file import load


@final
class Run:
    """The run in a directory. Each file is read at the first use of its attribute; DataError if it cannot be read."""

    def __init__(self, directory: str | Path) -> None:
        """DataError if `directory` is not that of a run."""
        self.directory = Path(directory).expanduser().absolute()
        if not os.path.isfile(self.directory / "config.yaml"):
            hint = "it has no config.yaml" if os.path.isdir(self.directory) else "there is no such directory"
            raise DataError(f"{self.directory} is not the directory of a run: {hint}")

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The contents of summary.json: status, scores, seconds, the hash."""
        file = self.directory / "summary.json"
        try:
            found = json.loads(file.read_text("utf-8"))
        except FileNotFoundError:
            raise DataError(f"{file} does not exist: the run has not ended; resume=True goes on with it") from None
        except (OSError, ValueError) as error:
            raise DataError(f"{file} cannot be read: {error}") from None
        if not isinstance(found, dict):
            raise DataError(f"{file} holds no mapping; it is not a summary of psgd")
        return found

    @cached_property
    def metrics(self) -> Any:
        """The lines of metrics.jsonl: a pandas DataFrame, or a list of dicts where pandas is not installed."""
        rows = read_rows(self.directory)
        try:
            import pandas
        except Exception:  # a broken one may raise anything
            return rows
        return pandas.DataFrame(rows)

    @cached_property
    def model(self) -> Model:
        """The trained model, as `psgd.load` returns it."""
        return load(self.directory)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config, as nested dicts: what `psgd.train` takes."""
        return read_file(str(self.directory / "config.yaml"))

    @property
    def parameters_sha256(self) -> str:
        """The hash of the trained parameters."""
        return str(self.summary["parameters_sha256"])

    def __repr__(self) -> str:
        width = max(len(name) for name, _ in self._facts())
        return "\n".join(["psgd run", *(f"  {name:{width}}  {text}" for name, text in self._facts())])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th><td style='text-align:left'>{html.escape(text)}"
            "</td></tr>"
            for name, text in self._facts()
        )
        return f"<table>{rows}</table>"

    def _facts(self) -> list[tuple[str, str]]:
        """What to know of a run at a glance, as (name, text)."""
        where = [("directory", str(self.directory))]
        try:
            found = self.summary
        except DataError as error:
            return [("status", str(error)), *where]
        processes = found.get("processes", 1)
        facts = [
            ("status", str(found.get("status"))),
            ("strategy", str(found.get("strategy"))),
            ("workers", f"{found.get('workers')}, {found.get('group')}, {processes} process{'es' * (processes != 1)}"),
            ("epochs", f"{found.get('epochs', 0):.4g} in {found.get('rounds', 0):,} rounds"),
        ]
        scores = [name for name in found if name.endswith(("_accuracy", "_loss"))]
        when = f" at epoch {found['scores_epoch']:.4g}" if "scores_epoch" in found else ""
        facts += [(name.replace("_", " "), f"{found[name]:.4f}{when}") for name in scores if found[name] is not None]
        rate = found.get("examples_per_second")
        facts.append(
            ("training", f"{found.get('train_seconds', 0):.3g} s" + (f", {rate:,.0f} examples/s" if rate else ""))
        )
        return [*facts, ("parameters", f"sha256 {str(found.get('parameters_sha256'))[:16]}..."), *where]
