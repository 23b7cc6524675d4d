"""A model as arrays: those of a model file, for programs that have numpy alone."""

import numpy as np

from psgd.core.files import to_json
from psgd.core.version import __version__
from psgd.learners.model import Model
from psgd.learners.model_file import array_names

DESCRIPTION = "about"  # the name of the array that holds a text: the description of the model as JSON


def model_arrays(model: Model) -> dict[str, np.ndarray]:
    """Return weights (inputs, outputs) and biases of each layer under the names of a model file, and "about": JSON with
    the sizes, activations, loss, names of classes, and the preparation of raw inputs."""
    layers = model.layers
    about = {
        "psgd": __version__,
        "kind": model.about.kind,
        "sizes": [model.inputs, *(layer.b_O.size for layer in layers)],
        "activations": [layer.activation for layer in layers],
        "loss": model.loss,
        "classes": model.classes,
        "preparation": model.preparation,
    }
    arrays: dict[str, np.ndarray] = {}
    for (weights, biases), layer in zip(array_names(model.about.kind, len(layers)), layers, strict=True):
        arrays |= {weights: layer.W_IO, biases: layer.b_O}
    return {**arrays, DESCRIPTION: np.array(to_json(about))}
