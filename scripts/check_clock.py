#!/usr/bin/env python
"""Check the modelled clock against whole runs over links of known speed: python scripts/check_clock.py

Two hosts, network namespaces joined by a bridge, have one worker each; `tc tbf` limits their links. Runs of psgd's own
command under MPICH's mpirun, over TCP, are compared with their modelled seconds: contributions of about 0.1, 1 and
10 MB, periods 1, 10 and 50, two links. The library's overhead is fitted to runs with smaller messages. Exit code 1 if
the median error exceeds 7 %, the worst 15 %, or the order is wrong where measured times are more than 15 % apart.

A step is a wait of known duration, since both hosts are one machine, whose cores they would have to share with whatever
else runs there. With --compute it is a step of a real network, as measured alone: for an idle machine.

Needs root, iproute2, MPICH and two cores. The least of several runs counts, since other programs can only add to it.
What was made is taken down at the end, also after a failure.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from psgd.compare.costs import measure, measure_contention
from psgd.compare.modelled.clock import Price, times
from psgd.compare.modelled.network import MPICH, Library, parse_network
from psgd.config.resolve import resolve
from psgd.config.settings import Settings
from psgd.data.dataset import Data
from psgd.data.sources.load import load_data
from psgd.jobs.build import build_job
from psgd.jobs.launch import mpi as launch
from psgd.learners.learner import Batch, TrainState
from psgd.optimizers.optimizer import Optimizer
from psgd.training.job import Job

ROOT = Path(__file__).parents[1]
LINKS = "100mbit", "300mbit"
BURST = "8kb"  # passes at once after a pause; lowered, it distorts short messages less and takes more of the CPU
SIZES = {"0.1 MB": "[32]", "1 MB": "[300]", "10 MB": "[1200,1200]"}  # contribution: hidden layers
SMALL = ["[2]", "[9]"]  # hidden layers of the networks to which the overhead is fitted, of 4 inputs: 0.2 and 0.6 kB
WAITS = {"[32]": 0.2e-3, "[300]": 1e-3, "[1200,1200]": 5e-3}  # hidden layers: seconds of a step
PERIODS = 1, 10, 50
UNCOUNTED = 1538 / 1514  # bytes of a packet on Ethernet, bytes that tbf counts: without preamble, CRC and gap
EXAMPLES, BATCH, WORKERS = 6000, 20, 2
SECONDS = 2.5  # of a run, about
MEDIAN, WORST, GAP = 0.07, 0.15, 0.15


class Point(NamedTuple):
    link: str
    hidden: str
    period: int

    def settings(self, epochs: float) -> list[str]:
        return [
            *(
                "data.source=synthetic",
                f"data.examples={EXAMPLES}",
                f"data.features={inputs_of(self.hidden)}",
                f"model.hidden={self.hidden}",
            ),
            *("strategy.name=parameter-averaging", f"strategy.period={self.period}", "optimizer.name=sgd"),
            *("optimizer.learning_rate=0.001", f"training.batch_size_per_worker={BATCH}", f"workers={WORKERS}"),
            *(f"training.epochs={epochs}", f"training.evaluate_every={epochs}"),
        ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=3, help="runs of each point, of which the least counts")
    parser.add_argument("--links", default=",".join(LINKS), help=f"rates of tc tbf; {','.join(LINKS)} if not given")
    parser.add_argument("--compute", action="store_true", help="steps of a real network, not waits")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was made is taken down
    links = options.links.split(",")
    grid = [Point(link, hidden, period) for link in links for hidden in SIZES.values() for period in PERIODS]
    small = [Point(link, hidden, 1) for link in links for hidden in SMALL]
    cells = {(p.hidden, p.period): cell_of(p, options.compute) for p in (*small, *grid) if p.link == links[0]}
    found: dict[Point, list[float]] = {point: [] for point in (*small, *grid)}
    for link in links:
        with hosts(link):
            for _ in range(options.repetitions):
                for point in (p for p in found if p.link == link):
                    wait = 0.0 if options.compute else cells[point.hidden, point.period]["costs"]["step"]
                    found[point].append(whole_run(point, cells[point.hidden, point.period], wait))
                    print(*point, found[point], file=sys.stderr)
            print(f"{link}: load average {os.getloadavg()[1]:.1f} in the last five minutes; 2 are the runs' own")
    least = {point: min(times) for point, times in found.items()}
    library = fitted(small, cells, least)
    print(f"overhead of a message, fitted: {library.overhead * 1e6:.0f} microseconds")
    return verdict({p: (modelled(p, cells[p.hidden, p.period], library), least[p]) for p in grid}, found)


@cache
def costs_of(hidden: str, period: int) -> dict[str, float]:
    settings = resolve(None, Point("", hidden, period).settings(1.0)).settings
    data = load_data(settings)
    costs = [{**measure(settings, data), **measure_contention(settings, data)} for _ in range(3)]
    return {name: median(each[name] for each in costs) for name in costs[0]}


def cell_of(point: Point, compute: bool) -> dict[str, Any]:
    """The entries of a cell of results.json on which the clock relies."""
    costs = costs_of(point.hidden, point.period if compute else 1)
    if not compute:
        costs = {**costs, "step": WAITS.get(point.hidden, min(WAITS.values())), "contention": 0.0}
    inputs, *units = inputs_of(point.hidden), *map(int, point.hidden.strip("[]").split(",")), 10
    size = 4 * sum((above + 1) * below for above, below in pairwise([inputs, *units]))
    print(point.hidden, point.period, {name: f"{value:.3g}" for name, value in costs.items()}, file=sys.stderr)
    cell = {"workers": WORKERS, "strategy": "parameter-averaging", "period": point.period, "speeds": [1.0] * WORKERS}
    return {**cell, "message_bytes": size, "costs": costs}


def inputs_of(hidden: str) -> int:
    return 4 if hidden in SMALL else 784


def modelled(point: Point, cell: dict[str, Any], library: Library) -> float:
    """Seconds of a round."""
    network = parse_network(f"{point.link},0us")
    network = network._replace(bandwidth=network.bandwidth * UNCOUNTED)
    # Both hosts are one machine, and slow each other down.
    price = Price(hosts=WORKERS, network=network, machine_speed=1 / (1 + cell["costs"]["contention"]))
    rounds = 1000
    run = {"rounds": rounds, "worker_steps": [rounds * point.period] * WORKERS, "series": {"rounds": [0, rounds]}}
    parts = times(cell, run, price, library)
    assert parts
    return float(parts.seconds[-1]) / rounds


def fitted(small: list[Point], cells: dict[tuple[str, int], dict[str, Any]], least: dict[Point, float]) -> Library:
    """The overhead of a message with which the small points come out, in the median."""
    without = MPICH._replace(overhead=0.0)
    one = MPICH._replace(overhead=1.0)
    overheads = []
    for point in small:
        cell = cells[point.hidden, point.period]
        base = modelled(point, cell, without)
        overheads.append((least[point] - base) / (modelled(point, cell, one) - base))
    return MPICH._replace(overhead=max(0.0, median(overheads)))


def whole_run(point: Point, cell: dict[str, Any], wait: float) -> float:
    """Seconds of a round, of training alone, in a run of about SECONDS. `wait`: of a step; 0 if it is a real one."""
    rounds = max(5, min(1000, round(SECONDS / modelled(point, cell, MPICH))))
    epochs = rounds * point.period * BATCH * WORKERS / EXAMPLES
    with tempfile.TemporaryDirectory() as directory:
        ssh = Path(directory, "ssh")
        ssh.write_text("#!/bin/sh\nfor host; do case $host in 10.*) break;; esac; shift; done; shift\n")
        ssh.write_text(ssh.read_text() + 'exec ip netns exec psgd-clock-${host##*.} sh -c "$*"\n')
        ssh.chmod(0o700)
        launcher = [str(Path(sys.executable).parent / "mpirun"), "-genvall", "-launcher", "ssh", "-launcher-exec"]
        where = ["-hosts", "10.77.8.1,10.77.8.2", "-ppn", "1", "-iface", "eth0", "-n", str(WORKERS)]
        command_line = [sys.executable, str(Path(__file__).resolve()), "run", str(wait)]
        job = [*command_line, *point.settings(epochs), "--quiet", "--output", f"{directory}/run"]
        # All hosts are one machine: without these, they would share memory.
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "UCX_TLS": "tcp,self", "UCX_NET_DEVICES": "eth0"}
        command = ["ip", "netns", "exec", "psgd-clock-1", *launcher, str(ssh), *where, *job]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        if done.returncode:
            sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
    summary = json.loads(done.stdout)
    assert summary["hosts"] == WORKERS, summary
    return float(summary["train_seconds"]) / summary["rounds"]


def train(wait: float, arguments: list[str]) -> int:
    """Under mpirun: run `psgd.train`; if `wait` is not 0, each local step is a wait of so many seconds."""

    def waits(state: TrainState, optimizer: Optimizer, batches: Iterable[Batch]) -> None:
        until = time.monotonic() + wait * sum(1 for _ in batches)  # reading the batches is part of it
        time.sleep(max(0.0, until - time.monotonic()))

    def build(settings: Settings, data: Data) -> Job:
        job = build_job(settings, data)
        if wait:
            job.learner.run = waits
        return job

    launch.build_job = build
    return launch.launch(arguments)


@contextmanager
def hosts(rate: str) -> Iterator[None]:
    """Two network namespaces, 10.77.8.1 and 10.77.8.2, on a bridge, with links of this rate in both directions."""
    limit = f"tbf rate {rate} burst {BURST} latency 50ms"
    up, down = ["link add psgd-clock type bridge", "link set psgd-clock up"], ["link del psgd-clock"]
    shaped = []
    for i in range(1, WORKERS + 1):
        space, outside, address = f"psgd-clock-{i}", f"psgd-clk-{i}", f"10.77.8.{i}/24"
        up += [
            f"netns add {space}",
            f"link add {outside} type veth peer name eth0 netns {space}",
            f"link set {outside} master psgd-clock up",
            *(f"-n {space} addr add {address} dev eth0", f"-n {space} link set lo up", f"-n {space} link set eth0 up"),
            f"-n {space} route change 10.77.8.0/24 dev eth0 src 10.77.8.{i} congctl cubic",
        ]
        down += [f"link del {outside}", f"netns del {space}"]
        shaped += [f"-n {space} qdisc add dev eth0 root {limit}", f"qdisc add dev {outside} root {limit}"]
    try:
        for command in up:
            subprocess.run(["ip", *command.split()], check=True)
        for command in shaped:
            subprocess.run(["tc", *command.split()], check=True)
        yield
    finally:
        for command in down:
            subprocess.run(["ip", *command.split()], check=False)


def verdict(pairs: dict[Point, tuple[float, float]], found: dict[Point, list[float]]) -> int:
    """Print the table, and return the exit code."""
    sizes = {hidden: size for size, hidden in SIZES.items()}
    print("link     contribution  period   modelled   measured  error   (milliseconds a round; all runs)")
    for p, (model, real) in pairs.items():
        runs = " ".join(f"{1e3 * each:.1f}" for each in found[p])
        head = f"{p.link:8} {sizes[p.hidden]:>12}  {p.period:6}"
        print(f"{head} {1e3 * model:10.2f} {1e3 * real:10.2f} {100 * (model / real - 1):+6.1f} %   ({runs})")
    errors = [abs(model / real - 1) for model, real in pairs.values()]
    wrong = 0
    for a, b in combinations(pairs, 2):  # by seconds a step, since rounds of unlike periods do unlike work
        (model_a, real_a), (model_b, real_b) = pairs[a], pairs[b]
        ratio, foretold = real_a / a.period / (real_b / b.period), model_a / a.period / (model_b / b.period)
        wrong += max(ratio, 1 / ratio) > 1 + GAP and (ratio > 1) != (foretold > 1)
    good = median(errors) <= MEDIAN and max(errors) <= WORST and not wrong
    summary = (
        f"median error {100 * median(errors):.1f} %, worst {100 * max(errors):.1f} %, {wrong} pairs in wrong order"
    )
    print(f"{summary}: {'holds' if good else 'DOES NOT HOLD'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(train(float(sys.argv[2]), sys.argv[3:]) if sys.argv[1:2] == ["run"] else main())
