"""Whether a network's passes are compiled: where numba is installed and there is enough to do."""

from psgd.learners.passes import NumpyPasses, Passes

# Seconds that a step saves, for each layer and for each output of each example; and those that numba's start may cost.
A_LAYER, AN_OUTPUT, START = 2.5e-6, 5e-10, 0.5


def compiled(plain: NumpyPasses, steps: float, examples: int) -> Passes:
    """The same passes with the same bits, or those given; `steps` on as many `examples` each are to come."""
    outputs = plain.layout.sizes[1:]
    if steps * (A_LAYER * len(outputs) + AN_OUTPUT * examples * sum(outputs)) < START:
        return plain
    try:
        from psgd.learners.compiled import CompiledPasses

        return CompiledPasses(plain, examples)
    except (ImportError, LookupError, RuntimeError):  # the last where numba finds no place for its cache
        return plain
