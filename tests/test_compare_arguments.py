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
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "3")
    assert main([str(configured(tmp_path)), "--output", str(tmp_path / "out")]) == 2
    assert "a launcher started 3 processes, and each would make the whole comparison" in capsys.readouterr().err
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")  # says nothing, and leaves the first to end the job
    assert main([str(configured(tmp_path)), "--output", str(tmp_path / "out")]) == 0
    assert capsys.readouterr() == ("", "")
    for name in ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"):
        monkeypatch.delenv(name)
    with monkeypatch.context() as within:
        within.setenv("PMI_SIZE", "4")
        within.setenv("PMI_FD", "999999")  # a connection to the launcher that another program has used up
        assert main([str(configured(tmp_path)), "--output", str(tmp_path / "out")]) == 2
    assert "a launcher started 4 processes, and each would make the whole comparison" in capsys.readouterr().err
    monkeypatch.setenv("PMIX_SERVER_URI3", "x")  # a launcher that does not say how many there are
    monkeypatch.setenv("PMIX_RANK", "1")
    assert main(["nothing"]) == 2
    assert "nothing: there is neither such a file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_wrong_config_has_code_2(tmp_path, in_process, capsys):
    assert main([str(configured(tmp_path, sed=[1], budgt=2)), "--output", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"psgd: {tmp_path}/tiny.yaml: sed is not a setting of a comparison; did you mean seeds?",
        f"psgd: {tmp_path}/tiny.yaml: budgt is not a setting of a comparison; did you mean budget?",
    ]
