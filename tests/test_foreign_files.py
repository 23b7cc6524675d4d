"""What psgd did not write is intact after start, resume, overwrite, refusal, kill and a full disk."""

import os
import random
import subprocess
from pathlib import Path

import pytest
from command import command, refused, train
from processes import Running

from psgd.config.resolve import dump, resolve

# Names like psgd's own, and others that programs and people leave beside them.
NAMES = (
    *("config.yaml.bak", "config.yaml~", ".config.yaml.swp", "config.until-round-1.yaml.old", "metrics.jsonl.gz"),
    *("metrics.before.jsonl", "summary.json.txt", "my-summary.json", "environment.json.partial", "notes.txt"),
    *("model.safetensors.index.json", "best.safetensors", ".partial-1", "events.out.tfevents.1"),
)
CHECKPOINT_NAMES = ("000000001-000000000.bak", "000000001", ".partial-mine", "damaged-by-me", "best", "1-2", "last")
SHORT = ("training.epochs=8", "training.checkpoint_seconds=0", "compile=never", "--quiet")
QUICK = ("training.epochs=1", "compile=never", "--quiet")


class Foreign:
    """Files that somebody else has in the directory of a run, also in its checkpoints."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self._files: dict[Path, bytes] = {}
        self._links: dict[Path, str] = {}

    def add(self, run: Path) -> None:
        for parent, names in ((run, NAMES), (run / "checkpoints", CHECKPOINT_NAMES)):
            for name in self._draw.sample(names, 5):
                kind, path = self._draw.choice(["file", "directory", "link"]), parent / name
                if os.path.lexists(path):
                    continue
                if kind == "link":
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.symlink_to("/nonexistent/somewhere")
                    self._links[path] = "/nonexistent/somewhere"
                else:
                    self._write(path / "a" / "b" if kind == "directory" else path)
        for checkpoint in (run / "checkpoints").glob("0*-*[0-9]"):
            if checkpoint.is_dir() and self._draw.random() < 0.5:
                self._write(checkpoint / "notes.txt")

    def _write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._files[path] = self._draw.randbytes(20)
        path.write_bytes(self._files[path])

    def check(self) -> None:
        for path, content in self._files.items():
            assert path.read_bytes() == content, path
        for path, target in self._links.items():
            assert os.readlink(path) == target, path


def test_foreign_files_are_intact_whatever_happens_to_a_run(tmp_path):
    run, foreign = tmp_path / "run", Foreign(0)
    assert train(*SHORT, "--output", run).code == 0
    foreign.add(run)
    refused(train(*QUICK, "--output", run), 2, "is not empty")
    assert train(*SHORT, "training.epochs=12", "--resume", "--output", run).code == 0
    foreign.check()
    foreign.add(run)
    running = Running([*command(), *SHORT, "training.epochs=3000", "--resume", "--output", str(run)])
    running.wait_until(lambda: not (run / "summary.json").exists())
    running.kill_everything()
    foreign.check()
    foreign.add(run)
    refused(train(*QUICK, "model.hidden=[3]", "--resume", "--output", run), 2, "model.hidden")
    assert train(*QUICK, "training.seed=1", "--overwrite", "--output", run).code == 0
    foreign.check()
    assert train(*QUICK, "training.epochs=2", "--resume", "--output", run).code == 0
    foreign.check()


@pytest.mark.parametrize("content", ["name: something else\n", "", "workers: 4\n", "[1, 2\n", None])
def test_a_directory_of_another_program_is_not_overwritten(tmp_path, content):
    """Whatever its config.yaml says."""
    foreign = Foreign(2)
    foreign.add(tmp_path)
    for path in (tmp_path / "model.safetensors", tmp_path / "checkpoints" / "000000001-000000000" / "checkpoint.json"):
        foreign._write(path)
    if content is not None:
        (tmp_path / "config.yaml").write_text(content)
    refused(train(*QUICK, "--overwrite", "--output", tmp_path), 2, "is not a run of psgd")
    foreign.check()


def test_a_full_disk_costs_no_foreign_file(tmp_path):
    disk, foreign = tmp_path / "disk", Foreign(3)
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "none", str(disk)], capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        foreign.add(disk / "run")
        (disk / "run" / "config.yaml").write_text(dump(resolve(None, []).settings))
        finished = train(*SHORT, "--overwrite", "--output", disk / "run")
        refused(finished, 3, "No space left on device")
        foreign.check()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
