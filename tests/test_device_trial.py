"""A GPU that computes something else than the CPU, or fails, is not trusted with a job."""

from types import SimpleNamespace

import numpy as np
import pytest
from pretend.device import Pretend
from pretend.marks import needs_compiler

import psgd
from psgd.backends.cuda import cupy_device, driver
from psgd.backends.cuda.device import Product
from psgd.config.resolve import resolve
from psgd.core.errors import UsageError
from psgd.data.sources.load import load_data
from psgd.group.failure import Agreement
from psgd.group.serial import Serial
from psgd.jobs.build import build_job
from psgd.jobs.choose import gpus
from psgd.jobs.choose.device import with_device


class Wrong(Pretend):
    """Its products are a thousandth too small: alpha is a little less than 1."""

    def gemm(self, product: Product) -> None:
        if product.alpha.pointer not in self.less:
            self.less[product.alpha.pointer] = less = self.empty((1,), product.alpha.dtype)
            self.given.append(np.array([0.999], less.dtype))
            self.upload(self.given[-1], less)
        super().gemm(product._replace(alpha=self.less[product.alpha.pointer]))

    def capture(self, queue):
        queue()  # allocates what a capture must not
        self._queue.clear()
        return super().capture(queue)

    def __init__(self) -> None:
        super().__init__()
        self.less: dict = {}
        self.given: list[np.ndarray] = []


class Forgetful(Pretend):
    """It sums no contributions."""

    def launch(self, program, kernel, *arguments, **options):
        if kernel != "reduce":
            super().launch(program, kernel, *arguments, **options)


class Breaking(Pretend):
    def launch(self, program, kernel, *arguments, **options):
        if kernel == "output":
            raise RuntimeError("CUDA_ERROR_ILLEGAL_ADDRESS\nand more")
        super().launch(program, kernel, *arguments, **options)


FAULTS = [
    (
        Forgetful,
        r"the pretended GPU fails a trial of 4 steps: averages differ from the CPU's by \S+ of the distance moved",
    ),
    (Breaking, r"the pretended GPU fails a trial: RuntimeError: CUDA_ERROR_ILLEGAL_ADDRESS$"),
]


def gpu_of(monkeypatch, kind) -> None:
    monkeypatch.setattr(driver, "gpu_count", lambda: 1)
    monkeypatch.setattr(gpus, "find_spec", lambda name: SimpleNamespace())
    monkeypatch.setattr(cupy_device, "open_device", lambda number: kind())


@needs_compiler
@pytest.mark.parametrize(("kind", "words"), FAULTS)
def test_cuda_is_an_error_before_there_is_a_directory_and_auto_the_cpu(kind, words, monkeypatch, tmp_path, capsys):
    gpu_of(monkeypatch, kind)
    options = {"training__epochs": 0.1, "output": tmp_path / "run"}
    with pytest.raises(UsageError, match=words.removesuffix("$")) as caught:
        psgd.train("digits", device="cuda", **options)
    assert str(caught.value).endswith("; device: cpu trains on the CPU")
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "run").exists()
    capsys.readouterr()
    assert psgd.train("digits", device="auto", **options).summary["device"] == "cpu"
    assert ": training on the CPU (device: cpu says nothing)" in capsys.readouterr().err


@needs_compiler
def test_auto_names_the_gpu_that_it_takes(monkeypatch, tmp_path, capsys):
    gpu_of(monkeypatch, Pretend)
    options = {"training__epochs": 0.1, "model__hidden": [8], "output": tmp_path / "run"}
    assert psgd.train("digits", **options).summary["device"] == "cuda"
    assert capsys.readouterr().err.count("cuda: pretended GPU (device: cpu trains on the CPU)") == 1


@needs_compiler
@pytest.mark.parametrize(
    ("precision", "hidden", "rule"),
    [("float32", [], "sgd"), ("float32", [30], "adam"), ("float64", [], "adam"), ("float64", [30], "sgd")],
)
def test_products_that_are_a_little_wrong_are_noticed(precision, hidden, rule, monkeypatch):
    """They are wrong by a thousandth, ten times the tolerance in float32."""
    settings = resolve(
        None,
        [f"model.hidden={hidden}", f"optimizer={{name: {rule}}}", f"training.precision={precision}", "device=cuda"],
    ).settings
    gpu_of(monkeypatch, Pretend)
    assert with_device(build_job(settings, load_data(settings)), Serial(), 0, Agreement(Serial())).device
    gpu_of(monkeypatch, Wrong)
    with pytest.raises(UsageError, match=r"fails a trial of 4 steps: (parameters|losses) differ"):
        with_device(build_job(settings, load_data(settings)), Serial(), 0, Agreement(Serial()))
