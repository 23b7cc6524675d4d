"""The config: defaults, and every rule of a single setting."""

import subprocess
import sys
from pathlib import Path

import pytest
from config_problems import WriteFile, file, only_problem
from processes import LIMIT

import psgd
from psgd.config.names import SECTIONS
from psgd.config.resolve import resolve

__all__ = ["file"]  # a fixture


# --- defaults


def test_the_defaults_are_the_digits_job() -> None:
    settings, notes = resolve(None, [])
    assert (settings.model_dump(), notes) == (
        {
            "data": {"source": "digits", "path": None, "mode": "shuffle", "validation": 0.0},
            "model": {
                "hidden": [64], "activation": "relu", "output": "softmax", "loss": "cross-entropy",
                "huber_threshold": 1.0, "initializer": "xavier", "constant": 0.0,
            },
            "optimizer": {
                "name": "adam", "learning_rate": 0.001, "l1": 0.0, "l2": 0.0, "clip_norm": None, "schedule": "constant",
                "warmup": 0.0, "decay_every": 10.0, "decay_factor": 0.1, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8,
            },
            "strategy": {
                "name": "weighted-averaging", "period": 50, "optimizer_state": "keep", "outer": None,
                "contraction": "holdout",
            },
            "training": {
                "epochs": 50.0, "batch_size_per_worker": 10, "seed": 0, "precision": "float32",
                "tf32": False, "evaluate_every": 1.0,
                "target": None, "early_stop": None, "on_nonfinite": "stop", "checkpoint_seconds": 60.0,
            },
            "workers": 4,
            "group": "auto",
            "device": "auto",
            "compile": "auto",
            "cluster": {"speeds": None, "patience": 300.0, "processes": None},
            "record": [],
            "output": "runs/run",
        },
        [],
    )  # fmt: skip


def test_an_empty_file_and_empty_sections_are_the_defaults(file: WriteFile) -> None:
    assert resolve(file("# nothing\n"), []) == resolve(file("data:\nmodel: {}\n"), []) == resolve(None, [])


@pytest.mark.parametrize(
    ("section", "choice", "keys"),
    [
        ("strategy", "gradient-averaging", {}),
        ("strategy", "parameter-averaging", {"period": 50, "optimizer_state": "keep", "outer": None}),
        ("data", "mnist", {"path": None, "mode": "shuffle", "validation": 0.0}),
        ("data", "idx", {"path": None, "mode": "shuffle", "validation": 0.0}),
        ("data", "synthetic", {
            "path": None, "mode": "shuffle", "validation": 0.0, "examples": 6000, "features": 1000, "classes": 10,
            "seed": 0,
        }),
    ],
)  # fmt: skip
def test_a_name_alone_implies_its_defaults(section: str, choice: str, keys: dict[str, object]) -> None:
    tag = SECTIONS[section].tag
    assert resolve(None, [f"{section}.{tag}={choice}"]).settings.model_dump()[section] == {tag: choice, **keys}


def test_optimizers_differ_in_their_defaults() -> None:
    sgd, adam, amsgrad = (
        resolve(None, [f"optimizer.name={name}"]).settings.optimizer.model_dump() for name in ("sgd", "adam", "amsgrad")
    )
    assert (sgd["learning_rate"], sgd["momentum"], sgd["nesterov"]) == (0.1, 0.0, False)
    assert amsgrad == {**adam, "name": "amsgrad"}


# --- values


