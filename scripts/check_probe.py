"""Check the forecasts of `--dry-run` against measurements: python scripts/check_probe.py [A C E] [seconds of each run]

For each network it prints the probe's forecasts beside the measured speed under `mpirun -n 1` and `-n 2`, and whether
the recommended choice reaches at least nine tenths of the best speed; exit code 1 if not. Use a quiet machine.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
_SIGMOID = ["model.activation=sigmoid", "model.loss=squared-error"]
NETWORKS = {
    "A": ["data.features=1000", "model.hidden=[900,900,900]", "training.batch_size_per_worker=100", *_SIGMOID],
    "C": ["data.features=784", "model.hidden=[16,16]", "training.batch_size_per_worker=100", *_SIGMOID],
    "E": [
        *("data.features=7", "data.classes=2", "model.hidden=[15]", "model.activation=relu"),
        *("model.loss=binary-cross-entropy", "training.batch_size_per_worker=150"),
    ],
}
COMMON = ["data.source=synthetic", "data.examples=6000", "optimizer.name=sgd", "optimizer.learning_rate=0.01"]
STRATEGIES = ("gradient-averaging", "parameter-averaging")
EPOCH, REPEATS = 6000, 3
CLOSE = 0.9  # share of the best speed that counts as equally good


def command(processes: int, *arguments: str) -> str:
    launcher = [str(Path(sys.executable).parent / "mpirun"), "-n", str(processes)] if processes else []
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = [*launcher, sys.executable, "-m", "psgd.train", *arguments]
    return subprocess.run(started, env=environment, capture_output=True, text=True, check=True).stdout


def forecasts(text: str) -> tuple[dict[tuple[str, int], float], str]:
    """Parse ({(strategy, workers): examples/s} where each worker has a core, the recommendation)."""
    found = {}
    for workers, cores, *rates in re.findall(r"^ +(\d+) +(\d+) +([\d,]+) +([\d,]+)", text, re.M):
        if workers == cores:
            found |= {(s, int(workers)): float(r.replace(",", "")) for s, r in zip(STRATEGIES, rates, strict=True)}
    return found, re.findall(r"^Recommendation: (.*)\.$", text, re.M)[0]


def measured(network: list[str], strategy: str, workers: int, rate: float, seconds: float) -> float:
    """The median examples/s of several runs of about `seconds`."""
    epochs = max(1.0, round(rate * seconds / EPOCH))
    rates = []
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as directory:
            settings = [f"strategy.name={strategy}", f"workers={workers}", f"training.epochs={epochs}"]
            run = [*settings, f"training.evaluate_every={epochs}", "--quiet", "--output", f"{directory}/run"]
            rates.append(json.loads(command(workers, *COMMON, *network, *run))["examples_per_second"])
    return statistics.median(rates)


def main(names: list[str], seconds: float) -> int:
    agreed = True
    print("network strategy             workers   foretold   measured  foretold/measured")
    for name in names:
        network = NETWORKS[name]
        foretold, sentence = forecasts(command(0, *COMMON, *network, "strategy.name=parameter-averaging", "--dry-run"))
        real = {}
        for (strategy, workers), rate in sorted(foretold.items()):
            if workers <= 2:
                real[strategy, workers] = found = measured(network, strategy, workers, rate, seconds)
                print(f"{name:7} {strategy:20} {workers:7} {rate:10,.0f} {found:10,.0f} {rate / found:18.2f}")
        matched = re.match(r"(\d+) workers by ([a-z-]+)", sentence)
        workers, strategy = (int(matched[1]), matched[2]) if matched else (1, STRATEGIES[1])
        chosen = real[strategy, workers] if workers > 1 else max(real[s, 1] for s in STRATEGIES)
        agrees = chosen >= CLOSE * max(real.values())
        agreed &= agrees
        verdict = "agrees" if agrees else "DISAGREES"
        print(f"{name:7} {sentence}: {verdict}, {chosen / max(real.values()):.2f} of the best measured")
    return 0 if agreed else 1


if __name__ == "__main__":
    chosen = [a for a in sys.argv[1:] if a in NETWORKS]
    lasting = [float(a) for a in sys.argv[1:] if a not in NETWORKS]
    sys.exit(main(chosen or list(NETWORKS), lasting[0] if lasting else 2.0))
