"""The trackers that a config names under `record`."""

from functools import partial
from importlib.util import find_spec
from pathlib import Path

from psgd.config.settings import Settings
from psgd.core.errors import UsageError
from psgd.jobs.trackers.mlflow import MlFlow
from psgd.jobs.trackers.tensorboard import TensorBoard
from psgd.jobs.trackers.threads import Open, TrackerThreads

PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow"}  # that a tracker imports

LAST_SECONDS = 30.0  # that trackers may take after the end of the run; raised, a slow server gets more of it


def check_installed(settings: Settings) -> None:
    """UsageError if the package of a tracker is missing."""
    for name in settings.record:
        if find_spec(PACKAGES[name]) is None:
            raise UsageError(
                f"record: {name} needs the package {PACKAGES[name]}: pip install 'psgd[{name}]', or leave {name} out"
            )


def trackers_of(settings: Settings, config: str, directory: Path, label: str) -> TrackerThreads:
    """Return what hands metrics to the trackers of a run. `config`: the text of its config.yaml. `label`: of this
    process."""
    openers: dict[str, Open] = {
        "tensorboard": partial(TensorBoard, directory, config),
        "mlflow": partial(_mlflow, directory, settings),
    }
    last_seconds = min(LAST_SECONDS, settings.cluster.patience / 3)  # the other processes wait for this one
    return TrackerThreads({name: openers[name] for name in settings.record}, label, last_seconds)


def _mlflow(directory: Path, settings: Settings) -> MlFlow:
    from psgd.config.resolve import flat  # imports YAML, which processes other than the first do without

    return MlFlow(directory, flat(settings))
