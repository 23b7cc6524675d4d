"""Sizes that no machine can hold are refused in one line, before anything is allocated."""

import pytest
from processes import python

from psgd.config.document import MOST_VALUES
from psgd.config.resolve import resolve
from psgd.core import memory
from psgd.core.cgroup import Limits
from psgd.core.errors import UsageError
from psgd.data.sources.load import load_data
from psgd.jobs.build import build_job

HUGE = "12345678901234567890"
SPARSE = ("data.source=synthetic-sparse", "model.hidden=[]", "model.loss=hinge")


@pytest.mark.parametrize(
    ("override", "limit"),
    [
        (f"workers={HUGE}", "at most 16,384"),
        ("workers=1000000000", "is 1000000000; it must be at most 16,384"),
        ("cluster.processes=262144", "is 262144; it must be at most 4,096"),
        (
            f"training.batch_size_per_worker={HUGE}",
            "is a number that is too large; it must be at most 1,000,000,000,000",
        ),
        (f"strategy.period={HUGE}", "at most 1,000,000,000,000"),
        (
            f"model.hidden=[64, {HUGE}]",
            "a list of whole numbers greater than 0, or [] for a linear model; each at most 1,",
        ),
    ],
)
def test_numbers_beyond_any_machine_name_their_limit(override, limit):
    with pytest.raises(UsageError) as caught:
        resolve(None, [override])
    assert limit in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        ("model.hidden=[1000000000]",),
        ("model.hidden=[1000000000000, 1000000000000]",),
        ("data.mode=replacement", "training.batch_size_per_worker=1000000000000"),
        ("workers=16384", "model.hidden=[1000000]"),
        ("data.source=synthetic", "data.examples=1000000000000"),
        ("data.source=synthetic", "data.features=1000000000000"),
        ("data.source=synthetic", f"data.classes={HUGE}"),
        ("data.source=linear", "model.loss=squared-error", "data.examples=1000000000000"),
        (*SPARSE, "data.examples=1000000000000"),
        (*SPARSE, "data.examples=6", "data.mode=replacement", "training.batch_size_per_worker=1000000000000"),
    ],
)
def test_what_memory_cannot_hold_is_refused_with_both_sizes(overrides):
    settings = resolve(None, [*overrides, "group=serial", "compile=never"]).settings
    with pytest.raises(UsageError, match=r"need [\d.,]+ [GT]B at least, and this process may use [\d.]+ [GT]B; lower "):
        build_job(settings, load_data(settings))


def test_an_alias_bomb_is_refused_at_once(tmp_path):
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    (tmp_path / "bomb.yaml").write_text(bomb)
    with pytest.raises(UsageError, match=rf"bomb\.yaml:1: more than {MOST_VALUES:,} values"):
        resolve(str(tmp_path / "bomb.yaml"), [])


def test_an_alias_that_repeats_little_is_fine(tmp_path):
    (tmp_path / "a.yaml").write_text("workers: &two 2\ntraining: {seed: *two}\n")
    assert resolve(str(tmp_path / "a.yaml"), []).settings.training.seed == 2


@pytest.mark.parametrize("argument", ["output=/tmp/\udcff", "caf\udce9=3", "model.hidden=[\udcff]", "\udcff"])
def test_an_override_that_is_not_utf_8_is_named(argument):
    with pytest.raises(UsageError, match="is not text in this locale's encoding, ") as caught:
        resolve(None, [argument])
    str(caught.value).encode()


def test_half_a_surrogate_pair_in_a_file_is_named(tmp_path):
    (tmp_path / "s.yaml").write_text('workers: 2\noutput: "a\\ud800"\n')
    with pytest.raises(UsageError, match=r"s\.yaml:2: .* half of a surrogate pair") as caught:
        resolve(str(tmp_path / "s.yaml"), [])
    str(caught.value).encode()


def test_names_that_the_locale_cannot_express_are_one_line(tmp_path):
    """In one process: a locale of ASCII, file names of latin-1 in an argument, and of a euro sign in the config."""
    (tmp_path / "p.yaml").write_text("data: {source: csv, path: gr€.csv, target: y}\n", encoding="utf-8")
    (tmp_path / "o.yaml").write_text(f"output: {tmp_path}/gr€\n", encoding="utf-8")
    more = ["training.epochs=1", "compile=never", "workers=1", "--quiet"]
    calls = [[f"{tmp_path}/p.yaml", *more], [f"{tmp_path}/o.yaml", *more], ["output=\udcfc", *more]]
    script = "from psgd.jobs.launch.command import main\n" + "".join(f"print(main({call!a}))\n" for call in calls)
    finished = python("-c", script, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert finished.stdout.split() == ["3", "2", "2"], finished
    assert finished.stderr.count("not a name in this locale's encoding, ascii; set LC_ALL=C.UTF-8") == 2
    assert finished.stderr.count("\n") == 3


def test_a_container_holds_no_more_than_it_may(monkeypatch):
    settings = resolve(None, ["data.source=synthetic", "data.examples=100000", "data.features=100"]).settings
    load_data(settings)  # 40 MB
    monkeypatch.setattr(memory, "limits", lambda: Limits(None, 30 * 10**6))
    with pytest.raises(UsageError, match="these data need 40 MB at least, and this process may use 30 MB; lower"):
        load_data(settings)
    monkeypatch.setattr(memory, "limits", lambda: Limits(None, 2**62))
    assert memory.memory_bytes() == memory.physical_bytes()
