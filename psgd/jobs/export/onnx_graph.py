"""A graph of ONNX operators under construction. The only importer of onnx."""

from typing import Any, final

import numpy as np

from psgd.core.errors import UsageError
from psgd.core.optional import what_to_install

# Old enough for the runtimes of the last years; each operator used here is in it.
OPSETS = {"": 17, "ai.onnx.ml": 3}
IR_VERSION = 8  # of files with these operators


@final
class Graph:
    """`names`: those that its caller gives to inputs and outputs; values in between get others."""

    def __init__(self, names: list[str]) -> None:
        self._onnx = _import_onnx()
        self._taken = set(names)
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def input(self, name: str, dtype: np.dtype | type, shape: list[int | str]) -> str:
        """Declare an input. A number or a name for each dimension; dimensions of one name are equal."""
        self._inputs.append(self._onnx.helper.make_tensor_value_info(name, self._type(dtype), shape))
        return name

    def constant(self, value: Any) -> str:
        """Add a constant, such as an array of weights, and return its name."""
        array = np.asarray(value)
        name = self._free("constant")
        if array.dtype.kind in "US":
            texts = [str(text).encode() for text in array.ravel()]
            made = self._onnx.helper.make_tensor(name, self._onnx.TensorProto.STRING, array.shape, texts)
        else:
            made = self._onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
        self._constants.append(made)
        return name

    def add(self, operator: str, *inputs: str, output: str | None = None, domain: str = "", **attributes: Any) -> str:
        """Add an operator and return the name of its output."""
        name = output or self._free(operator.lower())
        self._nodes.append(
            self._onnx.helper.make_node(operator, list(inputs), [name], name=name, domain=domain, **attributes)
        )
        return name

    def cast(self, value: str, dtype: np.dtype | type) -> str:
        return self.add("Cast", value, to=self._type(dtype))

    def output(self, name: str, dtype: np.dtype | type, shape: list[int | str]) -> None:
        """Declare an output that `add` has made."""
        self._outputs.append(self._onnx.helper.make_tensor_value_info(name, self._type(dtype), shape))

    def model(self, about: dict[str, str]) -> Any:
        """Return the checked ModelProto. `about`: its metadata."""
        helper = self._onnx.helper
        graph = helper.make_graph(self._nodes, "psgd", self._inputs, self._outputs, self._constants)
        opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="psgd")
        helper.set_model_props(model, about)
        self._onnx.checker.check_model(model, full_check=True)
        return model

    def _free(self, name: str) -> str:
        number = len(self._nodes) + len(self._constants)
        while (found := f"{name}_{number}") in self._taken:
            number += 1
        self._taken.add(found)
        return found

    def _type(self, dtype: np.dtype | type) -> int:
        if np.dtype(dtype).kind in "US":
            return int(self._onnx.TensorProto.STRING)
        return int(self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _import_onnx() -> Any:
    """Import onnx. UsageError if it is missing or broken."""
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except Exception as error:
        raise UsageError(f"--to onnx needs {what_to_install(error, 'onnx', 'psgd[export]')}") from None
    return onnx
