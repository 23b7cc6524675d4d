"""Whether numba compiles the inner loops of a job, whose bits stay the same."""

from collections.abc import Sequence

from psgd.errors import UsageError

# Seconds that a step saves at least: for each layer, output of an example, input that is gathered, parameter whose
# optimizer has state. And those that numba may take to start, if it has compiled before.
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


def compiles(wanted: str, saves: bool) -> bool:
    """`wanted`: always, never, or auto, which is where time is saved and numba is there. UsageError if it is to be
    always, and cannot."""
    if wanted == "never" or (wanted == "auto" and not saves):
        return False
    try:
        from psgd.optimizer import compiled
    except (ImportError, RuntimeError) as error:  # the latter where numba finds no place for its cache
        if wanted == "always":
            raise UsageError(f"compile is always, which needs numba ({error}): pip install numba") from None
        return False
    return bool(compiled)
