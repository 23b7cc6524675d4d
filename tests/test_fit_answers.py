"""What psgd.fit does here for actors of Ray: it calls the callback, and ends as the callback does. No Ray runs here."""

import io
import pickle
import sys
import weakref
from contextlib import redirect_stdout
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import fit_run
import numpy as np
import pytest
from fake_ray import fail, fake_ray

from psgd.core.errors import ProcessLost, UsageError
from psgd.group.ray.actors import Process
from psgd.group.serial import Serial
from psgd.jobs.fit import on_ray
from psgd.jobs.fit.callback import TrainingProgress
from psgd.jobs.fit.launch import Fitted
from psgd.jobs.launch import ray as ray_driver
from psgd.learners.parameter_tree import ParameterTree
from psgd.training.signals import Signals


class Lost(Exception):
    """In place of Ray's error for an object whose owner was lost."""


def answered(callback, get, stdout=None) -> bool:
    structure = ParameterTree(np.zeros(2))
    call = SimpleNamespace(callback=callback, task=SimpleNamespace(structure=structure))
    progress = TrainingProgress(3, 0.5, 30, 0.1, None, {}, lambda: on_ray._fetch(get))
    return on_ray._answer(call, stdout or io.StringIO(), progress)


@pytest.fixture
def ray(monkeypatch):
    fake_ray(monkeypatch, get=lambda get: get(), exceptions=SimpleNamespace(ObjectLostError=Lost, RayError=Lost))


def test_what_the_callback_prints_goes_where_the_script_prints(ray, capsys):
    script = io.StringIO()
    with redirect_stdout(io.StringIO()) as rays:
        assert answered(lambda progress: print(*progress.parameters) or True, lambda: np.ones(2), script)
    assert (script.getvalue(), rays.getvalue()) == ("1.0 1.0\n", "")


def test_an_exception_of_the_callback_is_raised_with_its_round(ray):
    with pytest.raises(KeyError, match="deliberately") as raised:
        answered(fail(KeyError("deliberately")), lambda: np.ones(2))
    assert raised.value.__notes__ == ["psgd.fit: in callback, round 3"]


def test_a_module_that_an_actor_does_not_find_is_named(monkeypatch):
    module = ModuleType("only_here")
    exec("def gradient(*arguments): pass", vars(module))
    with monkeypatch.context() as here:
        here.setitem(sys.modules, "only_here", module)
        functions = pickle.dumps(module.gradient)
    with pytest.raises(UsageError, match=r"cannot be imported: No module named 'only_here'; modules .*working_dir"):
        on_ray._unpickled(functions)


def test_parameters_that_were_lost_with_their_process_do_not_end_the_job(ray):
    """The next process asks again."""
    assert answered(lambda progress: len(progress.parameters) == 2, lambda: np.ones(2))
    assert not answered(lambda progress: len(progress.parameters) == 2, fail(Lost()))


def test_a_progress_that_is_kept_keeps_no_parameters(ray):
    kept, vector = [], np.ones(2)
    held = weakref.ref(vector)
    answered(kept.append, vector.view)
    del vector
    assert held() is None
    with pytest.raises(UsageError, match="read them before callback returns"):
        _ = replace(kept[0]).parameters


@pytest.mark.parametrize("code", ["a message", None, 4])
def test_a_callback_that_leaves_takes_its_message_along(ray, monkeypatch, code):
    fake_ray(
        monkeypatch, is_initialized=lambda: True, cluster_resources=lambda: {"CPU": 1},
        cloudpickle=SimpleNamespace(dumps=lambda _: b""),
    )  # fmt: skip
    monkeypatch.setattr(ray_driver, "run_actors", fail(SystemExit(code)))
    with pytest.raises(SystemExit) as left:
        fit_run.fit(None, group="ray", processes=1)
    assert left.value.code == code


def test_an_actor_that_is_interrupted_leaves_with_that_code(ray):
    ended = []
    end = SimpleNamespace(remote=lambda *about: lambda: ended.append(about))
    actor = Process(0, 2, SimpleNamespace(end=end), 1.0)
    actor._transport._ray.get = lambda get, timeout=None: get()
    assert actor.run(fail(KeyboardInterrupt())) is None
    assert ended == [(130, "", 0)]


@pytest.mark.parametrize("first", [True, False])
def test_only_the_first_process_has_the_result(ray, monkeypatch, tmp_path, first):
    """If it is lost once training has ended, nobody's summary may pass for one."""
    task = SimpleNamespace(_replace=lambda **_: SimpleNamespace(job=lambda: None))
    request = SimpleNamespace(options=SimpleNamespace(output=None))
    monkeypatch.setattr(on_ray, "train", lambda *_: Fitted(0.0, {"rounds": 1}, [], first))
    found = on_ray._fit_on_actor(task, pickle.dumps(None), request, None, False, Serial(), tmp_path, Signals())
    assert (found.code, bool(found.summary), bool(found.fitted)) == (0, first, first)
    if not first:
        with pytest.raises(ProcessLost, match="there is no result"):
            ray_driver._result([found], losses=True)
