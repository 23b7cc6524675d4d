"""What Ray actors do in tests of GPUs, which are pretended. Without pytest, which each of them would import."""

import os
from typing import Any

from pretend.device import Pretend

from psgd.backends.cuda import cupy_device, driver
from psgd.jobs.choose import gpus
from psgd.jobs.launch import ray as ray_driver


def visible_gpus() -> list[str]:
    """The GPUs that this process may see, of a machine that has two."""
    return [number for number in os.environ.get("CUDA_VISIBLE_DEVICES", "0,1").split(",") if number]


def open_pretended(number: int) -> Pretend:
    device = Pretend()
    device.name = f"pretended GPU {visible_gpus()[number]}"
    return device


# In place of what looks for GPUs: module, name, what it is here.
PRETENDED: list[tuple[Any, str, Any]] = [
    (driver, "gpu_count", lambda: len(visible_gpus())),
    (gpus, "find_spec", lambda name: name),
    (cupy_device, "open_device", open_pretended),
]


def training_on_pretended_gpus(*arguments: Any) -> Any:
    for module, name, pretended in PRETENDED:
        setattr(module, name, pretended)
    return ray_driver._run_on_actor(*arguments)
