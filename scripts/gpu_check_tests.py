"""Stages of gpu_check that are tests of psgd's: those that run on a pretended GPU in every test run, on this device."""

import importlib
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu_check_stage import Record, SkippedError, opener

from psgd.backends.cuda.device import DeviceArray, Program
from psgd.backends.cuda.resident import CAPABILITY

TESTS = Path(__file__).resolve().parents[1] / "tests"
# Tests of steps that look at the pretended device itself are not for a real one.
STEPS = (
    "every_rule_takes",
    "every_loss_with",
    "a_single_output",
    "hidden_activations_and_inputs",
    "penalties_and_clipping",
    "gradients_at_the_replica",
    "moments_in_the_contribution",
    "terms_in_multiples_of_eight",
    "a_worker_past_its_limit",
    "segments_change_no_bit",
)
# Names of tests of combinations and scores.
OTHERS = (
    "each_process_sums_its_part",
    "few_workers",
    "bits_of_the_hosts",
    "a_clipped_step_agrees",
    "is_not_clipped",
    "a_part_of_the_parameters",
    "what_is_not_a_number",
    "parts_of_other_sizes",
)


def kernels(record: Record) -> None:
    """All but the test that plants a race."""
    few = ("rows_of_this_step", "a_rule_takes_the_step", "the_tree_of", "clipped_as") if record.pretend else ("",)

    def wanted(item: Any) -> bool:
        return "a_missing_barrier" not in item.name and any(each in item.name for each in few)

    run(record, ("test_cuda_kernels.py", "test_cuda_network.py"), wanted)


def steps(record: Record) -> None:
    few = ("every_rule_takes", "segments_change_no_bit", "few_workers", "parts_of_other_sizes")
    few = few if record.pretend else (*STEPS, *OTHERS)
    files = "test_cuda_steps.py", "test_cuda_combining.py", "test_cuda_scoring.py"
    run(record, files, lambda item: any(each in item.name for each in few))


def whole(record: Record) -> None:
    if opener(record.pretend)().capability < CAPABILITY:
        raise SkippedError("no clusters of blocks before compute capability 9.0; `parity` has what fits without")
    few = ("learners[tiny]",) if record.pretend else ("are_the_learners", "a_worker_past_its_limit", "not_finite")
    run(record, ("test_cuda_resident.py",), lambda item: any(each in item.name for each in few))


def loop(record: Record) -> None:
    """All but what needs mpirun, which is the stage `staged`, and what limits the memory of a pretended device."""

    def wanted(item: Any) -> bool:
        if any(each in item.name for each in ("mpirun", "any_order", "without_room")):
            return False
        few = "agrees_with", "resuming", "without_one", "combine_in"  # in the test run, which runs all of them besides
        return not record.pretend or not any(each in item.name for each in few) or "adam averaged" in item.name

    run(record, ("test_cuda_loop.py",), wanted)


def run(record: Record, files: Sequence[str], wanted: Callable[[Any], bool]) -> None:
    """Run the tests in these files that are wanted, on devices of this kind: one row for each test function."""
    open_device = per_thread(opener(record.pretend))
    emulate = importlib.import_module("pretend.emulate")
    emulate.COMPILER = emulate.COMPILER or "g++"  # a GPU needs none: tests are not skipped
    # Before the tests' other modules take it from there.
    importlib.import_module("pretend.device").Pretend = type("Opened", (Told,), {"open": staticmethod(open_device)})
    launching = importlib.import_module("pretend.launching")
    launching.launch = Launch(open_device)
    launching.addresses = Addresses
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # whatever plugins there are: these tests need none
    outcome = Outcome(record, wanted)
    options = ["-q", "-c", os.devnull, "--rootdir", str(TESTS), "-p", "no:cacheprovider", "-p", "no:logging"]
    pytest.main([*options, *[str(TESTS / file) for file in files]], plugins=[outcome])
    outcome.tell()


def per_thread(open_device: Callable[[], Any]) -> Callable[[], Any]:
    """A device for each thread, opened once: a GPU's compiled kernels are kept by it."""
    own = threading.local()

    def device() -> Any:
        if not hasattr(own, "device"):
            own.device = open_device()
        return own.device

    return device


