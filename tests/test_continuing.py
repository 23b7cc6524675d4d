"""A run is resumed with the settings and data of its checkpoints, or with others if the user consents."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from command import command, refused, train
from processes import Running
from run_files import read_metrics

from psgd.config.resolve import resolve
from psgd.config.settings import Settings
from psgd.core.errors import StorageError, UsageError
from psgd.data.dataset import Data, Dataset
from psgd.data.fingerprint import SAMPLE_BYTES, fingerprint
from psgd.data.sources.load import load_data
from psgd.jobs.files.continuing import check_continues, keep_metrics
from psgd.training.checkpoint_files import CheckpointFiles

JOB = ("training.epochs=4", "strategy.period=20", "compile=never", "--quiet")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "run"
    assert train(*JOB, "--output", directory).code == 0
    return directory


@pytest.fixture
def run(finished, tmp_path) -> Path:
    """A copy of a finished run."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def settings(run: Path, *overrides: str) -> Settings:
    return resolve(str(run / "config.yaml"), list(overrides)).settings


def continues(run: Path, *overrides: str, consent: bool = False) -> list[str]:
    now = settings(run, *overrides)
    return check_continues(run, now, load_data(now), consent)


MAY_CHANGE = ("training.epochs=9", "group=threads", "training.target=0.9", "training.checkpoint_seconds=1")


@pytest.mark.parametrize("free", MAY_CHANGE)
def test_settings_on_which_training_so_far_does_not_depend_may_change(run, free):
    assert continues(run, free) == []


CONSENTED = {
    "optimizer.learning_rate=0.01": "optimizer.learning_rate: 0.001 there, 0.01 here",
    "optimizer.l2=0.1": "optimizer.l2: 0.0 there, 0.1 here",
    "training.evaluate_every=2": "training.evaluate_every: 1.0 there, 2.0 here",
}
IMPOSSIBLE = {
    "workers=6": "workers: 4 there, 6 here",
    "training.precision=float64": "training.precision: 'float32' there, 'float64' here",
    "model.hidden=[32]": r"model.hidden: \[64\] there, \[32\] here",
    "training.seed=1": "training.seed: 0 there, 1 here",
    "strategy.name=gradient-averaging": "strategy.name: 'weighted-averaging' there, 'gradient-averaging' here",
}


@pytest.mark.parametrize("change", CONSENTED)
def test_other_settings_need_consent(run, change):
    with pytest.raises(UsageError, match=rf"{CONSENTED[change]}\. To go on with these from here on, add --accept-cha"):
        continues(run, change)
    warning, said = continues(run, change, consent=True)
    assert (said, "config.until-round-" in warning) == (CONSENTED[change], True)
    (kept,) = run.glob("config.until-round-*.yaml")
    assert resolve(str(kept), []).settings.replace(group="auto") == settings(run)


@pytest.mark.parametrize("change", IMPOSSIBLE)
@pytest.mark.parametrize("consent", [False, True])
def test_settings_that_the_saved_state_does_not_fit_are_refused_with_and_without_consent(run, change, consent):
    with pytest.raises(UsageError, match=rf"{IMPOSSIBLE[change]}.*\. Start a new run"):
        continues(run, change, consent=consent)


@pytest.mark.parametrize("edit", [("learning_rate: 0.001", "learning_rate: 0.01"), ("workers: 4", "workers: 2")])
def test_the_checkpoint_and_not_an_edited_config_says_what_was_trained(run, edit):
    config = run / "config.yaml"
    config.write_text(config.read_text().replace(*edit))
    with pytest.raises(UsageError, match=r"there, .* here"):
        continues(run)


def test_a_config_that_is_cut_in_half_is_noticed(run):
    config = run / "config.yaml"
    lines = config.read_text().splitlines(keepends=True)
    differing = 0
    for count in range(len(lines)):
        config.write_text("".join(lines[:count]))
        try:
            changes = continues(run)
        except UsageError:
            differing += 1
        else:
            assert changes == [], count  # what is missing has its default
    assert differing > len(lines) / 2


def test_files_of_equal_data_may_have_another_name(tmp_path):
    """Whether the data are the same, their fingerprints say."""
    for name in "abc":
        (tmp_path / f"{name}.csv").write_text("x,y\n" + "".join(f"{n},{n % 2}\n" for n in range(20 + (name == "c"))))
    arguments = ("data.source=csv", f"data.path={tmp_path}/a.csv", "data.target=y", "training.batch_size_per_worker=5")
    tested = (*arguments, f"data.test_path={tmp_path}/a.csv", "training.epochs=1", "compile=never")
    assert train(*tested, "--output", tmp_path / "run").code == 0
    for name, changes in (("b", []), ("c", ["the test data: they are not the same"])):
        now = resolve(str(tmp_path / "run" / "config.yaml"), [f"data.test_path={tmp_path}/{name}.csv"]).settings
        now = now.replace(group="serial")
        assert check_continues(tmp_path / "run", now, load_data(now), consent=True)[1:] == changes


