"""`--dry-run` for a GPU: what it measures on a pretended one, and what it recommends. Times mean nothing here."""

import re
from types import SimpleNamespace

import pytest
from pretend.device import Pretend
from pretend.marks import needs_compiler

from psgd.backends.cuda import cupy_device, driver
from psgd.backends.cuda.cuda_workers import CudaWorkers
from psgd.backends.cuda.cupy_device import gpu_out_of_memory
from psgd.config.resolve import resolve
from psgd.core.errors import UsageError
from psgd.data.sources.load import load_data
from psgd.jobs.choose import gpus
from psgd.jobs.prepare import print_probe
from psgd.jobs.probe import bench
from psgd.jobs.probe import device as probing
from psgd.jobs.probe.device import DeviceFindings, DeviceRound, device_lines, probe_device


@pytest.fixture
def gpu(monkeypatch):
    """A pretended GPU with CuPy."""
    monkeypatch.setattr(driver, "gpu_count", lambda: 1)
    monkeypatch.setattr(gpus, "find_spec", lambda name: SimpleNamespace())
    monkeypatch.setattr(cupy_device, "open_device", lambda number: Pretend())
    monkeypatch.setattr(probing, "WORKERS", (1, 2))
    for module in bench, probing:
        monkeypatch.setattr(module, "SECONDS", 0.02)
    monkeypatch.setattr(probing, "TIMED_SECONDS", 0.02)


def settings_of(*more: str):
    return resolve(None, ["model.hidden=[5]", "training.batch_size_per_worker=4", "strategy.period=4", *more]).settings


@needs_compiler
def test_a_dry_run_measures_on_the_gpu(gpu, capsys):
    print_probe(settings_of("device=cuda", "workers=2"))
    text = capsys.readouterr().out
    assert "385 parameters, 4 examples a step, cuda: pretended GPU." in text.splitlines()[0]
    for strategy in "gradient-averaging, 1 step", "weighted-averaging, 4 steps":
        for workers in "1 worker", "2 workers":
            assert re.search(rf"  {strategy}, {workers}: work \S+.*, combination \S+, the loop itself \S+\n", text)
    assert re.search(r"Measured, an evaluation of 360 examples: \S+ ms", text)
    assert text.splitlines()[-1].startswith("Recommendation: ")


@needs_compiler
def test_the_data_are_never_on_the_gpu_twice(gpu, monkeypatch):
    """It is opened for each strategy."""
    opened: list[Pretend] = []

    def open_device(number: int) -> Pretend:
        assert not [device for device in opened if device.used], "what was copied for the strategy before is there yet"
        opened.append(Pretend())
        return opened[-1]

    monkeypatch.setattr(cupy_device, "open_device", open_device)
    settings = settings_of("device=cuda", "workers=1")
    assert probe_device(settings, load_data(settings))
    assert len(opened) == 2


@needs_compiler
def test_what_does_not_fit_is_said_and_the_rest_is_measured(gpu, monkeypatch):
    def host(self, workers):
        if workers > 1 and self._task.batch == 4:  # of this job; the trial has another
            raise gpu_out_of_memory(1 << 30, (0, 1 << 30), "GPU")
        return allocate(self, workers)

    allocate = CudaWorkers.host
    monkeypatch.setattr(CudaWorkers, "host", host)
    settings = settings_of("device=cuda", "workers=1")
    findings = probe_device(settings, load_data(settings))
    assert findings
    assert [r.workers for r in findings.rounds] == [1, 1]
    assert [line.split(":")[0] for line in findings.refused] == [
        f"2 workers by {name}" for name in ("gradient-averaging", "weighted-averaging")
    ]
    assert f"not measured: {findings.refused[0]}" in "\n".join(device_lines(findings))
    assert "one worker is fastest here: no more fit" in device_lines(findings)[-1]


def test_a_gpu_that_cannot_be_used_is_an_error_for_cuda_and_the_cpu_for_auto(gpu, monkeypatch, capsys):
    def refuse(number):
        raise UsageError("GPU 0 cannot be opened: it is lost")

    monkeypatch.setattr(cupy_device, "open_device", refuse)
    settings = settings_of()
    with pytest.raises(UsageError, match="it is lost"):
        probe_device(settings.replace(device="cuda"), load_data(settings))
    assert probe_device(settings, load_data(settings)) is None
    assert "it is lost: training on the CPU" in capsys.readouterr().err


def test_the_recommendation_follows_the_figures():
    def rounds(*speeds: float) -> list[DeviceRound]:
        """Make rounds of 1, 2, 4 ... workers, of which each takes so many steps of 10 examples a second."""
        return [DeviceRound("s", 1 << n, 1, 1 / speed, 0.0, 0.0, 0.001) for n, speed in enumerate(speeds)]

    for speeds, words in (((100, 99, 98), "4 workers by s"), ((100, 50, 25), "one worker"), ((100,), "no more fit")):
        lines = device_lines(DeviceFindings("g", 2, rounds(*speeds), [], 10, 7, 0, 1.0))
        assert words in lines[-1]
        assert any(line.startswith("mpirun -n 2 trains on all 2 GPUs") for line in lines)
        assert not any("evaluation" in line for line in lines)
