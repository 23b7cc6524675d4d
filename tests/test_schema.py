"""The JSON Schemas of configs and the table of settings: up to date, and in agreement with what psgd accepts."""

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from processes import ROOT, python
from test_config import test_invalid_values_name_the_rule as invalid
from test_config import test_valid_values as valid
from test_config_names import test_unknown_names_suggest_known_ones as unknown

from psgd.config.document import parse_yaml, read_file
from psgd.config.names import SECTIONS, TOP, inner
from psgd.config.overrides import merge, read_overrides
from psgd.config.resolve import resolve

CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
# What the schema of settings accepts and psgd refuses: a whole number with a point, a float that is not finite, a rule
# between two settings, and an empty section where the command line has one.
LENIENT = {
    "training.batch_size_per_worker=2.0", "workers=4.0", "training.epochs=.inf", "training.epochs=.nan",
    "training.early_stop={}", "strategy=",
}  # fmt: skip


def validator(name: str) -> Draft202012Validator:
    schema = json.loads((ROOT / "psgd" / "config" / f"{name}.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


SETTINGS, COMPARISON = validator("settings"), validator("comparison")


def overrides_of(test: Any) -> list[str]:
    """The overrides that the parametrized `test` is called with and that are of the form key=value."""
    (mark,) = [mark for mark in test.pytestmark if mark.name == "parametrize"]
    return [each[0] for each in mark.args[1] if re.match(r"\w[^=]*=", each[0])]


def document(override: str) -> dict[str, Any]:
    """The config that says what the override says."""
    section, _, value = override.partition("=")
    if section in SECTIONS:
        return {section: parse_yaml(value)}
    return merge({}, read_overrides([override])[0], "defaults").values


def test_what_is_generated_is_up_to_date():
    finished = python("scripts/make_docs.py", "--check")
    assert finished.code == 0, finished.stdout


@pytest.fixture
def make_docs(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("make_docs")


def test_every_setting_has_a_meaning_and_nothing_else_has_one(make_docs):
    names = set(TOP)
    for section, its in SECTIONS.items():
        names |= {f"{section}.{key}" for key in its.all_keys()}
        for choice in its.choices:
            for key in its.keys(choice):
                if model := inner(section, choice, key):
                    names |= {f"{section}.{key}.{part}" for part in model.model_fields}
    assert set(make_docs.MEANINGS) == names
    assert all(meaning.text.endswith(".") for meaning in make_docs.MEANINGS.values())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_are_valid_and_name_their_schema(path: Path):
    schema = COMPARISON if path.parent.name == "compare" else SETTINGS
    schema.validate(read_file(str(path)))
    assert not path.read_text().startswith("# yaml"), "the first line says what it is"
    (named,) = re.findall(r"^# yaml-language-server: \$schema=(\S+)$", path.read_text(), re.M)
    assert json.loads((path.parent / named).read_text()) == schema.schema
    if schema is SETTINGS:
        complete = resolve(str(path), []).settings.model_dump(mode="json")
        schema.validate(complete)


@pytest.mark.parametrize("section", [name for name, names in SECTIONS.items() if names.tag])
def test_the_defaults_of_every_choice_are_valid(section: str):
    for choice, model in SECTIONS[section].choices.items():
        values = {**model().model_dump(mode="json"), SECTIONS[section].tag: choice}
        SETTINGS.validate({section: values})
        assert not SETTINGS.is_valid({section: {**values, "else": 1}})


def test_valid_values_are_valid():
    for override in overrides_of(valid):
        SETTINGS.validate(document(override))
    SETTINGS.validate({})
    SETTINGS.validate({"data": None, "training": {"early_stop": {"patience": 3}}})


def test_invalid_values_and_unknown_names_are_not():
    wrong = [*overrides_of(invalid), *overrides_of(unknown)]
    assert len(wrong) > 60
    assert {override for override in wrong if SETTINGS.is_valid(document(override))} == LENIENT
    assert not SETTINGS.is_valid({"data": {"source": "synthetic", "classes": 1}})
    assert not SETTINGS.is_valid({"data": {"classes": 2}}), "which digits, the default, do not have"
    assert not SETTINGS.is_valid({"data": {"source": "csv", "categorical": ["a", "a"]}})
    assert not SETTINGS.is_valid([])


@pytest.mark.parametrize(
    "wrong",
    [
        {"arms": {}},
        {"question": "?"},
        {"arms": {"a": {"training.epochs": 3}}},
        {"arms": {"a": {"training.early_stop": {"patience": 3}}}},
        {"arms": {"a": {"data.source": "mnist"}}},
        {"arms": {"a": {"strategy.nam": "x"}}},
        {"arms": {"a": {}}, "sed": [1]},
        {"arms": {"a": {}}, "seeds": []},
        {"arms": {"a": {}}, "budget": {"epochs": 0}},
        {"arms": {"a": {}}, "tune": {"optimizer.learning_rate": {"lag": [1, 2]}}},
        {"arms": {"a": {}}, "price": {"slow": {"hosts": 0}}},
        {"arms": {"a": {}}, "target": {"metric": "accuracy"}},
    ],
)
def test_wrong_comparisons_are_not_valid(wrong: dict[str, Any]):
    assert not COMPARISON.is_valid(wrong)
    COMPARISON.validate({"arms": {"a": {"data.mode": "partition", "strategy": {"period": 3}}}, "tune": None})


def test_the_table_names_every_setting(make_docs):
    rows = re.findall(r"^\| `([\w.]+)` \|", make_docs.settings_table(), re.M)
    assert sorted(rows) == sorted(name.partition(".")[2] or name for name in make_docs.MEANINGS if name not in SECTIONS)
