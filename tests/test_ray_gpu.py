"""Ray actors on GPUs: how many there are, which GPU each sees, what they train there, and what is said without one."""

import json
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_ray import fake_ray
from local_ray import CONFIG, local_ray
from pretend.marks import needs_compiler
from ray_gpus import PRETENDED, training_on_pretended_gpus

import psgd
from psgd.backends.cuda import driver
from psgd.group.ray import resources
from psgd.group.ray.actors import run_actors
from psgd.group.ray.resources import free, share
from psgd.jobs.launch import ray as ray_driver
from psgd.jobs.launch.command import main
from psgd.jobs.probe import probe as probing

if find_spec("ray") is None:
    pytest.skip("ray is not installed: pip install ray", allow_module_level=True)
pytestmark = pytest.mark.timeout(240, method="thread")

SHORT = {**CONFIG, "training": {**CONFIG["training"], "epochs": 0.5}}  # a pretended GPU is slow


@pytest.fixture(scope="module")
def two_gpus() -> Iterator[None]:
    with local_ray(cpus=4, gpus=2):
        yield


@pytest.fixture
def nothing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver's machine must not be asked for GPUs."""
    monkeypatch.setattr(driver, "_ask", lambda: pytest.fail("the driver looked for a GPU on its own machine"))


def train(directory: Path, group: str, **settings: Any) -> psgd.Run:
    cluster = {**CONFIG["cluster"], "processes": None if group == "serial" else 2}
    return psgd.train({**SHORT, "cluster": cluster}, output=directory, progress=False, group=group, **settings)


def devices(run: psgd.Run) -> list[str]:
    """What took the steps of each process."""
    return [one["device"] for one in json.loads((run.directory / "environment.json").read_text())["processes"]]


@needs_compiler
def test_each_actor_trains_on_a_gpu_of_its_own_with_the_bits_of_threads(two_gpus, monkeypatch, tmp_path):
    """Their contributions are combined on the hosts, those of threads on the GPUs."""
    monkeypatch.setattr(ray_driver, "_run_on_actor", training_on_pretended_gpus)
    run = train(tmp_path / "ray", "ray", device="cuda")
    assert (run.summary["group"], run.summary["processes"], run.summary["device"]) == ("ray", 2, "cuda")
    assert sorted(devices(run)) == ["cuda: pretended GPU 0", "cuda: pretended GPU 1"]
    on_cpu = train(tmp_path / "cpu", "serial", device="cpu")
    for pretended in PRETENDED:
        monkeypatch.setattr(*pretended)
    threads = train(tmp_path / "threads", "threads", device="cuda")
    assert devices(threads) == ["cuda: pretended GPU 0", "cuda: pretended GPU 1"]
    assert run.parameters_sha256 == threads.parameters_sha256 != on_cpu.parameters_sha256
    for there, here in zip(run.model.layers, on_cpu.model.layers, strict=True):
        np.testing.assert_allclose(there.W_IO, here.W_IO, rtol=1e-4, atol=1e-5)


def test_without_gpus_in_ray_auto_is_the_cpu_although_its_machines_have_some(two_gpus, monkeypatch, tmp_path):
    """Where Ray was started without its GPUs, they are not its to give."""
    monkeypatch.setattr(ray_driver, "_run_on_actor", training_on_pretended_gpus)
    monkeypatch.setattr(ray_driver, "_gpus", lambda settings: 0)
    run = train(tmp_path / "ray", "ray", device="auto")
    assert devices(run) == ["cpu", "cpu"]
    assert run.parameters_sha256 == train(tmp_path / "serial", "serial", device="auto").parameters_sha256


def test_actors_share_a_gpu_where_there_are_fewer(two_gpus):
    actors = 2, 100.0, ray_driver._variables(), lambda transport: os.environ["CUDA_VISIBLE_DEVICES"]
    assert run_actors(*actors, gpus=share(2, 1)) in (["0", "0"], ["1", "1"])


@pytest.mark.parametrize(
    ("actors", "gpus", "together"), [(1, 2, 1), (2, 2, 1), (3, 2, 2), (7, 1, 7), (10, 3, 4), (60, 1, 60)]
)
def test_as_few_actors_as_possible_share_a_gpu(actors, gpus, together):
    """Ray counts in ten-thousandths: it refuses a finer share, and a larger one leaves no room for the last actor."""
    parts = share(actors, gpus) * 10_000
    assert parts == round(parts)
    assert parts * together <= 10_000 < parts * (together + 1)


def test_what_a_job_that_has_ended_had_reserved_is_waited_for(monkeypatch):
    """Ray frees it a moment later: a job right after another one had fewer actors. What others keep, only briefly."""
    seen = iter([{}, {"CPU": 1.0}, {"CPU": 4.0}])
    fake_ray(monkeypatch, available_resources=lambda: next(seen))
    assert free("CPU", 3) == 4
    monkeypatch.setattr(resources, "RELEASE_SECONDS", 0.0)
    fake_ray(monkeypatch, available_resources=lambda: {"GPU": 1.5})
    assert free("GPU", 2) == 1


@pytest.mark.parametrize(
    ("settings", "taken"),
    [
        ({}, (2, 1.0)),
        ({"device": "cuda", "workers": 1}, (1, 1.0)),
        ({"cluster__processes": 3}, (3, 0.5)),
        ({"device": "cpu"}, (4, 0.0)),
        ({"data": {"source": "synthetic-sparse"}, "model": {"hidden": [], "loss": "hinge"}}, (4, 0.0)),
    ],
)
def test_what_actors_reserve(two_gpus, nothing_here, monkeypatch, tmp_path, settings, taken):
    """Ray has four CPUs and two GPUs, for four workers."""
    reserved = []

    def run(processes: int, patience: float, variables: Any, act: Any, stop: Any, gpus: float, _: Any) -> None:
        reserved.append((processes, gpus))
        raise KeyboardInterrupt

    monkeypatch.setattr(ray_driver, "run_actors", run)
    with pytest.raises(KeyboardInterrupt):
        psgd.train(output=tmp_path / "run", progress=False, group="ray", **settings)
    assert reserved == [taken]


def test_cuda_without_a_gpu_in_ray_is_refused_before_there_is_a_directory(
    two_gpus, nothing_here, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(ray_driver, "total", {"CPU": 4, "GPU": 0}.get)
    assert main(["digits", "group=ray", "device=cuda", "--quiet", "--output", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        line == "psgd: device is cuda, but Ray counts no GPU on its machines; device: cpu, or auto, trains on the CPU"
    )
    assert not (tmp_path / "run").exists()


def test_a_dry_run_says_that_it_measures_this_machine_only(nothing_here, monkeypatch, capsys):
    monkeypatch.setattr(probing, "probe", lambda settings, data: settings)
    monkeypatch.setattr(probing, "lines", lambda settings: [f"probed: {settings.device}"])
    assert main(["digits", "group=ray", "device=cuda", "--dry-run"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "probed: cpu\n"
    line = "psgd: GPUs and other machines of Ray are not measured: forecasting training on this machine's CPU"
    assert printed.err.splitlines()[-1] == line
