"""Whether a job can train on GPUs: asked before anything is loaded, so without numpy."""

from importlib.util import find_spec

from psgd.backends.cuda import driver
from psgd.config.checks import trains_on_cpu
from psgd.config.settings import Settings
from psgd.core.errors import UsageError
from psgd.core.log import say_once


def stays_on_cpu(settings: Settings) -> str:
    """Why a job trains on the CPU whatever GPUs there are, as a part of a sentence: the same on all hosts. Empty if a
    GPU may train it."""
    if settings.device == "cpu":
        return "device is cpu"
    what = trains_on_cpu(settings)
    return f"{what} trains on the CPU" if what else ""


def count_gpus(settings: Settings) -> tuple[int, str]:
    """Return the number of GPUs on which a job can train here, and if there is none, why, as a part of a sentence."""
    if reason := stays_on_cpu(settings):
        return 0, reason
    gpus = driver.gpu_count()
    if not gpus:
        return 0, driver.why_none()
    if find_spec("cupy") is None:
        cuda = driver.driver()
        extra = "gpu12" if cuda and cuda[0] < 13 else "gpu"
        reason = f"CuPy is not installed: pip install 'psgd[{extra}]'"
        if settings.device == "auto":
            say_once(f"psgd: there is a GPU, but {reason}; training on the CPU (device: cpu says nothing)")
        return 0, reason
    return gpus, ""


def check_device(settings: Settings) -> None:
    """UsageError if device is cuda, and no GPU can train this job. Those of Ray's machines are not looked for here: Ray
    is asked for them once it is connected."""
    reason = stays_on_cpu(settings) if settings.group == "ray" else count_gpus(settings)[1]
    if settings.device == "cuda" and reason:
        raise no_gpu(reason)


def no_gpu(reason: str) -> UsageError:
    """What is raised if device is cuda and no GPU can train the job. `reason`: a part of a sentence."""
    return UsageError(f"device is cuda, but {reason}; device: cpu, or auto, trains on the CPU")
