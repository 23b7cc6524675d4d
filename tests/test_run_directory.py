"""The run directory: new, locked, resumed, overwritten; and what psgd did not write stays as it is."""

import json
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from command import SHORT, command, refused, run, train
from processes import Running
from processes import run as run_command
from run_files import read_summary

from psgd.config.resolve import resolve
from psgd.core.errors import DataError, StorageError, UsageError
from psgd.core.replica import Replica
from psgd.jobs.files.locks import unlock
from psgd.jobs.files.run_directory import exact, fresh, latest
from psgd.jobs.files.summary import rounded
from psgd.jobs.request import parse_arguments
from psgd.jobs.run import Run
from psgd.training.checkpoint_files import CheckpointFiles, CheckpointTag

__all__ = ["run"]  # a fixture


def contents(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def test_numbered_directories(tmp_path):
    for number in (1, 2):
        assert train(*SHORT, f"output={tmp_path}/digits").code == 0
        assert (tmp_path / f"digits-00{number}" / "summary.json").exists()
    more = train("--resume", "training.epochs=4", "--quiet", f"output={tmp_path}/digits")
    assert more.code == 0, more
    assert json.loads((tmp_path / "digits-002" / "summary.json").read_text())["epochs"] >= 4
    assert not (tmp_path / "digits-003").exists()


def test_the_end_and_the_beginning_of_output(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert fresh("~/a/b/") == tmp_path / "a" / "b-001" == latest("~/a/b")
    assert parse_arguments(["--output=~/exact"]).output == f"{tmp_path}/exact"
    for nameless in (".", "..", "/", "./", f"{tmp_path}/..", "~/../"):
        with pytest.raises(UsageError, match=r"which ends in no name to append a number to; set it to .*/?run, say"):
            fresh(nameless)
    for arguments in (["--output", ""], ["--resume", "--output="]):
        with pytest.raises(UsageError, match="--output is empty"):
            parse_arguments(arguments)


def test_below_a_link_to_nothing_no_directory_is_made(tmp_path):
    """The link may be to a disk that is not mounted. psgd tried to make a directory there without end."""
    (tmp_path / "runs").symlink_to(tmp_path / "scratch" / "runs")
    refused(
        train("--quiet", f"output={tmp_path}/runs/mine"), 3, f"cannot make the run directory {tmp_path}/runs/mine-001"
    )


def test_the_saved_config_resumes_with_any_group(tmp_path):
    first = train("cluster.processes=2", "training.epochs=2", "--output", tmp_path / "run")
    assert "group: threads (cluster.processes is 2)" in first.stderr
    assert resolve(str(tmp_path / "run" / "config.yaml"), []).settings.group == "auto"
    more = train("--resume", "training.epochs=4", "cluster.processes=null", "--output", tmp_path / "run")
    assert more.code == 0, more
    assert "going on from round" in more.stderr


@pytest.mark.parametrize(
    ("settings", "more", "reason"),
    [
        (["training.epochs=2"], [], "and training.epochs is 2"),
        (["training.epochs=2"], ["training.epochs=1"], "and training.epochs is 1"),
        (["training.target=0.5"], [], "where training.target was reached"),
        (["data.validation=0.1", "training.early_stop.patience=1", "training.early_stop.minimum=0.5"], [],
         "where training.early_stop ended it"),
    ],
)  # fmt: skip
def test_a_run_that_has_ended_says_that_there_is_nothing_to_train(tmp_path, settings, more, reason):
    assert train("group=serial", *settings, "--quiet", "--output", tmp_path).code == 0
    before, summary = contents(tmp_path), read_summary(tmp_path)
    resumed = train("--resume", *more, "--output", tmp_path)
    assert resumed.code == 0, resumed
    assert f"[0] already at epoch {summary['epochs']:.2f}, {reason}: nothing to train\n" in resumed.stderr
    assert "going on" not in resumed.stderr
    assert read_summary(tmp_path) == summary
    assert json.loads(resumed.stdout) == rounded(summary)
    after = contents(tmp_path)
    assert after.keys() == before.keys()
    assert [name for name in ("model.safetensors", "metrics.jsonl") if after[name] != before[name]] == []


def test_a_run_directory_in_use_is_refused(tmp_path):
    running = Running([*command(), "training.epochs=3000", "--quiet", "--output", str(tmp_path / "run")])
    running.wait_until(lambda: (tmp_path / "run" / "metrics.jsonl").exists())
    run = tmp_path / "run"
    refused(train("--resume", "--output", run), 2, "another psgd is at work")
    before = (run / "config.yaml").read_text(), len((run / "metrics.jsonl").read_text())
    refused(train("training.seed=9", "--overwrite", "--output", run), 2, "another psgd is at work")
    assert (run / "config.yaml").read_text() == before[0]
    assert len((run / "metrics.jsonl").read_text()) >= before[1]
    running.kill_everything()


def test_a_directory_in_which_a_run_wrote_nothing_whole_is_empty(tmp_path):
    (tmp_path / ".config.yaml.partial").write_text("data:")  # left by a kill
    assert train("training.epochs=1", "--output", tmp_path).code == 0


@pytest.mark.parametrize("mask", ["022", "007"])
def test_files_have_the_mode_that_the_umask_says(tmp_path, mask):
    line = f"umask {mask}; {' '.join(command())} training.epochs=1 --quiet --output {tmp_path}/run"
    assert run_command(["bash", "-c", line]).code == 0
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o666 & ~int(mask, 8)}
    assert any(path.suffix == ".safetensors" for path in files)


def test_files_are_utf_8_in_any_locale(tmp_path):
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    (tmp_path / "t.csv").write_text("größe,y\n1,0\n2,1\n", "utf-8")
    source = f"data: {{source: csv, path: {tmp_path}/t.csv, target: y, columns: [größe]}}"
    text = f"{source}\ntraining: {{batch_size_per_worker: 1}}\n"
    config = tmp_path / "c.yaml"
    config.write_text(text, "utf-8")
    finished = run_command([*command(), str(config), "--quiet", "--output", str(tmp_path / "run")], **environment)
    assert finished.code == 0, finished
    assert "größe" in (tmp_path / "run" / "config.yaml").read_text("utf-8")
    assert train("--resume", "training.epochs=20", "--output", tmp_path / "run").code == 0


def test_an_existing_output_is_kept(run):
    before = contents(run)
    refused(train(*SHORT, "--output", run), 2, "--resume", "--overwrite")
    refused(train("data.source=mnist", "data.path=/nonexistent", "--overwrite", "--output", run), 3, "/nonexistent")
    assert contents(run) == before


def test_only_a_run_is_overwritten(tmp_path, run):
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter.tex").write_text("years of work")
    refused(train(*SHORT, "--overwrite", "--output", precious), 2, "is not a run of psgd")
    assert (precious / "chapter.tex").read_text() == "years of work"
    copied = tmp_path / "copy"
    shutil.copytree(run, copied)
    (copied / "notes.txt").write_text("keep")
    assert train(*SHORT, "training.seed=1", "--overwrite", "--output", copied).code == 0
    assert (copied / "notes.txt").read_text() == "keep"
    assert contents(copied)["summary.json"] != contents(run)["summary.json"]


def test_an_overwrite_that_was_killed_can_be_called_again(tmp_path, run, monkeypatch):
    """Wherever it was killed: what is left is a run still, or empty."""
    deleted = 0
    while True:
        copied, left = tmp_path / str(deleted), deleted

        def unlink(path: Path, missing_ok: bool = False, original=Path.unlink) -> None:
            nonlocal left
            if not left:
                raise KeyboardInterrupt
            left -= 1
            original(path, missing_ok)

        shutil.copytree(run, copied)
        with monkeypatch.context() as patched:
            patched.setattr(Path, "unlink", unlink)
            try:
                unlock(exact(copied, overwrite=True))
                break
            except KeyboardInterrupt:
                pass
        unlock(exact(copied, overwrite=True))
        assert not list(copied.iterdir())
        deleted += 1
    assert deleted > 8


@pytest.mark.parametrize("how", ["removed", "moved"])
def test_a_run_directory_that_is_gone_is_not_made_again(tmp_path, how):
    """A directory with checkpoints and a summary, but without a config, could not be resumed."""
    files, tag = CheckpointFiles(tmp_path / "other host"), CheckpointTag(1, 0)
    files.write_replica(tag, Replica(np.zeros((1, 3))))  # made where it was not there before, as on another host
    run = tmp_path / "run"
    run.mkdir()
    files = CheckpointFiles(run)
    files.write_replica(tag, Replica(np.zeros((1, 3))))
    shutil.rmtree(run) if how == "removed" else run.rename(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match=r"cannot write the checkpoint .*: No such file or directory"):
        files.write_replica(CheckpointTag(2, 0), Replica(np.zeros((1, 3))))
    assert not run.exists()


def test_a_run_whose_directory_another_has_taken_ends_and_leaves_that_one_as_it_is(tmp_path):
    directory = tmp_path / "run"
    first = Running([*command(), "training.epochs=1e4", "--quiet", "--output", str(directory)])
    first.wait_until((directory / "metrics.jsonl").exists)
    first.process.send_signal(signal.SIGSTOP)
    directory.rename(tmp_path / "moved")
    assert train(*SHORT, "--output", directory).code == 0
    second = contents(directory)
    first.process.send_signal(signal.SIGCONT)
    refused(first.finish(), 3, f"the run directory {directory} was removed, moved or replaced while this run was at")
    assert contents(directory) == second


def test_resuming_without_a_run_is_refused(tmp_path):
    refused(train("--resume", f"output={tmp_path}/digits"), 2, "nothing to resume")
    refused(train("--resume", "--output", tmp_path / "none"), 2, "there is no run to resume")


def test_with_a_config_a_run_that_is_not_there_yet_is_begun(tmp_path):
    again = ("digits", "training.epochs=2", "--resume", "--output", tmp_path / "run")
    assert "there is no checkpoint here yet: starting from the beginning" in train(*again).stderr
    summary = (tmp_path / "run" / "summary.json").read_text()
    second = train(*again)
    assert (second.code, "nothing to train" in second.stderr) == (0, True), second
    assert json.loads(summary)["parameters_sha256"] == json.loads(second.stdout)["parameters_sha256"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    refused(train("digits", "--resume", "--output", tmp_path / "other"), 2, "there is no run to resume")


def test_an_output_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    refused(train(*SHORT, "--output", tmp_path / "file" / "run"), 3, "cannot use")
    refused(train(*SHORT, f"output={tmp_path}/file/run"), 3, "cannot make the run directory")
    refused(train(*SHORT, "--output", tmp_path / "file"), 2, "is a file")
    (tmp_path / "link").symlink_to("gone")
    refused(train(*SHORT, "--output", tmp_path / "link"), 2, "link is a link to gone, which does not exist")


@pytest.mark.parametrize("group", ["serial", "threads"])
def test_a_full_disk_leaves_earlier_checkpoints_whole(tmp_path, group):
    """On a file system of 96 kB, where the checkpoint does not fit."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "none", str(disk)], capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        finished = train(f"group={group}", "training.checkpoint_seconds=0", "--quiet", "--output", disk / "run")
        refused(finished, 3, "No space left on device")
        for checkpoint in (disk / "run" / "checkpoints").iterdir():  # nothing half-written stays and fills the disk
            assert (checkpoint / "checkpoint.json").exists()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_an_override_may_be_longer_than_the_name_of_a_file(tmp_path):
    """The first argument may be a config, so psgd looks for a file of that name."""
    speeds = f"cluster.speeds={[1, *[0.25] * 99]}"
    assert len(speeds) > 255
    finished = train(speeds, "workers=100", "training.epochs=0.1", "strategy.period=1", "--output", tmp_path / "run")
    assert finished.code == 0, finished
    with pytest.raises(DataError, match="there is no such directory"):
        Run("x" * 300)
