"""The recorders that a config names under `record`."""

from functools import partial
from importlib.util import find_spec
from pathlib import Path

from psgd.config.settings import Settings
from psgd.core.errors import UsageError
from psgd.jobs.record.mlflow import MlFlow
from psgd.jobs.record.relay import Open, Relay
from psgd.jobs.record.tensorboard import TensorBoard

PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow"}  # that a recorder imports

LAST_SECONDS = 30.0  # that recorders may take after the end of the run; raised, a slow server gets more of it


def check_installed(settings: Settings) -> None:
    """UsageError if the package of a recorder is missing."""
    for name in settings.record:
        if find_spec(PACKAGES[name]) is None:
            raise UsageError(
                f"record: {name} needs the package {PACKAGES[name]}: pip install 'psgd[{name}]', or leave {name} out"
            )


def relay(settings: Settings, config: str, directory: Path, label: str) -> Relay:
    """Return what hands metrics to the recorders of a run. `config`: the text of its config.yaml. `label`: of this
    process."""
    openers: dict[str, Open] = {
        "tensorboard": partial(TensorBoard, directory, config),
        "mlflow": partial(_mlflow, directory, settings),
    }
    last_seconds = min(LAST_SECONDS, settings.cluster.patience / 3)  # the other processes wait for this one
    return Relay({name: openers[name] for name in settings.record}, label, last_seconds)


def _mlflow(directory: Path, settings: Settings) -> MlFlow:
    from psgd.config.resolve import flat  # imports YAML, which processes other than the first do without

    return MlFlow(directory, flat(settings))
