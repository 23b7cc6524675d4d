"""Whether the inner loops of a job are compiled, whose bits stay the same."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from psgd.backends.numba import machine_code
from psgd.core.errors import UsageError

Made = TypeVar("Made")

# Seconds that a step saves at least: for each layer, output of an example, input that is gathered, parameter whose
# optimizer has state. And those that have to be saved: several times what loading takes, since numba takes some more
# where it has not compiled before.
A_LAYER, AN_OUTPUT, AN_INPUT, A_PARAMETER = 2.5e-6, 5e-10, 1.5e-10, 7e-10
START = 0.5


def saves_time(steps: float, examples: int, sizes: Sequence[int], updated: int) -> bool:
    """For `steps` on as many `examples` each, by a network of the `sizes` features, hidden ..., outputs, or none; of
    its parameters, `updated` are stepped by an optimizer with state."""
    a_step = A_PARAMETER * updated
    if sizes:
        features, *outputs = sizes
        a_step += A_LAYER * len(outputs) + examples * (AN_OUTPUT * sum(outputs) + AN_INPUT * features)
    return steps * a_step >= START


def compiled(wanted: str, saves: bool, make: Callable[[], Made], otherwise: Made) -> Made:
    """What `make` compiles if that is `wanted`: always, never, or auto, which is where it `saves` time; or `otherwise`,
    also where numba is not there or stumbles, as over a full disk. UsageError if it is always to be."""
    if wanted == "never" or (wanted == "auto" and not saves):
        return otherwise
    try:
        return make()
    except (ImportError, LookupError, OSError) as error:
        if wanted == "always":
            raise _cannot(error) from None
        return otherwise


def check_compiler(wanted: str, precision: str) -> None:
    """UsageError if it is always to be compiled, and cannot be."""
    if wanted == "always":
        try:
            machine_code.check(np.dtype(precision))
        except OSError as error:
            raise _cannot(error) from None


def _cannot(error: Exception) -> UsageError:
    return UsageError(
        f"compile is always, which needs numba, and a place for what it compiles ({error or repr(error)}): pip install "
        "numba; the variable XDG_CACHE_HOME may name a directory of yours"
    )
