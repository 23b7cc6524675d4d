"""Chooses the backend of a job: numba if the user asks for it or it saves time, else numpy. The bits are the same."""

from collections.abc import Sequence

import numpy as np

from psgd.backends.backend import Backend
from psgd.backends.numpy.backend import NUMPY
from psgd.config.settings import Settings
from psgd.core.errors import UsageError
from psgd.core.log import LOG, first_time
from psgd.learners.learner import Learner
from psgd.learners.mlp import MLP
from psgd.optimizers.optimizer import Optimizer

# Seconds that compiled code saves in a step, at least: for each layer, each output of each example, each input of each
# example, and each parameter of an optimizer with state. Raised, more jobs are compiled.
LAYER_SECONDS, OUTPUT_SECONDS, INPUT_SECONDS, PARAMETER_SECONDS = 2.5e-6, 5e-10, 1.5e-10, 7e-10
# Seconds that numba must save to be chosen: twice the time of loading it. Its first run also compiles, for about 6 s.
# Raised, fewer jobs are compiled.
START_SECONDS = 1.0


def saves_time(steps: float, examples: int, sizes: Sequence[int], updated: int) -> bool:
    """Whether numba saves more time than its start takes, over `steps` steps of `examples` examples each. `sizes`: of
    the network's layers (features, hidden ..., outputs), empty if the learner is no network. `updated`: the parameters
    for which the optimizer has state."""
    seconds = PARAMETER_SECONDS * updated
    if sizes:
        features, *outputs = sizes
        seconds += LAYER_SECONDS * len(outputs)
        seconds += examples * (OUTPUT_SECONDS * sum(outputs) + INPUT_SECONDS * features)
    return steps * seconds >= START_SECONDS


def choose_backend(settings: Settings, examples: int, learner: Learner, optimizer: Optimizer) -> Backend:
    """Choose by `settings.compile`. `examples`: in one epoch. UsageError if compile is always and numba is missing or
    cannot compile this job."""
    wanted, batch = settings.compile, settings.training.batch_size_per_worker
    steps = settings.training.epochs * examples / (batch * settings.worker_count)  # of each worker, about
    sizes = learner.layout.sizes if isinstance(learner, MLP) else ()
    updated = learner.size if optimizer.moment_rows else 0
    if wanted == "never" or (wanted == "auto" and not saves_time(steps, batch, sizes, updated)):
        return NUMPY
    try:
        return _numba(settings, batch, learner, optimizer)
    except MemoryError:  # no fault of numba's: with numpy, it is met again and named
        if wanted == "always":
            raise
        return NUMPY
    except Exception as error:  # a broken numba may raise anything
        text = " ".join((str(error) or repr(error)).split())
        if isinstance(error, ModuleNotFoundError) and str(error.name).split(".")[0] in ("numba", "llvmlite"):
            reason = f"which needs numba ({text}): pip install 'psgd[fast]'"
        elif isinstance(error, LookupError):
            reason = f"but numba {text}; use compile: auto"
        else:
            reason = f"which needs a numba that works ({text}): pip install -U numba"
            if wanted == "auto" and first_time(("not compiled", text)):  # several jobs may be built in a process
                LOG.warning("psgd: the inner loops cannot be compiled: %s", text)
        if wanted == "always":
            raise UsageError(f"compile is always, {reason}") from None
        return NUMPY


def _numba(settings: Settings, batch: int, learner: Learner, optimizer: Optimizer) -> Backend:
    """The numba backend, once it has compiled what this job needs."""
    from psgd.backends.numba.backend import NumbaBackend

    descends = settings.averaging is not None and optimizer.plain
    backend = NumbaBackend(batch, descends)
    if isinstance(learner, MLP):
        backend.passes(learner.network)
    p, state = np.zeros(1, learner.dtype), np.zeros((optimizer.moment_rows, 1), learner.dtype)
    backend.update(optimizer.rule.name)(p, p.copy(), state, optimizer.rule.factors(1, 0.0), p, state)
    return backend
