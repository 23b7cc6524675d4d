"""psgd.fit on Ray: the bits of one process, a callback that is called by the caller, and its exceptions."""

from collections.abc import Iterator
from functools import partial
from threading import Lock
from typing import Any

import fit_run
import pytest
import user_function as own
from fit_results import metrics, same
from local_ray import local_ray
from ray_faults import dying, failing_gradient

import psgd
from psgd.core.errors import UsageError
from psgd.jobs.fit.callback import TrainingProgress
from psgd.jobs.launch import ray as ray_driver

pytest.importorskip("ray")
pytestmark = pytest.mark.timeout(240, method="thread")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with local_ray(cpus=2) as address:
        yield address


def fit(output: Any, **changes: Any) -> psgd.Fitted:
    return fit_run.fit(output, group="ray", processes=2, **changes)


class Heard:
    """A callback that keeps what it was told, and ends the training in round 7."""

    def __init__(self) -> None:
        self.told: list[tuple[int, str, bytes]] = []  # round, loss, parameters

    def __call__(self, progress: TrainingProgress) -> bool:
        parameters = progress.parameters
        loss = "none yet" if progress.loss is None else f"{progress.loss:.6g}"
        self.told.append((progress.round, loss, b"".join(part.tobytes() for part in parameters)))
        parameters[0][:] = 0.0  # a copy, whose numbers nobody else sees
        return progress.round == 7


def test_the_callback_is_called_here_also_after_the_process_that_asks_was_lost(cluster, monkeypatch, tmp_path, capsys):
    """The next process asks again, first with the line that the lost one told of last. The run then goes on here, to
    the end of an unbroken one."""
    alone, there = Heard(), Heard()
    expected = fit_run.fit(tmp_path / "alone", callback=alone, group="serial")
    monkeypatch.setattr(ray_driver, "_run_on_actor", partial(dying, {0: ("ask_driver", 3)}))
    found = fit(tmp_path / "there", callback=there, checkpoint_seconds=0.0)
    assert (found.summary["group"], found.summary["processes"], found.first) == ("ray", 1, True)
    same(found, expected)
    assert found.summary["status"] == "stopped-by-callback"
    assert set(there.told) == set(alone.told)
    assert len(there.told) == len(alone.told) + 1
    for part, its in zip(found.parameters, expected.parameters, strict=True):
        assert part.tobytes() == its.tobytes()
        assert part.flags.writeable
    assert metrics(tmp_path / "there") == metrics(tmp_path / "alone")
    assert "warning: process 0 (pid " in capsys.readouterr().err
    ended = fit_run.fit(tmp_path / "there", resume=True, group="threads", processes=2)
    assert ended.summary["parameters_sha256"] == fit_run.fit(None).summary["parameters_sha256"]


def test_an_exception_of_the_function_is_raised_here(cluster, monkeypatch, tmp_path):
    class Deliberate(Exception):
        """Which only this script has, as many have some of their own."""

    with pytest.raises(Deliberate, match="in a script") as raised:
        fit(tmp_path / "run", gradient=failing_gradient(9, Deliberate("in a script")))
    notes = "\n".join(raised.value.__notes__)
    assert "psgd.fit: in worker " in notes
    assert "in failing" in notes, "the line of the function"
    assert "psgd/" not in notes, "none of psgd's own lines"
    assert not (tmp_path / "run" / "summary.json").exists()
    same(fit_run.fit(tmp_path / "run", resume=True), fit_run.fit(None))  # unlocked


def test_a_function_that_cannot_be_sent_is_refused_before_there_is_a_directory(tmp_path):
    lock = Lock()

    def locked(parameters, X, y):
        with lock:
            return own.gradient(parameters, X, y)

    with pytest.raises(
        UsageError, match=r"^gradient, loss or score cannot be sent to Ray's processes: cannot pickle .*lock"
    ):
        fit(tmp_path / "run", gradient=locked)
    assert not (tmp_path / "run").exists()
