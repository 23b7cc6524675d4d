"""Check workers on GPUs on this machine, in stages, correctness first: at most ten minutes in all.

    scripts/gpu_check [--stages NAME,...] [--pretend] [--results FILE] [--seconds N]

Each stage is a process of its own with a time limit. What is known is written to FILE after each of them, so that a run
that is cut off has told all it knew; a table comes last. The exit code is 1 if a check failed, 2 if something is
missing here. Speeds are compared with what psgd is to reach, and do not fail.

--pretend runs the checks of correctness in small on a pretended GPU, which is this machine's CPU (it needs g++), and
two steps of the smallest network in place of benchmarks: it shows that the checks themselves run.

A machine with a GPU may have no network. Then carry wheels of what it lacks (--needs lists them with the commands) and
a checkout of psgd, which is used where it lies. MNIST is read from $PSGD_DATA/mnist; without it, random images of its
shape stand for it, and the table says so.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
TOTAL_SECONDS = 570  # for all stages
PRETENDED_TIMES = 3  # as long is given to a stage on a pretended GPU, which is a CPU that others may use too
OUTPUT_LINES = 40  # of a stage's own words, in the results


class Stage(NamedTuple):
    seconds: int  # limit
    what: str


STAGES = {
    "device": Stage(60, "versions, memory, and all kernels compiled: registers, spills"),
    "kernels": Stage(90, "each kernel against numpy on outputs that hold something else before; bits where promised"),
    "steps": Stage(
        60, "steps of small networks: every rule, loss, output and penalty; combinations, scores: against the CPU's"
    ),
    "whole": Stage(60, "small networks whole in one launch, in clusters of 1, 4 and 8 blocks"),
    "gemm": Stage(60, "products in all forms against float64; the error of TF32"),
    "capture": Stage(60, "graphs have the bits of what was captured; 1,000 replays, memory steady, one wait a segment"),
    "parity": Stage(150, "networks A-E, three rules, 1 and 8 workers: 50 steps, against numpy; TF32"),
    "wide": Stage(150, "784-4096-4096-10, batches of 4096, the same: a few steps"),
    "loop": Stage(60, "all strategies through the real loop: unequal steps, resumed, excluded, mixed with the CPU"),
    "staged": Stage(60, "2 and 4 processes on this GPU, all with it and every second one: no replica drifts"),
    "ipc": Stage(60, "2 and 4 processes combine in each other's memory: the bits of a combination on the host"),
    "bench": Stage(220, "psgd beside PyTorch and JAX (bench_gpu.py --short)"),
    "mnist": Stage(60, "network B, ten epochs, through the command: batches of 100 and 1000"),
    "sanitizer": Stage(180, "compute-sanitizer on small jobs: memcheck, racecheck, synccheck"),
}

# Module: distribution. What psgd, the checks and a bare machine with CUDA 13 need; MPI's launcher is asked for beside.
MODULES = {
    **{name: name for name in ("numpy", "scipy", "packaging", "safetensors", "rich", "threadpoolctl", "pytest")},
    "pydantic": "pydantic",
    "pydantic_core": "pydantic-core",
    "annotated_types": "annotated-types",
    "typing_inspection": "typing-inspection",
    "typing_extensions": "typing-extensions",
    "yaml": "pyyaml",
    "mpi4py": "mpi4py",
    "pluggy": "pluggy",
    "iniconfig": "iniconfig",
    "pygments": "pygments",
    "markdown_it": "markdown-it-py",
    "mdurl": "mdurl",
}
PLATFORMS = [f"manylinux_2_{glibc}_x86_64" for glibc in (28, 17, 12, 5)] + ["manylinux2014_x86_64"]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="gpu_check",
        description=__doc__,
        epilog="stages:\n" + "\n".join(f"  {name:10} {stage.what}" for name, stage in STAGES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--stages", metavar="NAME,...", default=",".join(STAGES), help="those to run; all if not given")
    parser.add_argument("--pretend", action="store_true", help="on the CPU, in small")
    parser.add_argument("--results", type=Path, default=Path("gpu_check.json"), help="gpu_check.json if not given")
    parser.add_argument("--seconds", type=float, default=TOTAL_SECONDS, help="for all; %(default)s if not given")
    parser.add_argument("--needs", action="store_true", help="print what to carry to a machine without a network, end")
    options = parser.parse_args()
    if options.needs:
        print(to_carry([*MODULES.values(), "mpich", "cupy-cuda13x"]))
        return 0
    names = options.stages.split(",")
    if unknown := [name for name in names if name not in STAGES]:
        parser.error(f"no stage {', '.join(unknown)}; there are {', '.join(STAGES)}")
    if missing := lacking(options.pretend):
        print(f"gpu_check: missing here: {', '.join(missing)}\n{to_carry(missing)}", file=sys.stderr)
        return 2
    done = run_all(names, options.pretend, options.results, options.seconds)
    print(report(done))
    print(f"\n{options.results} has all of it.")
    return int(any(stage["status"] not in ("passed", "skipped") for stage in done))


def lacking(pretend: bool) -> list[str]:
    """The distributions that are missing here."""
    missing = [distribution for module, distribution in MODULES.items() if find_spec(module) is None]
    if launcher() is None:
        missing.append("mpich")
    if pretend:
        return missing if shutil.which("g++") else [*missing, "g++ (a compiler, not a wheel)"]
    return missing if find_spec("cupy") else [*missing, "cupy-cuda13x"]


def launcher() -> str | None:
    """MPI's: beside this Python, or on the path."""
    beside = Path(sys.executable).parent / "mpirun"
    return str(beside) if beside.exists() else shutil.which("mpirun")


