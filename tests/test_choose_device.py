"""Which device takes the steps of a job, what is said where there is none, and what a run on one writes down."""

import json
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from pretend.device import Pretend
from pretend.marks import needs_compiler
from processes import ROOT, Mpi, mpi, python
from processes import run as run_command

import psgd
from psgd.backends.cuda import cupy_device, driver
from psgd.config.resolve import resolve
from psgd.core import log
from psgd.core.errors import UsageError
from psgd.data.sources.load import load_data
from psgd.group.failure import Agreement
from psgd.group.serial import Serial
from psgd.group.threads import run_threads
from psgd.jobs.build import build_job
from psgd.jobs.choose import device as choosing
from psgd.jobs.choose import gpus
from psgd.jobs.choose.device import with_device
from psgd.jobs.prepare import resolve_auto
from psgd.learners.losses import LOSSES

__all__ = ["mpi"]


def settings_of(*overrides: str):
    return resolve(None, ["workers=2", "training.epochs=1", *overrides]).settings


def job_of(*overrides: str):
    settings = settings_of(*overrides)
    return build_job(settings, load_data(settings))


def opened(*overrides: str):
    """The job with its device, if it has one."""
    return with_device(job_of(*overrides), Serial(), 0, Agreement(Serial()))


@pytest.fixture
def two_gpus(monkeypatch):
    """Two GPUs, with CuPy, whose devices are pretended; the numbers of those that were opened."""
    opened = []

    def open_device(number):
        opened.append(number)
        return Pretend()

    monkeypatch.setattr(driver, "gpu_count", lambda: 2)
    monkeypatch.setattr(gpus, "find_spec", lambda name: SimpleNamespace())
    monkeypatch.setattr(cupy_device, "open_device", open_device)
    return opened


def test_without_a_gpu_auto_is_the_cpu_and_cuda_an_error():
    assert driver.gpu_count() == 0
    assert opened().device is None
    with pytest.raises(UsageError, match=r"device is cuda, but .+; device: cpu, or auto, trains on the CPU$"):
        opened("device=cuda")


def test_without_cupy_the_extra_is_named(monkeypatch, capsys):
    monkeypatch.setattr(log, "_said", set())
    monkeypatch.setattr(driver, "gpu_count", lambda: 1)
    monkeypatch.setattr(gpus, "find_spec", lambda name: None)
    for cuda, extra in (((13, 0), "gpu"), ((12, 4), "gpu12")):
        monkeypatch.setattr(driver, "driver", lambda cuda=cuda: cuda)
        with pytest.raises(
            UsageError, match=rf"device is cuda, but CuPy is not installed: pip install 'psgd\[{extra}\]'"
        ):
            opened("device=cuda")
    assert opened().device is None
    assert "there is a GPU, but CuPy is not installed: pip install 'psgd[gpu12]'" in capsys.readouterr().err


def test_sparse_data_train_on_the_cpu_only(two_gpus):
    sparse = "data.source=synthetic-sparse", "model.hidden=[]", "model.loss=hinge"
    assert job_of(*sparse).open_device is None
    with pytest.raises(UsageError, match="sparse data trains on the CPU"):
        job_of(*sparse, "device=cuda")


def test_tf32_is_for_float32_on_a_gpu():
    for more, words in (("training.precision=float64", "is float64"), ("device=cpu", "device is cpu")):
        with pytest.raises(UsageError, match=rf"training.tf32 is true, but .*{words}"):
            settings_of("training.tf32=true", more)
    assert settings_of("training.tf32=true").training.tf32


def test_psgd_fit_and_comparisons_stay_on_the_cpu(two_gpus):
    fitted = psgd.fit(
        lambda w, X, y: X.T @ (X @ w - y) / len(X), np.zeros(2), (np.ones((40, 2)), np.ones(40)), workers=2
    )
    assert np.isfinite(fitted.parameters).all()
    assert not two_gpus
    with pytest.raises(UsageError, match=r"psgd.fit: device is cuda, but psgd.fit, .* trains on the CPU; set device"):
        psgd.fit(lambda w, X, y: w, np.zeros(2), (np.ones((40, 2)), np.ones(40)), device="cuda")


