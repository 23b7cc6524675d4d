"""psgd.fit under Open MPI with fault tolerance: survivors return what an undisturbed call does, also to a callback."""

import json

import fit_run
import pytest
from processes import run
from test_fault_tolerance import openmpi

__all__ = ["openmpi"]

SGD = {"optimizer": "sgd"}  # without states of workers, so that no round before the last one is done again
ENDED = {**SGD, "end": 7}  # by the callback


def undisturbed(arguments):
    end = arguments.get("end")
    changes = {name: value for name, value in arguments.items() if name not in ("end", "calls", "output")}
    return fit_run.fit(None, callback=lambda progress: progress.round == end, **changes)


def lines(history):
    return [(row["round"], "weights" in row, row.get("test_accuracy")) for row in history]


@pytest.mark.parametrize(
    ("arguments", "deaths"),
    [
        ({**SGD, "output": "run"}, "barrier:37:0"),  # lines that it has held back are in the metrics
        (SGD, "barrier:37:0"),  # the next process takes over, and calls its callback
        ({"end": 7}, "barrier!:56:2 barrier~:56:0"),  # the first one is a round ahead, and its callback ended it there
        (ENDED, "all_gather!:75:2 all_gather~:75:1"),  # another one alone knows already that it is to end
        (ENDED, "all_gather!:75:0 all_gather~:75:1"),  # and the first, whose callback has asked for it, is lost
        ({"end": 7}, "confirm_end:1:1"),  # all go back to the start after they have ended
        (SGD, "all_gather!:66:2 all_gather~:66:0"),  # the first one alone has finished an evaluation
        (SGD, "all_gather!:66:2 all_gather~:66:1 barrier:60:0"),  # one that takes over later has
        ({**SGD, "calls": 2}, "barrier:37:0"),  # a later call has the survivors only
        (SGD, "confirm_end+:1:0"),  # when nothing is left to be done
    ],
)
def test_survivors_return_what_an_undisturbed_call_does(openmpi, tmp_path, arguments, deaths):
    expected = undisturbed(arguments)
    if "output" in arguments:
        arguments = {**arguments, "output": str(tmp_path / arguments["output"])}
    finished = run(openmpi.fault_tolerant(4, "tests/dying_fit.py", deaths, json.dumps(arguments)))
    assert finished.code == 0, finished
    survivors = [json.loads(line) for line in finished.stdout.splitlines()]
    victims = sum("~" not in death for death in deaths.split())
    assert len(survivors) == 4 - victims
    for found in survivors:
        names = ("parameters_sha256", "rounds", "status", "test_accuracy", "worker_steps")
        assert [found["summary"][name] for name in names] == [expected.summary[name] for name in names]
        assert found["history"] == survivors[0]["history"]
    assert lines(survivors[0]["history"]) == lines(expected.history)
    if "output" in arguments:
        written = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
        assert lines(map(json.loads, written)) == lines(expected.history)
    assert sum(found["first"] for found in survivors) == (0 if "end+" in deaths else 1)
