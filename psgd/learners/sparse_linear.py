"""The linear model of sparse rows, with one output, as in Zinkevich et al. 2010 and Cheng et al. 2020.

The parameters are the weights (F,) and then the bias. A step of plain SGD reads and writes the active features only:
the weights are stored as scale * parameters, so that their decay by l2 is one multiplication.
"""

from collections.abc import Iterable
from typing import final

import numpy as np

from psgd.backends.backend import Outputs
from psgd.backends.layout import Layout
from psgd.backends.numpy.activations import ACTIVATIONS
from psgd.backends.numpy.layer_buffers import LayerBuffers
from psgd.data.sparse import SparseRows
from psgd.learners.layered_learner import LayeredLearner, WeightSettings
from psgd.learners.learner import Batch
from psgd.learners.losses import Loss
from psgd.optimizers.schedule import Schedule

SMALLEST_SCALE = 1e-6  # a smaller scale is multiplied into the parameters at once, before they grow too large
FROM_ZERO = WeightSettings("constant")


@final
class SparseLinear(LayeredLearner):
    def __init__(
        self, features: int, output: str, loss: Loss, dtype: np.dtype, weights: WeightSettings = FROM_ZERO
    ) -> None:
        super().__init__(Layout((features, 1)), output, loss, dtype, weights)
        # Steps after which the scale is multiplied into all weights: enough that this takes little time beside them.
        self.stride = max(256, self.size // 2048)
        self._activation = ACTIVATIONS[output]
        self._buffers: dict[int, LayerBuffers] = {}

    def outputs(self, parameters: np.ndarray, rows: SparseRows) -> Outputs:
        return self._forward(parameters, rows, 1.0).outputs

    def gradient(self, parameters: np.ndarray, batch: Batch, out: np.ndarray) -> None:
        rows: SparseRows = batch.X
        D_B = self._deltas(parameters, rows, batch.T_BO, 1.0)
        D_B *= 1.0 / len(D_B)
        weights = parameters[:-1]
        np.multiply(weights, self._l2, out=out[:-1])
        if self._l1:
            out[:-1] += self._l1 * np.sign(weights)
        out[-1] = D_B.sum()
        _scatter(out[:-1], rows, D_B)

    def name(self, index: int) -> str:
        features = self.size - 1
        return f"the weight of feature {index}" if index < features else "the bias" if index == features else "the loss"

    def _descend(self, parameters: np.ndarray, schedule: Schedule, batches: Iterable[Batch]) -> None:
        """w <- (1 - rate l2) w - rate mean(delta x), as w = scale u: scale *= 1 - rate l2, u -= rate delta x / scale.

        The scale is multiplied into the weights after every `stride` steps and at the end: steps that are cut into
        several calls, after multiples of `stride`, have the same bits."""
        weights, bias = parameters[:-1], parameters[-1:]
        scale = 1.0
        for step, batch in enumerate(batches, 1):
            rows: SparseRows = batch.X
            rate = schedule.rate(batch.epoch)
            D_B = self._deltas(parameters, rows, batch.T_BO, scale)
            D_B *= -rate / len(D_B)
            bias += D_B.sum() if len(D_B) > 1 else D_B
            scale *= 1.0 - rate * self._l2
            if not scale >= SMALLEST_SCALE:  # also if it is negative or nan
                weights *= scale
                scale = 1.0
            if scale != 1.0:
                D_B *= 1.0 / scale
            _scatter(weights, rows, D_B)
            if step % self.stride == 0 and scale != 1.0:
                weights *= scale
                scale = 1.0
        if scale != 1.0:
            weights *= scale

    def _forward(self, parameters: np.ndarray, rows: SparseRows, scale: float) -> LayerBuffers:
        """Compute the outputs with the weights times `scale`."""
        examples = len(rows.starts) - 1
        if examples not in self._buffers:
            self._buffers[examples] = LayerBuffers(
                1, examples, self._activation, self.dtype, keeps_logits=self._head.is_canonical
            )
        buffers = self._buffers[examples]
        Z_OB = buffers.Z_OB
        _gather(parameters[:-1], rows, Z_OB[0])
        if scale != 1.0:
            Z_OB *= scale
        Z_OB += parameters[-1:]
        buffers.forward()
        return buffers

    def _deltas(self, parameters: np.ndarray, rows: SparseRows, T_BO: np.ndarray, scale: float) -> np.ndarray:
        """Return dL/dz (B,) of each example, and add their losses to the running sum."""
        buffers = self._forward(parameters, rows, scale)
        if self._head.is_difference:
            np.subtract(buffers.A_OB, T_BO.T, buffers.D_OB)
        self._head.add(buffers.outputs, T_BO.T)
        if not self._head.is_canonical:
            buffers.backward()
        D_B: np.ndarray = buffers.D_OB[0]
        return D_B


def _gather(weights: np.ndarray, rows: SparseRows, out: np.ndarray) -> None:
    """Write each row's dot product with the weights (F,) to `out` (B,)."""
    starts, indices, values = rows
    products = weights.take(indices)
    if len(out) == 1:
        out[0] = values.dot(products)
        return
    products *= values
    filled = starts[1:] > starts[:-1]
    if filled.all():
        np.add.reduceat(products, starts[:-1], out=out)
    else:  # reduceat cannot sum empty rows
        out.fill(0)
        if filled.any():
            out[filled] = np.add.reduceat(products, starts[:-1][filled])


def _scatter(weights: np.ndarray, rows: SparseRows, D_B: np.ndarray) -> None:
    """Add D_B[b] times row b to the weights (F,), for each b; a feature may be in several rows."""
    starts, indices, values = rows
    if len(D_B) == 1:
        amounts = values * D_B
    else:
        amounts = np.repeat(D_B, np.diff(starts))
        amounts *= values
    np.add.at(weights, indices, amounts)
