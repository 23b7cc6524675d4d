"""The command psgd: its table, its help, how its subcommands name themselves, and that it stays quick to start."""

import re
import sys
from importlib import import_module
from pathlib import Path

import pytest
from processes import mpi, python, run

from psgd.__main__ import call, usage
from psgd.core.command import program_name
from psgd.core.subcommands import SUBCOMMANDS
from psgd.core.version import __version__

__all__ = ["mpi"]  # a fixture
# Records, when numpy is imported, what the environment asks of OpenBLAS.
WATCH = """
import os, sys
os.environ.pop("OPENBLAS_NUM_THREADS", None)
seen = []
class Watch:
    def find_spec(name, *others):
        if name == "numpy":
            seen.append(os.environ.get("OPENBLAS_NUM_THREADS"))
sys.meta_path.insert(0, Watch)
from psgd.__main__ import call
code = None
try:
    code = call({arguments})
except SystemExit as end:
    code = end.code
print(code, seen, file=sys.stderr)
"""


def started(*arguments: str) -> str:
    """The exit code of psgd, and what numpy found when it was imported: "0 []" if it was not."""
    finished = python("-c", WATCH.format(arguments=list(arguments)))
    assert finished.code == 0, finished
    return finished.stderr.splitlines()[-1]


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], [], ["trian"]])
def test_numpy_is_not_imported_for_help_and_version(arguments):
    assert started(*arguments) == ("2 []" if arguments == ["trian"] else "0 []")


@pytest.mark.parametrize("name", ["report", "predict"])
def test_blas_is_limited_before_numpy_is_imported(name):
    assert started(name, "--help") == "0 ['1']"


def test_the_help_has_a_line_for_each_subcommand_and_three_examples(capsys):
    assert call(["--help"]) == call([]) == call(["help"]) == 0
    assert capsys.readouterr().out == 3 * (usage() + "\n")
    for name, subcommand in SUBCOMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(subcommand.about)}$", usage(), re.M)
    assert len(re.findall(r"^  .*psgd (train|compare) ", usage().split("examples:")[1], re.M)) == 3


def test_the_version(capsys):
    assert call(["--version"]) == 0
    assert capsys.readouterr().out == f"psgd {__version__}\n"


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("trian", "did you mean train?"),
        ("reports", "did you mean report?"),
        ("mnist.yaml", "did you mean: psgd train mnist.yaml?"),
        ("digits", "did you mean: psgd train digits?"),
        ("tiny", "did you mean: psgd compare tiny?"),
        ("workers=4", "did you mean: psgd train workers=4?"),
        ("--verson", "did you mean --version?"),
        ("xyzzy", "there are train, predict, plot,"),
    ],
)
def test_an_unknown_subcommand_is_one_line_with_what_may_be_meant(capsys, word, hint):
    assert call([word]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"psgd: {word} is not a command of psgd; {hint}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("number", [0, 2])
def test_of_several_processes_the_first_answers(capsys, monkeypatch, number):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "3")
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", str(number))
    assert [call([word]) for word in ("trian", "--version", "--help")] == ([0, 0, 0] if number else [2, 0, 0])
    with pytest.raises(SystemExit):
        import_module(SUBCOMMANDS["train"].module).parser().parse_args(["--help"])
    out, err = capsys.readouterr()
    assert (out == err == "") if number else (out and err)


def test_under_mpirun_an_unknown_subcommand_is_said_once(mpi):
    finished = run(mpi.command(3, "-m", "psgd", "trian"))
    assert finished.code == 2, finished
    assert finished.stderr.count("psgd: trian is not a command of psgd; did you mean train?") == 1


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_a_subcommand_has_a_parser_and_a_main(capsys, name):
    module = SUBCOMMANDS[name].module
    assert import_module(module).parser().prog == f"python -m psgd.{name}"
    with pytest.raises(SystemExit) as ended:
        call([name, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m psgd.{name} ")


PATHS = {  # commands with an option that is a path; that of train is tested where its directory is
    "compare": (["tiny"], "--output"),
    "configs": ([], "--copy"),
    "export": (["run", "--to", "npz"], "--output"),
    "plot": (["run"], "--output"),
    "predict": (["run", "data.npz"], "--output"),
}


@pytest.mark.parametrize("name", PATHS)
def test_an_empty_path_is_not_the_working_directory_and_a_tilde_is_the_home_directory(
    tmp_path, monkeypatch, capsys, name
):
    arguments, option = PATHS[name]
    monkeypatch.chdir(tmp_path)
    assert call([name, *arguments, option, ""]) == 2
    assert f"psgd: {option} is empty, as where a variable of the shell is not set" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("HOME", "/home/me")
    options = import_module(SUBCOMMANDS[name].module).parser().parse_args([*arguments, f"{option}=~/there"])
    assert getattr(options, option[2:]) == Path("/home/me/there")


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("/usr/bin/psgd", "psgd train"),
        ("psgd", "psgd train"),
        ("/x/psgd/__main__.py", "python -m psgd train"),
        ("/x/psgd/train.py", "python -m psgd.train"),
        ("/x/psgd/compare/__main__.py", "python -m psgd.train"),
        ("-c", "python -m psgd.train"),
    ],
)
def test_help_names_the_command_as_it_was_called(monkeypatch, called, name):
    monkeypatch.setattr(sys, "argv", [called])
    assert program_name("train") == name


@pytest.mark.parametrize(
    "before",
    [
        "import psgd.train",
        "from psgd import train",
        "import psgd.train as train; assert callable(train)",
        "import psgd.jobs.launch.command, psgd.train",
        "from psgd.jobs.train_function import train; import psgd.train",
        "import psgd",
    ],
)
def test_psgd_train_is_a_function_whatever_was_imported_before(before):
    code = f"{before}; import psgd, psgd.jobs.train_function as home; assert psgd.train is home.train"
    assert python("-c", code).code == 0
