"""A local Ray for the tests of a module, and a job for it."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# A job that takes seconds on Ray.
CONFIG: dict[str, Any] = {
    "data": {"source": "synthetic", "examples": 600, "features": 9, "classes": 3, "validation": 0.1},
    "model": {"hidden": [8]},
    "strategy": {"name": "weighted-averaging", "period": 7},
    "training": {"epochs": 3, "batch_size_per_worker": 5, "checkpoint_seconds": 0},
    "workers": 4,
    "compile": "never",  # or each actor waits for numba
    "cluster": {"processes": 2, "patience": 100},
}


@contextlib.contextmanager
def local_ray(cpus: int, gpus: int = 0) -> Iterator[str]:
    """Start a Ray that counts so many CPUs and GPUs, and connect to it -> its address. Actors find the modules of this
    directory."""
    import ray  # here, since it takes a while, and every process of pytest reads the tests

    here = str(Path(__file__).resolve().parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")])))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_prestart_worker_first_driver", "0")  # processes that no test would use
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)  # which would limit Ray's GPUs
        place = tempfile.mkdtemp(prefix="psgd", dir="/tmp")  # short: Ray's sockets lie in it
        counted = {"num_cpus": cpus, "num_gpus": gpus}
        quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
        context = ray.init("local", **counted, **quiet, _temp_dir=place)
        try:
            yield context.address_info["address"]
        finally:
            ray.shutdown()
            shutil.rmtree(place, ignore_errors=True)
