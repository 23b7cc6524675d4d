"""What psgd says goes through logging; a stderr that closes, fills or blocks costs messages, not training."""

import io
import json
import logging
import subprocess
import sys

import pytest
from processes import LIMIT, environment, python

from psgd.core.log import LOG, StandardError

# Trains again and again in one process. In the n-th training, standard error fails after n writes to it.
TRAIN_WITH_FAILING_STDERR = """
import contextlib, io, json, os, sys
from psgd.core import log
from psgd.jobs.launch.command import main
from psgd.training import recorder

fault, directory = sys.argv[1:]
log.WAIT_SECONDS = 0.02
recorder.LINE_SECONDS = recorder.SCORE_LINE_SECONDS = 0.0  # a line whenever there is something to say
write, working, full_disk, (_, full_pipe) = os.write, os.dup(2), os.open("/dev/full", os.O_WRONLY), os.pipe()
os.set_blocking(full_pipe, False)
with contextlib.suppress(BlockingIOError):
    while True:
        write(full_pipe, b"-" * 4096)
os.set_blocking(full_pipe, True)  # from now on, a write to it never returns
faults = {
    "none": lambda: None,
    "closes": lambda: os.close(2),
    "fills": lambda: os.dup2(full_disk, 2),
    "blocks": lambda: os.dup2(full_pipe, 2),
}

def count(descriptor, text):
    global writes
    done = write(descriptor, text)
    if descriptor == 2:
        writes += 1
        if writes == last:
            faults[fault]()
    return done

log.os.write = count
job = ["compile=never", "strategy.name=gradient-averaging", "training.epochs=1", "training.batch_size_per_worker=10"]
found, trained = set(), 0
for last in range(1, 31) if fault != "none" else [1]:
    os.dup2(working, 2)
    writes, run = 0, f"{directory}/{last}"
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = main([*job, "--output", run])
    summary = json.loads(out.getvalue())
    found.add((code, summary["parameters_sha256"], os.path.exists(f"{run}/model.safetensors")))
    trained += 1
print(json.dumps([trained, writes, *found]))
"""


def outcomes(fault: str, directory) -> list:
    done = python("-c", TRAIN_WITH_FAILING_STDERR, fault, str(directory))
    assert done.code == 0, done.stderr
    return json.loads(done.stdout)


def test_training_under_a_stderr_that_fails_after_any_write_ends_with_the_undisturbed_hash(tmp_path):
    _, writes, undisturbed = outcomes("none", tmp_path / "none")
    assert writes > 30
    assert undisturbed[0] == 0
    for fault in ("closes", "fills", "blocks"):
        trained, written, *found = outcomes(fault, tmp_path / fault)
        assert (trained, found) == (30, [undisturbed]), fault
        assert written == 30 < writes


def test_without_a_standard_error_the_summary_alone_is_on_stdout(tmp_path):
    """Files that training opens must not take the number of the closed stream either."""
    command = [sys.executable, "-X", "faulthandler", "-m", "psgd.train", "compile=never", "training.epochs=1"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&- 0>&-', "-", *command, "--output", str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        env=environment(),
        timeout=LIMIT,
    )
    assert done.returncode == 0
    assert json.loads(done.stdout)["status"] == "done"
    for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines():
        json.loads(line)


class Odd:
    """A stream that a program put in place of stderr: not a terminal, without a descriptor, and of eight bits."""

    def __init__(self) -> None:
        self.text = b""

    def write(self, text: str) -> None:
        self.text += text.encode("latin-1")

    def flush(self) -> None: ...


def test_a_stream_in_place_of_stderr_receives_what_it_can_say(monkeypatch):
    from psgd.training.progress_bar import bar_for

    stream = Odd()
    monkeypatch.setattr(sys, "stderr", stream)
    assert bar_for(sys.stderr) is None
    for text in ("first", "epoch 1 → 2", "last"):
        LOG.info(text)
    assert stream.text == b"first\nlast\n"


def test_a_program_that_configures_logging_receives_everything_once(monkeypatch, capsys):
    root, heard = logging.getLogger(), io.StringIO()
    handler = logging.StreamHandler(heard)
    monkeypatch.setattr(root, "handlers", [handler])
    LOG.info("[0] epoch %s", 1)
    assert heard.getvalue() == "[0] epoch 1\n"
    assert capsys.readouterr().err == ""


def test_levels_and_handlers_are_those_of_the_standard_library(capsys):
    assert [type(handler) for handler in LOG.handlers] == [StandardError]
    LOG.info("said")
    LOG.setLevel(logging.WARNING)
    try:
        LOG.info("not said")
        LOG.warning("warned")
    finally:
        LOG.setLevel(logging.INFO)
    assert capsys.readouterr().err == "said\nwarned\n"


@pytest.mark.parametrize("text", ["epoch 1 → 2", "a" * 100_000, "\udcff"])
def test_any_text_can_be_said(text):
    script = "import sys; from psgd.core.log import LOG; LOG.info(sys.argv[1] * int(sys.argv[2])); LOG.info('after')"
    done = subprocess.run(
        [sys.executable, "-c", script, text[:5], str(len(text))],
        stderr=subprocess.PIPE,
        env=environment(PYTHONIOENCODING="latin-1"),
        timeout=LIMIT,
    )
    assert done.returncode == 0
    assert done.stderr.endswith(b"\nafter\n")
