"""Damage of a checkpoint is noticed; training goes on from the checkpoint before it and ends with the same bits."""

import json
import os
import shutil

import pytest
from jobs import job, strategies, train
from short_segments import three_steps
from unprivileged import unprivileged

from psgd.core.errors import StorageError
from psgd.group.serial import Serial
from psgd.group.threads import run_threads
from psgd.training import checkpoint_files
from psgd.training.checkpoint_files import CheckpointFiles, Damaged

pytestmark = pytest.mark.usefixtures("three_steps")

__all__ = ["three_steps", "unprivileged"]  # fixtures
WORKERS = 4


def one_job():
    return job(strategies(WORKERS)["parameter-averaging, adam kept"], WORKERS)


@pytest.fixture
def trained(tmp_path):
    """A finished run: (its directory, its result, the checkpoint before the last, the last)."""
    result = train(one_job(), Serial(), tmp_path, checkpoint_seconds=0.0)
    older, newest = sorted(tmp_path.glob("checkpoints/*"))
    return tmp_path, result, older, newest


def flip(path, position=-9):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def swap(one, two):
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)


# What happens to the newest checkpoint, given that and the one before it.
DAMAGE = {
    "empty": lambda new, old: (new / "checkpoint.json").write_bytes(b""),
    "not JSON": lambda new, old: (new / "checkpoint.json").write_bytes(b"{"),
    "a list": lambda new, old: (new / "checkpoint.json").write_bytes(b"[]"),
    "no checksum": lambda new, old: (new / "checkpoint.json").write_bytes(b'{"format": 3}'),
    "no checkpoint.json": lambda new, old: (new / "checkpoint.json").unlink(),
    "no replica": lambda new, old: (new / "replica.safetensors").unlink(),
    "a directory for the replica": lambda new, old: (
        (new / "replica.safetensors").unlink(),
        (new / "replica.safetensors").mkdir(),
    ),
    "a worker's for the replica": lambda new, old: shutil.copy(
        new / "worker-00001.safetensors", new / "replica.safetensors"
    ),
    "a bit of the replica": lambda new, old: flip(new / "replica.safetensors"),
    "a bit of a worker": lambda new, old: flip(new / "worker-00002.safetensors"),
    "a bit of a header": lambda new, old: flip(new / "worker-00002.safetensors", 12),
    "a worker cut short": lambda new, old: os.truncate(new / "worker-00003.safetensors", 100),
    "two workers exchanged": lambda new, old: swap(new / "worker-00000.safetensors", new / "worker-00003.safetensors"),
    "the worker of another checkpoint": lambda new, old: swap(
        new / "worker-00001.safetensors", old / "worker-00001.safetensors"
    ),
    "the replica of another checkpoint": lambda new, old: shutil.copy(
        old / "replica.safetensors", new / "replica.safetensors"
    ),
    "the progress of another checkpoint": lambda new, old: shutil.copy(
        old / "checkpoint.json", new / "checkpoint.json"
    ),
    "the older one copied to its name": lambda new, old: (shutil.rmtree(new), shutil.copytree(old, new)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_training_goes_on_from_the_checkpoint_before_a_damaged_one(trained, damage, capsys):
    directory, result, older, newest = trained
    before = {path.name: path.read_bytes() for path in older.iterdir()}
    DAMAGE[damage](newest, older)
    for name, content in before.items():
        (older / name).write_bytes(content)
    assert train(one_job(), Serial(), directory) == result
    said = capsys.readouterr().err
    assert f"the checkpoint {newest} is damaged (" in said
    assert f"kept as damaged-{newest.name}, and training goes on from the one before, {older.name}" in said
    assert (newest.parent / f"damaged-{newest.name}").is_dir()
    assert train(one_job(), Serial(), directory) == result
    assert capsys.readouterr().err == ""


def test_all_processes_go_back_when_one_finds_damage(trained):
    directory, result, _, newest = trained
    flip(newest / "worker-00003.safetensors")
    assert run_threads(3, 20.0, lambda transport: train(one_job(), transport, directory)) == [result] * 3


def test_a_damaged_checkpoint_without_one_before_it_ends_the_run_and_stays(trained):
    directory, _, older, newest = trained
    shutil.rmtree(older)
    flip(newest / "replica.safetensors")
    before = {path.name: path.read_bytes() for path in newest.iterdir()}
    for _ in range(2):
        with pytest.raises(StorageError, match=r"is damaged .*, and there is none before it"):
            train(one_job(), Serial(), directory)
    assert {path.name: path.read_bytes() for path in newest.iterdir()} == before


def test_new_checkpoints_never_push_out_the_whole_ones(trained):
    """Although damaged ones of later rounds lie beside them."""
    directory, result, _, newest = trained
    flip(newest / "replica.safetensors")
    for _ in range(2):
        assert train(one_job(), Serial(), directory, checkpoint_seconds=0.0) == result
        assert len(CheckpointFiles(directory).tags()) == 2
        flip(sorted(directory.glob("checkpoints/0*"))[-1] / "checkpoint.json", 200)


def test_any_flipped_bit_of_checkpoint_json_is_noticed_or_changes_nothing(trained):
    directory, _, _, newest = trained
    files = CheckpointFiles(directory)
    tag, path = files.tags()[0], newest / "checkpoint.json"
    about, content = files.about(tag), path.read_bytes()
    noticed = 0
    for position in range(len(content)):
        path.write_bytes(content)
        flip(path, position)
        try:
            assert files.about(tag) == about, position  # white space
        except (Damaged, StorageError):
            noticed += 1
    assert noticed > len(content) / 3


def test_another_format_is_not_damage(trained):
    """Neither an older nor a newer psgd's checkpoint is set aside, and nobody is told to remove it."""
    directory, _, _, newest = trained
    path = newest / "checkpoint.json"
    content = json.loads(path.read_text())
    del content["checksum"]
    older = {"format": 2, "progress": content["progress"], "record": content["record"]}
    newer = {**content, "format": 4, "psgd": "9.1"}
    newer["checksum"] = checkpoint_files._checksum(newer)
    for text, writer in ((older, "older"), (newer, r"9\.1")):
        path.write_text(json.dumps(text))
        with pytest.raises(
            StorageError, match=rf"another version of psgd \(.*{writer}.*in format [24]; this one"
        ) as end:
            train(one_job(), Serial(), directory)
        assert "remove" not in str(end.value)
        assert newest.is_dir()


@pytest.mark.parametrize("name", ["replica.safetensors", "worker-00000.safetensors", "checkpoint.json"])
def test_a_file_that_may_not_be_read_is_not_damage(trained, name, request):
    directory, _, _, newest = trained
    (newest / name).chmod(0)
    request.getfixturevalue("unprivileged")
    with pytest.raises(StorageError, match=f"{name}: cannot be read: Permission denied"):
        train(one_job(), Serial(), directory)
    assert newest.is_dir()


def test_a_network_that_does_not_fit_is_not_damage(trained):
    directory, _, _, newest = trained
    other = job(strategies(WORKERS)["parameter-averaging, adam kept"], WORKERS, hidden=(8,))
    with pytest.raises(StorageError, match=r"has vectors float32 \(1, 66\), but this job needs float32 \(1, 75\)"):
        train(other, Serial(), directory)
    assert newest.is_dir()
