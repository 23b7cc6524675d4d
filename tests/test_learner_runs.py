"""A learner's own state, and runs of many steps."""

from functools import partial

import numpy as np
import pytest
from learner_batches import FLOAT32, FLOAT64, SEED, WIDE, loss_of, some_batch, some_parameters

from psgd.learners.layered_learner import WeightSettings
from psgd.learners.learner import Batch, Learner, TrainState
from psgd.learners.losses import LOSSES, huber
from psgd.learners.mlp import MLP
from psgd.optimizers.optimizer import Optimizer
from psgd.optimizers.rules import SGD, Adam
from psgd.optimizers.schedule import Schedule


def test_the_loss_is_summed_until_it_is_read():
    mlp = MLP((3, 4, 2), "tanh", "softmax", LOSSES["cross-entropy"], FLOAT64)
    p, out = some_parameters(mlp.size), np.empty(mlp.size)
    batches = [some_batch(3, 2, examples, True, seed) for seed, examples in enumerate((5, 2, 7))]
    parts = []
    for batch in batches:
        mlp.gradient(p, batch, out)
        parts.append(mlp.read_loss())
    for batch in batches:
        mlp.gradient(p, batch, out)
    mlp.score(p, batches[0].X, batches[0].T_BO)  # evaluation is not training
    assert mlp.read_loss() == pytest.approx(sum(parts), rel=1e-14)
    assert mlp.read_loss() == 0.0


def test_workers_that_share_a_learner_do_not_affect_each_other():
    """Alternating with others, with batches of other sizes and short-lived vectors: the bits of an unshared learner."""

    def make() -> MLP:
        return MLP((3, 4, 2), "relu", "softmax", LOSSES["cross-entropy"], FLOAT32, WeightSettings(l2=0.1))

    def gradient_by(mlp: MLP, worker: int) -> np.ndarray:
        X_BI, T_BO, _ = some_batch(3, 2, 1 + worker % 3, True, seed=worker)
        p, out = some_parameters(mlp.size, worker).astype(np.float32), np.empty(mlp.size, np.float32)
        mlp.gradient(p, Batch(X_BI.astype(np.float32), T_BO.astype(np.float32), 0.0), out)
        mlp.score(p, X_BI.astype(np.float32), T_BO.astype(np.float32))
        return out

    shared = make()
    for worker in range(100):  # more vectors than the learner caches
        assert np.array_equal(gradient_by(shared, worker), gradient_by(make(), worker))


def test_the_batch_and_the_parameters_are_not_modified():
    mlp = MLP((3, 4, 3), "identity", "softmax", huber(1.0), FLOAT64, WeightSettings(l1=0.1))
    batch, p = some_batch(3, 3, 4, True), some_parameters(mlp.size)
    copies = [batch.X.copy(), batch.T_BO.copy(), p.copy()]
    mlp.gradient(p, batch, np.empty(mlp.size))
    mlp.score(p, batch.X, batch.T_BO)
    assert all(np.array_equal(a, b) for a, b in zip((batch.X, batch.T_BO, p), copies, strict=True))


@pytest.mark.parametrize("rule", [SGD(), SGD(0.9, nesterov=True), Adam(), Adam(amsgrad=True)])
def test_a_run_equals_a_gradient_and_a_step_for_each_batch(rule):
    mlp = MLP((3, 4, 2), "tanh", "softmax", LOSSES["cross-entropy"], FLOAT32)
    optimizer = Optimizer(rule, Schedule(0.1, "cosine", 6.0, warmup=1.0), clip_norm=0.2)
    batches = []
    for step in range(6):
        X_BI, T_BO, _ = some_batch(3, 2, 4, True, seed=step)
        batches.append(Batch(X_BI.astype(np.float32), T_BO.astype(np.float32), step + 0.5))
    start = some_parameters(mlp.size).astype(np.float32)
    p, gradient, moments = start.copy(), np.empty_like(start), np.zeros((optimizer.moment_rows, mlp.size), np.float32)
    for count, batch in enumerate(batches, 1):
        mlp.gradient(p, batch, gradient)
        optimizer.step(p, gradient, moments, count, batch.epoch)
    for cut in (0, 1, 4, 6):  # in two segments
        for run in (mlp.run, partial(Learner.run, mlp)):
            q, again = start.copy(), np.zeros_like(moments)
            run(TrainState(q, again, 0, np.empty_like(start)), optimizer, batches[:cut])
            run(TrainState(q, again, cut, np.empty_like(start)), optimizer, batches[cut:])
            assert np.array_equal(p, q)
            assert np.array_equal(moments, again)


ROUNDING = {np.float32: 2e-6, np.float64: 3e-15}  # normwise, of 30 steps


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize(("loss", "output"), [("squared-error", "sigmoid"), ("cross-entropy", "softmax")])
@pytest.mark.parametrize(("hidden", "l2"), [("relu", 0.0), ("sigmoid", 0.1), ("tanh", 0.0)])
@pytest.mark.parametrize(
    ("sizes", "examples"), [((5, 9, 31, 3), 1), ((5, 9, 31, 3), 7), ((5, 9, 31, 3), 60), (WIDE, 200)]
)
def test_plain_sgd_in_one_product_equals_the_default_up_to_rounding(dtype, loss, output, hidden, l2, sizes, examples):
    mlp = MLP(sizes, hidden, output, loss_of(loss), np.dtype(dtype), WeightSettings(l2=l2))
    batches = []
    for step in range(30):
        X_BI, T_BO, _ = some_batch(sizes[0], 3, examples, True, seed=step)
        batches.append(Batch(X_BI.astype(dtype), T_BO.astype(dtype), step / 10))
    optimizer, nothing = Optimizer(SGD(), Schedule(0.1, "step", decay_every=1.0)), np.zeros((0, mlp.size), dtype)
    p, q = (mlp.initial(SEED) for _ in range(2))
    start = p.astype(np.float64)
    Learner.run(mlp, TrainState(p, nothing, 0, np.empty_like(p)), optimizer, batches)
    loss_of_default = mlp.read_loss()
    mlp.run(TrainState(q, nothing, 0, np.empty_like(p)), optimizer, batches)
    assert mlp.read_loss() == pytest.approx(loss_of_default, rel=1e-5 if dtype == np.float32 else 1e-13)
    assert np.linalg.norm(p - start) > 1e-3 * np.linalg.norm(start)
    assert np.linalg.norm(p.astype(np.float64) - q) < ROUNDING[dtype] * np.linalg.norm(p)
    assert not np.shares_memory(p, q)


def test_other_optimizers_use_the_default_run():
    for l1, optimizer in [
        (0.1, Optimizer(SGD(), Schedule(0.1))),
        (0.0, Optimizer(SGD(0.9), Schedule(0.1))),
        (0.0, Optimizer(SGD(), Schedule(0.1), clip_norm=0.01)),
        (0.0, Optimizer(Adam(), Schedule(0.1))),
    ]:
        mlp = MLP((3, 4, 2), "tanh", "softmax", LOSSES["cross-entropy"], FLOAT64, WeightSettings(l1=l1))
        batches = [some_batch(3, 2, 4, True, seed=step) for step in range(5)]
        p, q = some_parameters(mlp.size), some_parameters(mlp.size)
        moments = np.zeros((2, optimizer.moment_rows, mlp.size))
        Learner.run(mlp, TrainState(p, moments[0], 0, np.empty_like(p)), optimizer, batches)
        mlp.run(TrainState(q, moments[1], 0, np.empty_like(p)), optimizer, batches)
        assert np.array_equal(p, q)
        assert np.array_equal(*moments)
