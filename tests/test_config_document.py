"""The config as text: strict YAML, files that are refused, and resolved settings that are read back."""

import json
from pathlib import Path

import pytest
from config_problems import WriteFile, file, only_problem, problems
from hypothesis import given
from hypothesis import strategies as st
from properties import repeatable

from psgd.config.document import NotYaml, parse_yaml, to_yaml
from psgd.config.resolve import Resolved, dump, resolve

__all__ = ["file"]  # a fixture


# --- YAML


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("1.", 1.0), (".5", 0.5), ("1e3", 1000.0), ("-.5e+2", -50.0), ("+1.5", 1.5), ("1E3", 1000.0),
        ("010", 10), ("0o17", 15), ("0x1F", 31), ("-7", -7), ("true", True), ("False", False), ("null", None),
        ("~", None),
        ("", None), ("on", "on"), ("off", "off"), ("yes", "yes"), ("no", "no"), ("y", "y"), ("1_000", "1_000"),
        ("1:30", "1:30"), ("2001-01-01", "2001-01-01"), ("'5'", "5"), ("~/mnist", "~/mnist"), ("1e", "1e"), (".", "."),
        ("[1, 1., a]", [1, 1.0, "a"]), ("{a: {b: 1}}", {"a": {"b": 1}}), (".inf", float("inf")), ("!!float 3", 3.0),
    ],
)  # fmt: skip
def test_scalars_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    assert parse_yaml(text) == value
    assert type(parse_yaml(text)) is type(value)


@pytest.mark.parametrize(
    "value", ["1e3", "0o17", "yes", "null", "", "1.0", "on", "2001-01-01", "a: b", "é\n\t#", "010"]
)
def test_text_that_looks_like_something_else_survives(value: str) -> None:
    assert parse_yaml(to_yaml({"a": value})) == {"a": value}


@pytest.mark.parametrize(
    "text", ["!!int abc", "!!python/name:os.system x", "a: &x [*x]", "[" * 3000, "1: 2", "\x01", "--- 1\n--- 2"]
)
def test_yaml_that_is_not_strict_is_refused(text: str) -> None:
    with pytest.raises(NotYaml):
        parse_yaml(text)


# --- files


def test_all_duplicates_are_named_with_their_lines(file: WriteFile) -> None:
    path = file("training:\n  epochs: 1\n  seed: 1\n  epochs: 2\nworkers: 1\nworkers: 2\n")
    assert problems(path) == [
        "a.yaml:4: training.epochs is given twice (first in line 2); keep one",
        "a.yaml:6: workers is given twice (first in line 5); keep one",
    ]


def test_a_syntax_error_names_its_line(file: WriteFile) -> None:
    assert only_problem(file("workers: 4\ntraining: {epochs: 1\noutput: a\n")).startswith("a.yaml:3: not valid YAML: ")
    indented = only_problem(file("training:\n\tepochs: 1\n"))
    assert indented.startswith("a.yaml:2: not valid YAML: ")
    assert indented.endswith("; indent with spaces, not with tabs")


def test_files_that_cannot_be_read(file: WriteFile, tmp_path: Path) -> None:
    file("")
    assert only_problem("b.yaml").startswith("b.yaml: cannot read this config: No such file")
    assert "cannot read this config" in only_problem(str(tmp_path))
    Path("a.yaml").write_bytes(b"output: \xff")
    assert "not UTF-8 text (byte 8)" in only_problem("a.yaml")
    assert "the top level must be a mapping" in only_problem(file("- 1\n- 2\n"))


# --- the resolved config is runnable as it is


FINITE = st.floats(min_value=1e-300, max_value=1e300)


@repeatable
@given(
    learning_rate=FINITE,
    l2=st.just(0.0) | FINITE,
    epochs=FINITE | st.integers(1, 10**6),
    hidden=st.lists(st.integers(1, 10**9), max_size=4),
    period=st.integers(1, 10**12) | st.just("end"),
    seed=st.integers(0, 2**128),
    output=st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=20)
    | st.sampled_from(["1e3", "yes", "null", "010", "0o7", "1_0", "~", "2001-01-01", ".5", "- a", "#"]),
)
def test_dump_and_resolve_are_inverse(
    tmp_path_factory: pytest.TempPathFactory,
    learning_rate: float,
    l2: float,
    epochs: float,
    hidden: list[int],
    period: int | str,
    seed: int,
    output: str,
) -> None:
    given_settings = {
        "model": {"hidden": hidden},
        "optimizer": {"learning_rate": learning_rate, "l2": l2},
        "strategy": {"period": period},
        "training": {"epochs": epochs, "seed": seed},
        "output": output,
    }
    path = tmp_path_factory.getbasetemp() / "resolved.yaml"
    path.write_text(to_yaml(given_settings), encoding="utf-8", newline="")
    settings, notes = resolve(str(path), [])
    assert notes == []
    assert settings.averaging
    assert (settings.model.hidden, settings.output) == (hidden, output)
    assert (settings.optimizer.learning_rate, settings.optimizer.l2) == (learning_rate, l2)
    assert (settings.averaging.period, settings.training.seed) == (period, seed)
    assert settings.training.epochs == epochs
    assert json.loads(json.dumps(settings.model_dump())) == settings.model_dump()
    path.write_text(dump(settings), encoding="utf-8", newline="")
    assert resolve(str(path), []) == Resolved(settings, [])


@pytest.mark.parametrize(
    "arguments",
    [
        ["cluster.speeds=[1, 1, 1, 0.5]"],
        ["optimizer.name=sgd", "optimizer.learning_rate=1e-05", "model.initializer=glorot", "workers=auto"],
        ["data.source=synthetic", "data.classes=0", "model.loss=huber", "strategy.name=gradient-averaging"],
    ],
)
def test_a_resolved_config_resolves_to_itself_without_notes(file: WriteFile, arguments: list[str]) -> None:
    settings = resolve(None, arguments).settings
    assert resolve(file(dump(settings)), []) == Resolved(settings, [])
