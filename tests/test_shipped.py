"""Configs and scripts that come with psgd: found by name, listed, printed and copied."""

from pathlib import Path

import pytest
from command import refused, train
from processes import ROOT, python

from psgd import configs
from psgd.config.comparison_file import read_comparison
from psgd.config.resolve import dump, resolve
from psgd.config.shipped import about, find_base, find_comparison, find_config, shipped
from psgd.core.errors import UsageError


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_names_are_those_of_the_files():
    files = {path.relative_to(ROOT / "configs") for path in (ROOT / "configs").rglob("*.yaml")}
    assert {name for name in shipped() if not name.endswith(".py")} == {str(path.with_suffix("")) for path in files}
    assert {name for name in shipped() if name.endswith(".py")} == {"own_model.py", "launch/ray_train.py"}


@pytest.mark.parametrize("given", ["digits", "digits.yaml"])
def test_a_config_is_found_by_name(given):
    path, notes = find_config(given)
    assert resolve(path, []) == resolve(str(ROOT / "configs" / "digits.yaml"), [])
    assert notes == [f"config: digits, which comes with psgd ({path})"]


@pytest.mark.parametrize("given", ["tiny", "tiny.yaml", "compare/tiny", "compare/tiny.yaml"])
def test_a_comparison_is_found_by_name_and_its_base_beside_it(given):
    path, notes = find_comparison(given)
    assert notes == [f"config: compare/tiny, which comes with psgd ({path})"]
    assert resolve(read_comparison(path).base, []) == resolve(str(ROOT / "configs" / "digits.yaml"), [])


def test_a_file_wins_and_a_directory_does_not(here):
    (here / "digits").write_text("workers: 3\n")
    assert find_config("digits") == ("digits", [])
    (here / "mnist").mkdir()
    assert find_config("mnist").notes


def test_the_base_of_a_comparison_of_the_user_may_be_a_name(here):
    (here / "mine").mkdir()
    assert find_base("mnist", here / "mine").path == str(shipped()["mnist"])
    (here / "mine" / "mnist").write_text("workers: 3\n")
    assert find_base("mnist", here / "mine") == (str(here / "mine" / "mnist"), [])


@pytest.mark.parametrize(
    ("find", "given", "words"),
    [
        (
            find_config,
            "mnst",
            "mnst: there is neither such a file nor a config of psgd of this name; did you mean mnist?",
        ),
        (find_config, "configs/mnist.yaml", "did you mean mnist? `psgd configs` lists them"),
        (find_config, "xyzzy.yaml", "of this name; `psgd configs` lists them"),
        (find_config, "strategies", "did you mean: psgd compare strategies?"),
        (find_config, "compare/tiny", "did you mean: psgd compare tiny?"),
        (find_comparison, "mnist", "did you mean: psgd train mnist?"),
        (find_comparison, "strategy", "did you mean strategies?"),
    ],
)
def test_an_unknown_name_gets_a_hint(find, given, words):
    with pytest.raises(UsageError) as caught:
        find(given)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_trains_by_name_and_says_which_file_it_took(here):
    finished = train("digits", "training.epochs=1", "group=serial", "workers=2", "--output", here / "run")
    assert finished.code == 0
    assert f"config: digits, which comes with psgd ({shipped()['digits']})\n" in finished.stderr
    quiet = train("digits", "--dry-run", "--no-probe", "--quiet")
    loud = train("digits", "--dry-run", "--no-probe")
    assert quiet.stdout == loud.stdout == dump(resolve(str(ROOT / "configs" / "digits.yaml"), []).settings)
    assert (quiet.stderr, loud.stderr.count("config: digits,")) == ("", 1)


def test_the_command_refuses_an_unknown_name():
    refused(train("digts", "--dry-run"), 2, "did you mean digits?")


def test_the_list_has_the_first_line_of_each_comment(capsys):
    assert configs.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(shipped())
    assert f"own_model.py          {about('own_model.py')}" in lines
    for name in shipped():
        assert about(name)[0].isupper(), name
        assert about(name).endswith((".", "?")), name


def test_named_files_are_printed(capsys):
    assert configs.main(["tiny", "own_model.py"]) == 0
    texts = [(ROOT / "configs" / name).read_text() for name in ("compare/tiny.yaml", "own_model.py")]
    assert capsys.readouterr().out == "".join(texts)
    assert configs.main(["tny"]) == 2
    assert "tny: nothing of this name comes with psgd; did you mean tiny?" in capsys.readouterr().err


def test_a_comparison_is_copied_with_its_base(here, capsys):
    assert configs.main(["tiny", "--copy", "there/new"]) == 0
    assert capsys.readouterr().out == "there/new/compare/tiny.yaml\nthere/new/digits.yaml\n"
    base = read_comparison("there/new/compare/tiny.yaml").base
    assert resolve(base, []) == resolve(str(ROOT / "configs" / "digits.yaml"), [])


def test_all_files_are_copied_and_a_script_can_be_run(here):
    assert configs.main(["--copy", "."]) == 0
    assert {str(path.relative_to(here)) for path in here.rglob("*.*")} == {
        str(path.relative_to(ROOT / "configs" if "configs" in path.parts else ROOT))
        for path in [shipped_path.resolve() for shipped_path in shipped().values()]
    }
    finished = python(str(here / "launch" / "ray_train.py"), "--help")
    assert (finished.code, finished.stdout[:30]) == (0, "usage: launch/ray_train.py [--")


def test_a_copy_names_the_schema_where_it_is(here, capsys):
    assert configs.main(["digits", "tiny", "--copy", "mine"]) == 0
    for path in (here / "mine" / "digits.yaml", here / "mine" / "compare" / "tiny.yaml"):
        (schema,) = [line.split("$schema=")[1] for line in path.read_text().splitlines() if "$schema=" in line]
        assert Path(schema).is_absolute()
        assert Path(schema).is_file()
    assert configs.main(["digits", "--copy", "mine"]) == 0  # as it comes with psgd


def test_nothing_is_overwritten(here, capsys):
    assert configs.main(["digits", "--copy", "."]) == 0
    assert configs.main(["digits", "mnist", "--copy", "."]) == 0  # digits.yaml is as it comes
    (here / "mnist.yaml").write_text("workers: 3\n")
    assert configs.main(["mnist", "nielsen", "--copy", "."]) == 3
    assert "already there, and not as it comes with psgd: mnist.yaml" in capsys.readouterr().err
    assert (here / "mnist.yaml").read_text() == "workers: 3\n"
    assert not (here / "nielsen.yaml").exists()


def test_a_directory_that_cannot_be_made_is_named(here, capsys):
    (here / "file").write_text("")
    assert configs.main(["digits", "--copy", "file/there"]) == 3
    assert capsys.readouterr().err.startswith("psgd: cannot copy to file/there: ")


@pytest.mark.parametrize(("find", "name", "words"), [
    (find_config, "rows.csv",
     "rows.csv is a file of data, not a config; name it by data.source=csv data.path=rows.csv"),
    (find_comparison, "rows.csv", "rows.csv is a file of data, not a config; name it by data.source=csv "
     "data.path=rows.csv in the base of a comparison"),
    (find_config, "run", "run is the directory of a run, not a config; to go on with it: --resume --output run"),
])  # fmt: skip
def test_what_is_no_config_is_told_from_one(find, name, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("workers: 1\n")
    with pytest.raises(UsageError) as raised:
        find(name)
    assert str(raised.value) == words