def to_carry(distributions: Iterable[str]) -> str:
    """What to do on a machine with a network, and on this one."""
    names = " ".join(name for name in distributions if " " not in name)
    platforms = " ".join(f"--platform {name}" for name in PLATFORMS)
    return (
        "On a machine with a network:\n"
        f"  pip download --only-binary=:all: --python-version 3.12 --implementation cp {platforms} -d wheels {names}\n"
        "On this one, into the environment of this Python, since MPI's libraries must lie beside it:\n"
        f"  python3 -m pip install --no-index --find-links wheels {names}\n"
        "and carry MNIST's four IDX files: PSGD_DATA=FOLDER, with the files in FOLDER/mnist."
    )


def run_all(names: Sequence[str], pretend: bool, results: Path, seconds: float) -> list[dict[str, Any]]:
    """Run the stages, and rewrite the results after each. Without a device, the rest is left out."""
    began, done = time.monotonic(), list[dict[str, Any]]()
    for name in names:
        limit = min(STAGES[name].seconds * (PRETENDED_TIMES if pretend else 1), seconds - (time.monotonic() - began))
        if limit < 1:
            stage = {"status": "left out", "why": f"the {seconds:.0f} seconds for all stages were over", "rows": []}
        elif any(each["stage"] == "device" and not opened(each) for each in done):
            stage = {"status": "left out", "why": "no device could be opened", "rows": []}
        else:
            command = [sys.executable, str(ROOT / "scripts" / "gpu_check_stage.py"), name, *["--pretend"] * pretend]
            stage = run_stage(command, limit)
        done.append({"stage": name, **stage})
        write(results, {"pretend": pretend, "commit": commit(), "python": platform.python_version(), "stages": done})
        print(f"gpu_check: {line(done[-1])}", file=sys.stderr, flush=True)
    return done


def opened(stage: dict[str, Any]) -> bool:
    """Whether the stage `device` got a device: what is wrong with it otherwise need not spoil the other stages."""
    return any(row["what"] == "device" for row in stage["rows"])