def test_a_job_on_a_gpu_is_one_process_unless_asked_otherwise(two_gpus):
    resolved = resolve_auto(settings_of("group=auto"), 1)
    assert resolved.settings.group == "serial"
    assert (
        "group: serial (a GPU takes the steps of all workers side by side; mpirun -n 2 uses all 2 GPUs)"
        in resolved.notes
    )
    assert resolve_auto(settings_of("group=auto", "device=cpu"), 1).notes[-1].startswith("group: ")
    assert "GPU" not in resolve_auto(settings_of("group=auto", "device=cpu"), 1).notes[-1]


@needs_compiler
@pytest.mark.parametrize(
    ("gpus_of", "places", "workers", "combines"),
    [
        ((1, 1), (0, 1), 4, True),
        ((1, 0), (0, 1), 4, False),  # a process without a GPU takes part in the same exchanges
        ((0, 0), (0, 1), 4, False),
        ((1, 1), (0, 0), 4, False),  # two hosts
        ((1, 1), (0, 1), 1, False),  # a spare process
        ((1, 1), (0, 1), 257, False),  # too many to compile for
    ],
)
def test_combinations_are_on_devices_where_all_processes_have_one(
    two_gpus, monkeypatch, gpus_of, places, workers, combines
):
    numbers = threading.local()
    monkeypatch.setattr(driver, "gpu_count", lambda: numbers.gpus)

    def main(transport):
        numbers.gpus = gpus_of[transport.process]
        agreement = Agreement(transport)
        job = agreement.together(lambda: job_of(f"workers={workers}"))
        job = with_device(job, transport, places[transport.process], agreement)
        assert with_device(job, transport, 0, agreement) is job
        return bool(job.device), job.combines_on_devices

    assert run_threads(2, 60.0, main) == [(bool(count), combines) for count in gpus_of]


@pytest.mark.parametrize("loss", sorted(LOSSES.keys() | {"huber"}))
def test_a_task_names_loss_labels_and_optimizer(two_gpus, loss):
    classifies = loss in ("cross-entropy", "binary-cross-entropy", "hinge")
    data = ["data.source=synthetic", "data.examples=40", f"data.classes={2 * classifies}"]
    penalties = ["optimizer.l1=0.25", "optimizer.l2=0.5", "optimizer.clip_norm=3"]
    settings = settings_of(*data, f"model.loss={loss}", "strategy.name=parameter-averaging", *penalties)
    job = build_job(settings, load_data(settings))
    task = choosing.task_of(settings, job.learner, job.data, job.strategy)
    assert (task.loss, task.l1, task.l2, task.clip_norm, task.plain) == (loss, 0.25, 0.5, 3.0, False)
    assert (task.labels is None) != (task.targets is None)
    assert (task.labels is not None) == classifies
    assert task.network is job.learner.network
    assert task.threshold == (0.0 if loss == "hinge" else 0.5)
    assert task.replica_step is None
    assert list(task.scored) == ["test"]
    assert (task.scored["test"].labels is not None) == classifies
    job = job_of(
        *data,
        f"model.loss={loss}",
        "strategy.name=gradient-averaging",
        "optimizer.name=sgd",
        "optimizer.momentum=0.5",
        *penalties,
    )
    task = choosing.task_of(settings, job.learner, job.data, job.strategy)
    assert (task.rule, task.replica_step) == (None, ("momentum", 3.0))


def test_more_than_a_kernel_can_count_is_refused(two_gpus, monkeypatch):
    monkeypatch.setattr(choosing, "LARGEST", 1000)
    assert job_of().open_device is None
    with pytest.raises(
        UsageError, match="a GPU counts examples, and the parameters and outputs of all workers, up to 1,000"
    ):
        job_of("device=cuda")


@needs_compiler
@pytest.mark.parametrize("group", ["serial", "threads"])
def test_a_run_on_gpus_says_so(two_gpus, group, tmp_path):
    options = {"group": group, "training__epochs": 1, "model__hidden": [8], "progress": False}
    options |= {"cluster__processes": 2} if group == "threads" else {}
    run = psgd.train("digits", workers=4, device="cuda", output=tmp_path / "gpu", **options)
    on_cpu = psgd.train("digits", workers=4, device="cpu", output=tmp_path / "cpu", **options)
    assert (run.summary["device"], on_cpu.summary["device"]) == ("cuda", "cpu")
    assert run.summary["test_accuracy"] == pytest.approx(on_cpu.summary["test_accuracy"], abs=0.01)
    assert run.summary["parameters_sha256"] != on_cpu.summary["parameters_sha256"]
    assert sorted(two_gpus) == ([0] if group == "serial" else [0, 1])
    processes = json.loads((tmp_path / "gpu" / "environment.json").read_text())["processes"]
    assert {process["device"] for process in processes} == {f"cuda: {Pretend().name}"}
    assert "cuda" not in json.loads((tmp_path / "cpu" / "environment.json").read_text())


