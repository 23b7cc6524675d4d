"""Ray actors keep the contract of groups, give the bits of serial, and end together when one fails."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from contract import hashes
from fit_results import metrics
from local_ray import CONFIG, local_ray
from processes import LIMIT, Running, descendants, listening
from ray_contract import Seen, see
from ray_faults import (
    dying,
    dying_before_training,
    failing_between_exchanges,
    failing_in_its_work,
    failing_to_read,
    stopping_the_control_plane,
)
from run_files import read_summary

import psgd
from psgd.core.errors import Diverged
from psgd.group.ray import actors as ray_actors
from psgd.group.ray import control_plane
from psgd.group.ray.actors import run_actors
from psgd.group.serial import Serial
from psgd.jobs.launch import ray as ray_driver
from psgd.jobs.launch.command import main

if find_spec("ray") is None:
    pytest.skip("ray is not installed: pip install ray", allow_module_level=True)
pytestmark = pytest.mark.timeout(240, method="thread")

TESTS = Path(__file__).resolve().parent
SCRIPT = TESTS.parent / "launch" / "ray_train.py"
SOON = 90.0  # seconds; less than the patience and than GRACE_SECONDS as set here, which would end a job that hangs


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with local_ray(cpus=3) as address:
        yield address


def actors(processes: int, main: Any) -> list[Any]:
    return run_actors(processes, 100.0, ray_driver._variables(), main)


def config(directory: Path) -> str:
    path = directory / "config.yaml"
    path.write_text(json.dumps(CONFIG))
    return str(path)


@pytest.fixture(scope="module")
def three_actors(cluster: str) -> list[Seen]:
    """Three actors of a driver that allows BLAS two threads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "2")
        return actors(3, see)


def test_three_actors_keep_the_contract_and_give_the_bits_of_serial(three_actors):
    assert [seen.hashes for seen in three_actors] == [hashes(Serial, (4,))] * 3


def test_vectors_come_from_their_owners_and_empty_ones_are_not_sent(three_actors):
    expected = [float(x) for turn in range(3) for x in (10 * turn + 1, 10 * turn + 1, 10 * turn + 2, 10 * turn + 2)]
    assert [seen.vectors for seen in three_actors] == [expected] * 3


def test_actors_have_one_blas_thread_whatever_the_driver_has(three_actors):
    assert [seen.thread_limits for seen in three_actors] == [dict.fromkeys(ray_driver.VARIABLES, "1")] * 3


def gathering(end: Path, transport: Any) -> None:
    """Exchange rows until there is a file `end`."""
    while not any(row == b"1" for row in transport.all_gather(b"%d" % end.exists())):
        time.sleep(0.02)


def test_exchanges_are_not_recorded_by_the_control_plane(cluster, tmp_path):
    import ray

    end, names, limit = tmp_path / "end", set(), time.monotonic() + SOON
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(actors, 2, partial(gathering, end))
        while "location" not in names and time.monotonic() < limit and not job.done():  # a call of the actors
            time.sleep(0.1)
            names = {event["name"] for event in ray.timeline()}  # of each process, what it sends every second
        time.sleep(1.5)  # until the coordinator has sent its own
        names |= {event["name"] for event in ray.timeline()}
        end.touch()
        job.result()
    assert "location" in names
    assert "all_gather" not in names


def test_the_script_on_a_running_cluster_gives_the_bits_of_serial(cluster, tmp_path, capsys):
    here = [config(tmp_path), "cluster.speeds=[1, 1, 0.5, 0.25]", "training.epochs=1", "--output"]
    done = subprocess.run(
        [str(SCRIPT), *here, str(tmp_path / "ray"), "--address", cluster],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["group"], found["processes"], found["hosts"]) == ("ray", 2, 1)
    assert done.stderr.count("4 workers on 2 Ray actors") == 1
    assert all(line.startswith("[0] ") for line in done.stderr.splitlines()), done.stderr
    assert main([*here, str(tmp_path / "serial"), "--quiet", "group=serial", "cluster.processes=null"]) == 0
    serial = json.loads(capsys.readouterr().out)
    assert found["parameters_sha256"] == serial["parameters_sha256"]
    assert found["worker_steps"] == serial["worker_steps"]