def run_stage(command: Sequence[str], limit: float) -> dict[str, Any]:
    """Run a stage, which is told the file to write its rows to as `--rows FILE`, and say how it ended.

    `status`: passed, failed, skipped, timed out, or crashed, with `why` for all but the first."""
    with tempfile.TemporaryDirectory() as folder:
        rows, said = Path(folder, "rows.json"), Path(folder, "output")
        began = time.monotonic()
        with said.open("wb") as output:  # not a pipe: what outlives the stage would keep that open
            process = subprocess.Popen(
                [*command, "--rows", str(rows)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment(),
            )
            try:
                code: int | None = process.wait(limit)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                end(process)
        written = json.loads(rows.read_text()) if rows.exists() else {"rows": []}
        tail = said.read_text(errors="replace").splitlines()[-OUTPUT_LINES:]
    found = written["rows"]
    if code is None:
        status, why = "timed out", f"after {limit:.0f} s, in: {written.get('at', 'its start')}"
    elif code < 0:
        status, why = "crashed", f"{signal.Signals(-code).name} in: {written.get('at', 'its start')}"
    elif "skipped" in written:
        status, why = "skipped", written["skipped"]
    elif code or not found:
        wrong = [row["what"] for row in found if row["ok"] is False]
        status, why = "failed", "; ".join(wrong) or next((text for text in reversed(tail) if text.strip()), "no output")
    else:
        status, why = "passed", ""
    stage = {"status": status, "why": why, "seconds": round(time.monotonic() - began, 1), "limit": round(limit)}
    return {**stage, "rows": found, "output": [] if status == "passed" else tail}


def environment() -> dict[str, str]:
    """Return the variables of the stages: they find this checkout's psgd, its tests and the MPI beside this Python, and
    cuBLAS may not emulate float32, or round it to TF32 where psgd does not."""
    rounding = ("CUBLAS_EMULATE", "NVIDIA_TF32_OVERRIDE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(rounding)}
    paths = [str(ROOT), str(ROOT / "tests"), str(ROOT / "scripts"), kept.get("PYTHONPATH", "")]
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    if mpirun := launcher():
        beside = str(Path(mpirun).parent.parent / "lib")
        kept["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, [kept.get("LD_LIBRARY_PATH", ""), beside]))
    kept["PYTHONFAULTHANDLER"] = "1"
    # Open MPI may run as root, and with more processes than cores.
    kept |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return kept | {"PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe"}


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a stage."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def write(file: Path, results: dict[str, Any]) -> None:
    unfinished = file.with_name(f"{file.name}.new")
    unfinished.write_text(json.dumps(results, indent=1) + "\n")
    unfinished.replace(file)


def commit() -> str:
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def line(stage: dict[str, Any]) -> str:
    """One line on a stage."""
    rows = [row for row in stage["rows"] if row["ok"] is not None]
    counted = f"{sum(row['ok'] for row in rows)} of {len(rows)} checks" if rows else ""
    missed = sum(row.get("met") is False for row in stage["rows"])
    parts = [counted, *[f"{missed} speeds missed"] * (missed > 0), stage["why"][:200]]
    took = f"{stage['seconds']:.1f} s" if "seconds" in stage else ""
    return f"{stage['stage']:10} {stage['status']:9} {took:>8}  {', '.join(filter(None, parts))}"


def report(done: Sequence[dict[str, Any]]) -> str:
    """The table: a line a stage, below them what failed and all figures."""
    lines = [line(stage) for stage in done]
    for title, failed in (("Failed", True), ("Figures", False)):
        rows = [(stage["stage"], row) for stage in done for row in stage["rows"] if (row["ok"] is False) == failed]
        lines += ["", f"{title}:"] * bool(rows)
        for stage, row in rows:
            missed = "" if row.get("met", True) else ", MISSED"
            wanted = f" (wanted: {row['wanted']}{missed})" if row["wanted"] else ""
            lines.append(f"  {stage:10} {row['what']}: {row['value'] or ('no' if failed else 'yes')}{wanted}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
