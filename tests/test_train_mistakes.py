"""The command psgd.train refuses arguments, configs and data with one line, and leaves no files."""

import gzip

import numpy as np
import pytest
from command import call, refused, train
from idx_files import write_idx

__all__ = ["call"]  # a fixture


def test_a_model_larger_than_memory_is_refused(tmp_path):
    refusal = train("model.hidden=[1000000000]", "--output", tmp_path / "run")
    refused(
        refusal, 2, "75,000,000,010 parameters, 4 workers and batches of 10 need ", "TB at least, and", "model.hidden"
    )
    assert not (tmp_path / "run").exists()


def test_a_batch_larger_than_the_data_is_refused(tmp_path):
    arguments = ("data={source: synthetic, examples: 6, features: 3, classes: 2}", "training.epochs=1")
    refused = train(*arguments, "training.batch_size_per_worker=7", "--output", tmp_path / "run")
    assert refused.code == 2, refused
    assert "training.batch_size_per_worker is 7, but there are 6 training examples" in refused.stderr
    assert "use at most 6" in refused.stderr
    assert not (tmp_path / "run").exists()
    assert train(*arguments, "training.batch_size_per_worker=6", "--output", tmp_path / "run").code == 0
    drawn = train(
        *arguments, "training.batch_size_per_worker=7", "data.mode=replacement", "--output", tmp_path / "drawn"
    )
    assert drawn.code == 0, drawn  # with replacement, a step may use an example twice


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["training.epocs=1"], ["did you mean epochs?"]),
        (["workers=0"], ["workers is 0"]),
        (["training.batch_size_per_worker=-5"], ["is -5"]),
        (["training.epochs=many"], ['is "many"']),
        (["missing.yaml"], ["missing.yaml"]),
        (["group=mpi", "cluster.processes=3"], ["cluster.processes"]),
        (["--resume", "--overwrite"], ["choose one"]),
        (["--overwrite"], ["--output DIR"]),
    ],
)
def test_usage_errors(call, tmp_path, arguments, words):
    refused(call(*arguments, f"output={tmp_path}/x"), 2, *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("training: {epochs: 1, epochs: 2}", ["given twice"]),
        ("workers: [", ["not valid YAML"]),
        ("workers: '4'", ['workers is "4"']),
        ("strategy: {name: weighted-averaging, rat: 1}", ["strategy.rat"]),
    ],
)
def test_invalid_config_files(call, tmp_path, text, words):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    refused(call(path, f"output={tmp_path}/x"), 2, *words, str(path))
    assert [p.name for p in tmp_path.iterdir()] == ["a.yaml"]


def test_truncated_and_missing_data_are_errors(tmp_path):
    images, labels = np.zeros((20, 4, 4), np.uint8), np.arange(20, dtype=np.uint8) % 3
    write_idx(tmp_path / "data", images, labels)
    path = tmp_path / "data" / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-7]))
    arguments = ("data.source=idx", f"data.path={tmp_path}/data", "--output", tmp_path / "x")
    refused(train(*arguments), 3, "train-images-idx3-ubyte.gz")
    path.unlink()
    refused(train(*arguments), 3, "train-images-idx3-ubyte.gz")
    nowhere = {"PSGD_DATA": str(tmp_path), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    refused(train("data.source=mnist", "--output", tmp_path / "x", **nowhere), 3, "PSGD_DATA")
    assert not (tmp_path / "x").exists()
