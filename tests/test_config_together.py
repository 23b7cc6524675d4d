"""The config: the command line over the file, what must hold between settings, and resolved configs that run."""

import pytest
from config_problems import WriteFile, file, only_problem

from psgd.config.resolve import dump, resolve

__all__ = ["file"]  # a fixture


# --- the command line over the file


def test_the_command_line_overrides_the_file_which_overrides_the_defaults(file: WriteFile) -> None:
    path = file("training: {epochs: 3, seed: 7}\nworkers: 2\n")
    settings = resolve(path, ["training={epochs: 5}", "workers=8", "workers=6"]).settings
    assert (settings.training.epochs, settings.training.seed, settings.workers) == (5.0, 7, 6)
    assert settings.training.batch_size_per_worker == 10


def test_an_invalid_value_in_the_file_may_be_overridden(file: WriteFile) -> None:
    assert resolve(file("training: {epochs: -1}"), ["training.epochs=2"]).settings.training.epochs == 2.0


@pytest.mark.parametrize(
    ("text", "override", "dropped"),
    [
        ("strategy: {name: weighted-averaging, period: 9, contraction: 0.5}", "strategy.name=gradient-averaging",
         ["strategy.period: 9", "strategy.contraction: 0.5"]),
        ("strategy: {period: 9, contraction: 0.5}", "strategy.name=parameter-averaging", ["strategy.contraction: 0.5"]),
        ("strategy: {period: 9}", "strategy={name: gradient-averaging}", ["strategy.period: 9"]),
        ("optimizer: {beta1: 0.8, l2: 0.1}", "optimizer.name=sgd", ["optimizer.beta1: 0.8"]),
        ("data: {source: idx, path: p, validation: 0.1}", "data.source=digits", ['data.path: "p"']),
        ("data: {source: idx, path: p, validation: 0.1}", "data.source=mnist", []),
        ("data: {source: synthetic, examples: 7}", "data.source=mnist", ["data.examples: 7"]),
        ("strategy: {name: wrong, period: 9}", "strategy.name=gradient-averaging", ["strategy.period: 9"]),
    ],
)  # fmt: skip
def test_another_choice_drops_keys_that_it_does_not_have_and_says_so(
    file: WriteFile, text: str, override: str, dropped: list[str]
) -> None:
    settings, notes = resolve(file(text), [override])
    assert len(notes) == len(dropped)
    for note, start in zip(notes, dropped, strict=True):
        assert note.startswith(f"{start} of a.yaml was left out: ")
        assert (
            start.partition(":")[0].split(".")[1] not in settings.model_dump()[start.partition(".")[0]]
            or "path" in start
        )
    assert resolve(file(dump(settings)), []).settings == settings


def test_another_choice_keeps_the_keys_that_it_has(file: WriteFile) -> None:
    path = file("optimizer: {name: adam, learning_rate: 0.002, l2: 0.5}")
    settings, notes = resolve(path, ["optimizer.name=sgd"])
    assert (settings.optimizer.learning_rate, settings.optimizer.l2) == (0.002, 0.5)
    assert notes == [
        "optimizer.learning_rate: 0.002 of a.yaml, meant for adam, was kept for sgd (whose default is 0.1)"
    ]
    assert resolve(path, ["optimizer.name=sgd", "optimizer.learning_rate=1"]).notes == []


def test_a_key_that_does_not_fit_its_own_choice_is_an_error(file: WriteFile) -> None:
    path = file("strategy: {name: gradient-averaging, period: 9}")
    said = "strategy.period is not a setting of gradient-averaging, but of parameter-averaging, weighted-averaging"
    assert only_problem(path).startswith(f"a.yaml: {said}")
    # A choice on the command line does not make the file valid.
    assert only_problem(path, "strategy.name=weighted-averaging").startswith(f"a.yaml: {said}")
    both = ("strategy.name=gradient-averaging", "strategy.period=9")
    assert only_problem(None, *both).startswith(f"command line: {said}")


def test_a_key_of_no_choice_is_never_dropped(file: WriteFile) -> None:
    problem = only_problem(file("strategy: {perod: 9}"), "strategy.name=gradient-averaging")
    assert problem.startswith("a.yaml: strategy.perod is not a setting of gradient-averaging")


# --- between settings

PAPER = ("strategy.contraction=auto", "optimizer.name=sgd", "optimizer.l2=0.01")


def test_contraction_auto_is_for_plain_sgd_with_l2() -> None:
    assert resolve(None, list(PAPER)).settings.strategy.contraction == "auto"


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("optimizer.l2=0", "optimizer.l2 is 0 (it would silently be uniform averaging)"),
        ("optimizer.name=adam", "optimizer.name is adam"),
        ("optimizer.momentum=0.9", "optimizer.momentum is 0.9"),
        ("optimizer.schedule=cosine", "optimizer.schedule is cosine"),
        ("optimizer.warmup=1", "optimizer.warmup is 1.0"),
        ("optimizer.l1=0.1", "optimizer.l1 is 0.1"),
        ("optimizer.clip_norm=2", "optimizer.clip_norm is 2.0"),
        ("optimizer.learning_rate=100", "1 - learning_rate * l2 is 0.0, not between 0 and 1"),
        ("optimizer.learning_rate=1e-20", "1 - learning_rate * l2 is 1.0, not between 0 and 1"),
    ],
)
def test_contraction_auto_elsewhere_is_an_error_with_its_reason(override: str, reason: str) -> None:
    problem = only_problem(None, *PAPER, override)
    assert problem.startswith("command line: strategy.contraction is auto, that is 1 - learning_rate * l2")
    assert f"but {reason}; set strategy.contraction to holdout or to a number" in problem


