"""psgd.compare refuses wrong arguments, configs and launchers in one line, and leaves nothing."""

import pytest
from tiny_comparison import configured, in_process

from psgd.compare.__main__ import main

__all__ = ["in_process"]  # a fixture


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--max-regress", "5%"], 2, "--max-regress is for --against"),
        (["--group", "threads"], 2, "--group is for --verify"),
        (["--verify", "sync", "--dry-run"], 2, "--verify trains a cell again and does nothing else"),
        (["--against", "none.json"], 3, "none.json does not exist: give the directory of a comparison"),
        (["--against", "none.json", "--max-regress", "x"], 2, "--max-regress is x; give a percentage such as 10%"),
        (["--verify", ""], 3, "results.json does not exist: give the directory of a comparison"),
        (["--verify", "sync"], 3, "results.json does not exist: give the directory of a comparison"),
    ],
)
def test_wrong_arguments_are_one_line_and_leave_nothing(tmp_path, in_process, capsys, arguments, code, words):
    assert main([str(configured(tmp_path)), "--output", str(tmp_path / "out"), *arguments]) == code
    said = capsys.readouterr()
    assert words in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert not (tmp_path / "out").exists()


def test_under_a_launcher_it_is_refused(tmp_path, in_process, capsys, monkeypatch):
    command, said = [str(configured(tmp_path)), "--output", str(tmp_path / "out")], "call it without the launcher"
    started = [
        {"OMPI_COMM_WORLD_SIZE": "3"},
        {"OMPI_COMM_WORLD_SIZE": "1"},  # each of its runs would take itself for this process
        {"PMI_SIZE": "4", "PMI_FD": "999999"},  # a connection to the launcher that another program has used up
        {"PMIX_SERVER_URI3": "x", "PMIX_RANK": "0"},  # a launcher that does not say how many there are
        {"SLURM_STEP_ID": "0", "SLURM_NTASKS": "2"},
    ]
    for variables in started:
        with monkeypatch.context() as within:
            for name, value in variables.items():
                within.setenv(name, value)
            assert main(command) == 2
            assert said in capsys.readouterr().err
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "3")
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")  # says nothing, and leaves the first to end the job
    assert main(command) == 0
    assert capsys.readouterr() == ("", "")
    assert not (tmp_path / "out").exists()


def test_a_wrong_config_has_code_2(tmp_path, in_process, capsys):
    assert main([str(configured(tmp_path, sed=[1], budgt=2)), "--output", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"psgd: {tmp_path}/tiny.yaml: sed is not a setting of a comparison; did you mean seeds?",
        f"psgd: {tmp_path}/tiny.yaml: budgt is not a setting of a comparison; did you mean budget?",
    ]