@pytest.mark.parametrize(
    ("override", "rule"),
    [
        ('output="a\\x85b"', "it must be text that is not empty, of one line"),
        ("training.epochs=-3", "is -3; it must be greater than 0"),
        ("training.epochs='5'", 'is "5"; it must be a number greater than 0'),
        ("training.epochs=true", "is true; it must be a number greater than 0"),
        ("training.epochs=.inf", "is Infinity; it must be finite"),
        ("training.epochs=.nan", "is NaN; it must be finite"),
        ("training.epochs={x: 1}", 'is {"x": 1}; it must be a number greater than 0'),
        ("training.batch_size_per_worker=2.0", "is 2.0; it must be a whole number greater than 0"),
        ("training.seed=-1", "is -1; it must be at least 0"),
        ("training.seed=true", "is true; it must be a whole number of at least 0"),
        ("training.precision=float16", 'is "float16"; it must be one of float32, float64; did you mean float64?'),
        ("training.evaluate_every=0", "is 0; it must be greater than 0"),
        ("training.early_stop=5", "is 5; it must be a mapping such as {patience: 5, minimum: 0.0}, or null"),
        ("training.early_stop.patience=0", "training.early_stop.patience is 0; it must be greater than 0"),
        ("training.early_stop.minimum=-1", "training.early_stop.minimum is -1; it must be at least 0"),
        ("training.early_stop.patince=2", "is not a setting of early_stop; did you mean"),
        ("training.early_stop.a=2", "is not a setting of early_stop; known are patience, minimum"),
        ("training.early_stop={}", "is judged on validation data, but data.validation is 0; set data.validation"),
        ("training.on_nonfinite=go", 'is "go"; it must be one of stop, exclude'),
        ("training.checkpoint_seconds=-1", "is -1; it must be at least 0"),
        ("data.validation=1", "is 1; it must be at least 0 and less than 1"),
        ("data.mode=shard", 'is "shard"; it must be one of shuffle, partition, replacement'),
        ("data.path=x", 'is "x"; it must be null'),
        ("model.hidden=[64, 0]", "is [64, 0]; it must be a list of whole numbers greater than 0"),
        ("model.hidden=64", "is 64; it must be a list"),
        ("model.activation=softmax", "softmax is for model.output only"),
        ("model.loss=cross_entropy", "did you mean cross-entropy?"),
        ("model.huber_threshold=0", "is 0; it must be greater than 0"),
        ("model.initializer=zero", "it must be one of xavier (or glorot), he, normal, constant"),
        ("optimizer.name=adamw", "it must be one of sgd, adam, amsgrad; did you mean adam?"),
        ("optimizer.name=[sgd]", 'is ["sgd"]; it must be one of'),
        ("optimizer.learning_rate=0", "is 0; it must be greater than 0"),
        ("optimizer.l1=-1", "is -1; it must be at least 0"),
        ("optimizer.clip_norm=0", "is 0; it must be greater than 0, or null"),
        ("optimizer.beta1=1", "is 1; it must be at least 0 and less than 1"),
        ("optimizer.epsilon=0", "is 0; it must be greater than 0"),
        ("optimizer.decay_factor=1.5", "is 1.5; it must be greater than 0 and at most 1"),
        ("strategy.period=0", "is 0; it must be a whole number greater than 0, or end"),
        ("strategy.period=END", 'is "END"; it must be a whole number greater than 0, or end'),
        ("strategy.contraction=0", "it must be a number greater than 0 and at most 1, or holdout, or auto"),
        ("strategy.optimizer_state=drop", "it must be one of keep, average, reset"),
        ("workers=0", "is 0; it must be a whole number greater than 0, or auto"),
        ("workers=4.0", "is 4.0; it must be a whole number greater than 0, or auto"),
        ("group=thread", "did you mean threads?"),
        ("device=rocm", "it must be one of auto, cpu, cuda"),
        ("cluster.speeds=[]", "it must be a list of numbers greater than 0 and at most 1"),
        ("cluster.speeds=[1, 0, 1, 1]", "it must be a list of numbers greater than 0 and at most 1"),
        ("cluster.patience=0", "is 0; it must be greater than 0"),
        ("cluster.processes=0", "it must be"),
        ("output=", "is null; it must be text that is not empty"),
        ("output=''", 'is ""; it must be text that is not empty'),
        ("strategy=gradient-averaging", "it must be a mapping of settings; did you mean strategy.name?"),
        ("strategy=", "is null; it must be a mapping of settings"),
    ],
)  # fmt: skip
def test_invalid_values_name_the_rule(override: str, rule: str) -> None:
    problem = only_problem(None, override)
    key = override.partition("=")[0]
    assert problem.startswith(f"command line: {key} is ")
    assert rule in problem


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("training.epochs=3", 3.0), ("training.epochs=0.25", 0.25), ("optimizer.clip_norm=1", 1.0),
        ("workers=auto", "auto"),
        ("optimizer.learning_rate=1e-3", 0.001), ("model.hidden=[]", []), ("model.hidden=[5, 4]", [5, 4]),
        ("model.initializer=glorot", "xavier"), ("model.output=null", "softmax"), ("strategy.period=end", "end"),
        ("strategy.contraction=1", 1.0), ("training.target=0.97", 0.97), ("cluster.processes=2", 2),
        ("output=a=b", "a=b"),
        ("cluster.speeds=[1, 1, 0.5, .25]", [1.0, 1.0, 0.5, 0.25]), ("data.path=null", None),
        ("model.constant=-1", -1.0),
    ],
)  # fmt: skip
def test_valid_values(override: str, value: object) -> None:
    found: object = resolve(None, [override]).settings
    for part in override.partition("=")[0].split("."):
        found = getattr(found, part)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("classes", "right"), [(0, True), (1, False), (2, True)])
def test_classes_are_zero_or_at_least_two(classes: int, right: bool) -> None:
    arguments = ["data.source=synthetic", f"data.classes={classes}", "model.loss=squared-error"]
    if right:
        assert resolve(None, arguments).settings.data.classes == classes
    else:
        assert "is 1; it must be a whole number of at least 2, or 0 for regression" in only_problem(None, *arguments)


def test_the_config_package_imports_no_numpy() -> None:
    code = (
        "import sys, psgd.config.resolve; "
        "print(*sorted(m for m in sys.modules if m.split('.')[0] in ('numpy', 'psgd')))"
    )
    root = Path(psgd.__file__).parents[1]
    names = subprocess.check_output([sys.executable, "-c", code], cwd=root, text=True, timeout=LIMIT).split()
    assert "psgd.config.settings" in names
    assert "numpy" not in names
    assert {name for name in names if not name.startswith("psgd.co")} == {"psgd"}


def test_a_process_other_than_the_first_needs_no_yaml() -> None:
    """It unpickles the settings that the first process has read."""
    code = (
        "import pickle, subprocess, sys, psgd.jobs.launch.mpi, psgd.jobs.launch.ray; "
        "read = 'import pickle, sys; from psgd.config.resolve import resolve; ' "
        "'sys.stdout.buffer.write(pickle.dumps(resolve(None, []).settings))'; "
        "settings = pickle.loads(subprocess.check_output([sys.executable, '-c', read])); "
        "assert settings.training.batch_size_per_worker == 10; "
        "sys.exit('yaml' in sys.modules or 'psgd.config.document' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=Path(psgd.__file__).parents[1], timeout=LIMIT).returncode == 0
    )