def test_a_conflict_names_the_command_line_if_it_takes_part(file: WriteFile) -> None:
    path = file("strategy: {contraction: auto}\noptimizer: {name: sgd, l2: 0.1}\n")
    assert resolve(path, ["training.epochs=1"]).notes == []
    assert only_problem(path, "optimizer.l2=0").startswith("command line: strategy.contraction")
    path = file("strategy: {contraction: auto}\n")
    assert only_problem(path, "training.epochs=1").startswith("a.yaml: strategy.contraction")


def test_an_invalid_value_causes_no_second_problem() -> None:
    only_problem(None, *PAPER, "optimizer.l2=x")
    only_problem(None, "cluster.speeds=[1, 1]", "workers=two")
    only_problem(None, *PAPER[:1], "optimizer.name=sdg")


def test_nesterov_needs_momentum() -> None:
    assert "optimizer.momentum is 0" in only_problem(None, "optimizer.name=sgd", "optimizer.nesterov=true")
    resolve(None, ["optimizer.name=sgd", "optimizer.nesterov=true", "optimizer.momentum=0.9"])


def test_speeds_fit_the_workers() -> None:
    assert "names 2 speeds, but workers is 4" in only_problem(None, "cluster.speeds=[1, 0.5]")
    assert "set workers: 2" in only_problem(None, "cluster.speeds=[1, 0.5]", "workers=auto")
    assert "its largest must be 1" in only_problem(None, "cluster.speeds=[0.9, 0.5]", "workers=2")
    resolve(None, ["cluster.speeds=[1, 0.5]", "workers=2"])


@pytest.mark.parametrize(
    ("group", "right"), [("auto", True), ("threads", True), ("ray", True), ("mpi", False), ("serial", False)]
)
def test_processes_are_for_threads_and_ray(group: str, right: bool) -> None:
    arguments = ["cluster.processes=2", f"group={group}"]
    if right:
        resolve(None, arguments)
    else:
        assert f"cluster.processes is 2, but group is {group}" in only_problem(None, *arguments)


@pytest.mark.parametrize(
    ("arguments", "validation", "notes"),
    [
        (["cluster.speeds=[1, 1, 1, 0.5]"], 0.05, 1),
        (["cluster.speeds=[1, 1, 1, 0.5]", "data.validation=0.2"], 0.2, 0),
        (["cluster.speeds=[1, 1, 1, 0.5]", "strategy.contraction=0.9"], 0.0, 0),
        (["cluster.speeds=[1, 1, 1, 1]", "strategy.name=parameter-averaging"], 0.0, 0),
        (["cluster.speeds=[1, 1, 1, 1]"], 0.0, 0),
        ([], 0.0, 0),
    ],
)
def test_validation_data_are_held_out_where_a_choice_depends_on_them(
    arguments: list[str], validation: float, notes: int
) -> None:
    resolved = resolve(None, arguments)
    assert resolved.settings.data.validation == validation
    assert len(resolved.notes) == notes
    assert all(note.startswith("data.validation is 0.05, not 0: ") for note in resolved.notes)


@pytest.mark.parametrize("name", ["gradient-averaging", "parameter-averaging", "weighted-averaging"])
@pytest.mark.parametrize("speeds", ["null", "[1, 1, 1, 1]", "[1, 1, 1, 0.5]"])
def test_speeds_that_do_nothing_are_told(name, speeds):
    notes = " ".join(resolve(None, [f"cluster.speeds={speeds}", f"strategy.name={name}"]).notes)
    told = f"cluster.speeds does nothing: with strategy.name {name} all workers take as many steps" in notes
    assert told == (name != "weighted-averaging" and "0.5" in speeds)


@pytest.mark.parametrize(
    ("loss", "activation", "output"),
    [
        ("cross-entropy", "sigmoid", "softmax"), ("binary-cross-entropy", "relu", "sigmoid"),
        ("hinge", "tanh", "identity"),
        ("huber", "sigmoid", "identity"), ("squared-error", "relu", "identity"),
        ("squared-error", "sigmoid", "sigmoid"),
        ("squared-error", "tanh", "tanh"),
    ],
)  # fmt: skip
def test_the_default_output_fits_the_loss(loss: str, activation: str, output: str) -> None:
    arguments = [f"model.loss={loss}", f"model.activation={activation}"]
    assert resolve(None, arguments).settings.model.output == output


def test_regression() -> None:
    regression = ("data.source=synthetic", "data.classes=0")
    settings = resolve(
        None, [*regression, "model.loss=squared-error", "model.activation=tanh", "training.target=7"]
    ).settings
    assert settings.model.output == "identity"
    for loss in ("cross-entropy", "binary-cross-entropy", "hinge"):
        assert "use squared-error or huber" in only_problem(None, *regression, f"model.loss={loss}")


def test_outputs_that_a_loss_cannot_use_are_errors() -> None:
    assert "needs softmax" in only_problem(None, "model.output=sigmoid")
    assert "needs sigmoid;" in only_problem(None, "model.loss=binary-cross-entropy", "model.output=tanh")
    resolve(None, ["model.loss=squared-error", "model.output=softmax"])


@pytest.mark.parametrize("target", [0, 1.5, 97])
def test_a_target_for_classes_is_an_accuracy(target: float) -> None:
    assert "it is an accuracy, greater than 0 and at most 1" in only_problem(None, f"training.target={target}")
