"""Whether a job is long enough that numba, compiling its inner loops, makes up for its start. Bits stay the same."""

from collections.abc import Sequence

# Seconds that a step saves at least: for each layer, output of an example, input that is gathered, parameter whose
# optimizer has state. And those that numba may take to start, if it has compiled before.
A_LAYER, AN_OUTPUT, AN_INPUT, A_PARAMETER = 2.5e-6, 5e-10, 1.5e-10, 7e-10
START = 0.5


def worth_compiling(steps: float, examples: int = 0, sizes: Sequence[int] = (0,), updated: int = 0) -> bool:
    """Where numba is installed: for `steps` on as many `examples` each, by a network of the `sizes` features, hidden
    ..., outputs; `updated` parameters are stepped by an optimizer with state."""
    features, *outputs = sizes
    a_step = A_LAYER * len(outputs) + examples * (AN_OUTPUT * sum(outputs) + AN_INPUT * features)
    return steps * (a_step + A_PARAMETER * updated) >= START and _numba_works()


def _numba_works() -> bool:
    try:
        from psgd.optimizer import compiled
    except (ImportError, RuntimeError):  # the latter where numba finds no place for its cache
        return False
    return bool(compiled)
