"""The MLflow tracker: a run in the experiment "psgd" of the tracking server that MLFLOW_TRACKING_URI names, or of
MLflow's default. The only importer of mlflow. Which run it is stands in mlflow.json, so that a resumed run goes on."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

from psgd.core.files import write_json
from psgd.jobs.trackers.tracker import Scalars, finite

FILE = "mlflow.json"  # in the directory of the run
EXPERIMENT = "psgd"  # unless MLFLOW_EXPERIMENT_NAME says otherwise
MOST_METRICS, MOST_PARAMETERS = 1000, 100  # in one request, as the server wants it
LONGEST = 500  # characters of a parameter, for servers of any age
STATUS = {"stopped": "KILLED", "diverged": "FAILED"}


@final
class MlFlow:
    def __init__(self, directory: Path, settings: Mapping[str, Any]) -> None:
        """`directory`: of the run; `settings`: all, by full name. Raises what mlflow and the connection do."""
        import mlflow.entities
        from mlflow import MlflowClient

        self._entities, self._client = mlflow.entities, MlflowClient()
        self._file, self._name, self._settings = directory / FILE, directory.name, settings
        self._run = ""
        self._last: dict[str, int] = {}  # the last step of each metric that the server has

    def begin(self, step: int) -> None:
        """Metrics cannot be removed: a run that goes on repeats steps with equal values, which are not sent again."""
        if not self._run and self._file.exists():
            self._run = json.loads(self._file.read_text("utf-8"))["run_id"]
            known = self._client.get_run(self._run).data.metrics
            histories = {name: self._client.get_metric_history(self._run, name) for name in known}
            self._last = {name: max(each.step for each in history) for name, history in histories.items()}
            self._client.update_run(self._run, status="RUNNING")
        elif not self._run:
            self._run = self._create()
            write_json(self._file, {"run_id": self._run, "tracking_uri": self._client.tracking_uri})

    def write(self, rows: Sequence[Scalars]) -> None:
        now, metric = int(time.time() * 1000), self._entities.Metric
        metrics = [
            metric(name, value, now, step)
            for step, values in rows
            for name, value in values.items()
            if step > self._last.get(name, -1)
        ]
        for start in range(0, len(metrics), MOST_METRICS):
            self._client.log_batch(self._run, metrics=metrics[start : start + MOST_METRICS])

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        found = summary or {}
        metric, tag, now = self._entities.Metric, self._entities.RunTag, int(time.time() * 1000)
        metrics = [metric(f"summary/{key}", value, now, 0) for key, value in finite(found).items()]
        tags = [tag(key, str(value)[:LONGEST]) for key, value in found.items() if isinstance(value, str)]
        if found:
            self._client.log_batch(self._run, metrics=metrics, tags=tags)
        status = "FAILED" if summary is None else STATUS.get(str(summary["status"]), "FINISHED")
        self._client.set_terminated(self._run, status)

    def _create(self) -> str:
        """Create a run with all settings as parameters, and return its id."""
        client, parameter = self._client, self._entities.Param
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        found = client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else client.create_experiment(name)
        run = str(client.create_run(experiment, run_name=self._name).info.run_id)
        parameters = [parameter(key, str(value)[:LONGEST]) for key, value in self._settings.items()]
        for start in range(0, len(parameters), MOST_PARAMETERS):
            client.log_batch(run, params=parameters[start : start + MOST_PARAMETERS])
        return run
