"""A comparison that takes seconds, and what lets tests call psgd.compare in this process."""

import signal
from pathlib import Path
from typing import Any

import pytest

from psgd.compare import command, directory
from psgd.config.document import to_yaml
from psgd.training.signals import heeded_signals

ARMS = {
    "sync": {"strategy.name": "gradient-averaging"},
    "average": {"strategy.name": "parameter-averaging", "strategy.period": 1},
    "weighted": {"strategy.name": "weighted-averaging", "strategy.period": 1},
    "broken": {"strategy.name": "gradient-averaging", "training.batch_size_per_worker": 5000},
}
TINY = {
    "arms": ARMS,
    "seeds": [0],
    "tune": {"optimizer.learning_rate": {"values": [0.1, 0.2]}, "for_each": [], "seeds": [100]},
    "budget": {"epochs": 1, "evaluate_every": 0.5},
    "price": {"here": "measured", "slow": {"hosts": 2, "network": "1Mbit,1ms"}},
}
BASE = {
    "optimizer": {"name": "sgd"},
    "workers": 2,
    "training": {"batch_size_per_worker": 20},
    "group": "serial",
}


def configured(where: Path, **sections: Any) -> Path:
    (where / "base.yaml").write_text(to_yaml(BASE))
    (where / "tiny.yaml").write_text(to_yaml({"base": "base.yaml", **TINY, **sections}))
    return where / "tiny.yaml"


@pytest.fixture
def in_process(monkeypatch):
    """Lets `main` be called here: the report is left out, and neither the lock nor a handler of signals stays."""
    before = {number: signal.getsignal(number) for number in heeded_signals()}
    monkeypatch.setattr(directory, "lock", lambda path: None)
    monkeypatch.setattr(command, "write_report", lambda where, results, times: [])
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