class Told:
    """A device that stands for the tests' Pretend. Something else may be told of it than what it is, such as less
    memory in a block."""

    open: Callable[[], Any]

    def __init__(self, order: int = 0, **options: Any) -> None:
        self._device = self.open()
        self.__dict__.update(options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)


class Outcome:
    """Counts what pytest reports, by test function."""

    def __init__(self, record: Record, wanted: Callable[[Any], bool]) -> None:
        self._record, self._wanted = record, wanted
        self._passed: dict[str, list[bool]] = defaultdict(list)
        self._skipped: dict[str, str] = {}
        self._wrong: dict[str, str] = {}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = [item for item in items if self._wanted(item)]

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._record.at(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        name = report.nodeid.split("::")[-1].split("[")[0]
        if report.skipped:
            self._skipped[name] = str(report.longrepr)
        elif report.when == "call" or report.failed:
            self._passed[name].append(report.passed)
            if report.failed:
                where = report.nodeid.split("::")[-1]
                crash = getattr(report.longrepr, "reprcrash", None)
                message = " ".join(str(crash.message if crash else report.longrepr).split())
                self._wrong.setdefault(name, f"{where}: {message}"[:300])

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self._passed[report.nodeid].append(False)
            self._wrong[report.nodeid] = " ".join(str(report.longrepr).split())[-300:]

    def tell(self) -> None:
        for name, passed in self._passed.items():
            what = name.removeprefix("test_").replace("_", " ")
            counted = f"{sum(passed)} of {len(passed)}"
            self._record.check(what, all(passed), f"{counted}. {self._wrong[name]}" if name in self._wrong else counted)
        for name, why in self._skipped.items():
            self._record.figure(f"skipped: {name}", why)
        if not self._passed:
            self._record.check("some tests ran", ok=False)


class Addresses(list[np.ndarray]):
    """Arrays, of whose addresses a kernel takes a table."""


class Launch:
    """pretend.launching.launch on a device: twice from the same memory, with the same bits."""

    def __init__(self, open_device: Callable[[], Any]) -> None:
        self._open = open_device

    def __call__(
        self,
        program: Program,
        kernel: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        *arguments: Any,
        shared: int = 0,
    ) -> None:
        memory = Mirrored(self._open())
        given = [memory.place(argument) for argument in arguments]
        found = []
        for _ in range(2):
            memory.upload()
            memory.device.launch(program, kernel, grid, block, *given, shared=shared)
            found.append(memory.download())
        assert found[0] == found[1], f"{kernel} had other bits when it ran again"
        memory.write(found[0])


class Mirrored:
    """Arrays of the host on a device, views of the same memory included."""

    def __init__(self, device: Any) -> None:
        self.device = device
        self._roots: dict[int, tuple[np.ndarray, DeviceArray]] = {}

    def place(self, argument: Any) -> Any:
        """The argument as the kernel takes it."""
        if isinstance(argument, Addresses):
            return self._array(np.array([self._array(each).pointer for each in argument], np.uintp))
        return self._array(argument) if isinstance(argument, np.ndarray) else argument

    def _array(self, view: np.ndarray) -> DeviceArray:
        root = view
        while isinstance(root.base, np.ndarray):
            root = root.base
        assert root.flags.c_contiguous
        assert view.flags.c_contiguous
        if id(root) not in self._roots:
            self._roots[id(root)] = root, self.device.empty(root.shape, root.dtype)
        return self._roots[id(root)][1].cast(view.ctypes.data - root.ctypes.data, view.shape, view.dtype)

    def upload(self) -> None:
        for host, array in self._roots.values():
            self.device.upload(host, array)
        self.device.synchronize()

    def download(self) -> list[bytes]:
        copies = [np.empty_like(host) for host, _ in self._roots.values()]
        for copy, (_, array) in zip(copies, self._roots.values(), strict=True):
            self.device.download(array, copy)
        self.device.synchronize()
        return [copy.tobytes() for copy in copies]

    def write(self, found: list[bytes]) -> None:
        for (host, _), data in zip(self._roots.values(), found, strict=True):
            host[...] = np.frombuffer(data, host.dtype).reshape(host.shape)
