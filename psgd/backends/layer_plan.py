"""Chooses how each layer's products are computed for one batch size, for all CPU backends.

The variants differ in speed and in rounding. BLAS is fastest if operands and result of a product have the same memory
order; elementwise work is fastest without gaps. The thresholds were measured on Zen 4.
"""

from typing import NamedTuple

from psgd.backends.layout import Layout

# Weights of a layer from which storing outputs by example and updating in one pass are worth their overhead: 128 KiB of
# float32, which do not fit the L1 cache.
LARGE_WEIGHTS = 32768
SMALL_WEIGHTS = 1024  # weights below which all variants take the same time
TWO_PASS_EXAMPLES = 50  # batch size from which a second pass over the weights is cheap beside the product
# Batch size above which the memory order of deltas does not matter; below it, it matters more for fewer examples.
DELTA_EXAMPLES = 500
# Inputs per output from which X W is computed as (B, O) and then transposed: BLAS is slow at transposing many inputs.
# (784 inputs, 16 outputs, 100 examples: 32 us instead of 63. For fewer than about 30 examples it takes up to 2 us more,
# but there the other variant has other bits for some shapes.)
TRANSPOSE_RATIO = 8


class LayerPlan(NamedTuple):
    inputs: int  # with the constant one
    outputs: int
    offset: int  # of the layer's weights in the parameter vector
    by_example: bool  # outputs and deltas are stored as (B, O) instead of (O, B)
    transposes_product: bool  # X W is computed as (B, O) and copied to (O, B), where inputs are many and outputs few
    two_passes: bool  # A D^T is computed, and then added to W; otherwise gemm does both


def plan_layers(layout: Layout, examples: int) -> list[LayerPlan]:
    last = len(layout.layers) - 1
    hidden_by_example = _by_example(layout, examples)
    plans = []
    for number, (inputs, outputs, offset) in enumerate(layout.layers):
        weights = (inputs + 1) * outputs
        by_example = hidden_by_example and number < last
        many_inputs = number == 0 and inputs > TRANSPOSE_RATIO * outputs
        two_passes = not by_example and SMALL_WEIGHTS < weights < LARGE_WEIGHTS and examples >= TWO_PASS_EXAMPLES
        plans.append(LayerPlan(inputs + 1, outputs, offset, by_example, many_inputs and not by_example, two_passes))
    return plans


def _by_example(layout: Layout, examples: int) -> bool:
    """Whether hidden layers' outputs are stored by example, as inputs are: the first layer's product is then fastest,
    but products of deltas and weights are slower, the more so the fewer examples."""
    first = (layout.sizes[0] + 1) * layout.sizes[1]
    return first >= LARGE_WEIGHTS and DELTA_EXAMPLES * (layout.size - first) <= min(examples, DELTA_EXAMPLES) * first