def test_a_local_ray_listens_on_loopback_only_survives_a_kill_and_ctrl_c_saves_a_checkpoint(tmp_path):
    """Ctrl-C is sent to the whole process group, as by a terminal. What Ray says of the killed actor does not reach
    standard output."""
    command = [sys.executable, str(SCRIPT), config(tmp_path), "--output", str(tmp_path / "run")]
    running = Running([*command, "training.epochs=1e6", "--address", "local"])
    driver = running.process.pid
    running.wait_for("4 workers on 2 Ray actors")
    children = descendants(driver)
    addresses = listening([driver, *children])
    one, another = [child for child, name in children.items() if name.startswith("ray::Process")]
    os.kill(max(one, another), signal.SIGKILL)
    running.wait_for("was lost; 1 process goes on\n")
    os.killpg(driver, signal.SIGINT)
    finished = running.finish()
    assert finished.code == 130, finished
    assert len(addresses) > 4  # the driver, the control plane, the raylet, and each actor
    assert set(addresses) <= {"0100007F", "0000000000000000FFFF00000100007F"}
    assert finished.stderr.rstrip().endswith(f"stopped by signal 2; continue with --resume --output {tmp_path / 'run'}")
    summary = json.loads(finished.stdout)
    assert (summary["status"], summary["processes"]) == ("stopped", 1)
    assert list((tmp_path / "run" / "checkpoints").glob("*-*"))


def train_by(
    cluster: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, act: Any, *overrides: str
) -> tuple[int, float]:
    """Run psgd.train with `act` on each actor; return its exit code and its seconds."""
    monkeypatch.setattr(ray_driver, "_run_on_actor", act)
    monkeypatch.setattr(ray_actors, "GRACE_SECONDS", 110.0)
    began = time.monotonic()
    code = main([config(tmp_path), *overrides, "group=ray", "--output", str(tmp_path / "run")])
    return code, time.monotonic() - began


@pytest.mark.parametrize("act", [failing_in_its_work, failing_between_exchanges])
def test_an_exception_ends_all_actors_with_one_traceback(cluster, monkeypatch, tmp_path, capsys, act):
    code, seconds = train_by(cluster, monkeypatch, tmp_path, act)
    err = capsys.readouterr().err
    assert code == 1, err
    assert seconds < SOON
    assert err.count("Traceback") == 1, err
    assert err.rstrip().endswith("ZeroDivisionError: on purpose")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> psgd.Run:
    directory = tmp_path_factory.mktemp("undisturbed") / "run"
    return psgd.train(CONFIG, output=directory, group="serial", cluster={"processes": None}, progress=False)


@pytest.mark.parametrize(
    "deaths",
    [
        # The first process, which writes the files; and the next one, before all know that training has ended.
        {0: ("all_gather", 20), 1: ("confirm_end", 0)},
        # One before the others fetch its vector, and another one while they recover.
        {1: ("_vectors", 4), 2: ("recover", 0)},
    ],
    ids=["first and at the end", "in a combination and a recovery"],
)
def test_survivors_end_with_the_bits_of_serial(cluster, monkeypatch, tmp_path, capsys, undisturbed, deaths):
    code, seconds = train_by(cluster, monkeypatch, tmp_path, partial(dying, deaths), "cluster.processes=3")
    err = capsys.readouterr().err
    assert code == 0, err
    assert seconds < SOON
    found, left = read_summary(tmp_path / "run"), 3 - len(deaths)
    assert found["processes"] == left
    for name in ("parameters_sha256", "worker_steps", "test_loss", "rounds", "examples"):
        assert found[name] == undisturbed.summary[name], name
    assert metrics(tmp_path / "run") == metrics(undisturbed.directory), "also lines that a lost one had not written"
    for process in deaths:
        assert re.search(rf"psgd: warning: process {process} \(pid \d+ on .*\) was lost: it or its host died", err)
    assert f"lost; {left} process{'es go' if left > 1 else ' goes'} on" in err
    assert "Traceback" not in err


