"""The config: names that do not exist suggest those that do, and all problems are in one message."""

import pytest
from config_problems import WriteFile, file, only_problem, problems

from psgd.config.comparison_file import read_comparison
from psgd.config.resolve import resolve
from psgd.core.errors import UsageError

__all__ = ["file"]  # a fixture


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("strategy.rat=1", "strategy.rat is not a setting of weighted-averaging; "
         "known are name, period, optimizer_state, outer, contraction"),
        ("training.batch_size=5",
         "training.batch_size is not a setting of training; did you mean batch_size_per_worker?"),
        ("epochs=3", "epochs is not a setting; did you mean training.epochs?"),
        ("epoch=3", "epoch is not a setting; did you mean training.epochs?"),
        ("seed=3", "seed is not a setting; did you mean training.seed?"),
        ("traning.epochs=3", "traning is not a setting; did you mean training?"),
        ("training.workers=3", "training.workers is not a setting of training; did you mean workers?"),
        ("training.learning_rate=3",
         "training.learning_rate is not a setting of training; did you mean optimizer.learning_rate?"),
        ("optimizer.lr=1", "optimizer.lr is not a setting of adam; did you mean learning_rate?"),
        ("lr=1", "lr is not a setting; did you mean optimizer.learning_rate?"),
        ("optimizer.momentum=.9",
         "optimizer.momentum is not a setting of adam, but of sgd; leave it out or change optimizer.name"),
        ("data.zzzz=1", "data.zzzz is not a setting of digits; known are source, path, mode, validation"),
        ("epochs", "'epochs' is not of the form key.path=value, such as training.epochs=5"),
        ("=", "'=' is not of the form key.path=value, such as training.epochs=5; write it without spaces"),
        ("mnist", "'mnist' is not of the form key.path=value, such as training.epochs=5; there is one config, and it "
         "comes before all settings"),
        ("optimizer.name=SGD", 'optimizer.name is "SGD"; it must be one of sgd, adam, amsgrad; did you mean sgd?'),
        (".epochs=1", "'.epochs=1' is not of the form key.path=value, such as training.epochs=5"),
    ],
)  # fmt: skip
def test_unknown_names_suggest_known_ones(override: str, said: str) -> None:
    assert only_problem(None, override) == f"command line: {said}"


def test_values_of_the_command_line_are_strict_yaml_too() -> None:
    assert "'data.path=[1': not valid YAML" in only_problem(None, "data.path=[1")
    assert "epochs is given twice" in only_problem(None, "training={epochs: 1, epochs: 2}")


def test_every_problem_is_in_one_message_with_its_origin(file: WriteFile) -> None:
    path = file("strategy: {rat: 1}\ntraining: {epochs: -3, seed: x}\nfoo: 1\ncluster: {speeds: [1, 1]}\nmodel: 3\n")
    assert set(problems(path, "training.seed=-1", "workers", "group=mpi", "cluster.processes=2")) == {
        "a.yaml: foo is not a setting; known are data, model, optimizer, strategy, training, workers, group, device, "
        "compile, cluster, record, output",
        "a.yaml: model is 3; it must be a mapping of settings; did you mean model.hidden?",
        "a.yaml: strategy.rat is not a setting of weighted-averaging; known are name, period, optimizer_state, "
        "outer, contraction",
        "a.yaml: training.epochs is -3; it must be greater than 0",
        "a.yaml: cluster.speeds names 2 speeds, but workers is 4; give one speed for each worker",
        "command line: 'workers' is not of the form key.path=value, such as training.epochs=5",
        "command line: cluster.processes is 2, but group is mpi, which has as many as its launcher starts; "
        "leave it out",
        "command line: training.seed is -1; it must be at least 0",
    }


def test_a_copy_with_other_values_rejects_unknown_settings() -> None:
    settings = resolve(None, []).settings
    assert settings.replace(workers=2).workers == 2
    assert settings.workers == 4
    with pytest.raises(TypeError, match="Settings has no setting worker"):
        settings.replace(worker=2)


def test_the_config_of_a_comparison_is_told_from_one_of_a_job(tmp_path):
    (tmp_path / "both.yaml").write_text("arms: {a: {}}\nseeds: [1]\n")
    (tmp_path / "job.yaml").write_text("strategy: {}\ndata: {source: digits}\n")
    with pytest.raises(
        UsageError, match=r"^[^\n]*this is the config of a comparison, which has arms; use psgd compare"
    ):
        resolve(str(tmp_path / "both.yaml"), [])
    with pytest.raises(UsageError, match=r"^[^\n]*this is the config of a job, which has data, strategy, and not of a"):
        read_comparison(str(tmp_path / "job.yaml"))
