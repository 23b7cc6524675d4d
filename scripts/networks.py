"""The five networks of record, as every benchmark names them."""

from typing import NamedTuple


class Network(NamedTuple):
    sizes: tuple[int, ...]  # features, hidden ..., outputs
    activation: str
    output: str
    loss: str
    batch: int
    optimizer: str
    learning_rate: float

    @property
    def flop(self) -> int:
        """Floating-point operations of a step: forward and backward products, without the gradient of the inputs."""
        products = [inputs * outputs for inputs, outputs in zip(self.sizes[:-1], self.sizes[1:], strict=True)]
        return 2 * self.batch * (3 * sum(products) - products[0])


NETWORKS = {
    "A": Network((1000, 900, 900, 900, 10), "sigmoid", "sigmoid", "squared-error", 100, "sgd", 1.0),
    "B": Network((784, 512, 128, 64, 10), "relu", "softmax", "cross-entropy", 1000, "adam", 0.001),
    "C": Network((784, 16, 16, 10), "sigmoid", "sigmoid", "squared-error", 100, "sgd", 1.0),
    "D": Network((784, 30, 10), "sigmoid", "sigmoid", "squared-error", 10, "sgd", 1.0),
    "E": Network((7, 15, 1), "relu", "sigmoid", "binary-cross-entropy", 150, "sgd", 0.1),
}
