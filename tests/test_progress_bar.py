"""The progress bar on a pseudo-terminal, and its absence where there is no terminal."""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest
from processes import LIMIT, environment, python

from psgd.training.progress_bar import bar_for

CONTROL = re.compile(r"(\r|\n|\x1b\[[?0-9;]*[a-zA-Z])")
SHOWN = """
import sys
from psgd.training import progress_bar
progress_bar.REDRAW_SECONDS = 0.0
bar = progress_bar.bar_for(sys.stderr, 1000)
"""


def screen(written: str) -> list[str]:
    """The lines that a terminal shows after all of `written`."""
    lines, row, column = [""], 0, 0
    for part in CONTROL.split(written):
        if part == "\r":
            column = 0
        elif part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part == "\x1b[1A":
            row -= 1
        elif part.startswith("\x1b["):
            assert part in ("\x1b[?25l", "\x1b[?25h") or part.endswith("m"), f"unknown control code {part!r}"
        elif part:
            lines[row] = lines[row][:column] + part + lines[row][column + len(part) :]
            column += len(part)
    return [line.rstrip() for line in lines]


def on_terminal(code: str, columns: int = 100) -> str:
    """What a Python program writes to a terminal of the given width."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 30, columns, 0, 0))
    variables = {name: value for name, value in environment(TERM="xterm").items() if name not in ("CI", "COLUMNS")}
    command = [sys.executable, "-c", SHOWN + code]
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=variables)
    os.close(terminal)
    written = b""
    try:
        while some := os.read(controller, 65536):
            written += some
    except OSError:  # the program has ended
        pass
    os.close(controller)
    assert process.wait(timeout=LIMIT) == 0, written.decode()
    return written.decode()


def test_it_shows_percentage_time_left_rate_and_text():
    written = on_terminal("""
import time
for step in range(4):
    bar.show(step / 4, f"epoch {step} [of 4]")
    time.sleep(0.01)
""")
    last = screen(written)[-1]
    assert re.search(r"75 % 0:00:0\d [\d,]+ examples/s, epoch 3 \[of 4\]$", last), last
    assert "\x1b[?25h" in written[written.rindex("\x1b[?25l") :], "a killed process would leave no cursor"


def test_lines_printed_above_the_bar_stay_whole():
    lines = screen(
        on_terminal("""
for step in range(3):
    bar.show(step / 4, f"epoch {step}")
    print(f"result {step}")
    print(f"remark {step}", file=sys.stderr)
""")
    )
    assert lines[:-1] == [f"{word} {step}" for step in range(3) for word in ("result", "remark")]
    assert "50 %" in lines[-1]


def test_nothing_is_left_when_it_is_cleared():
    written = on_terminal("""
for step in range(3):
    bar.show(step / 4, f"epoch {step}")
    bar.clear()
    print(f"remark {step}", file=sys.stderr)
bar.clear()
""")
    assert "epoch 2" in written
    assert screen(written) == ["remark 0", "remark 1", "remark 2", ""]


def test_on_a_narrow_terminal_it_stays_on_one_line():
    lines = screen(on_terminal("bar.show(0.5, 'a text that goes on and on')", columns=40))
    assert len(lines) == 1
    assert "50 %" in lines[0]
    assert len(lines[0]) <= 40


def test_redirected_output_does_not_reach_the_terminal(tmp_path):
    written = on_terminal(f"""
sys.stdout = open({str(tmp_path / "file")!r}, "w")
bar = progress_bar.bar_for(sys.stderr, 1000)
bar.show(0.5, "epoch 1")
print("result", flush=True)
""")
    assert (tmp_path / "file").read_text() == "result\n"
    assert "result" not in written


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert bar_for(Terminal()) is not None
    assert bar_for(io.StringIO()) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("CI", "true"), ("TERM", "dumb"), ("PMI_SIZE", "2"), ("OMPI_COMM_WORLD_SIZE", "2")],
)
def test_no_bar_without_a_capable_terminal(monkeypatch, name, value):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(name, value)
    assert bar_for(Terminal()) is None


def test_without_a_terminal_rich_is_not_imported(tmp_path):
    code = f"""
import sys
from psgd.jobs.launch.command import main
assert main(["training.epochs=1", "workers=1", "--output", {str(tmp_path / "run")!r}]) == 0
assert "psgd.training.progress_bar" in sys.modules and "rich" not in sys.modules
"""
    finished = python("-c", code)
    assert finished.code == 0, finished.stderr