@needs_compiler
def test_a_run_goes_on_where_another_device_left_it(two_gpus, tmp_path):
    options = {"output": tmp_path / "run", "progress": False, "workers": 2, "model": {"hidden": [8]}}
    psgd.train("digits", device="cuda", training={"epochs": 1}, **options)
    run = psgd.train("digits", device="cpu", training={"epochs": 2}, resume=True, **options)
    assert (run.summary["status"], run.summary["device"]) == ("done", "cpu")


@needs_compiler
def test_a_gpu_that_cannot_be_opened_is_an_error_or_the_cpu(two_gpus, monkeypatch, tmp_path, capsys):
    """The error comes before there is a run directory."""

    def full(number):
        raise UsageError("an array of 3 GB does not fit")

    monkeypatch.setattr(cupy_device, "open_device", full)
    with pytest.raises(UsageError, match="an array of 3 GB does not fit"):
        psgd.train("digits", device="cuda", training__epochs=1, progress=False, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    run = psgd.train("digits", training__epochs=1, progress=False, output=tmp_path / "run")
    assert run.summary["device"] == "cpu"
    assert "an array of 3 GB does not fit: training on the CPU" in capsys.readouterr().err


def test_the_command_without_a_gpu(tmp_path):
    """It is refused before the data are looked for: this file of data does not exist."""
    data = ("data.source=npz", f"data.path={tmp_path}/none.npz")
    finished = python("-m", "psgd.train", *data, "device=cuda", "--output", str(tmp_path / "run"))
    assert finished.code == 2
    (line,) = finished.stderr.splitlines()
    assert line.startswith(f"psgd: device is cuda, but {driver.why_none()}; ")
    assert not (tmp_path / "run").exists()


def test_a_dry_run_needs_no_gpu():
    finished = python("-m", "psgd.train", "digits", "device=cuda", "--dry-run", "--no-probe")
    assert finished.code == 0
    assert "device: cuda" in finished.stdout


def test_reading_a_config_imports_neither_numpy_nor_cupy():
    code = "import sys, psgd.jobs.prepare; assert not {'numpy', 'cupy', 'cupy_backends'} & set(sys.modules)"
    assert python("-c", code).code == 0


def test_the_command_without_a_gpu_under_mpirun(mpi: Mpi, tmp_path):
    finished = run_command(
        mpi.command(2, "-m", "psgd.train", "digits", "device=cuda", "--output", str(tmp_path / "run"))
    )
    assert finished.code == 2
    assert finished.stderr.count("device is cuda, but ") == 1
    assert "Traceback" not in finished.stderr
    assert not (tmp_path / "run").exists()


ONE_IS_FULL = """
import sys
from types import SimpleNamespace
from pretend.device import Pretend
from psgd.backends.cuda import cupy_device, driver
from psgd.core.errors import UsageError
from psgd.jobs.choose import gpus
from psgd.jobs.launch.command import main

def open_device(number):
    if number == int(sys.argv[1]):
        raise UsageError(f"GPU {number} cannot be opened: it is full")
    return Pretend()

driver.gpu_count, gpus.find_spec, cupy_device.open_device = lambda: 2, lambda name: SimpleNamespace(), open_device
sys.exit(main(sys.argv[2:]))
"""


@needs_compiler
@pytest.mark.parametrize("full", [1, 2])
def test_processes_under_mpirun_take_the_gpus_in_turn(mpi: Mpi, tmp_path, full):
    """If one of them is full, the job ends before there is a run directory."""
    (tmp_path / "job.py").write_text(f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r})\n{ONE_IS_FULL}")
    job = (str(full), "digits", "device=cuda", "workers=2", "training.epochs=0.1", "model.hidden=[8]")
    job = (*job, "--output", str(tmp_path / "run"))
    finished = run_command(mpi.command(2, str(tmp_path / "job.py"), *job))
    if full == 1:
        assert finished.code == 2
        assert finished.stderr.count("GPU 1 cannot be opened: it is full") == 1
        assert "Traceback" not in finished.stderr
        assert not (tmp_path / "run").exists()
    else:
        assert finished.code == 0, finished
        assert json.loads(finished.stdout)["device"] == "cuda"
