"""A rival of bench_gpu.py on this machine's GPU, in a process of its own:

    python scripts/rivals_gpu.py PyTorch|"PyTorch compiled"|"PyTorch graph"|JAX NETWORK...

Prints, as a line of JSON for each network, microseconds a step, and loss and distance moved of the first batches; or
what went wrong. Exit code 1 if the library is missing or sees no GPU.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402
from bench_step import flat, ready  # noqa: E402
from benchmark import contender_environment  # noqa: E402
from gpu_training import ON_GPU, READY_BYTES, timed  # noqa: E402
from networks import Network  # noqa: E402
from rivals import (  # noqa: E402
    BETA1,
    BETA2,
    EPSILON,
    Trainer,
    Weights,
    initial_weights,
    jax_trainer,
    torch_loss,
    torch_model,
    torch_targets,
)

COMPARED = 10  # steps after which results must agree; after many more, roundings make them differ in B
MOST_BATCHES = 100  # of a graph


def main() -> int:
    rival, *names = sys.argv[1:]
    if wrong := unusable(rival):
        print(wrong, file=sys.stderr)
        return 1
    for name in names:
        found: dict[str, Any]
        try:
            found = measured(TRAINERS[rival], ON_GPU[name])
        except Exception as error:  # the other networks may do
            found = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps({name: found}), flush=True)
    return 0


def unusable(rival: str) -> str:
    """Why it cannot run here, if so."""
    if rival == "JAX":
        if find_spec("jax") is None:
            return "JAX is not installed"
        import jax

        return "" if jax.default_backend() == "gpu" else f"JAX sees no GPU, only its {jax.default_backend()}"
    if find_spec("torch") is None:
        return "PyTorch is not installed"
    import torch

    return "" if torch.cuda.is_available() else "PyTorch sees no GPU"


def measured(trainer_of: Callable[..., Trainer], network: Network) -> dict[str, float]:
    X_NBF, T_NBO = ready(network, READY_BYTES)
    first = trainer_of(network, X_NBF[:COMPARED], T_NBO[:COMPARED])
    loss = first.train() / first.steps
    moved = float(np.linalg.norm(flat(first.weights()) - flat(initial_weights(network))))
    trainer = trainer_of(network, X_NBF, T_NBO)
    trainer.train()  # compiles
    return {"loss": loss, "moved": moved, "microseconds": timed(trainer.train, trainer.steps)}


def measured_rival(rival: str, names: list[str], limit: float) -> dict[str, dict[str, Any]]:
    """In a process of its own. RuntimeError with the reason if it is not here."""
    command = [sys.executable, str(ROOT / "scripts" / "rivals_gpu.py"), rival, *names]
    variables = {"JAX_DEFAULT_MATMUL_PRECISION": "highest", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    environment = contender_environment()
    try:
        done = subprocess.run(
            command, env=environment | variables, capture_output=True, text=True, timeout=limit, cwd=ROOT
        )
    except subprocess.TimeoutExpired as late:  # what it has printed counts
        return in_lines((late.stdout or b"").decode(), names, f"not done within {limit:.0f} s")
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    if done.returncode and not done.stdout:
        raise RuntimeError(lines[-1] if lines else f"exit code {done.returncode}")
    return in_lines(done.stdout, names, lines[-1] if lines else "no result")


def in_lines(printed: str, names: list[str], otherwise: str) -> dict[str, dict[str, Any]]:
    """The lines that rivals_gpu.py printed, and for other networks, why there is none."""
    found: dict[str, dict[str, Any]] = {name: {"error": otherwise} for name in names}
    for line in printed.splitlines():
        if line.startswith("{") and line.endswith("}"):
            found |= json.loads(line)
    return found


def torch_on_gpu(network: Network, X_NBF: np.ndarray, T_NBO: np.ndarray, way: str) -> Trainer:
    """PyTorch over N batches in the GPU's memory: eager, compiled, or by CUDA graphs of MOST_BATCHES steps."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    model, loss_of = torch_model(network, initial_weights(network)).to("cuda"), torch_loss(network)
    optimizer = torch_fused(network, model)
    batches = list(zip(torch.from_numpy(X_NBF).to("cuda"), torch_targets(network, T_NBO).to("cuda"), strict=True))
    total = torch.zeros((), device="cuda")

    def forward(X_BF: Any, T_BO: Any) -> Any:
        return loss_of(model(X_BF), T_BO)

    if way == "compiled":
        forward = torch.compile(forward, mode="reduce-overhead")

    def step(X_BF: Any, T_BO: Any) -> None:
        optimizer.zero_grad()
        loss = forward(X_BF, T_BO)
        loss.backward()
        total.add_(loss.detach())
        optimizer.step()

    def take(some: list[Any]) -> Callable[[], None]:
        def steps() -> None:
            for X_BF, T_BO in some:
                step(X_BF, T_BO)

        return steps

    parts = [take(batches)]
    if way == "graph":
        parts = torch_graphs(
            [take(batches[at : at + MOST_BATCHES]) for at in range(0, len(batches), MOST_BATCHES)], model
        )
        restart(optimizer, model, network)
        total.zero_()

    def train() -> float:
        total.zero_()
        for part in parts:
            part()
        return float(total)  # waits

    def weights() -> Weights:
        linear = [layer for layer in model if isinstance(layer, torch.nn.Linear)]
        return [(layer.weight.detach().cpu().numpy().T, layer.bias.detach().cpu().numpy()) for layer in linear]

    return Trainer(train, weights, len(batches))


def torch_fused(network: Network, model: Any) -> Any:
    """PyTorch's fused optimizer, which a graph can hold."""
    import torch

    if network.optimizer == "adam":
        betas = (BETA1, BETA2)
        return torch.optim.Adam(
            model.parameters(), lr=network.learning_rate, betas=betas, eps=EPSILON, fused=True, capturable=True
        )
    return torch.optim.SGD(model.parameters(), lr=network.learning_rate, fused=True)


def torch_graphs(parts: list[Callable[[], None]], model: Any) -> list[Callable[[], None]]:
    """Capture each part, as PyTorch's documentation does it: some steps on a stream beside, then the capture."""
    import torch

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):
            parts[0]()
    torch.cuda.current_stream().wait_stream(side)
    graphs = []
    for part in parts:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            part()
        graphs.append(graph.replay)
    return graphs


def restart(optimizer: Any, model: Any, network: Network) -> None:
    """Put parameters and the optimizer's state back to the start, in place: a graph knows their addresses."""
    import torch

    with torch.no_grad():
        linear = [layer for layer in model if isinstance(layer, torch.nn.Linear)]
        for layer, (W_IO, b_O) in zip(linear, initial_weights(network), strict=True):
            layer.weight.copy_(torch.from_numpy(W_IO.T))
            layer.bias.copy_(torch.from_numpy(b_O))
        for state in optimizer.state.values():
            for value in state.values():
                if isinstance(value, torch.Tensor):
                    value.zero_()


TRAINERS: dict[str, Callable[..., Trainer]] = {
    "PyTorch": partial(torch_on_gpu, way="eager"),
    "PyTorch compiled": partial(torch_on_gpu, way="compiled"),
    "PyTorch graph": partial(torch_on_gpu, way="graph"),
    "JAX": jax_trainer,
}


if __name__ == "__main__":
    sys.exit(main())