def test_when_none_is_left_the_run_is_to_be_resumed(cluster, monkeypatch, tmp_path, capsys):
    dead = partial(dying, {0: ("all_gather", 20)})
    assert train_by(cluster, monkeypatch, tmp_path, dead, "cluster.processes=1")[0] == 5
    err = capsys.readouterr().err
    assert err.endswith("psgd: there is no result, since processes were lost; continue with --resume\n"), err


def test_a_loss_before_training_ends_the_job(cluster, monkeypatch, tmp_path, capsys):
    code, seconds = train_by(cluster, monkeypatch, tmp_path, dying_before_training)
    err = capsys.readouterr().err
    assert code == 5, err
    assert seconds < SOON
    assert "psgd: warning: process 0 (pid " in err
    assert err.endswith("psgd: there is no result, since processes were lost; continue with --resume\n"), err


def test_a_stopped_control_plane_ends_the_job(cluster, monkeypatch, tmp_path, capsys):
    """The actors are told to end. As the test keeps its connection, it must not end with them."""
    (gcs,) = [process for process, name in descendants(os.getpid()).items() if name == "gcs_server"]
    variables = ray_driver._variables() | {"GCS": str(gcs)}
    monkeypatch.setattr(ray_driver, "_variables", lambda: variables)
    monkeypatch.setattr(control_plane, "LONGEST_SILENCE", 2.0)
    monkeypatch.setattr(control_plane, "end_process", lambda reason: None)
    try:
        code, seconds = train_by(
            cluster, monkeypatch, tmp_path, stopping_the_control_plane, "training.epochs=1e6", "strategy.period=50"
        )
    finally:
        os.kill(gcs, signal.SIGCONT)
    last = capsys.readouterr().err.rstrip().splitlines()[-1]
    assert code == 5, last
    assert seconds < SOON
    assert last.startswith("psgd: Ray's control plane (gcs_server, on the head node) has not answered for 2 s")
    assert last.endswith("start the cluster again and continue with --resume")


def test_data_that_one_actor_cannot_read_end_the_job(cluster, monkeypatch, tmp_path, capsys):
    code, seconds = train_by(cluster, monkeypatch, tmp_path, failing_to_read)
    assert code == 2
    assert seconds < SOON
    assert capsys.readouterr().err.splitlines()[-1] == "[1] psgd: no such data here"


def test_more_processes_than_cpus_are_refused_at_once(cluster, tmp_path, capsys):
    assert main([config(tmp_path), "group=ray", "cluster.processes=9", "--output", str(tmp_path / "run")]) == 2
    assert "cluster.processes is 9, but Ray has 3 CPUs" in capsys.readouterr().err


def test_psgd_train_stops_early_with_the_bits_of_serial_and_raises_errors(cluster, tmp_path):
    early = {**CONFIG["training"], "epochs": 30, "early_stop": {"patience": 2}}
    early = {"training": early, "optimizer": {"learning_rate": 0.03}}
    given = {**CONFIG, **early, "cluster": {"patience": 100}}
    alone = psgd.train(given, output=tmp_path / "alone", group="serial", progress=False)
    there = psgd.train(CONFIG, **early, output=tmp_path / "there", group="ray", progress=False)
    assert (there.summary["group"], there.summary["processes"]) == ("ray", 2)
    assert there.summary["status"] == "stopped-early"
    for key in ("status", "rounds", "best_round", "best_epoch", "validation_accuracy", "parameters_sha256"):
        assert there.summary[key] == alone.summary[key], key
    with pytest.raises(Diverged, match="worker 0, round 0"):
        psgd.train(
            CONFIG,
            output=tmp_path / "far",
            group="ray",
            progress=False,
            cluster={"processes": 1},
            optimizer={"name": "sgd", "learning_rate": 1e30},
        )
    one = {"cluster": {"processes": 1}}
    again = psgd.train(output=tmp_path / "there", resume=True, group="ray", progress=False, **one)
    assert again.parameters_sha256 == alone.parameters_sha256