def test_with_damaged_checkpoints_the_older_one_says_what_was_trained(run):
    (run / "checkpoints" / "000000099-000000000").mkdir()
    (run / "checkpoints" / "000000099-000000000" / "checkpoint.json").write_text("{")
    with pytest.raises(UsageError, match="workers: 4 there, 5 here"):
        continues(run, "workers=5")


def test_changed_data_need_consent(run):
    now = settings(run)
    data = load_data(now)
    assert check_continues(run, now, data, consent=False) == []
    inputs = data.train.inputs.copy()
    inputs[700, 3] += 1
    changed = data._replace(train=Dataset(inputs, data.train.targets, data.train.classes, data.train.scale))
    with pytest.raises(UsageError, match=r"the training data: they are not the same.*--accept-changes"):
        check_continues(run, now, changed, consent=False)
    assert check_continues(run, now, changed, consent=True)[1:] == ["the training data: they are not the same"]


def test_fingerprints_cover_every_part_number_and_type(monkeypatch):
    rng = np.random.default_rng(0)
    inputs, labels = rng.random((50, 3)), rng.integers(0, 2, 50)

    def prints(inputs=inputs, labels=labels, classes=2, scale=1.0, test=None):
        return fingerprint(Data(Dataset(inputs, labels, classes, scale), test, None, ""))

    before = prints()
    assert before == prints(inputs.copy()) != {}
    other_input, other_label = inputs.copy(), labels.copy()
    other_input[49, 2] = np.nextafter(other_input[49, 2], 2)
    other_label[0] ^= 1
    others = [prints(other_input), prints(labels=other_label), prints(inputs.astype(np.float32)), prints(scale=0.5)]
    others.append(prints(classes=3))
    assert len({each["training"] for each in [before, *others]}) == 6
    assert prints(test=Dataset(inputs, labels, 2)).keys() == {"training", "test"}
    from psgd.data import fingerprint as module

    monkeypatch.setattr(module, "WHOLE_BYTES", 64)  # as for arrays that do not fit into memory
    monkeypatch.setattr(module, "SAMPLE_BYTES", 32)
    assert SAMPLE_BYTES > 32
    assert prints() == prints(inputs.copy()) != prints(other_input)


def test_a_run_goes_on_with_other_settings_after_consent_and_resumes_without(run):
    """Once more: the checkpoint that is written at once has the new settings."""
    change = ("--resume", "training.epochs=300", "optimizer.learning_rate=0.01", "compile=never", "--output", run)
    refused(train(*change), 2, "optimizer.learning_rate: 0.001 there, 0.01 here")
    running = Running([*command(), *map(str, change), "--accept-changes"])
    running.wait_until(lambda: "0.01" in str(CheckpointFiles(run).about(CheckpointFiles(run).tags()[0])["experiment"]))
    running.kill_everything()
    assert not (run / "summary.json").exists()  # it said of the run before that it was done
    again = train("--resume", "training.epochs=301", "compile=never", "--output", run)
    assert again.code == 0, again
    assert settings(run).optimizer.learning_rate == 0.01
    refused(train("--accept-changes", "--output", run), 2, "is for --resume")


def test_a_run_without_a_checkpoint_begins_anew_and_keeps_its_metrics(run):
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(UsageError, match="has no checkpoint to go on from"):
        continues(run)
    (run / "summary.json").unlink()  # now it was killed before its first checkpoint
    before = (run / "metrics.jsonl").read_text()
    assert continues(run) == []
    finished = train("--resume", "--output", run)
    assert finished.code == 0, finished
    assert "kept in metrics.before-1.jsonl" in finished.stderr
    assert (run / "metrics.before-1.jsonl").read_text() == before
    rows = read_metrics(run)
    assert [row["round"] for row in rows] == [json.loads(line)["round"] for line in before.splitlines()]
    assert keep_metrics(run) is None  # there are checkpoints now


def test_checkpoints_of_another_version_are_kept(run):
    for path in run.glob("checkpoints/*/checkpoint.json"):
        path.write_text(re.sub(r',\s*"checksum": \d+', "", path.read_text()).replace('"format": 3', '"format": 2'))
    with pytest.raises(StorageError, match=r"format 2; this one .* reads format 3: resume with that one"):
        continues(run)
