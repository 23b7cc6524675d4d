"""Signals that ask to stop, sent at exact events. To the launcher: test_mpi.py."""

import os
import signal

import pytest
from processes import python
from run_files import read_summary

from psgd.training.signals import Signals

RUN = (
    "import os, signal, sys; from psgd.jobs.launch.command import main;"
    "sys.argv = ['psgd', '--quiet', '--output', sys.argv[1]]\n"
)
HERE = "os.kill(os.getpid(), signal.{})\n"


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 75), ("SIGHUP", 75), ("SIGINT", 130)])
def test_a_signal_that_other_code_would_swallow_ends_the_start(tmp_path, name, code):
    """An exception in a handler would be lost in a destructor."""
    swallowing = (
        "import psgd.data.sources.load as load, psgd.jobs.build\n"
        f"class Swallows:\n    def __del__(self):\n        {HERE.format(name)}"
        "before = load.load_data\n"
        "def load_data(settings):\n    Swallows()\n    return before(settings)\n"
        "load.load_data = load_data\n"
    )
    finished = python("-c", f"{RUN}{swallowing}sys.exit(main())", str(tmp_path / "run"))
    assert (finished.code, finished.stderr) == (code, "psgd: stopped before training began\n")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("called", ["psgd", "psgd.train"])
def test_more_signals_while_the_first_is_obeyed_change_nothing(tmp_path, called):
    """In the first segment, while a checkpoint is saved, and when the interpreter ends."""
    script = f"""{RUN}
import runpy
from psgd.training.checkpoints import Checkpoints
from psgd.training.steps.local_steps import LocalSteps

def signalled(function, number):
    def call(*arguments):
        os.kill(os.getpid(), number)
        return function(*arguments)
    return call

LocalSteps.run = signalled(LocalSteps.run, signal.SIGHUP)
Checkpoints.save = signalled(Checkpoints.save, signal.SIGTERM)
class Late:  # when modules are cleared, after the interpreter has given up its handlers
    def __del__(self, kill=os.kill, pid=os.getpid()):
        kill(pid, 15)

late = Late()
if {called == "psgd"}:
    sys.argv.insert(1, "train")
runpy.run_module("{called}", run_name="__main__", alter_sys=True)
"""
    finished = python("-c", script, str(tmp_path / "run"))
    assert finished.code == 75, finished
    assert finished.stderr == f"[0] psgd: stopped by signal 1; continue with --resume --output {tmp_path}/run\n"
    assert read_summary(tmp_path / "run")["status"] == "stopped"
    assert list((tmp_path / "run" / "checkpoints").glob("0*"))


def test_sighup_stays_ignored_under_nohup():
    before = {number: signal.getsignal(number) for number in (1, 2, 10, 15)}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signals = Signals()
        signals.listen()
        os.kill(os.getpid(), signal.SIGHUP)
        assert signals.asked == 0
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert signals.asked == signal.SIGTERM
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
