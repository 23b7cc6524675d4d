"""gpu_check on a pretended GPU, how it tells of stages that fail, crash or do not end, and bench_gpu's side of psgd."""

import importlib
import json
import shutil
import signal
import sys

import pytest
from pretend.marks import needs_compiler
from processes import LIMIT, ROOT, python, run

SCRIPTS = ROOT / "scripts"


@pytest.fixture
def gpu_check(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("gpu_check")


def stage(gpu_check, body: str, limit: float = LIMIT) -> dict:
    """How a stage ends that does this, with `record`."""
    begin = "import sys; from pathlib import Path; from gpu_check_stage import Record; "
    program = begin + "record = Record(Path(sys.argv[2]), True); record.at('its start')\n" + body
    return gpu_check.run_stage([sys.executable, "-c", program], limit)


@needs_compiler
@pytest.mark.timeout(650)  # more than its stages may take together
def test_every_stage_passes_on_a_pretended_gpu(gpu_check, tmp_path):
    if gpu_check.launcher() is None:
        pytest.skip("no mpirun here: scripts/test makes an environment for each MPI")
    file = tmp_path / "results.json"
    finished = run([str(SCRIPTS / "gpu_check"), "--pretend", "--results", str(file)], 600.0, PYTHON=sys.executable)
    assert finished.code == 0, finished.stdout
    results = json.loads(file.read_text())
    assert [each["stage"] for each in results["stages"]] == list(gpu_check.STAGES)
    for each in results["stages"]:
        assert each["status"] == "passed", each
        assert any(row["ok"] for row in each["rows"]), each
        assert gpu_check.line(each) in finished.stdout


def test_a_stage_that_fails_names_its_check(gpu_check):
    body = "record.check('one', ok=True); record.within('two', float('nan'), 1e-4); sys.exit(record.failed)"
    found = stage(gpu_check, body)
    assert (found["status"], found["why"]) == ("failed", "two")
    assert [row["ok"] for row in found["rows"]] == [True, False]
    text = gpu_check.report([{"stage": "gemm", **found}])
    assert "gemm       two: nan (wanted: <= 0.0001)" in text
    assert "1 of 2 checks" in text


def test_a_stage_that_crashes_keeps_what_it_found(gpu_check):
    found = stage(gpu_check, "record.check('one', ok=True); record.at('the second'); import os; os.abort()")
    assert (found["status"], found["why"]) == ("crashed", f"{signal.SIGABRT.name} in: the second")
    assert [row["what"] for row in found["rows"]] == ["one"]
    assert any("abort" in line.lower() for line in found["output"])


def test_a_stage_that_does_not_end_is_killed_with_its_processes(gpu_check, tmp_path):
    """The process that it started holds a lock, until it is gone."""
    lock = tmp_path / "lock"
    child = f"import fcntl, time; f = open({str(lock)!r}, 'w'); fcntl.flock(f, 2); print(flush=True); time.sleep(600)"
    body = (
        "import subprocess, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE)\n"
        "child.stdout.readline(); record.at('a long sleep'); time.sleep(600)"
    )
    found = stage(gpu_check, body, limit=3.0)
    assert (found["status"], found["why"]) == ("timed out", "after 3 s, in: a long sleep")
    waiting = f"import fcntl; fcntl.flock(open({str(lock)!r}, 'w'), 2)"
    assert python("-c", waiting).code == 0


def test_a_stage_that_does_nothing_has_not_passed(gpu_check):
    assert stage(gpu_check, "print('but why')")["why"] == "but why"
    assert stage(gpu_check, "")["status"] == "failed"
    assert stage(gpu_check, "record.skip('no such thing here')")["why"] == "no such thing here"


def test_results_are_written_after_each_stage_and_nothing_runs_without_a_device(gpu_check, tmp_path, monkeypatch):
    file, seen, what = tmp_path / "results.json", [], "it"

    def run_stage(command, limit):
        seen.append((command[2], [each["stage"] for each in json.loads(file.read_text())["stages"]] if seen else []))
        rows = [{"what": what, "ok": True, "value": "", "wanted": ""}]
        return {"status": "passed" if len(seen) == 1 else "failed", "why": "", "seconds": 1.0, "limit": 1, "rows": rows}

    monkeypatch.setattr(gpu_check, "run_stage", run_stage)
    done = gpu_check.run_all(["gemm", "device", "parity"], False, file, 100.0)
    assert seen == [("gemm", []), ("device", ["gemm"])]
    assert [each["status"] for each in done] == ["passed", "failed", "left out"]
    assert json.loads(file.read_text())["stages"] == done
    assert [each["status"] for each in gpu_check.run_all(["gemm"], False, file, 0.5)] == ["left out"]
    what = "device"  # it was opened before something failed
    done = gpu_check.run_all(["device", "parity"], False, file, 100.0)
    assert [each["status"] for each in done] == ["failed", "failed"]


def test_what_is_missing_is_named_with_how_to_carry_it(gpu_check, monkeypatch, capsys):
    monkeypatch.setattr(gpu_check, "find_spec", lambda name: None if name in ("pydantic_core", "cupy") else name)
    monkeypatch.setattr(gpu_check, "launcher", lambda: None)
    monkeypatch.setattr(sys, "argv", ["gpu_check"])
    assert gpu_check.main() == 2
    said = capsys.readouterr().err
    assert "missing here: pydantic-core, mpich, cupy-cuda13x\n" in said
    assert "pip install --no-index --find-links wheels pydantic-core mpich cupy-cuda13x\n" in said
    monkeypatch.setattr(sys, "argv", ["gpu_check", "--stages", "gemm,nothing"])
    with pytest.raises(SystemExit):
        gpu_check.main()
    assert "no stage nothing; there are device, kernels" in capsys.readouterr().err


@needs_compiler
def test_a_wrong_step_does_not_pass(tmp_path):
    """A copy of psgd whose pass back forgets the derivatives of hidden activations."""
    for part in ("psgd", "scripts"):
        shutil.copytree(ROOT / part, tmp_path / part)
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    step = tmp_path / "psgd" / "backends" / "cuda" / "network_step.py"
    right = "if (kind := self._kinds[layer - 1])"
    text = step.read_text()
    assert right in text
    step.write_text(text.replace(right, "if layer < 0 and (kind := self._kinds[layer - 1])"))
    file = tmp_path / "results.json"
    command = [str(tmp_path / "scripts" / "gpu_check"), "--pretend", "--stages", "gemm,parity", "--results", str(file)]
    finished = run(command, 50.0, PYTHON=sys.executable)
    assert finished.code == 1
    gemm, parity = json.loads(file.read_text())["stages"]
    assert (gemm["status"], parity["status"]) == ("passed", "failed")
    assert "network E, adam, float64, 2 workers, 6 steps" in [row["what"] for row in parity["rows"] if not row["ok"]]


@needs_compiler
def test_bench_gpu_measures_psgd_on_a_pretended_gpu_and_leaves_out_who_is_missing():
    finished = python("scripts/bench_gpu.py", "--pretend", "--steps", "2", "--networks", "E", "--json")
    assert finished.code == 0, finished
    (row,) = json.loads(finished.stdout)["rows"]
    assert row["network"] == "E"
    assert list(row["microseconds"]) == ["psgd", "psgd, 8 workers"]
    assert min(row["microseconds"].values()) > 0


def test_rivals_that_are_not_installed_or_see_no_gpu_say_so(gpu_check, monkeypatch):
    del gpu_check
    rivals = importlib.import_module("rivals_gpu")
    monkeypatch.setattr(rivals, "find_spec", lambda name: None)
    assert rivals.unusable("JAX") == "JAX is not installed"
    assert rivals.unusable("PyTorch graph") == "PyTorch is not installed"
    bench = importlib.import_module("bench_gpu")
    ours = {"loss": 1.0, "moved": 2.0}
    assert bench.disagrees({"loss": 1.0005, "moved": 2.01}, ours) == ""
    assert bench.disagrees({"loss": float("nan"), "moved": 2.0}, ours) == "its loss is nan, psgd's 1"
    assert bench.disagrees({"error": "no memory"}, ours) == "no memory"
    found = rivals.in_lines('a warning\n{"E": {"loss": 1.0}}\n{"C": {"lo', ["E", "C"], "not done within 45 s")
    assert found == {"E": {"loss": 1.0}, "C": {"error": "not done within 45 s"}}


def test_figures_of_rivals_stand_beside_psgds_or_are_left_out(gpu_check):
    """A share of what psgd takes, if the results are the same."""
    del gpu_check
    bench = importlib.import_module("bench_gpu")
    same = {"loss": 1.0, "moved": 2.0}
    ours = {
        "A": {**same, "microseconds": {"psgd": 100.0, "psgd, 8 workers": 400.0}, "combination": 500.0},
        "C": {**same, "microseconds": {"psgd": 50.0, bench.WHOLE: 10.0, f"{bench.WHOLE}, 8 workers": 20.0}},
    }
    torch = {"A": {**same, "microseconds": 250.0}, "C": {**same, "microseconds": 60.0}}
    jax = {"A": {**same, "moved": 2.1, "microseconds": 1.0}, "C": {"error": "no memory"}}
    found = bench.results("a GPU", {}, ours, {"PyTorch graph": torch, "JAX": jax}, ["PyTorch: not installed"])
    assert found["left out"] == [
        "PyTorch: not installed",
        "JAX on network A: its moved is 2.1, psgd's 2",
        "JAX on network C: no memory",
    ]
    goals = [(goal["what"], goal["value"], goal["met"]) for row in found["rows"] for goal in row["goals"]]
    assert goals == [
        ("PyTorch graph / psgd", "2.50", True),
        ("50 steps of 8 workers / a combination", "40.00", True),
        ("PyTorch graph / psgd", "1.20", False),
        (f"PyTorch graph / {bench.WHOLE}", "6.00", True),
        (f"{bench.WHOLE}: one worker / 8 workers", "0.50", False),
    ]
    assert "| psgd | psgd, 8 workers | PyTorch graph | psgd, whole | psgd, whole, 8 workers |" in bench.as_text(found)
