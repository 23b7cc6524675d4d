"""Hints for names that people know from elsewhere: each must be right, and following it must be accepted."""

import re

import pytest

from psgd.config.foreign_names import ABSENT, FOREIGN, SYNONYMS
from psgd.config.names import SECTIONS, TOP
from psgd.config.resolve import resolve
from psgd.core.errors import UsageError
from psgd.jobs.request import parse_arguments

NEEDED = {"data": ["data.path=a.csv", "data.target=y"]}  # what other data sources need beside the setting


def said(*arguments: str) -> str:
    with pytest.raises(UsageError) as caught:
        resolve(None, list(arguments))
    (line,) = str(caught.value).splitlines()
    return line


def follow(hint: str, section: str | None) -> None:
    """Set what a hint "did you mean a.b (of c, d)?" names, to its default; it must be a valid setting."""
    found = re.search(r"did you mean ([\w.]+)(?: \(of ([\w-]+)[^)]*\))?\?", hint)
    assert found, hint
    path, choice = found[1], found[2]
    if "." not in path and path not in TOP:
        path = f"{section}.{path}"
    section, _, key = path.rpartition(".")
    if not section:
        resolve(None, [f"{key}={resolve(None, []).settings.model_dump()[key]}"])
        return
    names = SECTIONS[section]
    choice = choice or names.default
    if key == names.tag:
        resolve(None, [f"{path}={names.default}"])
        return
    default = names.choices[choice].model_fields[key].default
    value = "null" if default is None else "[]" if key == "hidden" else str(default).lower()
    chosen = [f"{section}.{names.tag}={choice}"] if names.tag else []
    needed = [n for n in NEEDED.get(section, ()) if choice == "csv" and not n.startswith(f"{path}=")]
    if choice == "csv" and key == "target":
        value = "y"
    resolve(None, [*chosen, *needed, f"{path}={value}"])


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_name_leads_to_a_setting_that_is_accepted(name):
    section, _, key = name.rpartition(".")
    hint = said(f"{name}=1")
    home, _, leaf = FOREIGN[name].rpartition(".")
    assert (leaf if section == home else FOREIGN[name]) in hint
    follow(hint, section or None)
    if not section and home:  # also in its own section, where the short name is enough
        hint = said(f"{home}.{key}=1")
        assert f"did you mean {leaf}" in hint
        follow(hint, home)


@pytest.mark.parametrize("word", SYNONYMS)
def test_a_foreign_value_leads_to_one_that_is_accepted(word):
    places = {"strategy.name", "optimizer.name", "model.loss", "model.activation", "model.initializer", "group",
              "training.precision"}  # fmt: skip
    hits = 0
    for place in places:
        hint = re.search(r"did you mean ([\w-]+)\?", said(f"{place}={word}"))
        if hint and hint[1] in SYNONYMS[word]:
            hits += 1
            data = ["data.source=synthetic", "data.classes=2"] if "entropy" in hint[1] else []
            resolve(None, [*data, f"{place}={hint[1]}"])
        assert hint is None or hint[1] in SYNONYMS[word]
    assert hits or word in ("gpu", "cuda")


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("training.patience=3", "did you mean training.early_stop, such as {patience: 5}?"),
        ("n_iter_no_change=3", "did you mean training.early_stop, such as"),
        ("patience=3", "(cluster.patience: seconds of waiting for a process)"),
        ("batch_size=10", "batch_size is not a setting; did you mean training.batch_size_per_worker?"),
        ("momentum=0.9", "did you mean optimizer.momentum (of sgd)?"),
        ("training.momentum=0.9", "did you mean optimizer.momentum (of sgd)?"),
        ("strategy.name=zinkevich", "did you mean parameter-averaging?"),
        ("strategy.name=WP_SGD", "did you mean weighted-averaging?"),
        ("strategy.name=model-averaging", "did you mean parameter-averaging?"),
        ("strategy.name=ddp", "did you mean gradient-averaging?"),
        ("data.name=mnist", "did you mean source?"),
        ("dropout=0.5", "dropout is not a setting; there is none"),
        ("strategy.K=5", "did you mean period?"),
    ],
)
def test_what_is_said_of_names_that_people_know(argument, words):
    assert words in said(argument)


def test_a_gpu_is_not_taken_for_a_cpu():
    assert said("device=gpu").endswith("it must be one of auto, cpu, cuda; did you mean cuda?")


def test_what_is_named_for_a_thing_that_is_absent_exists():
    for text in ABSENT.values():
        for section, key in re.findall(r"\b(\w+)\.(\w+)\b", text):
            assert key in SECTIONS[section].all_keys()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dryrun"], "--dryrun is not an option; did you mean --dry-run?"),
        (["--workers", "8"], "--workers is not an option, but a setting; write workers=8"),
        (["--workers=8"], "--workers is not an option, but a setting; write workers=8"),
        (["-n", "4", "workers=2"], "-n is not an option, but a setting; write workers=4"),
        (["a.yaml", "--batch-size", "5"],
         "--batch-size is not an option, but a setting; write training.batch_size_per_worker=5"),
        (["--momentum", "0.5"], "--momentum is not an option, but a setting (of sgd); write optimizer.momentum=0.5"),
        (["--verbose"], "--verbose is not an option; leave it out; --quiet prints less"),
        (["--dropout", "0.5"], "--dropout is not an option; there is none; optimizer.l2 regularises"),
        (["--foo"], "--foo is not an option; --help lists those that there are"),
        (["digits", "--output"], "argument --output: expected one argument; --help describes all options"),
        (["--resume=yes"], "argument --resume: ignored explicit argument 'yes'; --help describes all options"),
    ],
)  # fmt: skip
def test_an_option_that_is_none_or_lacks_a_value(arguments, message):
    with pytest.raises(UsageError) as caught:
        parse_arguments(arguments)
    assert str(caught.value) == message
